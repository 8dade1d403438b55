"""Orders: what a prompt tells the provider to do, so that a test and not the proxy decides what a call costs.

They stand anywhere in the prompt as `[[n:NONCE;out=123;reason=40;cached=10;delay=0.5;chunk_delay=0.01;fault=cut@17]]`:

    n:NONCE      names the call; invoice and client log are joined by it
    out          completion tokens of each choice, reasoning included; obeys the request's cap unless `cap=ignore`
    reason       how many of them are hidden reasoning; `show=1` streams them as `reasoning_content`
    cached       how many input tokens were read from the cache; `written`: how many were written to it
    input        input tokens that differ from the words of the prompt (a provider that counts in its own way)
    delay        seconds before the first byte; `chunk_delay`: seconds between chunks; `tpc`: tokens a chunk
    fault        one or more of `faults.FAULTS`, joined by `+`, each with an optional `@ARGUMENT`
    as           the model that the answer says it is from; the bill is that of the one that was asked
    mode         `bill_anyway` or `stop_on_disconnect`: what an unfinished answer costs
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Law = Literal["bill_anyway", "stop_on_disconnect"]
LAWS: tuple[Law, ...] = ("bill_anyway", "stop_on_disconnect")

_GROUP = re.compile(r"\[\[([^\[\]]{0,4000})\]\]")


@dataclass(frozen=True, slots=True)
class Orders:
    nonce: str = ""
    out: int | None = None
    reason: int = 0
    cached: int = 0
    written: int = 0
    input: int | None = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    tpc: int = 1
    faults: tuple[tuple[str, str], ...] = ()
    mode: Law | None = None
    answers_as: str = ""
    ignore_cap: bool = False
    show: bool = False

    def fault(self, name: str) -> str | None:
        """The argument of a fault ("" where it has none), None where it was not ordered."""
        for known, argument in self.faults:
            if known == name:
                return argument
        return None


class BadOrdersError(ValueError):
    """An order that the provider does not know. The message names it."""


def parse(text: str) -> Orders:
    """The orders in a prompt; those of later groups win. Raises `BadOrdersError`."""
    found: dict[str, object] = {}
    for group in _GROUP.findall(text):
        for item in group.split(";"):
            if item.strip():
                found.update(_order(item.strip()))
    return Orders(**found)  # type: ignore[arg-type]


def _order(item: str) -> dict[str, object]:
    if item.startswith("n:"):
        return {"nonce": item[2:]}
    name, _, value = item.partition("=")
    try:
        if name in ("out", "reason", "cached", "written", "input", "tpc"):
            return {name: max(0, int(value))}
        if name in ("delay", "chunk_delay"):
            return {name: float(value)}
    except ValueError:
        raise BadOrdersError(f"{item!r} has no number") from None
    if name == "fault":
        return {"faults": tuple((f.partition("@")[0], f.partition("@")[2]) for f in value.split("+") if f)}
    if name == "mode" and value in LAWS:
        return {"mode": value}
    if name == "as":
        return {"answers_as": value}
    if name == "cap" and value in ("obey", "ignore"):
        return {"ignore_cap": value == "ignore"}
    if name == "show":
        return {"show": value == "1"}
    raise BadOrdersError(f"{item!r} is no order")


def write(orders: Orders) -> str:
    """The prompt text for some orders; `parse(write(orders)) == orders`."""
    items = [f"n:{orders.nonce}"] if orders.nonce else []
    if orders.out is not None:
        items.append(f"out={orders.out}")
    if orders.input is not None:
        items.append(f"input={orders.input}")
    items += [f"{name}={value}" for name in ("reason", "cached", "written") if (value := getattr(orders, name))]
    items += [f"{name}={value:g}" for name in ("delay", "chunk_delay") if (value := getattr(orders, name))]
    if orders.tpc != 1:
        items.append(f"tpc={orders.tpc}")
    if orders.faults:
        items.append("fault=" + "+".join(f"{name}@{arg}" if arg else name for name, arg in orders.faults))
    if orders.mode:
        items.append(f"mode={orders.mode}")
    items += [f"as={orders.answers_as}"] if orders.answers_as else []
    items += (["cap=ignore"] if orders.ignore_cap else []) + (["show=1"] if orders.show else [])
    return f"[[{';'.join(items)}]]"
