"""OpenTelemetry: a span an attempt under its caller's trace, and sums that are the ledger's, however often they are told."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from sqlalchemy.engine import Engine

from proxy.config.exports import Export
from proxy.exports.otlp import Otlp, span_of
from proxy.exports.posting import Answer
from proxy.exports.sink import Event, Later, Refusal
from proxy.exports.status import sinks_shown
from proxy.ledger.beside.export_log import CAPACITY, ENTRY, Item
from proxy.ledger.schema import counted, entries
from proxy.times import now_us
from tests.support.export_receiver import KEY
from tests.support.exported import Told, drain, exporter, ids
from tests.support.made_up import fill, made_up

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def row(told: Told, **changes: Any) -> dict[str, Any]:
    return {"type": "otlp", "url": told.url, "api_key": KEY} | changes


def spans(told: Told) -> list[dict[str, Any]]:
    return [event for event in told.taken() if "trace" in event]


def last_sums(told: Told) -> dict[str, float]:
    """Of the last time that they were told."""
    said: dict[tuple[str, str], float] = {}
    for event in told.taken():
        if "metric" in event:
            said[event["metric"], str(sorted(event["attributes"].items()))] = event["value"]
    totals: dict[str, float] = {}
    for (name, _), value in said.items():
        totals[name] = totals.get(name, 0) + value
    return totals


def test_each_attempt_is_a_span_with_the_names_of_the_conventions(engine: Engine, told: Told) -> None:
    one = exporter(engine, row(told))
    made = made_up(40)
    first = made[0].row
    fill(
        engine,
        [made[0].with_row(first._replace(traceparent=f"00-{TRACE}-{PARENT}-01", operation="messages")), *made[1:]],
    )
    drain(one)
    found = {span["attributes"]["taximeter.entry_id"]: span for span in spans(told)}
    assert sorted(found) == ids(engine)
    span = found[first.id]
    assert (span["trace"], span["parent"], span["kind"]) == (TRACE, PARENT, 3)
    assert span["name"] == f"chat {first.model}"
    assert (span["start"], span["end"]) == (first.started_at * 1000, first.ended_at * 1000)
    said = span["attributes"]
    assert said["gen_ai.operation.name"] == "chat"
    assert (said["gen_ai.provider.name"], said["gen_ai.system"]) == ("p", "p")
    assert said["gen_ai.request.model"] == first.model_requested
    cached = first.cache_read_tokens + first.cache_write_5m_tokens
    assert said["gen_ai.usage.input_tokens"] == first.input_tokens + cached
    assert said["gen_ai.usage.output_tokens"] == first.output_tokens + first.reasoning_tokens
    assert said["gen_ai.conversation.id"] == first.session_id
    assert span["resource"]["service.name"] == "taximeter"
    if first.cost_nanousd is not None:
        assert said["gen_ai.usage.cost"] == pytest.approx(first.cost_nanousd / 1e9)


def test_a_correction_is_a_span_below_its_attempts(engine: Engine, told: Told) -> None:
    one = exporter(engine, row(told))
    fill(engine, made_up(100))
    drain(one)
    found = {span["attributes"]["taximeter.entry_id"]: span for span in spans(told)}
    corrections = [span for span in found.values() if span["attributes"]["taximeter.kind"] == "correction"]
    assert corrections
    for span in corrections:
        attempt = found[span["attributes"]["taximeter.corrects_id"]]
        assert (span["trace"], span["parent"]) == (attempt["trace"], attempt["id"])


def test_sums_are_the_ledgers_also_where_spans_come_twice(engine: Engine, told: Told) -> None:
    one = exporter(engine, row(told))
    fill(engine, made_up(100))
    told.plan({"status": 503, "taken": True})
    with pytest.raises(Later):
        one.step()
    drain(one)
    drain(exporter(engine, row(told)))  # after a start: they are told anew
    with engine.connect() as connection:
        columns = (entries.c.cost_nanousd, entries.c.input_tokens, entries.c.output_tokens)
        cost, fresh, out = connection.execute(
            sa.select(*[sa.func.sum(column) for column in columns]).where(counted())
        ).one()
        others = [entries.c[name] for name in ("cache_read_tokens", "cache_write_5m_tokens", "reasoning_tokens")]
        more = sum(connection.execute(sa.select(*[sa.func.sum(column) for column in others]).where(counted())).one())
    totals = last_sums(told)
    assert totals["gen_ai.usage.cost"] == pytest.approx(int(cost) / 1e9)
    assert totals["gen_ai.client.token.usage"] == int(fresh) + int(out) + int(more)
    twice = [span["id"] for span in spans(told)]
    assert len(twice) == 2 * len(set(twice))
    histogram = next(event for event in told.taken() if event.get("metric") == "gen_ai.client.token.usage")
    assert len(histogram["counts"]) == len(histogram["edges"]) + 1


def test_a_receiver_without_metrics_still_gets_spans(sqlite: Engine, told: Told) -> None:
    told.plan({"status": 200}, {"status": 404})
    one = exporter(sqlite, row(told))
    fill(sqlite, made_up(20))
    drain(one)
    assert len(spans(told)) == len(ids(sqlite))
    (shown,) = sinks_shown(sqlite, {"otlp": "otlp"}, now_us())
    assert "sums are not accepted" in shown["error"]
    assert shown["lag_entries"] == 0


def test_what_is_said_of_rejected_spans_is_a_line_that_every_database_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ExportTraceServiceResponse()
    said.partial_success.rejected_spans, said.partial_success.error_message = 1, "what\n\x00is " + "wrong " * 1000
    sink = Otlp(Export(type="otlp", url="http://sink.test"))
    monkeypatch.setattr(sink._poster, "post", lambda *_: Answer(200, {}, said.SerializeToString()))
    item = Item(BASE, ENTRY)
    with pytest.raises(Refusal, match=r"sink\.test rejects 1 spans: what \?is wrong") as refusal:
        sink.send([Event("one", item, span_of(item))])
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


def test_metrics_can_be_left_out(sqlite: Engine, told: Told) -> None:
    one = exporter(sqlite, row(told, metrics=False, url=f"{told.url}/v1/traces"))
    fill(sqlite, made_up(5))
    drain(one)
    assert last_sums(told) == {}
    assert len(spans(told)) == len(ids(sqlite))


BASE = made_up(1)[0].row._asdict()


def test_ids_are_made_of_the_entrys_and_those_without_a_caller_share_their_requests_trace() -> None:
    one, two = (span_of(Item(BASE | {"id": name, "request_id": "r"}, ENTRY)) for name in ("a", "b"))
    assert one.trace_id == two.trace_id == hashlib.sha256(b"trace r").digest()[:16]
    assert one.span_id != two.span_id
    assert one.span_id == span_of(Item(BASE | {"id": "a"}, ENTRY)).span_id
    assert one.parent_span_id == b""


def test_a_share_of_a_machine_is_a_span_below_the_attempts() -> None:
    span = span_of(Item(BASE | {"capacity": "pool", "capacity_nanousd": 7_000}, CAPACITY))
    assert span.parent_span_id == span_of(Item(BASE, ENTRY)).span_id
    assert span.start_time_unix_nano == span.end_time_unix_nano == BASE["ended_at"] * 1000


@pytest.mark.parametrize(
    ("outcome", "failed"), [("ok", False), ("upstream_error", True), ("client_disconnected", False)]
)
def test_what_failed_is_an_error(outcome: str, failed: bool) -> None:
    span = span_of(Item(BASE | {"outcome": outcome, "http_status": 500 if failed else 200}, ENTRY))
    assert (span.status.code == 2) is failed
