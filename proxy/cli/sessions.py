"""`taximeter sessions`: what agent runs cost, and one of them as a tree. Straight on the database, with or without a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.engine import Engine

from proxy.cli.options import ConfigOption, config_of, ledger_of, new_app
from proxy.cli.output import FormatOption, fail, show
from proxy.money import usd_text
from proxy.reports import sessions as session_queries
from proxy.reports.session_tree import Node
from proxy.reports.shapes import duration_s, session_shown, tree_shown
from proxy.times import BadQuestion, moment, now_s, rfc3339

app = new_app(help="Agent sessions: the dearest, and the call tree of one.")

_TOP = ("session", "team", "requests", "tokens", "cost_usd", "duration", "started_at")
_SHOW = ("depth", "kind", "name", "model", "requests", "tokens", "cost_usd", "own_cost_usd", "duration", "started_at")


@app.command("top")
def top(
    order: Annotated[session_queries.Order, typer.Option("--by")] = "cost",
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 20,
    team: Annotated[str | None, typer.Option()] = None,
    since: Annotated[str | None, typer.Option(help="7d, 12h, or a time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="The end, not included.")] = None,
    config: ConfigOption = None,
    form: FormatOption = "table",
) -> None:
    """The sessions with a call in the span, the dearest first; a tree of sessions counts as one."""
    now = now_s()
    try:
        with _ledger(config) as engine:
            rows = session_queries.sessions(
                engine,
                limit=limit,
                order=order,
                since=moment(since, now) if since else None,
                until=moment(until, now) if until else None,
                team=team,
            )
    except BadQuestion as problem:
        raise fail(str(problem), 2) from None
    shown = [session_shown(row).model_dump() for row in rows]
    if form != "json":
        shown = [
            one | {"tokens": sum(one["usage"].values()), "duration": _duration(one["duration_s"])} for one in shown
        ]
        shown = [{name: one[name] for name in _TOP} for one in shown]
    show(shown, form, _TOP)


@app.command("show")
def show_one(
    session_id: Annotated[str, typer.Argument(help="As the response header x-taximeter-session-id has it.")],
    config: ConfigOption = None,
    form: FormatOption = "table",
) -> None:
    """One session as a tree of agents and calls; each line with the cost of all that is below it."""
    with _ledger(config) as engine:
        session = session_queries.session(engine, session_id)
    if session is None:
        raise fail(f"there is no session {session_id!r}")
    about, tree = session
    if form == "json":
        print(tree_shown(about, tree).model_dump_json(indent=2))
    elif form == "table":
        _print_tree(about, tree)
    else:
        show(list(_lines(tree)), form, _SHOW)


@contextlib.contextmanager
def _ledger(config: Path | None) -> Iterator[Engine]:
    engine = ledger_of(config_of(config))
    try:
        yield engine
    finally:
        engine.dispose()


def _lines(tree: Node) -> Iterator[dict[str, Any]]:
    """The tree as rows: each node, then its own calls, one deeper, then what is below it."""
    for depth, node in tree.walk():
        yield {
            "depth": depth,
            "kind": "agent" if node.agent else "session",
            "name": node.agent or node.session,
            "requests": node.requests,
            "tokens": sum(node.usage.values()),
            "cost_usd": usd_text(node.cost_nanousd),
            "own_cost_usd": usd_text(node.own_cost_nanousd),
            "duration": _duration(duration_s(node)),
            "started_at": rfc3339(node.started_at),
        }
        for call in node.calls:
            yield _call_line(depth + 1, call)


def _call_line(depth: int, call: Mapping[str, Any]) -> dict[str, Any]:
    cost = call["cost_nanousd"]
    return {
        "depth": depth,
        "kind": "call" if call["kind"] == "attempt" else call["kind"],
        "name": call["id"],
        "model": call["model"],
        "requests": int(call["kind"] == "attempt" and call["status"] not in ("void", "running")),
        "tokens": sum(quantity for quantity in call["usage"].values() if isinstance(quantity, int)),
        "cost_usd": "running" if call["status"] == "running" else "unpriced" if cost is None else usd_text(cost),
        "own_cost_usd": "unpriced" if cost is None else usd_text(cost),
        "duration": _duration((call["ended_at"] - call["started_at"]) / 1e6),
        "started_at": rfc3339(call["started_at"]),
    }


def _print_tree(about: session_queries.SessionAbout, tree: Node) -> None:
    from rich.console import Console
    from rich.tree import Tree

    branches: list[Tree] = []
    for line in _lines(tree):
        depth, requests = line["depth"], line["requests"]
        calls = "" if line["kind"] in ("call", "correction") else f"  {requests} call{'' if requests == 1 else 's'}"
        name = (
            line["model"] or line["kind"]
            if line["kind"] in ("call", "correction")
            else f"{line['kind']} {line['name']}"
        )
        text = f"{name}  ${line['cost_usd']}{calls}  {line['tokens']} tokens  {line['duration']}"
        branch = branches[depth - 1].add(text) if depth else Tree(text)
        branches[depth:] = [branch]
    named = (("team", about.team), ("key", about.key), ("client", about.client))
    whose = "  ".join(f"{name} {value}" for name, value in named if value)
    console = Console(width=None, highlight=False, markup=False, soft_wrap=True)
    console.print(f"started {rfc3339(tree.started_at)}  {whose}".rstrip())
    console.print(branches[0])


def _duration(seconds: float | None) -> str:
    """`0.8s`, `42s`, `3m20s`, `1h05m`."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
