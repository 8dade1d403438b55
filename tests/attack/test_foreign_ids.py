"""What another team has stored at a provider stays its own, wherever in a body its id is written, and however."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.dialects import references
from tests.attack.houses import OTHERS_KEY, ask, house_of
from tests.flow.house import Answer, House


def _user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def _parts(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "parts": list(parts)}]


_ITEM = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
FOREIGN: list[tuple[str, dict[str, Any]]] = [
    *(
        (operation, changes)
        for operation in ("responses", "compact", "input_tokens")
        for changes in (
            {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
            {"tools": [{"type": "file_search", "vector_store_ids": "vs_1"}]},
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]},
            {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
            {"tools": [{"type": "code_interpreter", "container": {"id": "cntr_1"}}]},
            {"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}]},
            {"tools": [{"type": "shell", "environment": {"type": "container_auto", "file_ids": ["file-1"]}}]},
            {"tools": [{"type": "shell", "environment": {"skills": [{"type": "skill_reference", "skill_id": "s_1"}]}}]},
            {"tools": [{"type": "mcp", "server_label": "l", "tunnel_id": "tun_1"}]},
            {"tools": [{"type": "image_generation", "input_image_mask": {"file_id": "file-1"}}]},
            {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
            {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}]},
            {"input": [{"type": "item_reference", "id": "msg_1", "encrypted_content": "x"}]},
            {"input": [{"type": None, "id": "msg_1", "status": "completed"}]},
            {"input": [_ITEM | {"id": "msg_1"}]},
            {"input": [{"type": "image_generation_call", "id": "ig_1", "status": "completed"}]},
            {"input": [{"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}}]},
            {"input": [{"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}]},
            {"input": [{"type": "computer_call_output", "call_id": "c", "output": {"type": "s", "file_id": "file-1"}}]},
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "i", "file_id": "file-1"}]}]},
            {"input": [{"type": "code_interpreter_call", "code": "1", "container_id": "cntr_1"}]},
            {"input": [{"type": "mcp_approval_response", "approve": True, "approval_request_id": "mcpr_1"}]},
            {"input": _user({"type": "input_file", "file_id": "file-1"})},
            {"input": _user({"type": "input_image", "File_ID": "file-1"})},
            {"input": _user({"type": "input_file", "file": "file-abc123"})},
            {"input": _user({"type": "input_file", "file_url": " file-abc123 "})},
            {"input": _user({"type": "input_image", "image_url": "FILE-abc123"})},
            {"input": _user({"type": "input_image", "image_url": "sediment://file_abc"})},
            {"input": _user({"type": "input_file", "file_url": "gs://bucket/a.pdf"})},
            {"input": _user({"type": "input_image", "image_url": {"type": "url_citation", "url": "s3://bucket/key"}})},
            {"conversation": "conv_1"},
            {"conversation": {"id": "conv_1"}},
            {"prompt": {"id": "pmpt_1"}},
            {"previous_response_id": "resp_1"},
            {"something_new": {"deeper": [{"thing_id": "x_1"}]}},
        )
    ),
    ("chat", {"messages": _user({"type": "file", "file": {"file_id": "file-1"}})}),
    ("chat", {"messages": _user({"type": "file", "file": {"id": "file-1"}})}),
    ("chat", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
    ("chat", {"audio": {"format": "mp3", "voice": {"id": "voice_1"}}, "modalities": ["audio", "text"]}),
    ("chat", {"tools": [{"type": "document_library", "library_ids": ["l_1"]}]}),
    ("chat", {"messages": _user({"type": "file", "file": "file-abc123"})}),
    ("chat", {"messages": _user({"type": "image_url", "image_url": {"url": "file-abc123"}})}),
    ("chat", {"messages": _user({"type": "image_url", "image_url": "s3://bucket/key"})}),
    *(("chat", {"messages": _user({"type": "image_url", "image_url": cited})}) for cited in (
        {"type": "url_citation", "url": "s3://bucket/key"}, [{"type": "url_citation", "url": "gs://bucket/key"}],
        {"type": "url_citation", "url": "file-abc123"})),
    ("chat", {"messages": _user({"type": "input_audio", "audio": {"type": "url_citation", "url": "s3://bucket/key"}})}),
    ("chat", {"messages": _user({"type": "file", "file": {"type": "url_citation", "url": "s3://bucket/key"}})}),
    ("chat", {"agent_id": "ag_1"}),
    ("chat", {"assistant": "asst_abcDEFghiJKLmnoPQRstuVWX"}),
    ("chat", {"thread": "thread_abcdefghijklmnopqrstuvwx"}),
    ("speech", {"voice": {"id": "voice_1"}}),
    ("images", {"images": [{"file_id": "file-1"}]}),
    ("embeddings", {"file_id": "file-1"}),
    ("completions", {"file_ids": ["file-1"]}),
    *(
        (operation, changes)
        for operation in ("messages", "count_tokens")
        for changes in (
            {"messages": _user({"type": "document", "source": {"type": "file", "file_id": "file_1"}})},
            {"messages": _user({"type": "document", "source": {"type": "file", "id": "file_1"}})},
            {"messages": _user({"type": "document", "source": {"type": "url", "url": "s3://bucket/key"}})},
            {"messages": _user({"type": "document", "source": {"type": "web_search_result", "url": "s3://bucket/key"}})},
            {"messages": _user({"type": "document", "source": "file_abc123"})},
            {"messages": _user({"type": "search_result", "source": {"type": "file", "file_id": "file_1"}})},
            {"messages": _user({"type": "container_upload", "file_id": "file_1"})},
            {"messages": _user({"type": "tool_result", "tool_use_id": "t", "content": [{"source": {"file_id": "file_1"}}]})},
            {"system": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]},
            {"container": "container_1"},
            {"container": {"id": "container_1"}},
            {"container": {"skills": [{"type": "custom", "skill_id": "skill_1"}]}},
            {"container": {"skills": [{"skill_id": "xlsx"}]}},
            {"user_profile_id": "up_1"},
            {"messages": _user({"type": "document", "source": {"type": "file", "file_id": {"id": "file_1"}}})},
        )
    ),
    ("messages", {"thread": {"type": "continue", "previous_message_id": "msg_1"}}),
    *(
        (operation, changes)
        for operation in ("generate", "count")
        for changes in (
            {"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}}]},
            {"tools": [{"file_search": {"file_search_store_names": ["fileSearchStores/a"]}}]},
            {"tools": [{"retrieval": {"vertexRagStore": {"ragResources": [{"ragCorpus": "projects/p"}]}}}]},
            {"tools": [{"retrieval": {"vertexAiSearch": {"datastore": "projects/p"}}}]},
            {"contents": _parts({"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": "files/a"}}]}})},
            {"contents": _parts({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/%66iles/a"}})},
            {"contents": _parts({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/%2566iles/a"}})},
            {"contents": _parts({"fileData": {"fileUri": "https://x.test/a.pdf", "file_uri": "files/a"}})},
            {"contents": _parts({"file_data": {"file_uri": "gs://bucket/a"}})},
            {"cachedContent": "cachedContents/a"},
            {"cached_content": "cachedContents/a"},
            {"generationOutputConfig": {"outputUriPrefix": "gs://bucket/a"}},
            {"generation_output_config": {"output_uri_prefix": "gs://bucket/a"}},
        )
    ),
    ("count", {"contents": None, "generateContentRequest": {"cachedContent": "cachedContents/a"}}),
    ("embed", {"content": {"parts": [{"fileData": {"fileUri": "files/a"}}]}}),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "fields"), FOREIGN)
async def test_ids_that_this_team_never_got_are_not_found(
    tmp_path: Path, operation: str, fields: dict[str, Any]
) -> None:
    house = house_of(tmp_path, operation)
    told = await ask(house, operation, **fields)
    assert told.status == 404, told.body
    assert house.sent == []
    assert "intent" not in house.kinds()


_CLIENTS_OWN: list[tuple[str, dict[str, Any]]] = [
    ("chat", {"messages": [
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"}]}),
    ("chat", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {
        "type": "object", "properties": {"file_id": {"type": "string"}, "container": {"enum": ["a"]}}}}}]}),
    ("chat", {"metadata": {"file_id": "a", "user_id": "u"}, "stop_token_ids": [1], "litellm_session_id": "s"}),
    ("chat", {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"id": {"const": "x"}}}}}}),
    ("chat", {"messages": _user({"type": "image_url", "image_url": {"url": "https://x.test/files/a.png"}})}),
    ("speech", {"voice": "alloy"}),
    ("chat", {"agent": "voice-assistant"}),
    ("chat", {"skill": "file-search", "assistant": "thread_summary_writer"}),
    ("responses", {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}]}),
    ("responses", {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, _ITEM]}),
    ("responses", {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}]}),
    ("responses", {"store": False, "input": [_ITEM | {"id": "msg_1"}]}),
    ("responses", {"store": False, "input": [{"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}}]}),
    ("messages", {"messages": [{"role": "assistant", "content": [
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"file_id": "a", "container": "b"}}]}]}),
    ("messages", {"tools": [{"name": "f", "input_schema": {}, "input_examples": [{"file_id": "a", "container": "b"}]}]}),
    ("messages", {"container": {"skills": [{"type": "anthropic", "skill_id": "xlsx", "version": "latest"}]}}),
    *(("messages", {"messages": _user({
        "type": "search_result", "source": source, "title": "t", "content": [{"type": "text", "text": "x"}]})})
      for source in ("s3://company/handbook.pdf", "file-handbook_2024", "gs://b/x")),
    ("messages", {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "x", "citations": [
        {"type": "search_result_location", "source": "s3://company/handbook.pdf", "search_result_index": 0}]}]}]}),
    *(("messages", {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "x", "citations": [
        {"type": "web_search_result_location", "url": url, "cited_text": "x"}]}]}]}) for url in ("s3://b/k", "file-handbook_2024")),
    ("chat", {"messages": [{"role": "assistant", "content": "x", "annotations": [
        {"type": "url_citation", "url_citation": {"url": "s3://b/k", "title": "t", "start_index": 0, "end_index": 1}}]}]}),
    ("responses", {"input": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x",
        "annotations": [{"type": "url_citation", "url": "gs://b/k", "title": "t", "start_index": 0, "end_index": 1}]}]}]}),
    ("messages", {"metadata": {"user_id": "u"}, "diagnostics": {"previous_message_id": "msg_1"}}),
    ("generate", {"contents": _parts(
        {"functionCall": {"id": "1", "name": "f", "args": {"fileUri": "files/a"}}},
        {"functionResponse": {"id": "1", "name": "f", "response": {"file_id": "files/a"}}})}),
    ("generate", {"contents": _parts({"fileData": {"fileUri": "https://www.youtube.com/watch?v=9hE5-98ZeCg"}})}),
    ("generate", {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"properties": {"store_id": {}}}}]}]}),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "fields"), _CLIENTS_OWN)
async def test_ids_of_the_clients_own_pass(tmp_path: Path, operation: str, fields: dict[str, Any]) -> None:
    house = house_of(tmp_path, operation)
    told = await ask(house, operation, **fields)
    assert told.status == 200, told.body
    assert len(house.sent) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_thread_is_gone_on_with_by_the_team_that_began_it(tmp_path: Path, streamed: bool) -> None:
    house = house_of(tmp_path, "messages", "anthropic", models={"m": {"upstream": "up", "context_tokens": 8000}})
    message = {"id": "msg_9", "type": "message", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}
    began: dict[str, Any] = {"thread": {"type": "create"}, "stream": streamed}
    if streamed:
        events = [{"type": "message_start", "message": message}, {"type": "message_stop"}]
        pieces = [f"event: {event['type']}\ndata: {orjson.dumps(event).decode()}\n\n".encode() for event in events]
        answer = Answer(*pieces, kind=b"text/event-stream")
        first = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, **began}
        assert (await house.ask(answer, path="/v1/messages", chat=False, **first)).status == 200
    else:
        assert (await ask(house, "messages", message, **began)).status == 200
    goes_on = {"thread": {"type": "continue", "previous_message_id": "msg_9"}}
    assert (await ask(house, "messages", key=OTHERS_KEY, **goes_on)).status == 404

    assert (await ask(house, "messages", message, **goes_on)).status == 200
    assert house.sent[-1][1]["thread"] == goes_on["thread"]
    intents = [record for record in house.records() if record["t"] == "intent"]
    assert intents[-1]["reserved_nanousd"] >= 8000 * 1000  # what the provider keeps may fill the context


_BOOKS = [{"conversation_id": "c"}, {"chat_id": "c", "message_id": "m"}, {"parentMessageId": "m"}, {"thread_id": "t"}, {"parent_run_id": "r"}]  # fmt: skip


@pytest.mark.parametrize("operation", ["chat", "responses", "messages"])
@pytest.mark.parametrize("fields", _BOOKS)
async def test_a_clients_own_books_pass_and_no_unknown_server_reads_them(
    tmp_path: Path, operation: str, fields: dict[str, Any]
) -> None:
    house = house_of(tmp_path, operation, "openai")
    assert (await ask(house, operation, **fields)).status == 200
    assert house.sent[0][1].items() >= fields.items()
    house = house_of(tmp_path / "unknown", operation, "acme")
    assert (await ask(house, operation, **fields)).status == 200
    assert house.sent[0][1].keys().isdisjoint(fields)


async def test_what_stands_deeper_is_nobodys_books(tmp_path: Path) -> None:
    house = house_of(tmp_path, "chat", "openai")
    told = await ask(house, "chat", tools=[{"type": "x", "conversation_id": "c"}])
    assert told.status == 404


async def test_an_id_that_nobody_vouches_for_does_not_go_along(tmp_path: Path) -> None:
    """A client that has nothing stored sends items whole; what only helps to diagnose is left out."""
    house = house_of(tmp_path, "responses")
    await ask(house, "responses", store=False, input=[_ITEM | {"id": "msg_1"}])
    assert house.sent[0][1]["input"] == [_ITEM]
    house = house_of(tmp_path / "a", "messages")
    await ask(house, "messages", diagnostics={"previous_message_id": "msg_1"})
    assert house.sent[0][1]["diagnostics"] == {"previous_message_id": None}


_RESPONSE = {
    "id": "resp_1", "object": "response", "status": "completed", "usage": {"input_tokens": 1, "output_tokens": 1},
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {"id": "ci_1", "type": "code_interpreter_call", "code": "1", "container_id": "cntr_1", "status": "completed"},
        {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": [
            {"type": "container_file_citation", "container_id": "cntr_1", "file_id": "cfile_1"}]}]},
    ],
}  # fmt: skip
_MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "container": {"id": "container_1", "expires_at": "x"},
    "content": [{"type": "bash_code_execution_tool_result", "tool_use_id": "s", "content": {
        "type": "bash_code_execution_result", "content": [{"type": "bash_code_execution_output", "file_id": "file_1"}]}}],
    "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip
_SPOKEN = {
    "choices": [{"message": {"role": "assistant", "audio": {"id": "audio_1", "data": ""}}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}
_CODE = [{"type": "code_execution_20250825", "name": "code_execution"}]
_MADE: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("responses", {}, _RESPONSE, {"input": _RESPONSE["output"]}),
    ("responses", {}, _RESPONSE, {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}),
    ("responses", {"store": False}, _RESPONSE, {"store": False, "input": _RESPONSE["output"]}),
    ("messages", {"tools": _CODE}, _MESSAGE, {"container": "container_1"}),
    ("messages", {"tools": _CODE}, _MESSAGE, {"messages": [{"role": "assistant", "content": _MESSAGE["content"]}]}),
    (
        "chat",
        {"modalities": ["audio", "text"]},
        _SPOKEN,
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
    ),
]


@pytest.mark.parametrize(("operation", "first", "answer", "then"), _MADE)
async def test_what_a_team_made_it_may_use_again_and_no_other(
    tmp_path: Path, operation: str, first: dict[str, Any], answer: dict[str, Any], then: dict[str, Any]
) -> None:
    house: House = house_of(tmp_path, operation)
    assert (await ask(house, operation, answer, **first)).status == 200
    assert (await ask(house, operation, **then)).status == 200
    sent = len(house.sent)
    house.answers.clear()
    told = await ask(house, operation, key=OTHERS_KEY, **then)
    assert (told.status, len(house.sent)) == (404, sent)


@pytest.mark.parametrize("build", [lambda n: [{"k": {"a_b": [[]] * 3}}] * n, lambda n: {f"n{i}": {} for i in range(n)}])
def test_names_that_clients_make_up_are_not_kept_without_end(build: Callable[[int], Any]) -> None:
    names = references.Names()
    references.of({"x": build(10_000)}, names)
    assert len(names.known) <= 4096
