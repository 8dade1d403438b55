"""What calls of one connection have in common in their INTENTs is written once: what is read is what each says for itself."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson

from pricing.book import Book
from pricing.catalog import Catalog
from pricing.load import load_book
from proxy.access.keys import identity_of
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.dataplane.process import build_plane
from proxy.dialects import find
from proxy.dialects.openai import parse_chat
from proxy.downstream.client import Client
from proxy.downstream.cycle import Asked
from proxy.downstream.head_cache import Notes
from proxy.exchange.exchange import Exchange
from proxy.exchange.intent import intent_bytes, intent_record
from proxy.exchange.plan import Plan, plan
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


def of_a_call(folder: Path) -> tuple[Exchange, Plan]:
    """An exchange and its plan as they are made: native code takes nothing in their place."""
    config = {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:9/v1", "api_key": "sk", "provider": "acme"}},
        "models": {"m": {"upstream": "up"}},
        "prices": [{"provider": "acme", "model": "m", "input": "1", "output": "2"}],
        "keys": [{"name": "k", "key": "sk-some-key-0000-0000"}],
        "data_dir": str(folder),
    }
    plane = build_plane(read_section(Config, config), "0", {}, load_book())
    endpoint = find("POST", "/v1/chat/completions", b"")
    assert endpoint is not None
    identity = identity_of(plane.configured.config.keys[0])
    asked = SimpleNamespace(path="/", query=b"", named={}, notes=Notes(), connection=None)
    client = Client(plane.load, cast(Asked, asked))
    call = parse_chat(b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":9}')
    attribution = Attribution("s", "none", "s", "s")
    exchange = Exchange(plane, plane.configured, endpoint, client, identity, call, "r", attribution, None)
    return exchange, plan(exchange, plane.configured.router.route("m", identity), 1, 1)


def test_every_intent_says_what_its_own_call_is(tmp_path: Path) -> None:
    """One thing changes from call to call, or nothing."""
    chance = random.Random(5)
    real = of_a_call(tmp_path)
    books = {version: replace(real[0].configured, book=Book(Catalog(version, {}))) for version in CHOICES["version"]}
    notes, said = real[0].client.notes, {name: values[0] for name, values in CHOICES.items()}
    kept = []
    for number in range(400):
        name = chance.choice(list(CHOICES))
        said[name] = chance.choice(CHOICES[name])
        call = Call(said["dialect"], said["operation"], said["model"], {}, said["stream"], 0)
        attribution = Attribution(
            said["session_id"], "none", "root", "root", None, said["agent"], None, said["user"], said["customer"],
            dict(said["labels"]), dict(said["untrusted_labels"]), said["client"], said["traceparent"],
        )  # fmt: skip
        exchange = real[0]._replace(
            identity=said["identity"],
            attribution=attribution,
            request_id=f"r{number}",
            configured=books[said["version"]],
        )
        made = real[1]._replace(call=call, route=said["route"], id=f"i{number}", started_at=number, deadline_at=9)
        before = notes.intent
        given = (exchange, made, said["reserved"], said["budgets"])
        written = intent_bytes(*given)
        record = orjson.loads(written)
        assert written.startswith(b'{"t":"intent",')
        assert record == intent_record(*given), (number, name)
        assert record["model_requested"] == (said["model"] or said["route"].requested)
        kept.append(notes.intent is before)
    assert any(kept)
    assert not all(kept)
