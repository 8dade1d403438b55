"""Commands that ask the ledger: `keys`, `spend`, `budgets`. They work straight on the database, with or without a server."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from proxy.cli.options import ConfigOption, config_of
from proxy.ledger import keys as ledger_keys
from proxy.ledger.counters import budget_seeds
from proxy.ledger.database import open_ledger
from proxy.money import usd_text
from proxy.reports import spend as spending
from proxy.reports.shapes import spend_shown
from proxy.times import BadQuestion, instant, moment, now_s, rfc3339

keys = typer.Typer(
    no_args_is_help=True, help="Virtual keys: made, listed, revoked; effective everywhere within a second."
)
budgets = typer.Typer(no_args_is_help=True, help="Where each budget stands.")

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full-width
FormatOption = Annotated[str, typer.Option("--format", help="table, csv or json.")]


def fail(message: str, code: int = 1) -> typer.Exit:
    print(f"error: {message}", file=sys.stderr)
    return typer.Exit(code)


@keys.command("create")
def create_key(
    name: str,
    team: Annotated[str | None, typer.Option()] = None,
    user: Annotated[str | None, typer.Option()] = None,
    customer: Annotated[str | None, typer.Option()] = None,
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, as often as needed.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may use (or prefix-*); default: all.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it stops working (RFC 3339; without an offset: UTC).")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and show it, this once."""
    pairs = [item.partition("=") for item in label or ()]
    if any(not equals or not left for left, equals, _ in pairs):
        raise fail("--label takes NAME=VALUE", 2)
    settings = config_of(config)
    if any(key.name == name for key in settings.keys):
        raise fail(f"the configuration has a key named {name!r} already")
    try:
        _, secret = ledger_keys.create_key(
            open_ledger(settings.ledger),
            name,
            team=team,
            user=user,
            customer=customer,
            labels={left: right for left, _, right in pairs},
            models=model,
            expires=None if expires is None else instant(expires),
        )
    except ValueError as problem:
        raise fail(f"--expires: {problem}", 2) from None
    except ledger_keys.KeyProblem as problem:
        raise fail(str(problem)) from None
    print(secret)


@keys.command("list")
def list_keys(config: ConfigOption = None, form: FormatOption = "table") -> None:
    """The keys of the configuration and those made at run time; never a secret."""
    settings = config_of(config)
    rows: list[dict[str, Any]] = [
        {"id": "(configuration)", "name": key.name, "team": key.team, "user": key.user, "customer": key.customer}
        for key in settings.keys
    ]
    rows += [
        {name: row[name] for name in ("id", "name", "team", "user", "customer", "expires", "created_at")}
        for row in ledger_keys.list_keys(open_ledger(settings.ledger))
    ]
    show(rows, form, ("id", "name", "team", "user", "customer", "expires", "created_at"))


