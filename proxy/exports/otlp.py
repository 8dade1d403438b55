"""OpenTelemetry over HTTP: a span for each attempt, under its caller's trace, and sums of tokens and cost.

Names are those of the GenAI conventions (semantic-conventions 1.41 and, where these renamed, the drafts of
semantic-conventions-genai, 2026-11): both spellings of cached tokens, since readers know one or the other. There is no merged
convention for cost: `gen_ai.usage.cost` is what LiteLLM, OpenLIT and Vantage use; `taximeter.cost_usd` is exact, as text.
A correction, and a share of a machine, is a span of its own below the attempt's. Ids are made of the entry's, so that a span
that comes twice is the same one. Sums are cumulative since the sink has its place: told twice they say the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from proxy.config.exports import Export
from proxy.exports.posting import Poster, check, printable
from proxy.exports.sink import Event, Refusal, Sink
from proxy.exports.sums import Sums, attributes_of, operation_of, provider_of
from proxy.exports.usage import usage_of
from proxy.ledger.beside.export_log import CAPACITY, Item

_TRACES, _METRICS = "/v1/traces", "/v1/metrics"
_HEADERS = {"content-type": "application/x-protobuf"}
_SCOPE = "taximeter"
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE

# Attribute -> what `usage_of` calls it. What is not known is left out.
_NAMES = {
    "gen_ai.request.model": "model_requested",
    "gen_ai.response.model": "model",
    "gen_ai.conversation.id": "session_id",
    "gen_ai.agent.name": "agent",
    "session.id": "root_session_id",
    "user.id": "user",
    "http.response.status_code": "http_status",
    "taximeter.entry_id": "id",
    "taximeter.kind": "kind",
    "taximeter.corrects_id": "corrects_id",
    "taximeter.request_id": "request_id",
    "taximeter.attempt": "attempt",
    "taximeter.status": "status",
    "taximeter.outcome": "outcome",
    "taximeter.upstream": "upstream",
    "taximeter.service_tier": "service_tier",
    "taximeter.key": "key",
    "taximeter.team": "team",
    "taximeter.customer": "customer",
    "taximeter.client": "client",
    "taximeter.usage_source": "usage_source",
    "taximeter.cost_source": "cost_source",
    "taximeter.cost_usd": "cost_usd",
    "taximeter.price_version": "price_version",
    "taximeter.upstream_request_id": "upstream_request_id",
}
_TOKENS = {
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cache_read_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write_tokens",
    "gen_ai.usage.cache_write.input_tokens": "cache_write_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
}


class Otlp(Sink):
    """See `Sink`."""

    def __init__(self, row: Export) -> None:
        assert row.url is not None
        base = row.url.rstrip("/").removesuffix(_TRACES)
        self._traces, self._metrics = base + _TRACES, base + _METRICS
        self.tells = row.metrics
        bearer = {"authorization": f"Bearer {row.api_key}"} if row.api_key else {}
        self._poster = Poster(row.url, {**bearer, **row.headers})
        self._scope = InstrumentationScope(name=_SCOPE, version=version("taximeter"))

    def events(self, item: Item) -> Sequence[Event]:
        return [Event(item.id, item, span_of(item))]

    def send(self, events: Sequence[Event]) -> Mapping[str, str]:
        request = ExportTraceServiceRequest()
        by_instance: dict[str, list[Span]] = {}
        for event in events:
            by_instance.setdefault(event.item.row["instance"] or "", []).append(event.payload)
        for instance, spans in by_instance.items():
            request.resource_spans.add(resource=_resource(instance)).scope_spans.add(scope=self._scope, spans=spans)
        answer = self._post(self._traces, request, ExportTraceServiceResponse())
        if (rejected := answer.partial_success.rejected_spans) > 0:
            said = printable(answer.partial_success.error_message.encode())
            raise Refusal(f"{self._poster.host} rejects {rejected} spans: {said}")
        return {}

    def added(self, state: str | None, items: Sequence[Item]) -> str | None:
        if not self.tells:
            return state
        sums = Sums.read(state)
        for item in items:
            sums.add(item)
        return sums.written()

    def tell(self, state: str | None, since: int, now: int) -> None:
        if state is None:
            return
        request = ExportMetricsServiceRequest()
        scope = request.resource_metrics.add(resource=_resource("")).scope_metrics.add(scope=self._scope)
        scope.metrics.extend(_metrics(Sums.read(state), since * 1000, now * 1000))
        self._post(self._metrics, request, ExportMetricsServiceResponse())

    def _post(self, url: str, request: Message, answer: Any) -> Any:
        response = self._poster.post(url, request.SerializeToString(), _HEADERS)
        check(response, self._poster.host)
        try:
            answer.ParseFromString(response.body)
        except DecodeError:  # it took them nevertheless
            answer.Clear()
        return answer

    def close(self) -> None:
        self._poster.close()


def span_of(item: Item) -> Span:
    """The span of an attempt; of a correction and of a share, one below the attempt's, at its end."""
    said, row = usage_of(item), item.row
    parent = _caller(row["traceparent"])
    trace_id = parent[0] if parent else _digest(b"trace " + str(row["request_id"]).encode(), 16)
    attempt = said["kind"] == "attempt"
    above = (parent[1] if parent else b"") if attempt else span_id(said["corrects_id"] or row["id"])
    operation, model = operation_of(row), said["model"] or said["model_requested"]
    ended, started = row["ended_at"] * 1000, row["started_at"] * 1000 if attempt else row["ended_at"] * 1000
    span = Span(
        trace_id=trace_id,
        span_id=span_id(said["id"]),
        parent_span_id=above,
        name=" ".join(part for part in (operation if attempt else said["kind"], model) if part),
        kind=Span.SPAN_KIND_CLIENT if attempt else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=started,
        end_time_unix_nano=max(started, ended),
        attributes=list(_attributes(said, row, operation)),
    )
    if attempt and row["outcome"] not in ("ok", "cut", "client_disconnected"):
        span.status.code = Status.STATUS_CODE_ERROR
        span.attributes.append(_attribute("error.type", str(row["http_status"] or row["outcome"])))
    return span


