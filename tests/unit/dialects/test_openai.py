"""Request bodies: what is priced or bounded is read strictly, everything else passes."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from proxy.dialects import fields, openai, references
from proxy.errors import Refused
from tests.support.rows import each_row

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BAD_NUMBERS = [True, 1.0, 0.5, "7", "٣", -1, 2**31, 10**26, [], {}, [5]]
BAD_BODIES = [
    b"", b"[]", b'"x"', b"{", b'{"model":NaN}', b"\xef\xbb\xbf{}", '{"model":"m"}'.encode("utf-16"), b'{"a":1e999}', b"{'a':1}",
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
]  # fmt: skip


def chat(**fields: Any) -> bytes:
    return (
        orjson.dumps(CHAT | fields, option=orjson.OPT_NON_STR_KEYS)
        if 10**26 not in fields.values()
        else (
            b'{"model":"m","messages":[{}],' + b",".join(b'"%s":%d' % (k.encode(), v) for k, v in fields.items()) + b"}"
        )
    )


def refused_field(raw: bytes, parse: Any = openai.parse_chat) -> str | None:
    with pytest.raises(Refused) as refused:
        parse(raw)
    assert refused.value.refusal.status == 400
    return refused.value.refusal.param


@pytest.mark.parametrize("raw", BAD_BODIES)
def test_what_is_not_a_json_object_is_refused(raw: bytes) -> None:
    refused_field(raw)


@each_row("value", BAD_NUMBERS)
@each_row("name", ["max_tokens", "max_completion_tokens", "n", "top_logprobs"])
def test_bounded_numbers_must_be_whole_and_in_range(name: str, value: Any) -> None:
    assert refused_field(chat(**{name: value})) == name


@pytest.mark.parametrize("name", ["MAX_TOKENS", "Model", "N", "Stream", "stream_Options", "Max_Completion_Tokens"])
def test_case_variants_of_bounded_fields_are_refused(name: str) -> None:
    assert refused_field(chat(**{name: 5})) == name.lower()


@pytest.mark.parametrize(
    "name", ["api_base", "base_url", "extra_headers", "aws_secret_access_key", "chat_template", "n_predict"]
)
def test_fields_that_make_a_server_do_foreign_work_are_refused(name: str) -> None:
    assert refused_field(chat(**{name: "x"})) == name


@pytest.mark.parametrize("model", [None, 5, "", "x" * 300, "a\nb", ["m"]])
def test_the_model_must_be_a_plain_name(model: Any) -> None:
    assert refused_field(chat(model=model)) == "model"


@pytest.mark.parametrize("messages", [None, "hi", [], ["hi"], {}])
def test_messages_must_be_a_list_of_objects(messages: Any) -> None:
    assert refused_field(chat(messages=messages)) == "messages"


def test_unknown_fields_pass() -> None:
    assert openai.parse_chat(chat(reasoning_effort="low", some_new_thing={"a": [1]})).body["some_new_thing"] == {
        "a": [1]
    }


def test_the_largest_cap_counts_when_several_are_sent() -> None:
    assert openai.parse_chat(chat(max_tokens=5, max_completion_tokens=9)).output_caps == (5, 9)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": None}])
def test_usage_is_asked_for_in_every_stream(options: Any) -> None:
    call = openai.parse_chat(chat(stream=True, stream_options=options))
    assert call.body["stream_options"]["include_usage"] is True
    assert call.wants_usage is False


def test_a_client_that_asked_for_usage_gets_it() -> None:
    assert openai.parse_chat(chat(stream=True, stream_options={"include_usage": True})).wants_usage is True


@pytest.mark.parametrize("options", [5, "x", [], {"include_usage": "yes"}])
def test_stream_options_are_read_strictly(options: Any) -> None:
    refused_field(chat(stream=True, stream_options=options))


def test_without_a_stream_nothing_is_added() -> None:
    assert "stream_options" not in openai.parse_chat(chat()).body


@pytest.mark.parametrize(
    ("fields", "sequences"),
    [
        ({"prompt": "a"}, 1),
        ({"prompt": ["a", "b", "c"], "n": 2}, 6),
        ({"prompt": [1, 2, 3], "best_of": 4, "n": 2}, 4),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": [[1, 2], "a"]}, 2),
    ],
)
def test_a_list_of_prompts_multiplies_the_sequences(fields: dict[str, Any], sequences: int) -> None:
    call = openai.parse_completions(orjson.dumps({"model": "m", "max_tokens": 7} | fields))
    assert (call.sequences, call.output_caps) == (sequences, (7,))


_MIXED: list[Any] = [
    [["a", "b"]], [1, "a"], ["a", 1], [1, [2]], [[[1]]], [[]], [[1], []], [1, 2.5], [1, True], [[1, None]],
    [[1], [["a"]]], [{"prompt": "a"}],
]  # fmt: skip


@each_row("prompt", [None, "", 5, [], [{}], [None], ["a"] * 3000, *_MIXED])
def test_odd_prompts_are_refused_or_empty(prompt: Any) -> None:
    if prompt == "":
        assert openai.parse_completions(orjson.dumps({"model": "m", "prompt": prompt})).sequences == 1
    else:
        assert refused_field(orjson.dumps({"model": "m", "prompt": prompt}), openai.parse_completions) == "prompt"


@each_row("given", [None, 5, [], *_MIXED])
def test_lists_that_servers_would_count_in_another_way_are_no_input_of_embeddings(given: Any) -> None:
    assert refused_field(orjson.dumps({"model": "m", "input": given}), openai.parse_embeddings) == "input"


def test_a_body_nested_deeper_than_can_be_written_is_refused() -> None:
    nested = b"[" * 300 + b"]" * 300
    call = openai.parse_chat(b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":' + nested + b"}")
    with pytest.raises(Refused) as refused:
        fields.encode(call, "m")
    assert refused.value.refusal.status == 400


def test_where_a_chat_is_not_walked_for_references_there_are_none() -> None:
    text = {"role": "user", "content": "hi"}
    odd: list[dict[str, Any]] = [
        {"messages": [text, {"role": {"file_id": "file-abc123"}, "content": "hi"}]},
        {"messages": [text, {"role": "user", "content": {"file_id": "file-abc123"}}]},
        {"messages": [{"role": "user", "content": "hi", "file_id": "file-abc123"}]},
        {"messages": [{"content": "hi", "file_id": "file-abc123"}]},
        {"messages": [text], "file_id": "file-abc123"},
        {"messages": [text], "other": {"file_id": "file-abc123"}},
        {"messages": [text], "other": [[{"file_id": "file-abc123"}]]},
        {"messages": [text], "stop": [{"conversation_id": "conv_abc123"}]},
    ]
    for _ in range(2):  # names are learned by the first
        for body in odd:
            with pytest.raises(Refused) as refused:
                openai.parse_chat(orjson.dumps({"model": "m", **body}))
            assert refused.value.refusal.status in (400, 404), body
        looked = openai.parse_chat(orjson.dumps({"model": "m", "messages": [text], "image_url": "https://a.example/b"}))
        assert looked.urls == ("https://a.example/b",)
    plain = {"model": "m", "messages": [text], "max_tokens": 5, "temperature": 1}
    assert references.of(plain, references.OPENAI) == references.NO_REFERENCES
    assert references.nothing_beside(plain, references.OPENAI, plain["messages"])


_LEAVES: list[Any] = [
    "hi", "", None, 5, True, [], {}, "file-abc123", "https://a.example/b", "data:x", {"file_id": "file-abc123"},
    {"url": "https://a.example/b"}, [{"id": "file-abc123"}], [{"type": "text", "text": "hi"}], {"type": "function"},
    [{"type": "image_url", "image_url": {"url": "https://a.example/b"}}], [{"type": "file", "file": {"file_id": "f"}}],
]  # fmt: skip
_NAMES = (
    "content", "role", "name", "tool_call_id", "image_url", "file", "file_id", "audio", "images", "metadata", "user", "stop",
    "tools", "vector_store_ids", "conversation_id", "prediction", "other", "container",
)  # fmt: skip


def test_random_chats_refer_to_the_same_where_they_are_all_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(raw: bytes) -> Any:
        try:
            return openai.parse_chat(raw)
        except Refused as refused:
            return refused.refusal

    skipped = 0
    for seed in range(1500):
        chance = random.Random(seed)
        messages: list[Any] = [{"role": "user", "content": "hi"} for _ in range(chance.choice((1, 2, 3)))]
        body: dict[str, Any] = {"model": "m", "messages": messages}
        for _ in range(chance.choice((0, 1, 2))):
            place = chance.choice((chance.choice(messages), body))
            place[chance.choice(_NAMES)] = chance.choice(_LEAVES)
        if chance.random() < 0.2:
            chance.choice(messages).pop("role")
        raw = orjson.dumps(body)
        quick = parsed(raw)
        with monkeypatch.context() as every:
            every.setattr(references, "nothing_beside", lambda *given: False)
            assert parsed(raw) == quick, body
        skipped += references.nothing_beside(body, references.OPENAI, messages)
    assert skipped > 100
