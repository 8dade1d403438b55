"""`taximeter verify`: the ledger's own audit. It reads the database itself, with or without a server, and asks a server that
runs where its budgets stand."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from proxy.cli.options import ConfigOption, config_of, ledger_of, new_app
from proxy.config.model import Config
from proxy.config.server import Server
from proxy.times import moment, not_before, now_s, rfc3339

if TYPE_CHECKING:
    from proxy.budgets.budget import Budget

_TRIES = 10
_CATCH_UP_S = 1.0  # the recorder ships what is settled well within it

app = new_app()

Counters = dict[tuple[str, str], int]  # by budget and group


@app.command("verify")
def verify(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Audit the ledger: entries, totals, counters, spool, and the budgets of a server that runs. Exit 1 and the first
    difference, if there is one."""
    from sqlalchemy.exc import SQLAlchemyError

    settings = config_of(config)
    try:
        result = _audit(settings)
    except SQLAlchemyError as error:
        print(f"error: the ledger database does not answer ({type(error).__name__})", file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        _tell(result)
    raise typer.Exit(0 if result["ok"] else 1)


def _audit(settings: Config) -> dict[str, Any]:
    from proxy.ledger.audit.verify import verify as audit

    ledger_of(settings).dispose()  # what is verified has the schema of this version
    with tempfile.TemporaryDirectory(prefix="taximeter-verify-") as scratch:
        spool = Path(settings.data_dir) / "spool"
        report = audit(settings.ledger, Path(scratch), spool, progress=_progress if sys.stderr.isatty() else None)
    first: tuple[str, str] | None = report.difference
    store = "not asked: the ledger differs in itself"
    if first is None:
        store, first = _compare_store(settings)
    return {
        "ok": first is None,
        "first_difference": None if first is None else {"where": first[0], "what": first[1]},
        "counted": report.counted,
        "entries_since": rfc3339(report.entries_since_at),
        "store": store,
    }


def _progress(done: int, whole: int) -> None:
    print(f"\r{done:,} of {whole:,} entries", end="" if done < whole else "\n", file=sys.stderr, flush=True)


def _tell(result: Mapping[str, Any]) -> None:
    if not result["ok"]:
        first = result["first_difference"]
        print(f"DIFFERENCE: {first['where']}: {first['what']}")
        return
    counted = ", ".join(f"{number:,} {name}" for name, number in result["counted"].items())
    print(f"The ledger adds up: {counted}.")
    if result["entries_since"]:
        print(f"Entries before {result['entries_since']} are deleted; their totals are compared with each other only.")
    print(f"Budget store: {result['store']}.")


# The store of a server that runs


def _compare_store(settings: Config) -> tuple[str, tuple[str, str] | None]:
    """What to say of it, and the first difference: for a while, as calls that just ended are on their way to the ledger."""
    if not settings.budgets and not _ledger_budgets(settings):
        return "there are no budgets", None
    difference = None
    for _ in range(_TRIES):
        before = _ledger_counters(settings)
        try:
            counters = _store_counters(settings.server)
        except urllib.error.HTTPError as error:
            return f"not asked: the server answered {error.code}", None
        except (OSError, ValueError):
            return "not asked: no server answers", None
        if counters == before:
            return f"its {len(counters)} counters are the ledger's", None
        time.sleep(_CATCH_UP_S)
        difference = _outside(before, counters, _ledger_counters(settings))
        if difference is None:
            return f"its {len(counters)} counters are the ledger's, with calls in flight", None
    return "differs", difference


def _outside(before: Counters, store: Counters, after: Counters) -> tuple[str, str] | None:
    """A counter of the store that the ledger neither had, nor has now, nor passed in between."""
    for key in sorted(before.keys() | store.keys() | after.keys()):
        least, most = sorted((before.get(key, 0), after.get(key, 0)))
        if not least <= store.get(key, 0) <= most:
            name, group = key
            where = f"budget {name}" + (f" group {group}" if group else "")
            return where, f"the store has {store.get(key, 0)}, the ledger {after.get(key, 0)}"
    return None


def _ledger_budgets(settings: Config) -> tuple[Budget, ...]:
    """The configuration's, and those that keys were made with."""
    from proxy.budgets.budget import compile_budgets
    from proxy.budgets.key_limits import key_budgets
    from proxy.ledger import keys
    from proxy.ledger.database import connect

    engine = connect(settings.ledger)
    limits = keys.limits(engine)
    engine.dispose()
    return compile_budgets(settings.budgets) + key_budgets(limits)


def _ledger_counters(settings: Config) -> Counters:
    from proxy.ledger.counters import budget_seeds
    from proxy.ledger.database import connect

    budgets = _ledger_budgets(settings)
    engine = connect(settings.ledger)
    seeds = budget_seeds(engine, budgets, now_s())
    engine.dispose()
    return {(seed["budget"], seed["group"]): seed["spent"] for seed in seeds if seed["spent"]}


def _store_counters(server: Server) -> Counters:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.admin_host, server.admin_host)  # noqa: S104 - to be asked, not bound
    url = f"http://{f'[{host}]' if ':' in host else host}:{server.admin_port}/api/budgets"
    headers = {"authorization": f"Bearer {server.admin_key}"} if server.admin_key else {}
    items: list[Mapping[str, Any]] = []
    following: str | None = ""
    while following is not None:
        place = f"?{urlencode({'next': following})}" if following else ""
        request = urllib.request.Request(url + place, headers=headers)  # noqa: S310 - our own configured address
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            page = json.load(answer)
        items += page["items"]
        following = page.get("next")
    counters: Counters = {}
    for item in items:
        if start := item["window"]["start"]:  # its clock may have been ahead of ours: what is over there is over here
            not_before(moment(start, 0) * 1000)
        for group in item["groups"]:
            amount = _amount(group)
            if amount:
                counters[item["name"], group["group"]] = counters.get((item["name"], group["group"]), 0) + amount
    return counters


def _amount(group: Mapping[str, Any]) -> int:
    if "spent_usd" in group:
        return int(Decimal(group["spent_usd"]).scaleb(9))
    return int(group["spent_tokens"] if "spent_tokens" in group else group["spent_requests"])
