"""Who gets exports, as a program of its own: a receiver of CloudEvents, of Stripe's and Lago's events and of OTLP, by path.

It keeps what it takes and tells it (`GET /taken`); how it behaves it is told (`POST /plan`): a list of answers that it gives
first, one a request: `{status, headers, taken, hold}` (taken: it keeps the events although it answers an error, as where an
answer is lost; hold: it answers when the next plan comes), and `refuse`, a text: batches in which it stands are refused with 400. Shares no code with the product.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.http_server import Handler, serve_forever

KEY = "sk-of-the-receiver-0123456789"


class BadEventsError(Exception):
    """What is wrong with a request, as its receiver says it."""


class Receiver(Handler):
    disable_nagle_algorithm = True  # an answer is two writes, and many are asked for here
    lock: ClassVar[threading.Lock] = threading.Lock()
    taken: ClassVar[list[dict[str, Any]]] = []
    requests: ClassVar[list[int]] = []
    plan: ClassVar[dict[str, Any]] = {}
    planned: ClassVar[threading.Event] = threading.Event()

    def answer_request(self) -> None:
        body = self.read_body()
        if self.command == "GET":
            with self.lock:
                self.send_json({"taken": self.taken, "requests": self.requests})
        elif self.path == "/forget":
            with self.lock:
                self.taken.clear()
                self.requests.clear()
                self.plan.clear()
            self.send_json({})
        elif self.path == "/plan":
            held, type(self).planned = self.planned, threading.Event()
            type(self).plan = {"answers": [], "refuse": None, **json.loads(body)}
            held.set()
            self.send_json({})
        else:
            self._receive(body)

    def _receive(self, body: bytes) -> None:
        with self.lock:
            answers = self.plan.get("answers", [])
            told = answers.pop(0) if answers else {"status": 200}
        status, headers = told["status"], told.get("headers", {})
        try:
            if self.headers.get("authorization") != f"Bearer {KEY}":
                status = 401
                raise BadEventsError("no such key")
            with self.lock:
                events = READERS[self.path](self, body)
            refuse = self.plan.get("refuse")
            if status == 200 and refuse and refuse in json.dumps(events):
                raise BadEventsError(f"{refuse} is refused")
        except BadEventsError as error:
            said = error.args[0]
            status = status if status != 200 else 422 if isinstance(said, dict) else 400
            self._answer(status, said if isinstance(said, dict) else {"error": {"message": said}}, headers)
            return
        if status == 200 or told.get("taken"):
            with self.lock:
                self.taken.extend(events)
        if told.get("hold"):
            self.planned.wait(60)
        with contextlib.suppress(OSError):  # who asked may be gone
            self._answer(status, {}, headers)

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        with self.lock:
            self.requests.append(status)
        self.send(json.dumps(body).encode(), status=status, **headers)

    def cloudevents(self, body: bytes) -> list[dict[str, Any]]:
        """As OpenMeter checks them: CloudEvents 1.0, each with a subject."""
        if self.headers.get("content-type") != "application/cloudevents-batch+json":
            raise BadEventsError("content-type")
        events: list[dict[str, Any]] = json.loads(body)
        for event in events:
            if event.get("specversion") != "1.0" or not all(
                event.get(name) for name in ("id", "source", "type", "subject")
            ):
                raise BadEventsError(f"{event.get('id')} is no CloudEvent")
        return events

    def stripe(self, body: bytes) -> list[dict[str, Any]]:
        """One event a request; an identifier that is known is refused, as Stripe does."""
        if self.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise BadEventsError("content-type")
        form = dict(parse_qsl(body.decode(), strict_parsing=True))
        payload = {name[8:-1]: value for name, value in form.items() if name.startswith("payload[")}
        if not payload.get("stripe_customer_id", "").startswith("cus_"):
            raise BadEventsError(f"No such customer: {payload.get('stripe_customer_id')!r}")
        if int(payload["value"]) == 0 or len(form["identifier"]) > 100 or int(form["timestamp"]) < 1_700_000_000:
            raise BadEventsError("what no event has")
        if any(event["id"] == form["identifier"] for event in self.taken):
            raise BadEventsError(f"An event already exists with identifier {form['identifier']}.")
        return [{"id": form["identifier"], "event_name": form["event_name"], "payload": payload}]

    def lago(self, body: bytes) -> list[dict[str, Any]]:
        """Up to 100; where any is wrong, none is taken, and each that is wrong is told by its index."""
        events: list[dict[str, Any]] = json.loads(body)["events"]
        if not 1 <= len(events) <= 100:
            raise BadEventsError("too_many_events")
        known = {event["id"] for event in self.taken}
        wrong: dict[str, Any] = {}
        for index, event in enumerate(events):
            if event["transaction_id"] in known:
                wrong[str(index)] = {"transaction_id": ["value_already_exist"]}
            elif self.plan.get("refuse") == event["external_subscription_id"]:
                wrong[str(index)] = {"external_subscription_id": ["value_is_invalid"]}
            elif not isinstance(event["timestamp"], int) or not event["code"] or not event["properties"]["value"]:
                wrong[str(index)] = {"timestamp": ["invalid_format"]}
        if wrong:
            raise BadEventsError({"status": 422, "code": "validation_errors", "error_details": wrong})
        return [{"id": event["transaction_id"], **event} for event in events]

    def traces(self, body: bytes) -> list[dict[str, Any]]:
        """Decoded with OpenTelemetry's own messages; a span that breaks their rules is refused."""
        if self.headers.get("content-type") != "application/x-protobuf":
            raise BadEventsError("content-type")
        request = ExportTraceServiceRequest.FromString(body)
        spans = []
        for resource in request.resource_spans:
            about = attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    if len(span.trace_id) != 16 or len(span.span_id) != 8 or len(span.parent_span_id) not in (0, 8):
                        raise BadEventsError("ids")
                    if not span.name or span.end_time_unix_nano < span.start_time_unix_nano:
                        raise BadEventsError("name or times")
                    spans.append({
                        "id": span.span_id.hex(), "trace": span.trace_id.hex(), "parent": span.parent_span_id.hex(),
                        "name": span.name, "kind": span.kind, "start": span.start_time_unix_nano, "end": span.end_time_unix_nano,
                        "error": span.status.code == 2, "resource": about, "attributes": attributes(span.attributes),
                    })  # fmt: skip
        return spans

    def metrics(self, body: bytes) -> list[dict[str, Any]]:
        request = ExportMetricsServiceRequest.FromString(body)
        told = []
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data = metric.histogram if metric.HasField("histogram") else metric.sum
                    if data.aggregation_temporality != 2:
                        raise BadEventsError("cumulative sums are wanted")
                    told += [
                        {
                            "id": "", "metric": metric.name, "unit": metric.unit, "attributes": attributes(point.attributes),
                            "value": point.sum if metric.HasField("histogram") else point.as_double,
                            "counts": list(point.bucket_counts) if metric.HasField("histogram") else None,
                            "edges": list(point.explicit_bounds) if metric.HasField("histogram") else None,
                        }
                        for point in data.data_points
                    ]  # fmt: skip
        return told


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


READERS = {
    "/api/v1/events": Receiver.cloudevents,
    "/v1/billing/meter_events": Receiver.stripe,
    "/api/v1/events/batch": Receiver.lago,
    "/v1/traces": Receiver.traces,
    "/v1/metrics": Receiver.metrics,
}

if __name__ == "__main__":
    serve_forever(Receiver)