@keys.command("revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="Its id, or its name.")], config: ConfigOption = None) -> None:
    """Revoke a key for good."""
    if not ledger_keys.revoke_key(open_ledger(config_of(config).ledger), key):
        raise fail(f"there is no key {key!r} that was made at run time")
    print(f"{key} is revoked")


def spend(
    by: Annotated[
        str,
        typer.Option(help="team, model, key, user, customer, provider, upstream, session, agent, label.X, day, hour."),
    ] = "",
    since: Annotated[str | None, typer.Option(help="7d, 12h, or a time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="The end, not included.")] = None,
    config: ConfigOption = None,
    form: FormatOption = "table",
) -> None:
    """What was spent, by whatever you ask for."""
    names = [name for name in by.split(",") if name]
    now = now_s()
    engine = open_ledger(config_of(config).ledger)
    try:
        found = spending.spend(
            engine,
            names,
            moment(since, now) if since else None,
            moment(until, now) if until else None,
        )
    except BadQuestion as problem:
        raise fail(str(problem), 2) from None
    rows = [spend_shown(row).model_dump() for row in found]
    if form != "json":
        rows = [row | {"usage": _usage_text(row["usage"])} for row in rows]
    show(rows, form, (*names, "requests", "usage", "cost_usd", "unpriced_requests"))
    deleted_before = spending.entries_since(engine)
    if deleted_before is not None:
        told = "of the time before, whole hours are known (of users and customers whole days), and no labels"
        print(f"Entries before {rfc3339(deleted_before)} are deleted; {told}.", file=sys.stderr)


def _usage_text(usage: Mapping[str, Any]) -> str:
    return " ".join(f"{unit}={quantity}" for unit, quantity in usage.items())


@budgets.command("list")
def list_budgets(config: ConfigOption = None, form: FormatOption = "table") -> None:
    """Each budget and its groups: limit and what the ledger has settled in the current window."""
    from proxy.budgets.budget import compile_budgets
    from proxy.ledger import raises

    settings = config_of(config)
    now = now_s()
    ledger = open_ledger(settings.ledger)
    compiled = compile_budgets(settings.budgets, raises.as_raises(raises.in_force(ledger, now)))
    seeds = budget_seeds(ledger, compiled, now)
    rows = []
    for budget in compiled:
        _, end = budget.window_now(now)
        text = usd_text if budget.measure == "usd" else str
        found = [seed for seed in seeds if seed["budget"] == budget.name]
        groups = [(seed["group"], seed["spent"]) for seed in found] or ([] if budget.per else [("", 0)])
        for group, spent in groups:
            rows.append(
                {
                    "budget": budget.name,
                    "group": group,
                    "measure": budget.measure,
                    "limit": text(budget.limit_for(group, now)),
                    "spent": text(spent),
                    "resets_at": rfc3339(end * 1_000_000) if end else None,
                }
            )
    show(rows, form, ("budget", "group", "measure", "limit", "spent", "resets_at"))


@budgets.command("raise")
def raise_budget(
    name: str,
    by: Annotated[str, typer.Option(help="How much more: USD, or what the budget counts.")],
    group: Annotated[str | None, typer.Option(help="Only for this group of a `per` budget.")] = None,
    until: Annotated[
        str | None, typer.Option(help="When it ends (RFC 3339); default: with the window, of `total` never.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Raise a budget for a while; effective at once, in the middle of a session too."""
    from proxy.budgets.budget import compile_budgets
    from proxy.ledger import raises

    settings, now = config_of(config), now_s()
    try:
        until_s = moment(until, now) / 1e6 if until else None
        row = raises.make_raise(
            open_ledger(settings.ledger), compile_budgets(settings.budgets), name,
            by=Decimal(by), group=group, until_s=until_s, now_s=now,
        )  # fmt: skip
    except KeyError:
        raise fail(f"there is no budget {name!r}") from None
    except InvalidOperation:
        raise fail(f"--by {by!r} is no amount", 2) from None
    except (raises.RaiseProblem, BadQuestion) as problem:
        raise fail(str(problem), 2) from None
    end = "for good" if row["until_at"] is None else f"until {rfc3339(row['until_at'])}"
    print(f"{name} is raised {end}")


def show(rows: Sequence[Mapping[str, Any]], form: str, columns: Sequence[str]) -> None:
    """Rows as a table for people, CSV for spreadsheets, or JSON for programs."""
    if form == "json":
        print(json.dumps(list(rows), indent=2))
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, columns, restval="")
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    elif form == "table":
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*["" if row.get(name) is None else str(row[name]) for name in columns])
        Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)
    else:
        raise fail("--format must be table, csv or json", 2)


def _harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: names come from clients."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        Decimal(value)
    except InvalidOperation:
        return f"'{value}"
    return value


def register(app: typer.Typer) -> None:
    """Put the commands where `taximeter` has them."""
    app.add_typer(keys, name="keys")
    app.add_typer(budgets, name="budgets")
    app.command("spend")(spend)
