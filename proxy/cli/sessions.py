"""`taximeter sessions`: what agent runs cost, and one of them as a tree. From the database, or through a server's API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, fail, show
from proxy.cli.remote import named
from proxy.reports.known_cost import known_cost

app = new_app(help="Agent sessions: the dearest, and the call tree of one.")

_TOP = ("session", "team", "requests", "tokens", "cost_usd", "duration", "started_at", "unpriced_requests")
_SHOW = (
    "depth", "kind", "name", "model", "requests", "tokens", "cost_usd", "own_cost_usd", "duration", "started_at",
    "unpriced_requests",
)  # fmt: skip


@app.command("top")
def top(
    *,
    order: Annotated[Literal["latest", "cost"], typer.Option("--by", help="The dearest or the latest first.")] = "cost",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 20,
    team: Annotated[str | None, typer.Option(help="Only this team's.")] = None,
    since: Annotated[str | None, typer.Option(help="7d, 12h, or a time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="The end, not included.")] = None,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """The sessions with a call in the span, the dearest first; a tree of sessions counts as one."""
    remote = server_of(server)
    question = {"order": order, "team": team, "since": since, "until": until}
    if remote is not None:
        rows = list(remote.items("/api/sessions", limit, **question))
    else:
        rows = _read_top(config_of(config), limit, **question)
    if form != "json":
        rows = [
            row
            | {"tokens": sum(row["usage"].values()), "duration": _duration(row["duration_s"])}
            | {"cost_usd": known_cost(row["cost_usd"], row["requests"], row["unpriced_requests"])}
            for row in rows
        ]
        rows = [{name: row[name] for name in _TOP} for row in rows]
    unpriced = form != "table" or any(row["unpriced_requests"] for row in rows)
    show(rows, form, _TOP if unpriced else _TOP[:-1], "There is no session with a call in this time.")


def _read_top(
    settings: Any, limit: int, *, order: Any, team: str | None, since: str | None, until: str | None
) -> list[Any]:
    from proxy.reports.sessions import sessions
    from proxy.reports.shapes import session_shown
    from proxy.times import BadQuestion, moment, now_s

    now = now_s()
    try:
        first, end = [moment(text, now) if text else None for text in (since, until)]
        with opened(settings) as engine:
            rows = sessions(engine, limit=limit, order=order, since=first, until=end, team=team)
    except BadQuestion as problem:
        raise fail(str(problem), 2) from None
    return [session_shown(row).model_dump() for row in rows]


@app.command("show")
def show_one(
    session_id: Annotated[str, typer.Argument(help="As the response header x-taximeter-session-id has it.")],
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """One session as a tree of agents and calls; each line with the cost of all that is below it."""
    remote = server_of(server)
    tree = remote.get(f"/api/sessions/{named(session_id)}") if remote else _read_tree(config_of(config), session_id)
    if form == "json":
        print(json.dumps(tree, indent=2))
    elif form == "table":
        _print_tree(tree)
    else:
        show(list(_lines(tree)), form, _SHOW)


def _read_tree(settings: Any, session_id: str) -> dict[str, Any]:
    from proxy.reports.one_session import session
    from proxy.reports.shapes import tree_shown

    with opened(settings) as engine:
        tree = session(engine, session_id)
    if tree is None:
        raise fail(f"there is no session {session_id!r}")
    return tree_shown(*tree).model_dump()


def _lines(tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The tree as rows: each node, then its own calls, one deeper, then what is below it."""
    stack = [(0, tree)]
    while stack:
        depth, node = stack.pop()
        stack += [(depth + 1, child) for child in reversed(node["children"])]
        own_unpriced = sum(call["cost_usd"] is None and call["status"] != "running" for call in node["calls"])
        yield {
            "depth": depth,
            "kind": "agent" if node["agent"] else "session",
            "name": node["agent"] or node["session"],
            "requests": node["requests"],
            "tokens": sum(node["usage"].values()),
            "cost_usd": known_cost(node["cost_usd"], node["requests"], node["unpriced_requests"]),
            "own_cost_usd": known_cost(node["own_cost_usd"], node["own_requests"], own_unpriced),
            "unpriced_requests": node["unpriced_requests"],
            "duration": _duration(node["duration_s"]),
            "started_at": node["started_at"],
        }
        for call in node["calls"]:
            yield _call_line(depth + 1, call)


def _call_line(depth: int, call: Mapping[str, Any]) -> dict[str, Any]:
    cost = call["cost_usd"]
    began, ended = (datetime.fromisoformat(call[name]) for name in ("started_at", "ended_at"))
    return {
        "depth": depth,
        "kind": "call" if call["kind"] == "attempt" else call["kind"],
        "name": call["id"],
        "model": call["model"],
        "requests": int(call["kind"] == "attempt" and call["status"] not in ("void", "running")),
        "tokens": sum(quantity for quantity in call["usage"].values() if isinstance(quantity, int)),
        "cost_usd": "running" if call["status"] == "running" else cost,
        "own_cost_usd": cost,
        "unpriced_requests": int(cost is None and call["status"] != "running"),
        "duration": _duration((ended - began).total_seconds()),
        "started_at": call["started_at"],
    }


def _print_tree(tree: Mapping[str, Any]) -> None:
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
        text = f"{name}  {_cost(line)}{calls}  {line['tokens']} tokens  {line['duration']}"
        branch = branches[depth - 1].add(text) if depth else Tree(text)
        branches[depth:] = [branch]
    whose = "  ".join(f"{name} {tree[name]}" for name in ("team", "key", "client") if tree[name])
    console = Console(width=None, highlight=False, markup=False, soft_wrap=True)
    console.print(f"started {tree['started_at']}  {whose}".rstrip())
    console.print(branches[0])


def _cost(line: Mapping[str, Any]) -> str:
    """`$1.25`, `$1.25 (2 unpriced)`, `unpriced`, `running`."""
    cost, unpriced = line["cost_usd"], line["unpriced_requests"]
    if cost is None or cost == "running":
        return cost or "unpriced"
    return f"${cost} ({unpriced} unpriced)" if unpriced else f"${cost}"


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
