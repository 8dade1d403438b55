"""What calls of one connection have in common in their INTENTs is written once: what is read is what each says for itself."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import orjson

from proxy.downstream.head_cache import Notes
from proxy.exchange.intent import intent_bytes, intent_record
from proxy.types import Attribution, Call, Identity, Route

CHOICES: dict[str, list[Any]] = {
    "identity": [Identity("id", "k"), Identity("id", "k", team="t"), Identity("id2", "k")],
    "route": [Route("m", "up", "acme", "m1"), Route("m", "up", "acme", "m2"), Route("n", "up2", "b", "m1")],
    "version": ["1", "2"],
    "dialect": ["openai.chat", "openai.responses"],
    "operation": ["chat", "responses"],
    "stream": [False, True],
    "model": ["m", "n", ""],
    "client": ["other", "pi"],
    "user": [None, "u"],
    "customer": [None, 'c"\\'],
    "labels": [{}, {"a": "1"}, {"a": "2"}],
    "untrusted_labels": [{}, {"user": "x"}],
    "session_id": ["s", 's"}', "ö"],
    "agent": [None, "a"],
    "traceparent": [None, "00-" + "1" * 32 + "-" + "2" * 16 + "-01"],
    "reserved": [None, 0, 5],
    "budgets": [[], [["b", "g", 0, "usd", 5]]],
}


def test_every_intent_says_what_its_own_call_is() -> None:
    """One thing changes from call to call, or nothing."""
    chance = random.Random(5)
    notes, said = Notes(), {name: values[0] for name, values in CHOICES.items()}
    kept = []
    for number in range(400):
        name = chance.choice(list(CHOICES))
        said[name] = chance.choice(CHOICES[name])
        call = Call(said["dialect"], said["operation"], said["model"], {}, said["stream"], 0)
        attribution = Attribution(
            said["session_id"], "none", "root", "root", None, said["agent"], None, said["user"], said["customer"],
            dict(said["labels"]), dict(said["untrusted_labels"]), said["client"], said["traceparent"],
        )  # fmt: skip
        exchange = SimpleNamespace(
            identity=said["identity"], attribution=attribution, request_id=f"r{number}", client=SimpleNamespace(notes=notes),
            configured=SimpleNamespace(book=SimpleNamespace(version=said["version"])),
        )  # fmt: skip
        plan = SimpleNamespace(
            call=call, route=said["route"], id=f"i{number}", number=1, started_at=number, deadline_at=9
        )
        before = notes.intent
        given = (cast(Any, exchange), cast(Any, plan), said["reserved"], said["budgets"])
        written = intent_bytes(*given)
        record = orjson.loads(written)
        assert written.startswith(b'{"t":"intent",')
        assert record == intent_record(*given), (number, name)
        assert record["model_requested"] == (said["model"] or said["route"].requested)
        kept.append(notes.intent is before)
    assert any(kept)
    assert not all(kept)
