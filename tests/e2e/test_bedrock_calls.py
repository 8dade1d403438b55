"""Bedrock's own API over several calls, and left in the middle: sessions that conversations tell, and what hang-ups cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import bedrock
from tests.support.bedrock_client import bedrock_client
from tests.support.billed_rig import BilledRig, billed
from tests.support.gateway import server
from tests.support.waiting import eventually, wait_until

KEY = "sk-bedrock-0000000000000002"
HAIKU, LLAMA = "anthropic.claude-3-haiku-20240307-v1:0", "us.meta.llama3-3-70b-instruct-v1:0"
NOVA = "amazon.nova-pro-v1:0"


def config(folder: Path, provider_url: str) -> dict[str, Any]:
    row = {
        "provider": "aws", "base_url": provider_url, "api_key": bedrock.API_KEY, "params": {"aws_region_name": bedrock.REGION},
    }  # fmt: skip
    return {
        "server": server(),
        "upstreams": {"bedrock": row, "stops": row | {"bills_after_disconnect": False}},
        "models": {
            **{f"stops-{name}": {"upstream": "stops", "model": model} for name, model in
               (("haiku", HAIKU), ("llama", LLAMA), ("nova", NOVA))},
            "*": {"upstream": "bedrock"},
        },
        "keys": [{"name": "tests", "key": KEY}],
        "budgets": [{"name": "all", "limit_usd": "1000", "window": "day"}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "d"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BilledRig]:
    folder = tmp_path_factory.mktemp("bedrock-calls")
    with billed(folder, "tests.support.bedrock", lambda url: config(folder, url)) as parts:
        yield BilledRig(*parts)


@pytest.fixture(scope="module")
def client(rig: BilledRig) -> Iterator[Any]:
    made = bedrock_client(rig, KEY)
    yield made
    made.close()


def entry(rig: BilledRig, request_id: str) -> dict[str, Any]:
    made: dict[str, Any] = eventually(lambda: rig.get("/api/requests", request_id=request_id)["items"], bool)[0]
    return made


def session_of(rig: BilledRig, answer: Any) -> tuple[str, str]:
    made = entry(rig, answer["ResponseMetadata"]["HTTPHeaders"]["x-taximeter-request-id"])
    return made["session_id"], made["session_source"]


# ---- sessions ----


def converse(client: Any, messages: list[Any], stream: bool, **more: Any) -> tuple[Any, dict[str, Any]]:
    """The answer's head and its message."""
    asked = {"modelId": HAIKU, "messages": messages, "inferenceConfig": {"maxTokens": 100}, **more}
    if not stream:
        answer = client.converse(**asked)
        return answer, answer["output"]["message"]
    answer = client.converse_stream(**asked)
    blocks: list[Any] = []
    for event in answer["stream"]:
        if "toolUse" in event.get("contentBlockStart", {}).get("start", {}):
            blocks.append({"toolUse": event["contentBlockStart"]["start"]["toolUse"] | {"input": ""}})
        delta = event.get("contentBlockDelta", {}).get("delta", {})
        if "toolUse" in delta:
            blocks[-1]["toolUse"]["input"] += delta["toolUse"]["input"]
        elif "text" in delta:
            blocks = blocks or [{"text": ""}]
            blocks[-1]["text"] += delta["text"]
    for block in blocks:
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    return answer, {"role": "assistant", "content": blocks}


@pytest.mark.parametrize("stream", [False, True])
def test_converse_goes_on_in_its_session(rig: BilledRig, client: Any, stream: bool) -> None:
    """With a tool's call and its result; marks of the prompt's cache move on, as clients move them."""
    tools = {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]}
    mark = {"cachePoint": {"type": "default"}}
    system = [{"text": f"You like zebras, {stream}."}, mark]
    messages: list[Any] = [{"role": "user", "content": [{"text": f"TOOL {stream}"}, mark]}]
    first, message = converse(client, messages, stream, toolConfig=tools, system=system)
    result = {"toolResult": {"toolUseId": "t1", "content": [{"json": {"seen": 1}}], "status": "success"}}
    messages = [
        {"role": "user", "content": [{"text": f"TOOL {stream}"}]},
        message,
        {"role": "user", "content": [result, mark]},
    ]
    second, message = converse(client, messages, not stream, toolConfig=tools, system=system[:1])
    messages += [message, {"role": "user", "content": [{"text": "Thanks."}]}]
    third, _ = converse(client, messages, stream, toolConfig=tools, system=system)
    other, _ = converse(client, [{"role": "user", "content": [{"text": f"Another {stream}"}]}], stream)

    session = session_of(rig, first)[0]
    assert session_of(rig, second) == (session, "prefix")
    assert session_of(rig, third) == (session, "prefix")
    assert session_of(rig, other)[0] != session


CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100}


def llama3(*turns: tuple[str, str]) -> dict[str, Any]:
    said = "".join(f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in turns)
    return {"prompt": f"<|begin_of_text|>{said}<|start_header_id|>assistant<|end_header_id|>\n\n", "max_gen_len": 50}


def blocks(*turns: tuple[str, str]) -> list[Any]:
    return [{"role": role, "content": [{"text": text}]} for role, text in turns]


