"""`taximeter keys`: virtual keys made, listed and revoked. Straight on the database, with or without a server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from proxy.cli.options import ConfigOption, config_of, ledger_of, new_app
from proxy.cli.output import FormatOption, fail, show
from proxy.ledger import keys as ledger_keys
from proxy.times import instant

app = new_app(help="Virtual keys: made, listed, revoked; effective everywhere within a second.")


@app.command("create")
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
            ledger_of(settings, make=config is not None),
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


@app.command("list")
def list_keys(config: ConfigOption = None, form: FormatOption = "table") -> None:
    """The keys of the configuration and those made at run time; never a secret."""
    settings = config_of(config)
    rows: list[dict[str, Any]] = [
        {"id": "(configuration)", "name": key.name, "team": key.team, "user": key.user, "customer": key.customer}
        for key in settings.keys
    ]
    rows += [
        {name: row[name] for name in ("id", "name", "team", "user", "customer", "expires", "created_at")}
        for row in ledger_keys.list_keys(ledger_of(settings))
    ]
    show(rows, form, ("id", "name", "team", "user", "customer", "expires", "created_at"))


@app.command("revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="Its id, or its name.")], config: ConfigOption = None) -> None:
    """Revoke a key for good."""
    if not ledger_keys.revoke_key(ledger_of(config_of(config)), key):
        raise fail(f"there is no key {key!r} that was made at run time")
    print(f"{key} is revoked")
