"""What the commands below `taximeter report` share: their options, and how a question that makes no sense ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import fail
from proxy.times import BadQuestion

if TYPE_CHECKING:
    from proxy.cli.remote import Server

SinceOption = Annotated[str | None, typer.Option("--since", help="7d, 12h, or a time (RFC 3339).")]
UntilOption = Annotated[str | None, typer.Option("--until", help="The end, not included.")]
ZoneOption = Annotated[str, typer.Option("--timezone", "--tz", help="Whose months and days, such as Europe/Berlin.")]


@contextlib.contextmanager
def exit_on_problem(form: str) -> Iterator[None]:
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


def answer_of(server: Server, report: str, form: str, here: dict[str, Any], **question: Any) -> None:
    """A report as the server has it. here: options that need the server's own machine; they may not be given."""
    if option := next((name for name, value in here.items() if value), None):
        raise fail(f"{option} works beside the server, not through --server", 2)
    if form == "json":
        print(json.dumps(server.get(f"/api/reports/{report}", **question, format="json"), indent=2, ensure_ascii=False))
    else:
        print(server.text(f"/api/reports/{report}", **question, format=form), end="")