MAKERS = {
    HAIKU: lambda *turns: CLAUDE | {"messages": [{"role": role, "content": text} for role, text in turns]},
    LLAMA: llama3,
    NOVA: lambda *turns: {"schemaVersion": "messages-v1", "messages": blocks(*turns), "inferenceConfig": {"maxTokens": 50}},
}  # fmt: skip


@pytest.mark.parametrize("model", MAKERS)
@pytest.mark.parametrize("stream", [False, True])
def test_invoke_goes_on_in_its_session_whoever_made_the_model(
    rig: BilledRig, client: Any, model: str, stream: bool
) -> None:
    def ask(*turns: tuple[str, str]) -> Any:
        body = json.dumps(MAKERS[model](*turns))
        if not stream or model == NOVA:
            answer = client.invoke_model(modelId=model, body=body)
            answer["body"].read()
        else:
            answer = client.invoke_model_with_response_stream(modelId=model, body=body)
            list(answer["body"])
        return answer

    said = ("user", f"Name an animal, {stream}.")
    first = ask(said)
    second = ask(said, ("assistant", bedrock.TEXT), ("user", "And another."))
    other = ask(said, ("assistant", "Lions roar."), ("user", "And another."))

    session = session_of(rig, first)[0]
    assert session_of(rig, second) == (session, "prefix")
    assert session_of(rig, other)[0] != session


# ---- hang-ups ----


def leave(rig: BilledRig, path: str, body: dict[str, Any]) -> str:
    """Read the first bytes of a stream, and leave; the request's id."""
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.stream("POST", f"{rig.url}/model/{path}", json=body, headers=headers, timeout=30) as answer:
        next(answer.iter_raw())
        return str(answer.headers["x-taximeter-request-id"])


def hung_up(rig: BilledRig) -> int:
    return sum("hung_up" in line for line in rig.lines())


ASKED = {
    "converse-stream": {"messages": blocks(("user", "ENDLESS")), "inferenceConfig": {"maxTokens": 100}},
    "haiku": CLAUDE | {"messages": [{"role": "user", "content": "ENDLESS"}]},
    "llama": {"prompt": "ENDLESS", "max_gen_len": 50},
}


@pytest.mark.parametrize(
    ("path", "asked", "given"),
    [
        ("stops-haiku/converse-stream", "converse-stream", None),
        ("stops-haiku/invoke-with-response-stream", "haiku", 20),
        ("stops-llama/invoke-with-response-stream", "llama", 12),
    ],
)
def test_where_a_hang_up_ends_the_bill_the_connection_is_closed(
    rig: BilledRig, path: str, asked: str, given: int | None
) -> None:
    """And what had come by then is charged: as it was stated, or counted."""
    before = hung_up(rig)

    request_id = leave(rig, path, ASKED[asked])

    wait_until("the provider sees it", lambda: hung_up(rig) > before, 20)
    made = entry(rig, request_id)
    assert made["outcome"] == "client_disconnected"
    assert made["usage"]["input"] == given or (given is None and 1 <= made["usage"]["input"] < 20)
    assert 1 <= made["usage"]["output"] <= 8  # "Zebras have stripes." at most
    assert 0 < float(made["cost_usd"]) <= float(made["reserved_usd"])


@pytest.mark.parametrize(("model", "action"), [(HAIKU, "converse-stream"), (LLAMA, "invoke-with-response-stream")])
def test_where_the_bill_goes_on_a_stream_is_read_to_its_end(rig: BilledRig, model: str, action: str) -> None:
    before = rig.lines()
    body = ASKED["converse-stream" if "converse" in action else "llama"]

    request_id = leave(rig, f"{model}/{action}", json.loads(json.dumps(body).replace("ENDLESS", "PAUSES")))

    made, (bill,) = entry(rig, request_id), rig.lines()[len(before) :]
    assert made["outcome"] == "client_disconnected"
    assert round(float(made["cost_usd"]) * 1e9) == bill["nanousd"]


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("action", ["converse", "invoke"])
def test_who_leaves_before_a_whole_answer(rig: BilledRig, action: str, stops: bool) -> None:
    before = rig.lines()
    asked = json.loads(
        json.dumps(ASKED["converse-stream" if action == "converse" else "haiku"]).replace("ENDLESS", "SLOW")
    )
    model = "stops-haiku" if stops else HAIKU
    with httpx.Client(headers={"authorization": f"Bearer {KEY}"}) as http, pytest.raises(httpx.ReadTimeout):
        http.post(f"{rig.url}/model/{model}/{action}", json=asked, timeout=0.2)

    (line,) = eventually(lambda: rig.lines()[len(before) :], bool, 20)
    made = eventually(
        lambda: rig.get("/api/requests", limit="1")["items"][0],
        lambda item: (item["operation"], item["model_requested"]) == (action, model) and item["status"] == "settled",
        20,
    )
    assert made["outcome"] == "client_disconnected"
    assert ("hung_up" in line) == stops
    if stops:
        assert 0 < float(made["cost_usd"]) <= float(made["reserved_usd"])
    else:
        assert round(float(made["cost_usd"]) * 1e9) == line["nanousd"]
