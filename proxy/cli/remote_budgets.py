"""Budgets and raises of a server elsewhere, as its API has them, in the command line's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.cli.output import fail
from proxy.cli.remote import Server, named

_MEASURES = ("usd", "tokens", "requests")


def standing(server: Server, budget: str | None) -> Iterator[dict[str, Any]]:
    """Each budget's groups, with what is reserved in each. A budget without `per` is one row, also where nothing was spent."""
    exists = False
    for item in server.items("/api/budgets"):
        if budget not in (None, item["name"]):
            continue
        exists = True
        measure = _measure(item)
        whole = {
            "group": "",
            **{f"{what}_{measure}": item[f"{what}_{measure}"] for what in ("limit", "spent", "reserved")},
        }
        for group in item["groups"] or ([] if item["per"] else [whole]):
            spent, limit = (float(group[f"{what}_{measure}"]) for what in ("spent", "limit"))
            yield {
                "budget": item["name"],
                "group": group["group"],
                "measure": measure,
                "spent": group[f"spent_{measure}"],
                "reserved": group[f"reserved_{measure}"],
                "limit": group[f"limit_{measure}"],
                "percent": round(100 * spent / limit, 1) if limit else 100.0,
                "resets_at": item["window"]["end"],
            }
    if budget is not None and not exists:
        raise fail(f"there is no budget {budget!r} on this server")


def about(server: Server, budget: str) -> Mapping[str, Any]:
    """One budget as the API has it."""
    item: Mapping[str, Any] = server.get(f"/api/budgets/{named(budget)}")
    return item


def raised(server: Server, budget: str, **fields: Any) -> str:
    """Raise it; a sentence on what became of it."""
    item = about(server, budget)
    row = server.post(f"/api/budgets/{named(budget)}/raises", **fields)
    return f"{_said(item, row)}. To end it: taximeter budgets end {row['id']}"


def raises(server: Server, budget: str | None) -> list[dict[str, Any]]:
    """Those in force."""
    return [
        {
            "id": row["id"],
            "budget": row["budget"],
            "group": row["group"],
            "by": row["by_usd"],
            "until": row["until"] or "for good",
            "created_at": row["created_at"],
            "reason": row["reason"],
        }
        for row in server.get("/api/raises")["items"]
        if budget in (None, row["budget"])
    ]


def lowered(server: Server, raise_id: str, to: str) -> str:
    budget = _budget_of(server, raise_id)
    return _said(about(server, budget), server.patch(_path(budget, raise_id), by_usd=to))


def ended(server: Server, raise_id: str) -> str:
    budget = _budget_of(server, raise_id)
    row = server.delete(_path(budget, raise_id))
    group = f" of {row['group']}" if row["group"] else ""
    return f"{budget}{group}: the raise is ended, its limit is {row['limit_after']}, no longer {row['limit_before']}"


def _budget_of(server: Server, raise_id: str) -> str:
    for row in server.get("/api/raises")["items"]:
        if row["id"] == raise_id:
            return str(row["budget"])
    raise fail(f"there is no raise {raise_id!r} in force; `taximeter budgets raises` lists them")


def _path(budget: str, raise_id: str) -> str:
    return f"/api/budgets/{named(budget)}/raises/{named(raise_id)}"


def _measure(item: Mapping[str, Any]) -> str:
    return next(measure for measure in _MEASURES if f"limit_{measure}" in item)


def _said(item: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """`company is raised by 5 USD, from 10 to 15, until …`"""
    whom = row["group"] or ("each of its groups" if item["per"] else "")
    measure = _measure(item)
    end = "for good" if row["until"] is None else f"until {row['until']}"
    what = f"{item['name']} of {whom}" if whom else item["name"]
    unit = "USD" if measure == "usd" else measure
    return f"{what} is raised by {row['by_usd']} {unit}, from {row['limit_before']} to {row['limit_after']}, {end}"
