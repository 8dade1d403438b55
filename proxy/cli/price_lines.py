"""The offline pricing engine: recorded provider responses in, what each cost out, a JSON object each. No network, no proxy.

The line format: proxy/CONTRACT.md#pricing-offline. A line that cannot be priced gives `{id, error}` and the rest go on.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from pricing.book import Book
from pricing.cost import Cost, CostLine
from pricing.operator import OperatorPrice, parse_rows
from pricing.usage import Quantity, Reading
from pricing.values import frozen
from proxy.meters import Context, reader
from proxy.meters.reader import Reader
from proxy.meters.registry import guess
from proxy.wire import lenient

# Calls whose answer is what a model writes.
_WRITING = frozenset({"chat", "completions", "responses", "messages", "gemini", "converse", "invoke"})
_BODIES = ("response", "usage", "events")
_OBJECTS = ("request", "selector", "response_headers")
# Where no tokenizer is asked for: a stream's text is only counted if it broke off without usage.
_SESSION = "session"


class LineError(ValueError):
    """A line that cannot be priced; the message says what is wrong with which field."""


@frozen
class Line:
    """One input line, checked. `at_s` is the time of completion, which chooses the prices."""

    id: Any
    provider: str
    model: str
    dialect: str | None
    body: Mapping[str, Any]
    context: Context
    at_s: int
    operator: OperatorRows | None


@dataclass(frozen=True, slots=True, eq=False)
class OperatorRows:
    """Parsed price rows; one object for each distinct text of them."""

    rows: tuple[OperatorPrice, ...]


def price_lines(lines: Iterable[bytes | str], book: Book) -> Iterator[dict[str, Any]]:
    """What each line costs, in order. Empty lines are passed over; a bad one gives `{"id", "error"}`."""
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        line: object = None
        try:
            line = parse_json(raw)
            yield price_line(line, book)
        except LineError as error:
            line_id = line.get("id") if isinstance(line, dict) else None
            yield {"id": line_id, "error": f"line {number}: {error}"}


def parse_json(raw: bytes | str) -> object:
    """One line of JSON. NaN and Infinity, which some writers emit, are read too: they are values to reject, not syntax."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        value = lenient.loads(raw if isinstance(raw, bytes) else raw.encode("utf-8", "replace"))
        if value is None:
            raise LineError(f"is not JSON: {error}") from None
        return value


def price_line(raw: object, book: Book) -> dict[str, Any]:
    """What one line costs, as an output object. Raises LineError."""
    if not isinstance(raw, dict):
        raise LineError(f"must be a JSON object, not {type(raw).__name__}")
    if raw.get("dialect") == _SESSION:
        return price_session(raw, book)
    line = check(raw)
    under = _under(book, line.operator) if line.operator else book
    reading = under.with_request(read(line), provider=line.provider, model=line.model, at_s=line.at_s)
    return shown(line.id, reading, under.cost(reading, provider=line.provider, model=line.model, at_s=line.at_s))


def check(raw: Mapping[str, Any]) -> Line:
    """The fields of a line, with everything that they must be. Raises LineError naming the field."""
    provider, model = _text(raw, "provider"), _text(raw, "model", required=False)
    bodies = [name for name in _BODIES if raw.get(name) is not None]
    if len(bodies) > 1:
        raise LineError(f"has {' and '.join(bodies)}: give one of response, usage or events")
    if not any(name in raw for name in (*_BODIES, "request", "selector")):
        raise LineError("has none of response, usage and events")
    if "events" in bodies and not isinstance(raw["events"], list):
        raise LineError("events: must be a list of the stream's payloads")
    for name in _OBJECTS:
        if raw.get(name) is not None and not isinstance(raw[name], dict):
            raise LineError(f"{name}: must be an object")
    selector = dict(raw.get("selector") or {})
    endpoint = _text(raw, "endpoint", required=False)
    if endpoint.startswith(("http://", "https://")):
        selector.setdefault("base_url", endpoint)
    context = Context(
        provider=provider,
        endpoint=endpoint,
        model=model,
        request=raw.get("request") or {},
        response_headers={name.lower(): value for name, value in (raw.get("response_headers") or {}).items()},
        selector=selector,
        service_tier=_text(raw, "service_tier", required=False) or None,
    )
    return Line(
        id=raw.get("id"),
        provider=provider,
        model=model,
        dialect=_text(raw, "dialect", required=False) or None,
        body=raw,
        context=context,
        at_s=_instant(raw.get("at")),
        operator=_operator_prices(raw.get("prices")),
    )


