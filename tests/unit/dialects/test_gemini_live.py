"""Gemini's Live: turns and their usage out of its messages, and that nothing passes for sound that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.access.stored_owners import StoredOwners
from proxy.dialects.gemini_live import GeminiLive, close_of, parse_setup
from proxy.dialects.spoken import GROWN, Began, Bound, Done, Resumable, Wrong
from proxy.errors import Refused, invalid_request, model_not_found
from proxy.types import Identity

USAGE = {"promptTokenCount": 100, "responseTokenCount": 20, "totalTokenCount": 120,
         "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 70}],
         "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 15}]}  # fmt: skip


def setup(**fields: Any) -> bytes:
    return json.dumps({"setup": {"model": "models/speaker", **fields}}).encode()


def talk(**fields: Any) -> GeminiLive:
    return GeminiLive(parse_setup(setup(**fields)), "google", "gemini-live-2.5-flash")


def sent(**message: Any) -> bytes:
    return json.dumps(message).encode()


def says(**content: Any) -> bytes:
    return sent(serverContent=content)


def test_a_set_up_says_what_its_turns_may_be() -> None:
    made = parse_setup(
        setup(generationConfig={"maxOutputTokens": 50, "responseModalities": ["TEXT"]}, tools=[{"googleSearch": {}}])
    )
    assert (made.model, made.cap, made.silent) == ("speaker", 50, True)
    assert made.call.extra == {"grounding": 10}
    assert made.written(b"raw", "speaker") == b"raw"
    assert json.loads(made.written(b"raw", "real"))["setup"]["model"] == "models/real"
    assert talk(sessionResumption={"handle": "h"}).bound().text > 1_000_000


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"setup": {}}', b'{"setup": {"model": 1}}', setup(Tools=[]), sent(clientContent={})]
)
def test_what_is_no_set_up_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        parse_setup(raw)


@pytest.mark.parametrize(
    "message",
    [
        {"realtimeInput": {"audio": {"data": "A" * 9000, "mimeType": "audio/pcm;rate=16000"}}},
        {"realtime_input": {"media_chunks": [{"data": "A" * 9000, "mime_type": "audio/pcm"}]}},
        {"realtime_input": {"audio": {"mime_type": "audio/pcm", "data": "A" * 9000}}},
    ],
)
def test_sound_counts_by_its_length(message: Any) -> None:
    one = talk()
    before = one.bound()
    assert one.from_client(sent(**message)) is None
    assert 13 <= one.bound().audio <= 15
    assert one.bound().text == before.text


@pytest.mark.parametrize(
    "message",
    [
        {"realtimeInput": {"text": "x" * 9000, "audio/pcm": {"data": ""}}},
        {"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": ""}, "text": "x" * 9000}},
        {"toolResponse": {"functionResponses": [{"response": {"mimeType": "audio/pcm", "data": "x" * 9000}}]}},
        {"clientContent": {"turns": [{"parts": [{"text": "x" * 9000}]}], "turnComplete": True}},
    ],
)
def test_text_counts_by_its_bytes_whatever_it_stands_in(message: Any) -> None:
    one = talk()
    one.granted(Bound(4000, 4000))
    assert one.from_client(sent(**message)) is GROWN
    assert one.bound().text > 9000


def test_a_turn_is_what_comes_until_it_is_complete_and_its_usage_counts_once() -> None:
    one = talk()
    assert one.from_server(sent(setupComplete={})) == []
    assert one.from_server(says(modelTurn={"parts": [{"text": "a"}]})) == [Began("1")]
    assert one.from_server(says(modelTurn={"parts": [{"text": "b"}]})) == ()
    assert (
        one.from_server(
            sent(serverContent={"generationComplete": True}, usageMetadata=USAGE | {"responseTokenCount": 3})
        )
        == []
    )
    (ended,) = one.from_server(sent(serverContent={"turnComplete": True}, usageMetadata=USAGE))
    assert isinstance(ended, Done)
    assert [event.get("usageMetadata", {}).get("responseTokenCount") for event in ended.events] == [3, 20, None]
    assert one.bound() == Bound(35, 85, 0)


def test_usage_behind_the_end_of_a_turn_is_that_turns() -> None:
    one = talk()
    assert one.from_server(says(turnComplete=True)) == [Began("1")]
    (ended,) = one.from_server(sent(usageMetadata=USAGE))
    assert isinstance(ended, Done)
    assert one.from_server(says(turnComplete=True)) == [Began("2")]
    unknown, began = one.from_server(says(modelTurn={}))  # the next begins, and nothing was said of it
    assert (unknown, began) == (Done("2", seen={"input": 35, "audio_in": 85}), Began("3"))


def test_a_session_is_set_up_once() -> None:
    assert isinstance(talk().from_client(setup()), Wrong)


def test_refusals_are_closes_as_google_makes_them() -> None:
    assert close_of(invalid_request("No.").refusal) == (1007, "INVALID_ARGUMENT: invalid_request_error: No.")
    assert close_of(model_not_found("m").refusal)[0] == 1008


@pytest.mark.parametrize(
    "fields",
    [
        {"cachedContent": "cachedContents/a"},
        {"cached_content": "cachedContents/a"},
        {"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}}]},
    ],
)
def test_what_is_stored_is_nobodys_in_a_session(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        parse_setup(setup(**fields))
    assert refused.value.refusal.status == 404


@pytest.mark.parametrize("name", ["fileData", "file_data"])
def test_stored_files_are_nobodys_in_a_session(name: str) -> None:
    part = {name: {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/theirs", "mimeType": "video/mp4"}}
    assert isinstance(talk().from_client(sent(clientContent={"turns": [{"parts": [part]}]})), Wrong)


def test_a_turn_that_does_not_say_what_it_used_is_estimated_by_what_it_said() -> None:
    one = talk()
    speech = says(modelTurn={"parts": [{"inlineData": {"data": "A" * 8000, "mimeType": "audio/pcm"}}]})
    one.from_server(speech)
    one.from_server(says(turnComplete=True))
    ended, _ = one.from_server(speech)
    assert isinstance(ended, Done)
    assert ended.events == ()
    assert ended.seen["audio_out"] >= 4


def test_a_session_goes_on_for_who_was_given_its_handle() -> None:
    """A handle is told of whenever it comes, in a turn too; with it nothing bounds what the session holds already."""
    one = talk()
    update = sent(sessionResumptionUpdate={"newHandle": "h1", "resumable": True})
    assert [*one.from_server(update)] == [Resumable("h1")]
    one.from_server(says(modelTurn={"parts": [{"text": "a"}]}))
    assert [*one.from_server(sent(sessionResumptionUpdate={"newHandle": "h2"}))] == [Resumable("h2")]
    for odd in ({}, {"newHandle": ""}, {"newHandle": 5}, None, "h"):
        assert [*talk().from_server(sent(sessionResumptionUpdate=odd))] == []
    made = parse_setup(setup(sessionResumption={"handle": "h1"}))
    assert (made.handle, made.unknown) == ("h1", True)
    assert parse_setup(setup(sessionResumption={})).handle == ""

    mine, theirs = Identity("1", "a", team="blue"), Identity("2", "b", team="green")
    owners = StoredOwners()
    owners.note_session(mine, "h1")
    owners.check_session(mine, "h1")
    owners.check_session(theirs, "that nobody was given here")
    with pytest.raises(Refused) as refused:
        owners.check_session(theirs, "h1")
    assert refused.value.refusal.status == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"sessionResumption": {"handle": 5}}, {"sessionResumption": "h"}, {"session_resumption": ["h"]},
        {"sessionResumption": {"handle": "a"}, "session_resumption": {"handle": "b"}},
    ],
)  # fmt: skip
def test_a_handle_that_could_be_read_in_two_ways_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        parse_setup(setup(**fields))
