"""A call as the machines see it: when it ran there, and how much of its work falls into a span of time."""

from __future__ import annotations

from typing import NamedTuple

FINE = 10**12


class Run(NamedTuple):
    """One call on the machines, from `start` to before `end` (epoch microseconds), without what it waited at the proxy.

    first: when the first token came; input is taken to be read until then and output to be written from then on, evenly.
    None where that is not known: then both are spread over all of it. input: tokens that were computed, cache_read: those that
    were not. output: with the reasoning.
    """

    id: str
    start: int
    end: int
    input: int = 0
    cache_read: int = 0
    output: int = 0
    first: int | None = None

    @property
    def reads(self) -> tuple[int, int]:
        """When its input is read."""
        return self.start, self.end if self.first is None else max(self.start, min(self.first, self.end))

    @property
    def writes(self) -> tuple[int, int]:
        """When its output is written."""
        return self.start if self.first is None else max(self.start, min(self.first, self.end)), self.end


class Tokens(NamedTuple):
    """Tokens of a span of time."""

    input: int = 0
    cache_read: int = 0
    output: int = 0

    def plus(self, other: Tokens) -> Tokens:
        return Tokens(self.input + other.input, self.cache_read + other.cache_read, self.output + other.output)


def tokens_within(run: Run, start: int, end: int) -> Tokens:
    """Its tokens from `start` to before `end`. Cut anywhere, the parts add up to the whole."""
    reads, writes = run.reads, run.writes
    return Tokens(
        _within(run.input, *reads, start, end, run),
        _within(run.cache_read, *reads, start, end, run),
        _within(run.output, *writes, start, end, run),
    )


def finely_within(run: Run, start: int, end: int) -> Tokens:
    """As `tokens_within`, in 10^-12 of tokens, so that no rounding is seen in a share of money."""
    fine = run._replace(input=run.input * FINE, cache_read=run.cache_read * FINE, output=run.output * FINE)
    return tokens_within(fine, start, end)


def _within(amount: int, began: int, ended: int, start: int, end: int, run: Run) -> int:
    if not amount:
        return 0
    # All of it in one moment, which is in the span that has it; a run's very end belongs to its last span.
    if began >= ended:
        at = min(began, max(run.start, run.end - 1))
        return amount if start <= at < end else 0
    length = ended - began
    until, since = min(max(end - began, 0), length), min(max(start - began, 0), length)
    return amount * until // length - amount * since // length
