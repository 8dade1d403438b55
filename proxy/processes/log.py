"""What `serve` writes to its log: one line a call, JSON where nobody watches, never a secret, never a prompt.

The lines of calls come from the recorder, out of the very rows that are in the ledger: the two cannot disagree.
"""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import compress
from typing import Any, cast

import msgspec
import orjson

from proxy.money import NANO, usd_text
from proxy.times import with_a_date

_refusals = logging.getLogger("taximeter.refused")
_AT_ONCE = 250  # lines: memory for more is fetched from the kernel each time, and given back
_STREAMS = (0, 1, 2)
_QUIET = ("alembic", "asyncio")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def set_up() -> None:
    """The process's logging: to standard error, as JSON unless it is a terminal."""
    _have_streams()
    handler = logging.StreamHandler(sys.stderr)
    terminal = sys.stderr.isatty()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s") if terminal else _JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _have_streams() -> None:
    """A process that was begun without one of its three streams (`2>&-`) has one into nothing: else the file that it opens
    first stands there, and gets what a library writes."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STREAMS[-1]:
        os.set_inheritable(number, True)
    os.close(number)
    for name, number in zip(("stdin", "stdout", "stderr"), _STREAMS, strict=True):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def call_logger(sample: float) -> Callable[[Mapping[str, Sequence[Any]]], None]:
    """Logs ledger rows, told by their columns (`proxy.ledger.entries.row.Row`); `sample` of them (0 to 1; calls that did not go
    well always)."""
    write = _plain if sys.stderr.isatty() else _json

    def log_calls(columns: Mapping[str, Sequence[Any]]) -> None:
        shown: dict[str, Sequence[Any]] = {name: columns[name] if columns else () for name in _SHOWN}
        if sample < 1:
            chosen = [outcome != "ok" or random.random() < sample for outcome in shown["outcome"]]  # noqa: S311 - which calls are shown, no secret
            shown = {name: list(compress(column, chosen)) for name, column in shown.items()}
        count = len(shown["id"])
        for first in range(0, count, _AT_ONCE):
            last = first + _AT_ONCE
            sys.stderr.write(write({name: column[first:last] for name, column in shown.items()}))
        if count:
            sys.stderr.flush()

    return log_calls


def log_refused(refused: Mapping[tuple[str, str | None], int]) -> None:
    """A line for each reason and budget, as no ledger has refused calls: whose agent stopped finds out why."""
    for (reason, budget), count in refused.items():
        calls = "a call was" if count == 1 else f"{count} calls were"
        _refusals.info("%s refused: %s%s", calls, reason, f", budget {budget}" if budget else "")


_ALIKE = ("key", "team", "model", "upstream", "operation", "stream", "status", "outcome", "http_status", "client")
_SHOWN = (
    *_ALIKE, "ended_at", "id", "request_id", "root_session_id", "cost_nanousd", "input_tokens", "cache_read_tokens",
    "output_tokens", "reasoning_tokens", "duration_ms",
)  # fmt: skip
_encode, _encode_lines = msgspec.json.Encoder().encode, msgspec.json.Encoder().encode_lines
_known_alike: dict[tuple[Any, ...], str] = {}  # what calls say alike, as it stands in a line
_MOST_KNOWN, _MOST_CHARS = 1024, 1000
_MOST_MS = 1e12


def _json(columns: Mapping[str, Sequence[Any]]) -> str:
    """A line for each. They are laid out piece by piece for all calls, and so without a step of Python for each value."""
    known, values_of = _known_alike, zip(*[columns[name] for name in _ALIKE], strict=True)
    pieces = (
        *_times(columns["ended_at"]), '+00:00","logger":"call","id":',
        *_texts(columns["id"]), ',"request_id":',
        *_texts(columns["request_id"]), ',"session_id":',
        *_texts(columns["root_session_id"]), ",",
        [known.get(values) or _made_alike(values) for values in values_of], ',"cost_usd":',
        *_costs(columns["cost_nanousd"]), ',"input_tokens":',
        _each(columns["input_tokens"]), ',"cache_read_tokens":',
        _each(columns["cache_read_tokens"]), ',"output_tokens":',
        _each(columns["output_tokens"]), ',"reasoning_tokens":',
        _each(columns["reasoning_tokens"]), ',"duration_ms":',
        _each(_rounded(columns["duration_ms"])), "}\n",
    )  # fmt: skip
    return _laid_out(pieces, len(columns["id"]))


def _laid_out(pieces: Iterable[str | Sequence[str]], count: int) -> str:
    """So many lines, of pieces that each has or all have. What all of them have is one piece with what is beside it."""
    merged: list[str | Sequence[str]] = [""]
    for piece in pieces:
        same = piece if isinstance(piece, str) else _same(piece)
        before = merged[-1]
        if same is not None and isinstance(before, str):
            merged[-1] = before + same
        else:
            merged.append(piece if same is None else same)
    laid_out = [""] * (len(merged) * count)
    for at, piece in enumerate(merged):
        laid_out[at :: len(merged)] = [piece] * count if isinstance(piece, str) else piece
    return "".join(laid_out)


def _same(texts: Sequence[str]) -> str | None:
    """What all of them are."""
    first = texts[0]
    return first if texts[-1] == first and texts.count(first) == len(texts) else None


def _texts(texts: Sequence[str | None]) -> tuple[str, Sequence[str], str]:
    """Each as JSON has it, between what stands before and behind each."""
    there = cast("Sequence[str]", texts)
    try:
        together = "".join(there)
    except TypeError:  # None is among them, and takes longer to look for
        return "", _each(texts), ""
    if together.isascii() and len(_encode(together)) == len(together) + 2:  # nothing is escaped
        return '"', there, '"'
    return "", _each(texts), ""


def _each(values: Sequence[Any]) -> Sequence[str]:
    """Each of them as JSON, in which no line ends."""
    return _encode_lines(values).decode().split("\n")[:-1]


def _made_alike(values: tuple[Any, ...]) -> str:
    text = _encode(dict(zip(_ALIKE, values, strict=True)))[1:-1].decode()
    if len(text) <= _MOST_CHARS:  # a client's names may be long
        if len(_known_alike) >= _MOST_KNOWN:
            _known_alike.clear()
        _known_alike[values] = text
    return text


def _times(moments_us: Sequence[int]) -> tuple[str, Sequence[str], Sequence[str]]:
    """In RFC 3339, second and fraction; of what lies beyond the calendar (a damaged record's) its first or last moment."""
    earliest, latest = min(moments_us), max(moments_us)
    if with_a_date(earliest) != earliest or with_a_date(latest) != latest:
        moments_us = list(map(with_a_date, moments_us))
    begins: dict[int, str] = {}  # a batch's calls end within some seconds
    seconds = [moment // 1_000_000 for moment in moments_us]
    for second in set(seconds):
        begins[second] = f"{datetime.fromtimestamp(second, UTC).isoformat()[:19]}."
    fractions = _behind_one([moment % 1_000_000 + 1_000_000 for moment in moments_us])
    return '{"at":"', [begins[second] for second in seconds], fractions


def _costs(costs: Sequence[int | None]) -> tuple[str, Sequence[str], str]:
    """As `usd_text` has each, as `_texts` returns it."""
    if None not in costs:
        there = cast("Sequence[int]", costs)
        if min(there) > 0 and max(there) < NANO:
            return '"0.', [text.rstrip("0") for text in _behind_one([cost + NANO for cost in there])], '"'
    return "", ["null" if cost is None else f'"{usd_text(cost)}"' for cost in costs], ""


def _behind_one(numbers: Sequence[int]) -> list[str]:
    """What stands behind the first digit of each of these, which is a 1: so many digits as the largest of them could have. A
    number's format with leading zeros takes seven times as long."""
    return _encode_lines(numbers).decode()[1:-1].replace("\n1", "\n").split("\n")


def _rounded(times_ms: Sequence[float | None]) -> list[float | None]:
    """To the microsecond; `round` takes four times as long."""
    return [
        (took * 1000 + 0.5) // 1 / 1000 if took is not None and 0 <= took < _MOST_MS else _any_rounded(took)
        for took in times_ms
    ]


def _any_rounded(took_ms: float | None) -> float | None:
    if took_ms is None or not -_MOST_MS < took_ms < _MOST_MS:
        return took_ms
    return int(took_ms * 1000 + 0.5) / 1000


_PLAIN = ("key", "model", "outcome", "http_status", "cost_nanousd", "duration_ms")
_IN, _OUT = ("input_tokens", "cache_read_tokens"), ("output_tokens", "reasoning_tokens")


def _plain(columns: Mapping[str, Sequence[Any]]) -> str:
    lines = []
    tokens_in, tokens_out = (zip(*[columns[name] for name in names], strict=True) for names in (_IN, _OUT))
    said = zip(*[columns[name] for name in _PLAIN], tokens_in, tokens_out, strict=True)
    for key, model, outcome, http_status, cost, duration_ms, count_in, count_out in said:
        tokens = f"{sum(count_in)} in, {sum(count_out)} out"
        price = "unpriced" if cost is None else f"${usd_text(cost)}"
        took = f"{(duration_ms or 0) / 1000:.2f} s"
        lines.append(f"{key} {model} {outcome} {http_status or ''} {tokens}, {price}, {took}\n")
    return "".join(lines)
