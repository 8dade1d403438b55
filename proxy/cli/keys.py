"""`taximeter keys`: virtual keys made, listed, rotated and revoked. Straight on the database, or through a server's API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, ledger_of, new_app, server_of
from proxy.cli.output import FormatOption, fail, show
from proxy.cli.remote import named
from proxy.reports.known_cost import known_cost
from proxy.times import BadQuestion, instant, moment_ahead, now_s

app = new_app(help="Virtual keys: made, listed, rotated, revoked; effective everywhere within a second.")

_COLUMNS = (
    "id", "name", "team", "user", "customer", "labels", "models", "expires", "created_at", "last_used", "requests", "cost_usd",
    "budget_usd", "budget_window", "rpm", "tpm", "unpriced_requests",
)  # fmt: skip
_NO_KEY = "there is no key {!r} that was made at run time; one in the configuration changes there, in its row"
_KeyArgument = Annotated[str, typer.Argument(help="Its id, or its name.")]


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Its name in reports and budgets; unique.")],
    *,
    team: Annotated[str | None, typer.Option(help="The team that its calls belong to.")] = None,
    user: Annotated[str | None, typer.Option(help="The user that its calls belong to.")] = None,
    customer: Annotated[str | None, typer.Option(help="The customer that its calls belong to.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, as often as needed.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may use (or prefix-*); default: all.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it stops working (RFC 3339; without an offset: UTC).")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="USD", help="What it may spend; then its calls are 402.")
    ] = None,
    per: Annotated[
        str, typer.Option(help="In which window (UTC): minute, hour, day, week, month, or total for once.")
    ] = "total",
    rpm: Annotated[int | None, typer.Option(help="Its calls a minute.", min=1)] = None,
    tpm: Annotated[int | None, typer.Option(help="Its tokens a minute.", min=1)] = None,
    config: ConfigOption = None,
    server: ServerOption = None,
) -> None:
    """Make a key and show it, this once. Its budget is a group of `key:WINDOW` in `taximeter budgets list`, and raised there.

    A configured budget with `per: [key]` gives every key a limit (`overrides`: another).
    """
    pairs = [item.partition("=") for item in label or ()]
    if any(not equals or not left for left, equals, _ in pairs):
        raise fail("--label takes NAME=VALUE", 2)
    try:
        until = None if expires is None else instant(expires)
    except ValueError as problem:
        raise fail(f"--expires: {problem}", 2) from None
    whose = {"team": team, "user": user, "customer": customer}
    labels = {left: right for left, _, right in pairs}
    if per != "total" and budget is None:
        raise fail("--per sets the period of --budget; give --budget, too", 2)
    if (remote := server_of(server)) is not None:
        ends = None if until is None else until.isoformat()
        fields: dict[str, Any] = {**whose, "labels": labels, "models": model, "expires": ends, "rpm": rpm, "tpm": tpm}
        fields |= {} if budget is None else {"budget_usd": budget, "budget_window": per}
        print(remote.post("/api/keys", name=name, **fields)["key"])
        return
    from proxy.ledger.planes import keys as ledger_keys
    from proxy.reports.key_use import why_unusable

    settings = config_of(config)
    if any(key.name == name for key in settings.keys):
        raise fail(f"the configuration has a key named {name!r} already")
    if why := why_unusable(model, until, settings.models, now_s()):
        raise fail(f"--{why}", 2)
    try:
        limits = ledger_keys.limits_named(name, budget, per, rpm, tpm)
    except ledger_keys.KeyProblem as problem:
        raise fail(str(problem), 2) from None
    ledger = ledger_of(settings, make=config is not None)
    try:
        _, secret = ledger_keys.create_key(
            ledger, name, **whose, labels=labels, models=model, expires=until, limits=limits
        )
    except ledger_keys.KeyProblem as problem:
        raise fail(str(problem)) from None
    print(secret)


@app.command("list")
def list_keys(config: ConfigOption = None, server: ServerOption = None, form: FormatOption = "table") -> None:
    """The keys of the configuration and those made at run time, with their use; never a secret."""
    rows: list[dict[str, Any]]
    if (remote := server_of(server)) is not None:
        rows = list(remote.get("/api/keys")["items"])
    else:
        from proxy.ledger.planes.keys import list_keys as made
        from proxy.reports.key_use import key_use, keys_shown

        settings = config_of(config)
        ledger = ledger_of(settings)
        rows = list(keys_shown(settings.keys, made(ledger), key_use(ledger)))
    shown = [{name: row.get(name) for name in _COLUMNS} | {"id": row["id"] or "(configuration)"} for row in rows]
    if form != "json":
        shown = [
            row
            | {"labels": _pairs(row["labels"]), "models": " ".join(row["models"] or ("all",))}
            | {"cost_usd": known_cost(row["cost_usd"], row["requests"], row["unpriced_requests"] or 0)}
            for row in shown
        ]
    show(shown, form, _COLUMNS, "There are no keys yet; `taximeter keys create NAME` makes one.")


@app.command("rotate")
def rotate_key(
    key: _KeyArgument,
    grace: Annotated[
        str | None, typer.Option(help="For how long the old secret works on, such as 24h; default: not.")
    ] = None,
    config: ConfigOption = None,
    server: ServerOption = None,
) -> None:
    """A new secret for a key, shown this once: the same name, team, budgets and spend."""
    now = now_s()
    try:
        grace_s = 0 if grace is None else round(moment_ahead(grace, now) / 1e6 - now)
    except BadQuestion as problem:
        raise fail(f"--grace: {problem}", 2) from None
    if (remote := server_of(server)) is not None:
        print(remote.post(f"/api/keys/{named(key)}/rotate", grace_s=grace_s)["key"])
        return
    from proxy.ledger.planes import keys as ledger_keys

    rotated = ledger_keys.rotate_key(ledger_of(config_of(config)), key, grace_s=max(0, grace_s))
    if rotated is None:
        raise fail(_NO_KEY.format(key))
    print(rotated[1])


@app.command("revoke")
def revoke_key(key: _KeyArgument, config: ConfigOption = None, server: ServerOption = None) -> None:
    """Revoke a key for good."""
    if (remote := server_of(server)) is not None:
        remote.delete(f"/api/keys/{named(key)}")
    else:
        from proxy.ledger.planes import keys as ledger_keys

        if not ledger_keys.revoke_key(ledger_of(config_of(config)), key):
            raise fail(_NO_KEY.format(key))
    print(f"{key} is revoked")


def _pairs(labels: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items())
