"""What the commands below `taximeter report` share: their options, and how a question that makes no sense ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from proxy.cli.output import fail
from proxy.times import BadQuestion

SinceOption = Annotated[str | None, typer.Option("--since", help="7d, 12h, or a time (RFC 3339).")]
UntilOption = Annotated[str | None, typer.Option("--until", help="The end, not included.")]
ZoneOption = Annotated[str, typer.Option("--timezone", "--tz", help="Whose months and days, such as Europe/Berlin.")]


@contextlib.contextmanager
def asked(form: str) -> Iterator[None]:
    """Says what is wrong with a question, and ends with 2. form: how the answer is wanted."""
    if form not in ("table", "csv", "json"):
        raise fail("--format must be table, csv or json", 2)
    try:
        yield
    except BadQuestion as problem:
        raise fail(str(problem), 2) from None


def names_of(by: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(name.strip() for name in by.split(",") if name.strip())