def _text(raw: Mapping[str, Any], name: str, *, required: bool = True) -> str:
    value = raw.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise LineError(f"{name}: must be a {'' if not required else 'non-empty '}string, not {value!r}")
    return value


def _instant(value: object) -> int:
    """Epoch seconds of `at`: RFC 3339 (UTC where it has no offset) or a number; now where it is absent."""
    if value is None:
        return int(datetime.now(UTC).timestamp())
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(datetime.fromtimestamp(value, UTC).timestamp())
        if isinstance(value, str):
            instant = datetime.fromisoformat(value)
            return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        pass
    raise LineError(f"at: {value!r} is not a time; write it as 2026-11-23T12:00:00Z")


def _operator_prices(value: object) -> OperatorRows | None:
    if not value:
        return None
    if not isinstance(value, list):
        raise LineError("prices: must be a list of price rows")
    return _parsed(orjson.dumps(value, default=str))


@functools.lru_cache(maxsize=64)
def _parsed(text: bytes) -> OperatorRows:
    rows, problems = parse_rows(orjson.loads(text))
    if problems:
        raise LineError("; ".join(str(problem) for problem in problems))
    return OperatorRows(rows)


def read(line: Line) -> Reading:
    """The line's usage; where none is stated, or not to its end, what can be read of the answer is counted."""
    answer = _answer(line.body)
    reader = _reader_of(line, answer)
    if line.body.get("usage") is not None:
        return reader.usage_only(line.body["usage"], line.context)
    reading = reader.answer(answer, line.context)
    if reading.source == "none":
        return _estimated(line, answer.readable, reading)
    return _completed(line, answer, reading) if _writes(line) else reading


def _answer(body: Mapping[str, Any]) -> lenient.Answer:
    """What came back: parsed, the payloads of a stream, or a body as text, which may be anything."""
    if isinstance(events := body.get("events"), list):
        return lenient.Answer(events, streamed=True)
    if isinstance(text := body.get("response"), str):
        return lenient.answer(text.encode("utf-8", "replace"))
    return lenient.Answer([body.get("response")])


def _reader_of(line: Line, answer: lenient.Answer) -> Reader:
    try:
        return reader(line.dialect, line.provider, line.context.endpoint)
    except LookupError as error:
        shapes = [one for one in answer.values if isinstance(one, dict)] or [{"usage": line.body.get("usage")}]
        guessed = guess(shapes[0])
        if guessed is None:
            raise LineError(f"dialect: {error.args[0]}") from None
        return guessed


def _estimated(line: Line, values: list[Any], reading: Reading) -> Reading:
    from pricing.estimate import estimate

    model = reading.model or line.model
    return estimate(values, model, line.context.request, reading.model, writes=_writes(line)) or reading


def _writes(line: Line) -> bool:
    return (line.dialect or "").rpartition(".")[2] in _WRITING


def _completed(line: Line, answer: lenient.Answer, reading: Reading) -> Reading:
    """A usage that leaves out what can be seen of the answer, completed by what is counted, as the proxy does."""
    if not reading.flags and reading.usage.get("output"):
        return reading
    from proxy.exchange.doubt import doubtful
    from proxy.exchange.estimated import count

    if answer.cut_in_text or not doubtful(reading, map(lenient.dumps, answer.values)):
        return reading
    completed = count(reading, answer.readable, line.model, line.context.request, writes=True)
    usage = {unit: quantity for unit, quantity in completed.usage.items() if quantity or unit in reading.usage}
    return reading if usage == reading.usage else completed._replace(usage=usage)


@functools.lru_cache(maxsize=64)
def _under(book: Book, rows: OperatorRows) -> Book:
    """`book` under a line's own prices. Lines of one file mostly carry the same ones: resolve them once."""
    return book.with_operator(rows.rows)


