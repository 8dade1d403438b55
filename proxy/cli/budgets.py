"""`taximeter budgets`: where each budget stands, and raising one for a while. Straight on the database."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from proxy.budgets.budget import compile_budgets
from proxy.cli.options import ConfigOption, config_of, new_app
from proxy.cli.output import FormatOption, fail, show
from proxy.ledger import raises
from proxy.ledger.counters import budget_seeds
from proxy.ledger.database import open_ledger
from proxy.money import usd_text
from proxy.times import BadQuestion, moment, now_s, rfc3339

app = new_app(help="Where each budget stands, and raising one for a while.")


@app.command("list")
def list_budgets(config: ConfigOption = None, form: FormatOption = "table") -> None:
    """Each budget and its groups: limit and what the ledger has settled in the current window."""
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


@app.command("raise")
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
