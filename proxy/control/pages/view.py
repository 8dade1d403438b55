"""The page as HTML. Pure: values in, text out. The templates escape everything; nothing here marks a text as safe.

Amounts that stand below each other get the same number of decimals; one that is not 0 is never shown as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from proxy.control.pages.address import Address
from proxy.control.pages.static_files import file_url
from proxy.money import NANO
from proxy.reports.known_cost import known_cost
from proxy.times import with_a_date

FOLDER = Path(__file__).parent
LONGEST = 120  # of a name that a client chose
# Prices that somebody tries, times quantities that somebody claims, have no bound but a row's.
_EXACT = Context(prec=100)


def decimals_for(amounts: Iterable[int | None], least: int = 2) -> int:
    """How many decimals a column of nano-USD needs for its largest amount to show two digits or more."""
    largest = max((abs(amount) for amount in amounts if amount), default=0)
    for decimals, enough in ((2, NANO), (4, NANO // 100), (6, NANO // 10_000)):
        if decimals >= least and (largest >= enough or not largest):
            return decimals
    return 9


def usd(nanousd: int | None, decimals: int = 2) -> str:
    """`$1,234.50`; `<$0.01` where it would round to nothing; `–` for what has no price."""
    if nanousd is None:
        return "–"
    sign, amount = ("−", -nanousd) if nanousd < 0 else ("", nanousd)
    smallest = Decimal(1).scaleb(-decimals)
    value = _EXACT.quantize(_EXACT.divide(Decimal(amount), NANO), smallest)
    if amount and not value:
        return f"{sign}<${smallest:f}"
    return f"{sign}${value:,.{decimals}f}"


def difference(nanousd: int | None, decimals: int = 2) -> str:
    """As `usd`, with a plus where it is more."""
    return ("+" if nanousd and nanousd > 0 else "") + usd(nanousd, decimals)


def clip(text: str | None, most: int = LONGEST) -> str:
    """A name that a client may have chosen: without limit there, at most 120 characters here."""
    text = text or ""
    return text if len(text) <= most else text[: most - 1] + "…"


def count(number: int) -> str:
    return f"{number:,}"


def plural(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def percent(value: float) -> str:
    """`−12.3 %`, `1,204 %`; never `−0.0 %`."""
    value = round(value, 1) + 0.0
    return f"{value:,.1f} %".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f} %".replace("-", "−")


_MOST_CHANGE = 999


def change(value: float) -> str:
    """A change in percent, with its sign: `+12.3 %`, `−3.0 %`, `>+999 %`; `new` of what was nothing before (infinite)."""
    if value == inf:
        return "new"
    if value > _MOST_CHANGE:
        return f">+{_MOST_CHANGE} %"
    return ("+" if value > 0 else "") + percent(value)


def change_of(now: int, before: int) -> float | None:
    """In percent; None where there is nothing to compare."""
    if before > 0:
        return 100 * (now - before) / before
    return inf if now > 0 and not before else None


def short(number: float) -> str:
    """1234 -> `1.2k`: for tokens, where the whole number is in the cost lines."""
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}" if number < 100 * size else f"{number / size:.0f}{letter}"
    return f"{number:g}"


def took(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    if not milliseconds:
        return "0 s"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if hours < 2:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{hours} h {minutes % 60} min" if days < 2 else f"{days} d {hours % 24} h"


def moment(microseconds: int) -> str:
    """For `<time datetime>`."""
    return datetime.fromtimestamp(with_a_date(microseconds) // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def clock(microseconds: int) -> str:
    return datetime.fromtimestamp(with_a_date(microseconds) // 1_000_000, UTC).strftime("%H:%M:%S")


def share(part: int, whole: int) -> float:
    """In percent, 0 to 100, for the length of a bar."""
    return round(max(0.0, min(100.0, 100 * part / whole)), 2) if whole > 0 else (100.0 if part > 0 else 0.0)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "usd": usd, "clip": clip, "count": count, "short": short, "took": took, "moment": moment, "clock": clock,
    }  # fmt: skip
    made.globals["file_url"] = file_url
    return made


_TEMPLATES = _environment()


def render(name: str, values: Mapping[str, Any]) -> str:
    return _TEMPLATES.get_template(f"{name}.html").render(values)


def ranking(
    title: str, rows: Sequence[tuple[str | None, int, int, int]], nobody: str, today: Address, by: str
) -> Mapping[str, Any]:
    """Values for `ranking.html`. rows: (name, cost, calls, unpriced), the dearest first; `nobody` stands for no name.
    today: where a name leads, as a filter `by` it."""
    dearest = rows[0][1] if rows else 0
    decimals = decimals_for(cost for _, cost, _, _ in rows)
    return {
        "title": title,
        "rows": [
            {
                "name": name or nobody,
                "named": bool(name),
                "link": str(today.filtered(by, name or None)),
                "calls_link": str(today.filtered(by, name or None).at("/calls")),
                "unpriced_link": str(today.filtered(by, name or None).at("/calls").filtered("priced", "no")),
                "cost": usd(known_cost(cost, calls, unpriced), decimals),
                "share": share(cost, dearest),
                "calls": calls,
                "unpriced": unpriced,
            }
            for name, cost, calls, unpriced in rows
        ],
    }


GROUPS_SHOWN = 3
_BUDGETS_SHOWN = 12
_HIGH = 80


def budgets(items: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> Mapping[str, Any]:
    """Values for `budgets.html`, from the API's budgets: those that are used most first, of groups the most used.

    counts: how many groups a budget has, where the item does not have them all.
    """
    shown = [_budget(item, counts.get(item["name"], len(item["groups"]))) for item in items]
    shown.sort(key=lambda budget: -max((bar["percent"] for bar in budget["bars"]), default=0))
    return {"budgets": shown[:_BUDGETS_SHOWN], "more": max(0, len(shown) - _BUDGETS_SHOWN)}


def _budget(item: Mapping[str, Any], groups: int) -> dict[str, Any]:
    unit = next(unit for unit in ("usd", "tokens", "requests") if f"limit_{unit}" in item)
    limit = Decimal(item[f"limit_{unit}"])
    if item["per"]:
        bars = [bar(group, unit, group["group"]) for group in item["groups"]]
        bars.sort(key=lambda bar: -bar["percent"])
    else:
        bars = [bar(item, unit, None)]
    return {
        "name": item["name"],
        "per": ", ".join(item["per"]),
        "limit": amount(limit, unit, limit),
        "action": item["action"],
        "ends": item["window"]["end"],
        "bars": [
            one
            | {
                "link": f"/budgets/{part(item['name'])}" + (f"?group={part(one['group'])}" if one["group"] else ""),
                "flight": in_flight(item["name"], one["group"]),
            }
            for one in bars[:GROUPS_SHOWN]
        ],
        "groups": groups if item["per"] else 0,
        "more": max(0, groups - GROUPS_SHOWN) if item["per"] else 0,
    }


def in_flight(budget: str, group: str | None = None) -> str:
    """Where what is reserved in a budget, or in one group of it, is listed."""
    return str(Address("/in-flight").having(budget=budget, group=group or ""))


def bar(item: Mapping[str, Any], unit: str, group: str | None) -> dict[str, Any]:
    limit, spent, reserved = (Decimal(item[f"{name}_{unit}"]) for name in ("limit", "spent", "reserved"))
    used = share(int(spent * NANO), int(limit * NANO))
    held = share(int(reserved * NANO), int(limit * NANO))
    percent = int(100 * spent / limit) if limit else (100 if spent else 0)
    return {
        "group": group,
        "spent": amount(spent, unit, limit),
        "limit": amount(limit, unit, limit),
        "reserved": amount(reserved, unit, limit) if reserved else "",
        "percent": percent,
        "used": used,
        "held": round(min(held, 100 - used), 2),
        "state": "over" if percent >= 100 else "high" if percent >= _HIGH else "calm",
    }


def amount(value: Decimal, unit: str, limit: Decimal) -> str:
    """An amount beside its budget's limit, which says how fine it is to be."""
    if unit != "usd":
        return f"{short(int(value)) if unit == 'tokens' else count(int(value))} {unit}"
    return usd(int(value * NANO), decimals_for([int(limit * NANO)]))