def _attributes(usage: Mapping[str, Any], row: Mapping[str, Any], operation: str) -> Iterator[KeyValue]:
    yield _attribute("gen_ai.operation.name", operation)
    provider = provider_of(row)
    if provider:
        yield _attribute("gen_ai.provider.name", provider)
        yield _attribute("gen_ai.system", provider)  # its name before 1.37
    for name, field in _NAMES.items():
        if usage[field] is not None:
            yield _attribute(name, usage[field])
    if usage["units"] or usage["usage_source"] == "provider":
        for name, field in _TOKENS.items():
            if usage[field] or field in ("input_tokens", "output_tokens"):
                yield _attribute(name, usage[field])
    if usage["cost_usd"] is not None:
        yield _attribute("gen_ai.usage.cost", float(usage["cost_usd"]))
    if usage["ttft_ms"] is not None and usage["kind"] == "attempt":
        yield _attribute("gen_ai.response.time_to_first_chunk", usage["ttft_ms"] / 1000)
    if usage["kind"] == CAPACITY:
        yield _attribute("taximeter.capacity", usage["capacity"])
    for name, value in usage["labels"].items():
        yield _attribute(f"taximeter.label.{name}", str(value))


def _attribute(name: str, value: str | float | bool) -> KeyValue:
    if isinstance(value, str):
        return KeyValue(key=name, value=AnyValue(string_value=value))
    if isinstance(value, float):
        return KeyValue(key=name, value=AnyValue(double_value=value))
    return KeyValue(key=name, value=AnyValue(int_value=value))


def _resource(instance: str) -> Resource:
    said = {"service.name": "taximeter", "service.version": version("taximeter"), "service.instance.id": instance}
    return Resource(attributes=[_attribute(name, value) for name, value in said.items() if value])


def _caller(traceparent: str | None) -> tuple[bytes, bytes] | None:
    """The trace and the span that the call was made in, as the ledger has them (`version-trace-span-flags`)."""
    if traceparent is None:
        return None
    _, trace, span, _ = traceparent.split("-")
    return bytes.fromhex(trace), bytes.fromhex(span)


def span_id(entry_id: str) -> bytes:
    """The same for the same entry."""
    return _digest(b"span " + entry_id.encode(), 8)


def _digest(text: bytes, size: int) -> bytes:
    return hashlib.sha256(text).digest()[:size]


def _metrics(sums: Sums, start: int, now: int) -> Iterator[Metric]:
    """start, now: epoch nanoseconds."""
    moments = {"start_time_unix_nano": start, "time_unix_nano": now}
    tokens = Metric(name="gen_ai.client.token.usage", unit="{token}", description="Tokens of a call, input and output.")
    tokens.histogram.aggregation_temporality = _CUMULATIVE
    for key, counts in sums.tokens.items():
        point = tokens.histogram.data_points.add(
            attributes=[_attribute(*pair) for pair in attributes_of(key, "gen_ai.token.type")], **moments,
            count=sum(counts.buckets), sum=float(counts.total), bucket_counts=counts.buckets,
        )  # fmt: skip
        point.explicit_bounds.extend(Sums.EDGES)
    cost = Metric(name="gen_ai.usage.cost", unit="USD", description="What calls cost, corrections among it.")
    cost.sum.aggregation_temporality = _CUMULATIVE
    for key, nanousd in sums.cost.items():
        cost.sum.data_points.add(
            attributes=[_attribute(*pair) for pair in attributes_of(key, "taximeter.team")],
            **moments,
            as_double=nanousd / 1e9,
        )
    yield from (metric for metric, some in ((tokens, sums.tokens), (cost, sums.cost)) if some)
