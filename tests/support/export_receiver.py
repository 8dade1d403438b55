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
            events = READERS[self.path](self, body)
            refuse = self.plan.get("refuse")
            if status == 200 and refuse and refuse in json.dumps(events):
                raise BadEventsError(f"{refuse} is refused")
        except BadEventsError as error:
            status = status if status != 200 else 400
            self._answer(status, {"error": {"message": str(error)}}, headers)
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


READERS = {"/api/v1/events": Receiver.cloudevents}

if __name__ == "__main__":
    serve_forever(Receiver)