def call(item: Mapping[str, Any], decimals: int) -> dict[str, Any]:
    """One ledger entry for `calls.html`; `item` is as the ledger's queries give it."""
    usage = item["usage"]
    tokens_in = sum(usage.get(unit, 0) for unit in INPUT)
    tokens_out = sum(usage.get(unit, 0) for unit in OUTPUT)
    other = [f"{quantity} {unit.replace('_', ' ')}" for unit, quantity in usage.items() if unit not in INPUT + OUTPUT]
    return {
        "id": item["id"],
        "started_at": item["started_at"],
        "model": item["model"] or item["model_requested"] or "unknown model",
        "requested": item["model_requested"],
        "team": item["team"],
        "key": item["key"],
        "upstream": item["upstream"],
        "operation": item["operation"],
        "client": item["client"],
        "session": item["root_session_id"],
        "session_source": item["session_source"],
        "agent": item["agent"],
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "other": ", ".join(other),
        "cost": usd(item["cost_nanousd"], decimals),
        "cost_nanousd": item["cost_nanousd"],
        "duration_ms": item["duration_ms"],
        "ttft_ms": item["ttft_ms"],
        "mark": _mark(item),
        "lines": _lines(item["cost_lines"]),
        "without_lines": _without_lines(item),
        "flags": item["flags"],
        "usage_source": item["usage_source"],
        "cost_source": item["cost_source"],
        "price_version": item["price_version"],
        "request_id": item["request_id"],
        "attempt": item["attempt"],
        "http_status": item["http_status"],
        "budgets": [budget[0] for budget in item["budgets"]],
    }


