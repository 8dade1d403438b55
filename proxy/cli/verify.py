"""`taximeter verify`: the ledger's own audit. It reads the database itself, with or without a server, and asks a server that
runs where its budgets stand; or has a server elsewhere do all of it."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, ledger_of, new_app, server_of
from proxy.cli.output import fail
from proxy.config.model import Config
from proxy.config.server import Server
from proxy.times import moment, not_before

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from proxy.budgets.budget import Budget
    from proxy.cli.remote import Server as RemoteServer
    from proxy.ledger.audit.difference import Difference
    from proxy.ledger.audit.store import Counters

_ASK_EVERY_S = 0.5

app = new_app()


@app.command("verify")
def verify(
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Audit the ledger: entries, totals, counters, spool, and the budgets of a server that runs. Exit 1 and the first
    difference, if there is one."""
    remote = server_of(server)
    result = _audit(config_of(config)) if remote is None else _audited(remote)
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        _tell(result)
    raise typer.Exit(0 if result["ok"] else 1)


def _audit(settings: Config) -> dict[str, Any]:
    from sqlalchemy.exc import SQLAlchemyError

    from proxy.ledger.audit.verify import verify as audit

    ledger_of(settings).dispose()  # what is verified has the schema of this version
    try:
        with tempfile.TemporaryDirectory(prefix="taximeter-verify-") as scratch:
            spool = Path(settings.data_dir) / "spool"
            report = audit(settings.ledger, Path(scratch), spool, progress=_progress if sys.stderr.isatty() else None)
        return report.result(lambda: _compare_store(settings))
    except SQLAlchemyError as error:
        raise fail(f"the ledger database does not answer ({type(error).__name__})") from None


def _audited(server: RemoteServer) -> dict[str, Any]:
    """As the server itself finds it, waited for. Exits where it cannot."""
    audit = server.post("/api/verify")
    while audit["state"] == "running":
        time.sleep(_ASK_EVERY_S)
        audit = server.get("/api/verify")
        if sys.stderr.isatty() and audit["entries"]:
            _progress(audit["entries_done"], audit["entries"])
    if audit["result"] is None:
        raise fail(f"the server could not verify its ledger: {audit['error'] or 'it was started anew meanwhile'}")
    return dict(audit["result"])


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


def _compare_store(settings: Config) -> tuple[str, Difference | None]:
    """What to say of it, and the first difference."""
    from proxy.ledger.audit.store import compare_store, ledger_counters
    from proxy.ledger.database import connect

    engine = connect(settings.ledger)
    try:
        if not settings.budgets and not _ledger_budgets(settings, engine):
            return "there are no budgets", None
        return compare_store(
            lambda: ledger_counters(engine, _ledger_budgets(settings, engine)), lambda: _store_counters(settings.server)
        )
    finally:
        engine.dispose()


def _ledger_budgets(settings: Config, engine: Engine) -> tuple[Budget, ...]:
    """The configuration's, and those that keys were made with."""
    from proxy.budgets.budget import compile_budgets
    from proxy.budgets.key_limits import key_budgets
    from proxy.ledger.planes import keys

    return compile_budgets(settings.budgets) + key_budgets(keys.limits(engine))


def _store_counters(server: Server) -> Counters:
    from proxy.ledger.audit.store import StoreAway, counters_of

    try:
        items = list(_standing(server))
    except urllib.error.HTTPError as error:
        error.close()
        raise StoreAway(f"the server answered {error.code}") from None
    except (OSError, ValueError):
        raise StoreAway("no server answers") from None
    for item in items:
        if start := item["window"]["start"]:  # its clock may have been ahead of ours: what is over there is over here
            not_before(moment(start, 0) / 1e6)
    return counters_of(
        {"budget": item["name"], "group": group["group"], "spent": _amount(group)}
        for item in items
        for group in item["groups"]
    )


def _standing(server: Server) -> Iterator[Mapping[str, Any]]:
    """The budgets of all pages. Raises OSError or ValueError where there is no such answer."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.admin_host, server.admin_host)  # noqa: S104 - to be asked, not bound
    url = f"http://{f'[{host}]' if ':' in host else host}:{server.admin_port}/api/budgets"
    headers = {"authorization": f"Bearer {server.admin_key}"} if server.admin_key else {}
    following: str | None = ""
    while following is not None:
        place = f"?{urlencode({'next': following})}" if following else ""
        request = urllib.request.Request(url + place, headers=headers)  # noqa: S310 - our own configured address
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            page = json.load(answer)
        yield from page["items"]
        following = page.get("next")


def _amount(group: Mapping[str, Any]) -> int:
    if "spent_usd" in group:
        return int(Decimal(group["spent_usd"]).scaleb(9))
    return int(group["spent_tokens"] if "spent_tokens" in group else group["spent_requests"])
