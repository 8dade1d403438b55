"""OpenAI's Realtime: what a message may cost, and that no spelling of one hides it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.realtime import Realtime
from proxy.dialects.spoken import GROWN, Asks, Began, Bound, Declined, Done, Names, Transcribed, Wrong

SOUND = "A" * 6400  # 100 ms


def talk() -> Realtime:
    return Realtime("voice", "openai", "gpt-realtime", iter("abcdefgh").__next__)


def sent(value: Any) -> bytes:
    return json.dumps(value).encode()


def created(name: str = "resp_1") -> bytes:
    return sent({"type": "response.created", "response": {"id": name, "conversation_id": "c"}})


def done(name: str = "resp_1", **usage: Any) -> bytes:
    told = {"input_tokens": 100, "output_tokens": 20, "input_token_details": {"audio_tokens": 60, "image_tokens": 10},
            "output_token_details": {"audio_tokens": 15}} | usage  # fmt: skip
    return sent({"type": "response.done", "response": {"id": name, "conversation_id": "c", "usage": told}})


@pytest.mark.parametrize(
    "hidden",
    [
        b'{"type": "input_audio_buffer.append", "audio": "", "type": "response.create"}',
        b'{"type": "input_audio_buffer.append", "\\u0074ype": "response.create"}',
        b'{"type":"input_audio_buffer.append","audio":"","response":{},"type":"response.create"}',
        b' {"type": "response.create"}',
        b'{"event_id": "x", "type": "response.create"}',
    ],
)
def test_no_spelling_hides_that_a_response_is_asked_for(hidden: bytes) -> None:
    assert isinstance(talk().from_client(hidden), Asks)


@pytest.mark.parametrize("name", [5, 0, True, 1.5, [], {}, ["mine"], "x" * 513, "é" * 100_000])
def test_a_name_that_no_message_may_have_is_refused_and_not_kept(name: Any) -> None:
    """A thousand of them are remembered."""
    wrong = talk().from_client(sent({"type": "response.create", "event_id": name}))

    assert isinstance(wrong, Wrong)
    assert wrong.param == "event_id"


@pytest.mark.parametrize("name", [None, "", "mine", 'a"\\\n', "x" * 512, "é" * 512])
def test_a_client_reads_its_own_name_back_to_the_letter(name: str | None) -> None:
    one = talk()
    asked = one.from_client(sent({"type": "response.create", "event_id": name}))
    assert isinstance(asked, Asks)
    (declined,) = one.from_server(sent({"type": "error", "error": {"event_id": asked.name}}))
    assert isinstance(declined, Declined)
    assert json.loads(declined.message)["error"]["event_id"] == name


def test_sound_counts_by_its_length_and_text_by_its_bytes() -> None:
    one = talk()
    for _ in range(10):
        assert one.from_client(sent({"type": "input_audio_buffer.append", "audio": SOUND})) is None
    assert 10 <= one.bound().audio <= 12
    text = sent({"type": "conversation.item.create", "item": {"content": [{"type": "input_text", "text": "x" * 500}]}})
    one.from_client(text)
    assert one.bound().text == len(text)
    heard = {"content": [{"type": "input_audio", "audio": SOUND}]}
    one.from_client(sent({"type": "conversation.item.create", "item": heard}))
    assert 11 <= one.bound().audio <= 13
    assert one.bound().text < len(text) + 200


def test_a_picture_of_unknown_size_is_bounded_by_the_context_alone() -> None:
    one = talk()
    item = {"content": [{"type": "input_image", "image_url": "data:image/bmp;base64,AAAA"}]}
    one.from_client(sent({"type": "conversation.item.create", "item": item}))
    assert one.bound().text > 1_000_000 or one.bound().image > 0


def test_more_than_was_granted_is_said_before_it_passes() -> None:
    one = talk()
    one.granted(Bound(100, 1))
    append = sent({"type": "input_audio_buffer.append", "audio": SOUND})
    assert one.from_client(append) is GROWN
    one.granted(None)
    assert one.from_client(append) is None
    one.granted(Bound(100, 100))
    assert one.from_client(sent({"type": "conversation.item.create", "item": {"text": "x" * 200}})) is GROWN


def test_what_a_conversation_comes_to_is_what_the_last_response_says() -> None:
    one = talk()
    one.from_client(sent({"type": "conversation.item.create", "item": {"text": "x" * 5000}}))
    assert one.from_server(created()) == (Began("resp_1"),)
    late = sent({"type": "conversation.item.create", "item": {"text": "y" * 50}})
    one.from_client(late)
    (ended,) = one.from_server(done())
    assert isinstance(ended, Done)
    assert one.bound() == Bound(35 + len(late), 75, 10)


def test_a_response_with_an_input_of_its_own_says_nothing_of_the_conversation() -> None:
    one = talk()
    one.from_client(sent({"type": "conversation.item.create", "item": {"text": "x" * 5000}}))
    one.from_client(sent({"type": "response.create", "response": {"conversation": "none", "input": []}}))
    one.from_server(created())
    one.from_server(done())
    assert one.bound().text > 5000


def test_caps_and_modalities_hold_once_the_server_has_taken_them() -> None:
    one = talk()
    small = {"type": "realtime", "max_output_tokens": 100, "output_modalities": ["text"]}
    assert one.from_client(sent({"type": "session.update", "session": small})) is None
    assert (one.bound().written, one.bound().silent) == (None, False)
    one.from_server(sent({"type": "session.updated", "session": small}))
    assert (one.bound().written, one.bound().silent) == (100, True)
    asked = one.from_client(sent({"type": "response.create", "response": {"max_output_tokens": "inf"}}))
    assert isinstance(asked, Asks)
    assert asked.bound.written is None
    one.from_client(sent({"type": "session.update", "session": {"max_output_tokens": "inf"}}))
    assert one.bound().written is None  # at once, for what may come before the answer


def test_models_are_named_by_the_session_alone() -> None:
    one = talk()
    assert isinstance(one.from_client(sent({"type": "session.update", "session": {"model": "gpt-5"}})), Wrong)
    sound = {"input": {"transcription": {"model": "whisper-1"}}}
    named = one.from_client(sent({"type": "session.update", "session": {"model": "voice", "audio": sound}}))
    assert isinstance(named, Names)
    assert named.event["session"]["model"] == "gpt-realtime"
    assert named.models["session", "audio", "input", "transcription", "model"] == "whisper-1"
    written = {
        "type": "conversation.item.input_audio_transcription.completed",
        "usage": {"type": "duration", "seconds": 3},
    }
    assert one.from_server(sent(written)) == (Transcribed("whisper-1", written),)


def test_a_turn_without_an_end_is_estimated_by_what_passed() -> None:
    one = talk()
    one.from_server(created())
    for _ in range(4):
        one.from_server(sent({"type": "response.output_audio.delta", "delta": "A" * 3200}))
        one.from_server(sent({"type": "response.output_audio_transcript.delta", "delta": "word"}))
    assert one.seen("resp_1") == {"output": 4, "audio_out": 4}


def test_what_failed_before_it_began_costs_nothing() -> None:
    one = talk()
    one.from_server(created())
    (ended,) = one.from_server(
        sent({"type": "response.done", "response": {"id": "resp_1", "status": "failed", "usage": None}})
    )
    assert ended == Done("resp_1", failed=True)


def test_settings_that_make_a_turn_dearer_are_paid_before_they_pass() -> None:
    small = {"type": "realtime", "max_output_tokens": 1, "output_modalities": ["text"]}
    for larger in ({"max_output_tokens": "inf"}, {"max_output_tokens": 2}, {"output_modalities": ["audio"]}):
        one = talk()
        one.from_server(sent({"type": "session.updated", "session": small}))
        one.granted(one.bound().with_room(2048, 0))
        assert one.from_client(sent({"type": "session.update", "session": small})) is None
        assert one.from_client(sent({"type": "session.update", "session": larger})) is GROWN


def test_of_two_names_of_a_setting_the_dearer_one_holds() -> None:
    one = talk()
    both = {
        "max_output_tokens": 1,
        "max_response_output_tokens": "inf",
        "output_modalities": ["text"],
        "modalities": ["audio"],
    }
    asked = one.from_client(sent({"type": "response.create", "response": both}))
    assert isinstance(asked, Asks)
    assert (asked.bound.written, asked.bound.silent) == (None, False)


def test_a_turn_that_does_not_say_what_it_used_is_estimated_by_itself() -> None:
    one = talk()
    speech = sent({"type": "response.output_audio.delta", "delta": "A" * 3200})
    for number in range(3):
        one.from_server(created(f"resp_{number}"))
        one.from_server(speech)
        one.from_server(done(f"resp_{number}"))
    one.from_server(created("resp_last"))
    one.from_server(speech)
    unsaid = {"type": "response.done", "response": {"id": "resp_last", "status": "cancelled"}}
    (ended,) = one.from_server(sent(unsaid))
    assert isinstance(ended, Done)
    assert ended.seen["audio_out"] == 1
    assert "audio_out" not in one.seen("")  # of a turn that was asked for, and has not begun


def test_what_the_model_said_counts_though_a_response_had_an_input_of_its_own() -> None:
    one = talk()
    one.from_client(sent({"type": "response.create", "response": {"conversation": "none", "input": []}}))
    for number in range(1, 4):
        one.from_server(created(f"resp_{number}"))
        one.from_server(
            done(f"resp_{number}", input_tokens=1000 * number, input_token_details={"audio_tokens": 900 * number})
        )
    assert one.bound().audio >= 2715


@pytest.mark.parametrize(("kind", "place"), [("session.update", "session"), ("response.create", "response")])
def test_stored_prompts_are_nobodys(kind: str, place: str) -> None:
    wrong = talk().from_client(sent({"type": kind, place: {"prompt": {"id": "pmpt_theirs"}}}))
    assert isinstance(wrong, Wrong)
    assert wrong.param == f"{place}.prompt"


def test_a_request_goes_by_a_name_that_no_other_message_can_have() -> None:
    """Else an error about a message that is wrong on purpose would give back what a turn that runs has reserved."""
    one = talk()
    asked = one.from_client(sent({"type": "response.create", "event_id": "mine", "response": {"metadata": {"a": "b"}}}))
    again = one.from_client(sent({"type": "response.create", "event_id": "mine"}))
    assert isinstance(asked, Asks)
    assert isinstance(again, Asks)
    assert asked.name != again.name
    passed = json.loads(asked.message)
    assert passed == {"type": "response.create", "event_id": asked.name, "response": {"metadata": {"a": "b"}}}

    def error(**fields: Any) -> tuple[Any, ...]:
        return tuple(one.from_server(sent({"type": "error", "event_id": "e", "error": {"message": "no", **fields}})))

    assert error(event_id="mine") == error(event_id="z") == error(event_id=7) == ()
    assert error() == error(event_id=None) == (Declined(),)
    (declined,) = error(event_id=asked.name)
    assert declined.name == asked.name
    told = {"type": "error", "event_id": "e", "error": {"message": "no", "event_id": "mine"}}
    assert json.loads(declined.message) == told
    assert error(event_id=asked.name) == ()


def test_who_gave_a_request_no_name_hears_none() -> None:
    one = talk()
    asked = one.from_client(b'{"type": "response.create"}')
    assert isinstance(asked, Asks)
    (declined,) = one.from_server(sent({"type": "error", "error": {"event_id": asked.name}}))
    assert isinstance(declined, Declined)
    assert json.loads(declined.message)["error"] == {"event_id": None}