def shown(name: object, reading: Reading, cost: Cost) -> dict[str, Any]:
    """The output object of one priced line."""
    usage = dict(reading.usage)
    for part in reading.parts:
        for unit, quantity in part.usage.items():
            usage[unit] = usage.get(unit, 0) + quantity
    part_only = reading.source == "partial" or (
        reading.source == "none" and bool(reading.usage.keys() - {"gpu_second"})
    )
    partial = cost.status == "priced" and (part_only or "input_unknown" in reading.flags)
    return {
        "id": name,
        "status": "partial" if partial else cost.status,
        "usage": {unit: digits(quantity) for unit, quantity in usage.items()},
        "usage_source": reading.source,
        "cost_usd": None if cost.cost_usd is None else digits(cost.cost_usd),
        "lines": [_shown_line(one) for one in cost.lines],
        "provider_reported_cost_usd": (
            None if cost.provider_reported_cost_usd is None else digits(cost.provider_reported_cost_usd)
        ),
        "cost_source": cost.source,
        "flags": list(cost.flags),
        "price_version": cost.price_version,
        "model": cost.model,
    }


def _shown_line(line: CostLine) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "unit": line.unit,
        "quantity": digits(line.quantity),
        "price_usd": digits(line.price_usd),
        "per": line.per,
        "cost_usd": digits(line.cost_usd),
    }
    if line.model:
        shown["model"] = line.model
    if line.source:
        shown["source"] = line.source
    return shown


def dump(result: Mapping[str, Any]) -> bytes:
    """An output object as JSON. An `id` that orjson cannot write (a lone surrogate, 100 digits) is written all the same."""
    try:
        return orjson.dumps(result)
    except TypeError:
        return json.dumps(result, separators=(",", ":")).encode()


def digits(value: Quantity) -> str:
    """A number as plain digits: no exponent, no trailing zeros."""
    if isinstance(value, int):
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def price_session(raw: Mapping[str, Any], book: Book) -> dict[str, Any]:
    """A session of calls to several providers: each priced by its own, the sum of all, and how many there were."""
    body = raw.get("response")
    calls = body.get("session") if isinstance(body, dict) else None
    if not isinstance(calls, list):
        raise LineError("response.session: must be the list of the session's calls")
    usage: dict[str, Quantity] = {}
    lines: list[dict[str, Any]] = []
    flags: list[str] = []
    total: Decimal = Decimal(0)
    statuses = []
    version = ""
    for index, call in enumerate(calls):
        priced = _price_call(index, raw, call, book)
        statuses.append(priced["status"])
        total += Decimal(priced["cost_usd"] or 0)
        version = priced["price_version"]
        lines += [{**one, "model": one.get("model") or priced["model"]} for one in priced["lines"]]
        flags += [flag for flag in priced["flags"] if flag not in flags]
        for unit, quantity in priced["usage"].items():
            usage[unit] = usage.get(unit, 0) + Decimal(quantity)
    usage["request"] = usage.get("request", 0) + len(calls)
    kinds = set(statuses)
    unpriced = bool(statuses) and kinds == {"unpriced"}
    return {
        "id": raw.get("id"),
        "status": "unpriced" if unpriced else "priced" if kinds <= {"priced"} else "partial",
        "usage": {unit: digits(quantity) for unit, quantity in usage.items()},
        "usage_source": "provider",
        "cost_usd": None if unpriced else digits(total),
        "lines": lines,
        "provider_reported_cost_usd": None,
        "cost_source": "computed",
        "flags": flags,
        "price_version": version,
        "model": raw.get("model"),
    }


def _price_call(index: int, session: Mapping[str, Any], call: object, book: Book) -> dict[str, Any]:
    """One call of a session; `at` and `prices` of the session hold for calls that name none."""
    if not isinstance(call, dict) or call.get("dialect") == _SESSION:
        raise LineError(f"response.session[{index}]: must be one call, as on a line of its own")
    inherited = {name: session[name] for name in ("at", "prices") if name in session}
    selector = dict(call.get("selector") or {}) if isinstance(call.get("selector") or {}, dict) else {}
    if call.get("http_status") is not None:
        selector.setdefault("http_status", call["http_status"])
    try:
        return price_line({"usage": None, **inherited, **call, "selector": selector}, book)
    except LineError as error:
        raise LineError(f"response.session[{index}]: {error}") from None