INPUT = ("input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h")
OUTPUT = ("output", "reasoning")


def _mark(item: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is not as it should be about a call: (how it looks, what it says)."""
    if item["kind"] == "correction":
        return "plain", "correction"
    if item["status"] == "void":
        return "plain", "not sent"
    if item["status"] == "running":
        return "plain", "running"
    if item["outcome"] != "ok":
        return "bad", item["outcome"].replace("_", " ")
    if item["http_status"] and item["http_status"] >= 400:
        return "bad", f"HTTP {item['http_status']}"
    if item["status"] == "unconfirmed":
        return "warn", "unconfirmed"
    if item["cost_nanousd"] is None:
        return "warn", "unpriced"
    return None


def _without_lines(item: Mapping[str, Any]) -> str:
    """Why a call has no cost lines, for whoever looks for them there."""
    failed = "" if item["outcome"] == "ok" else f": {str(item['outcome']).replace('_', ' ')}"
    status = f", HTTP {item['http_status']}" if item["http_status"] and item["http_status"] >= 400 else ""
    if item["status"] == "running":
        return "It is still running; what it cost is known at its end."
    if item["status"] == "void":
        return f"It was not sent, so nothing was billed{failed}{status}."
    if item["cost_nanousd"] is None:
        return "No price is known for this call."
    if item["cost_source"] == "provider":
        return "There are no cost lines: the provider stated the cost."
    if item["status"] == "unconfirmed":
        return f"There are no cost lines: what was used is not known, so its ceiling was charged{failed}{status}."
    if not item["cost_nanousd"]:
        return f"There are no cost lines: nothing was billed{failed}{status}."
    return "There are no cost lines: it was charged as a whole."


def _lines(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Cost lines as text, exact, their costs with as many decimals as the longest."""
    costs = [Decimal(str(line["cost_usd"])).normalize() for line in lines]
    decimals = max((_decimals(cost) for cost in costs), default=2)
    return [_line(line, f"${cost:,.{decimals}f}") for line, cost in zip(lines, costs, strict=True)]


def _line(line: Mapping[str, Any], cost: str) -> dict[str, str]:
    price, per = Decimal(str(line["price_usd"])).normalize(), Decimal(str(line["per"])).normalize()
    return {
        "unit": str(line["unit"]).replace("_", " "),
        "quantity": f"{Decimal(str(line['quantity'])).normalize():,f}",
        "price": f"${price:,.{_decimals(price)}f}",
        "per": {Decimal(1_000_000): "per million", Decimal(1): "each"}.get(per, f"per {per:,f}"),
        "cost": cost,
        "source": str(line.get("source") or ""),
    }


def _decimals(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return max(2, -exponent) if isinstance(exponent, int) else 2


def alert_link(row: Mapping[str, Any]) -> str:
    """Where what an alert is about stands: its budget, or the session that a guard stopped; "" for others."""
    if row["budget"]:
        return f"/budgets/{part(row['budget'])}"
    return f"/sessions/{part(row['group'])}" if row["kind"] in ("loop", "session_limit") else ""


def part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
