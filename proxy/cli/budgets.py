"""`taximeter budgets`: where each budget stands, and raising one for a while. From the database, or through a server's API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.engine import Engine

from proxy.budgets.budget import Budget, compile_budgets
from proxy.budgets.key_limits import key_budgets
from proxy.cli import remote_budgets
from proxy.cli.options import ConfigOption, ServerOption, config_of, ledger_of, new_app, server_of
from proxy.cli.output import FormatOption, fail, show
from proxy.config.model import Config
from proxy.config.wording import meant
from proxy.ledger.planes import keys as ledger_keys
from proxy.ledger.planes import raises
from proxy.ledger.planes.counters import budget_seeds
from proxy.ledger.planes.snapshot import as_raises
from proxy.money import usd_text
from proxy.times import BadQuestion, moment_ahead, now_s, rfc3339

app = new_app(help="Where each budget stands, and raising one for a while.")

_MOST_REASON_CHARS = 300
_NO_RAISE = "No raise is in force; `taximeter budgets raise` makes one."
_COLUMNS = ("budget", "group", "measure", "spent", "limit", "percent", "resets_at")


def _opened(config: Path | None, now: float) -> tuple[Config, Engine, tuple[Budget, ...]]:
    """The configuration, its ledger, and its budgets with what they are raised by."""
    settings = config_of(config)
    ledger = ledger_of(settings)
    raised = as_raises(raises.in_force(ledger, now))
    return settings, ledger, compile_budgets(settings.budgets, raised) + key_budgets(ledger_keys.limits(ledger), raised)


def _text(amount: int, measure: str) -> str:
    return usd_text(amount) if measure == "usd" else str(amount)


@app.command("list")
def list_budgets(
    budget: Annotated[str | None, typer.Argument(help="Only this budget.", show_default=False)] = None,
    *,
    group: Annotated[str | None, typer.Option(help="Only this group of a `per` budget.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows, the fullest first.")] = 20,
    every: Annotated[bool, typer.Option("--all", help="Every row, however many there are.")] = False,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """Where each budget and group stands: what is settled in the current window, the fullest first; with --server also what
    calls in flight have reserved."""
    remote = server_of(server)
    standing = remote_budgets.standing(remote, budget) if remote else _standing_here(config, budget)
    rows = [row for row in standing if group is None or row["group"] == group]
    rows.sort(key=lambda row: (-row["percent"], row["budget"], row["group"]))
    shown = rows if every else rows[:limit]
    columns = _COLUMNS if remote is None else (*_COLUMNS[:4], "reserved", *_COLUMNS[4:])
    what = "There is no budget with a call in it yet" if budget is None else f"No call has counted in {budget} yet"
    where = f", or none in the group {group}" if group is not None else ""
    show(shown, form, columns, f"{what}{where}. Budgets stand under `budgets` in the configuration.")
    if len(shown) < len(rows):
        typer.echo(f"and {len(rows) - len(shown):,} more; --all shows them, --group one of them", err=True)


def _standing_here(config: Path | None, budget: str | None) -> Iterator[dict[str, Any]]:
    now = now_s()
    _, ledger, compiled = _opened(config, now)
    wanted = tuple(row for row in compiled if budget in (None, row.name))
    if budget is not None and not wanted:
        raise _no_budget(budget, compiled)
    return _standing(ledger, wanted, now)


def _no_budget(name: str, budgets: Sequence[Budget]) -> typer.Exit:
    return fail(f"there is no budget {name!r}{meant(name, [budget.name for budget in budgets])}")


def _standing(ledger: Engine, budgets: Sequence[Budget], now: float) -> Iterator[dict[str, Any]]:
    seeds = budget_seeds(ledger, budgets, now)
    for budget in budgets:
        _, end = budget.window_now(now)
        groups = [(seed["group"], seed["spent"]) for seed in seeds if seed["budget"] == budget.name]
        for group, spent in groups or ([] if budget.per else [("", 0)]):
            limit = budget.limit_for(group, now)
            yield {
                "budget": budget.name,
                "group": group,
                "measure": budget.measure,
                "spent": _text(spent, budget.measure),
                "limit": _text(limit, budget.measure),
                "percent": round(100 * spent / limit, 1) if limit else 100.0,
                "resets_at": rfc3339(end * 1_000_000) if end else None,
            }


@app.command("raise")
def raise_budget(
    name: str,
    *,
    by: Annotated[str, typer.Option(help="How much more: USD, or what the budget counts.")],
    group: Annotated[str | None, typer.Option(help="Only for this group of a `per` budget.")] = None,
    all_groups: Annotated[bool, typer.Option("--all-groups", help="For each group of a `per` budget.")] = False,
    new_group: Annotated[
        bool, typer.Option("--new-group", help="Though no call was counted in the group yet.")
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(help="When it ends: 2h (from now), or RFC 3339; default: with the window, of `total` never."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the raise, at most 300 characters.")] = None,
    config: ConfigOption = None,
    server: ServerOption = None,
) -> None:
    """Raise a budget for a while; effective at once, in the middle of a session too."""
    if reason is not None and len(reason) > _MOST_REASON_CHARS:
        raise fail(f"--reason is longer than {_MOST_REASON_CHARS} characters", 2)
    now = now_s()
    if group is not None and all_groups:
        raise fail("--group and --all-groups exclude each other", 2)
    remote = server_of(server)
    if remote is not None:
        _whose(name, remote_budgets.about(remote, name)["per"], group, all_groups)
        end_at = _ahead(until, now)
        fields = {"by_usd": _amount(by, "--by"), "group": group, "new_group": new_group or None, "reason": reason}
        print(remote_budgets.raised(remote, name, **fields, until=rfc3339(end_at)))
        return
    settings, ledger, compiled = _opened(config, now)
    budget = next((row for row in compiled if row.name == name), None)
    if budget is None:
        raise _no_budget(name, compiled)
    _whose(name, budget.per, group, all_groups)
    named = None if new_group else raises.named_groups(budget, _keys(settings, ledger))
    until_s = None if (end_at := _ahead(until, now)) is None else end_at / 1e6
    wanted = raises.RaiseRequest(name, Decimal(_amount(by, "--by")), group, until_s, reason)
    try:
        row = raises.make_raise(ledger, compiled, wanted, now_s=now, named=named)
    except raises.UnknownGroupError as problem:
        raise fail(f"{problem}; --new-group raises it all the same", 2) from None
    except raises.RaiseProblem as problem:
        raise fail(str(problem), 2) from None
    before = budget.limit_for(group or "", now)
    print(f"{_said(budget, row, before, before + row['by_amount'])}. To end it: taximeter budgets end {row['id']}")


def _whose(name: str, per: Sequence[str], group: str | None, all_groups: bool) -> None:
    """A typo must not raise everybody: whose limit it is has to be said."""
    if per and group is None and not all_groups:
        raise fail(
            f"{name} has a limit for each {', '.join(per)}: name one with --group, or raise all with --all-groups", 2
        )


def _amount(text: str, option: str) -> str:
    try:
        return str(Decimal(text))
    except InvalidOperation:
        raise fail(f"{option} {text!r} is not a number, such as 0.50", 2) from None


def _ahead(until: str | None, now: float) -> int | None:
    try:
        return moment_ahead(until, now) if until else None
    except BadQuestion as problem:
        raise fail(str(problem), 2) from None


def _keys(settings: Config, ledger: Engine) -> list[Mapping[str, Any]]:
    configured = [key.owner() for key in settings.keys]
    return [*configured, *ledger_keys.list_keys(ledger)]


def _said(budget: Budget, row: Mapping[str, Any], before: int, after: int) -> str:
    """`company is raised by 5 USD, from 10 to 15, until …`"""
    whom = row["group"] or ("each of its groups" if budget.per else "")
    end = "for good" if row["until_at"] is None else f"until {rfc3339(row['until_at'])}"
    amounts = [_text(amount, budget.measure) for amount in (row["by_amount"], before, after)]
    unit = "USD" if budget.measure == "usd" else budget.measure
    what = f"{budget.name} of {whom}" if whom else budget.name
    return f"{what} is raised by {amounts[0]} {unit}, from {amounts[1]} to {amounts[2]}, {end}"


@app.command("raises")
def list_raises(
    budget: Annotated[str | None, typer.Argument(help="Only of this budget.", show_default=False)] = None,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """The raises in force, with the id that ends or lowers each."""
    columns = ("id", "budget", "group", "by", "until", "created_at", "reason")
    if (remote := server_of(server)) is not None:
        there = remote_budgets.raises(remote, budget)
        if budget is not None and not there:
            remote_budgets.about(remote, budget)
        show(there, form, columns, _NO_RAISE)
        return
    now = now_s()
    _, ledger, compiled = _opened(config, now)
    measures = {row.name: row.measure for row in compiled}
    per = {row.name for row in compiled if row.per}
    rows = [
        {
            "id": row["id"],
            "budget": row["budget"],
            "group": "(each)" if row["group"] is None and row["budget"] in per else row["group"],
            "by": _text(row["by_amount"], measures.get(row["budget"], "usd")),
            "until": rfc3339(row["until_at"]) or "for good",
            "created_at": rfc3339(row["created_at"]),
            "reason": row["reason"],
        }
        for row in raises.in_force(ledger, now)
        if budget in (None, row["budget"])
    ]
    if budget is not None and not rows and budget not in measures:
        raise _no_budget(budget, compiled)
    show(rows, form, columns, _NO_RAISE)


@app.command("lower")
def lower(
    raise_id: Annotated[str, typer.Argument(metavar="ID", help="As `budgets raises` has it.")],
    to: Annotated[str, typer.Option(help="How much it raises by from now on.")],
    config: ConfigOption = None,
    server: ServerOption = None,
) -> None:
    """Lower a raise that is in force: the same group, the same end, a smaller amount."""
    if (remote := server_of(server)) is not None:
        print(remote_budgets.lowered(remote, raise_id, _amount(to, "--to")))
        return
    now = now_s()
    _, ledger, compiled = _opened(config, now)
    try:
        row = raises.lower_raise(ledger, compiled, raise_id, to=Decimal(_amount(to, "--to")), now_s=now)
    except KeyError:
        raise fail("its budget is no longer configured; `budgets end` ends it") from None
    except raises.RaiseProblem as problem:
        raise fail(str(problem), 2) from None
    if row is None:
        raise fail(f"there is no raise {raise_id!r} in force; `taximeter budgets raises` lists them")
    _, _, after = _opened(config, now)
    budgets = [next(budget for budget in some if budget.name == row["budget"]) for some in (compiled, after)]
    print(_said(budgets[1], row, *[budget.limit_for(row["group"] or "", now) for budget in budgets]))


@app.command("end")
def end(
    raise_id: Annotated[str, typer.Argument(metavar="ID", help="As `budgets raises` has it.")],
    config: ConfigOption = None,
    server: ServerOption = None,
) -> None:
    """End a raise that is in force; it stays on record."""
    if (remote := server_of(server)) is not None:
        print(remote_budgets.ended(remote, raise_id))
        return
    now = now_s()
    _, ledger, compiled = _opened(config, now)
    row = raises.end_raise(ledger, raise_id, now)
    if row is None:
        raise fail(f"there is no raise {raise_id!r} in force; `taximeter budgets raises` lists them")
    budget = next((some for some in compiled if some.name == row["budget"]), None)
    if budget is None:
        print(f"the raise of {row['budget']}, which is no longer configured, is ended")
        return
    group = row["group"] or ""
    before = budget.limit_for(group, now)
    amounts = _text(before, budget.measure), _text(before - row["by_amount"], budget.measure)
    print(
        f"{budget.name}{f' of {group}' if group else ''}: the raise is ended, its limit is {amounts[1]}, no longer {amounts[0]}"
    )
