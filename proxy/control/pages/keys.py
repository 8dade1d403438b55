"""`/keys`: who may call, what each spent; making, rotating and revoking the keys that are made at run time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from proxy.config.fields import KEY_BUDGETS
from proxy.control.api import keys as api
from proxy.control.pages import view
from proxy.control.pages.page import Action, Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Rest, Row, Table, more_of, top_of
from proxy.ledger.planes import keys as ledger_keys
from proxy.reports.calendar import spend_by
from proxy.reports.key_use import key_use, keys_shown
from proxy.reports.known_cost import known_cost
from proxy.reports.spend import SpendRow
from proxy.times import BadQuestion, moment, rfc3339

_ATTRIBUTES = ("team", "user", "customer")
_MOST_DIGITS = 20
_GRACE_S = {"1h": 3600, "24h": 86_400, "7d": 7 * 86_400}


def show(request: PageRequest) -> PageContent:
    """Every key, the configuration's too, or those that `?find=` names; as many as `?top=` says."""
    return _page(request)


def _page(request: PageRequest, made: dict[str, Any] | None = None) -> PageContent:
    engine = request.state.engine
    since = moment("30d", request.now_us / 1e6)
    spent = {row.group["key"]: row for row in spend_by(engine, ["key"], since, None)}
    use = key_use(engine)
    last_days = {name: used.last_day(request.address.zone) for name, used in use.items()}
    every = list(keys_shown(request.state.config().keys, ledger_keys.list_keys(engine), use))
    known = {row["name"] for row in every}
    wanted, top = request.address.get("find"), top_of(request.address)
    rows = [row for row in every if _is_found(row, wanted)]

    def lines_of(some: Iterable[Mapping[str, Any]]) -> list[Row]:
        return [_row(row, spent.get(row["name"]), last_days.get(row["name"])) for row in some]

    lines = lines_of(rows[:top])
    deleted = [
        Row(
            {"name": name, "state": "deleted", "cost": _cost(row), "calls": row.requests},
            muted=True,
            to=_spend_link(name),
        )
        for name, row in spent.items()
        if name is not None and name not in known and _is_found({"name": name}, wanted)
    ]
    left = len(rows) + len(deleted) - top
    rest = None
    if left > 0:
        more = more_of(request.address, top)
        row = Row({"name": f"other ({left:,})"}, {"name": more} if more else {}, muted=True, to=more)
        rest = Rest(row, lambda: [*lines_of(rows[top:]), *deleted[max(0, top - len(rows)) :]])
    lines += deleted[: max(0, top - len(rows))]
    columns = [
        Column("name", "Key", "name"),
        Column("state", "", "text"),
        *[Column(name, name.capitalize(), "name") for name in _ATTRIBUTES],
        Column("models", "Models", "name"),
        Column("limit", "May take", "prose"),
        Column("expires", "Expires", "moment"),
        Column("used", "Last call", "text"),
        Column("calls", "Calls, 30 days", "count"),
        Column("cost", "Spent, 30 days", "usd"),
    ]
    empty = "There is no key yet, so every call is refused. Make the first one."
    if wanted:
        empty = "No key is called so, nor is its team, user or customer."
    table = Table("keys", "Keys", columns, lines, rest=rest, empty=empty)
    ours = [{"id": row["id"], "name": row["name"]} for row in rows[:top] if row["id"]]
    values = {"made": made, "ours": ours, "wanted": wanted, "may_find": wanted or rest is not None}
    return PageContent("keys", "Keys", values, (table,), api="/api/keys")


def _is_found(key: Mapping[str, Any], wanted: str) -> bool:
    return any(wanted.lower() in (key.get(name) or "").lower() for name in ("name", *_ATTRIBUTES))


def _row(key: Mapping[str, Any], spent: SpendRow | None, last_day: str | None) -> Row:
    at = datetime.fromisoformat(key["expires"]) if key["expires"] else None
    cells = {
        "name": key["name"],
        "state": "made here" if key["id"] else "configuration",
        **{name: key[name] for name in _ATTRIBUTES},
        "models": "all" if key["models"] is None else ", ".join(key["models"]),
        "limit": _limit(key),
        "expires": None if at is None else int(at.timestamp() * 1e6),
        "used": last_day,
        "calls": spent.requests if spent else 0,
        "cost": _cost(spent) if spent else 0,
    }
    link = _spend_link(key["name"])
    links = {"name": link, "cost": link}
    if key["budget_window"] or key["rpm"] or key["tpm"]:
        kind = key["budget_window"] or ("rpm" if key["rpm"] else "tpm")
        links["limit"] = f"/budgets/{view.part(KEY_BUDGETS + kind)}?group={view.part(key['name'])}"
    return Row(cells, links | {"calls": f"/calls?since=30d&filter.key={view.part(key['name'])}"})


def _limit(key: Mapping[str, Any]) -> str | None:
    """What the key was made with, in words; None where it was without a limit."""
    window = key["budget_window"]
    parts = [f"${key['budget_usd']}" + ("" if window == "total" else f" a {window}")] if key["budget_usd"] else []
    parts += [f"{key[name]:,} {what} a minute" for name, what in (("rpm", "calls"), ("tpm", "tokens")) if key[name]]
    return ", ".join(parts) or None


def _cost(spent: SpendRow) -> int | None:
    """None where no call has a price."""
    return known_cost(spent.cost_nanousd, spent.requests, spent.unpriced_requests)


def _spend_link(name: str) -> str:
    return f"/spend?by=model&since=30d&filter.key={view.part(name)}"


# Changes


def _create(request: PageRequest) -> PageContent:
    """Make a key; its secret is on this one answer and nowhere else."""
    form = request.form
    fields: dict[str, Any] = {"name": form.get("name", "")} | {
        name: form[name] for name in _ATTRIBUTES if form.get(name)
    }
    if form.get("budget_usd"):
        fields |= {name: form[name] for name in ("budget_usd", "budget_window") if form.get(name)}
    for name in ("rpm", "tpm"):
        if form.get(name):
            if not form[name].isdecimal() or len(form[name]) > _MOST_DIGITS:
                raise BadQuestion(f"{name}: {form[name][:40]!r} is not a whole number")
            fields[name] = int(form[name])
    models = [name.strip() for name in form.get("models", "").split(",") if name.strip()]
    if form.get("expires"):
        fields["expires"] = form["expires"] + ("T00:00:00Z" if len(form["expires"]) == 10 else "")
    try:
        new = api.NewKey.model_validate(fields | ({"models": models} if models else {}))
    except ValidationError as error:
        problem = error.errors()[0]
        raise BadQuestion(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    made = api.create_key(new, request.state)
    return _page(request, {"name": made.name, "key": made.key, "old": None})


def _revoke(request: PageRequest) -> str:
    api.revoke_key(request.path_params["id"], request.state)
    return "/keys"


def _rotate(request: PageRequest) -> PageContent:
    """Another secret for a key; the old one works until the time of grace is over."""
    grace_s = _GRACE_S.get(request.form.get("grace", "24h"))
    if grace_s is None:
        raise BadQuestion(f"grace: must be one of {', '.join(_GRACE_S)}")
    made = api.rotate_key(request.path_params["id"], api.Rotation(grace_s=grace_s), request.state)
    return _page(request, {"name": made.name, "key": made.key, "old": rfc3339(request.now_us + grace_s * 1_000_000)})


PAGE = Page("/keys", "Keys", show, ranged=False, shortcut="k")
ACTIONS = (
    Action("/keys/new", _create),
    Action("/keys/{id}/revoke", _revoke),
    Action("/keys/{id}/rotate", _rotate),
)
