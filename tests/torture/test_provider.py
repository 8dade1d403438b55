"""The fake provider does what it is ordered to, and its invoice says so; the load generator reports what it saw."""

from __future__ import annotations

import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT
from tests.support.waiting import wait_until

from . import tariff
from .books import kept_for
from .faults import FAULTS, REFUSALS
from .harness import Provider, program
from .invoice import Line, read_invoice
from .orders import BadOrdersError, Orders, parse, write
from .reconcile import gather
from .traffic import Traffic, draw, to_json
from .verdict import judge


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = Provider(tmp_path_factory.mktemp("provider"))
    provider.up("--vllm")
    yield provider
    provider.close()


def ask(provider: Provider, path: str, body: dict[str, Any], until: bytes | None = None, key: str = "sk-x") -> bytes:
    """The answer's raw bytes: up to its end, or until some bytes have come and the connection is then reset."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
    with socket.create_connection(("127.0.0.1", provider.port), timeout=10) as sock:
        sock.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        answer = b""
        while until is None or until not in answer:
            try:
                piece = sock.recv(65536)
            except ConnectionResetError:
                return answer + b"<RST>"
            if not piece:
                break
            answer += piece
        return answer


def chat(orders: str, *, model: str = "tm-plain", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": f"one two three {orders}"}]} | fields


def line_of(provider: Provider, nonce: str) -> Line:
    def ended() -> bool:
        return any(line.nonce == nonce and line.end for line in read_invoice(provider.invoice))

    wait_until(f"the invoice has the end of {nonce}", ended, 5, 0.01)
    return next(line for line in read_invoice(provider.invoice) if line.nonce == nonce)


def test_orders_survive_being_written() -> None:
    orders = Orders(nonce="a-1", out=7, reason=2, cached=1, input=9, delay=0.5, chunk_delay=0.25, tpc=3, show=True)
    faults = Orders(nonce="b", faults=(("cut", "17"), ("split", "1")), mode="stop_on_disconnect", ignore_cap=True)

    assert parse(f"hello {write(orders)} there") == orders
    assert parse(f"{write(faults)}") == faults
    with pytest.raises(BadOrdersError, match="colour"):
        parse("[[colour=red]]")


def test_a_price_rounds_half_to_even_once() -> None:
    assert tariff.cost_nano("tm-half", {"input": 1}) == 0  # 0.5 nano-dollars
    assert tariff.cost_nano("tm-half", {"input": 3}) == 2  # 1.5
    assert tariff.cost_nano("tm-half", {"input": 2, "output": 1}) == 2  # 1 + 1.5
    assert tariff.cost_nano("tm-plain", {"reasoning": 2}) == tariff.cost_nano("tm-plain", {"output": 2}) == 1200


def test_a_unary_answer_tells_what_the_invoice_bills(provider: Provider) -> None:
    answer = ask(provider, "/v1/chat/completions", chat("[[n:u1;out=12;reason=5;cached=2]]"))

    told = json.loads(answer.partition(b"\r\n\r\n")[2])["usage"]
    line = line_of(provider, "u1")
    assert line.billed == {"input": 2, "cache_read": 2, "output": 7, "reasoning": 5}
    assert line.billed_nano == 2 * 150 + 2 * 75 + 12 * 600
    assert (line.end, line.told) == ("complete", "exact")
    assert (told["prompt_tokens"], told["completion_tokens"]) == (4, 12)
    assert told["prompt_tokens_details"]["cached_tokens"] == 2
    assert told["completion_tokens_details"]["reasoning_tokens"] == 5


def test_the_invoice_is_on_disk_before_the_first_byte(provider: Provider) -> None:
    ask(provider, "/v1/chat/completions", chat("[[n:first;out=50;chunk_delay=0.2]]", stream=True), until=b"HTTP")

    opened = [line for line in read_invoice(provider.invoice) if line.nonce == "first"]
    assert [line.planned["output"] for line in opened] == [50]


def test_streams_report_usage_as_openai_does(provider: Provider) -> None:
    def events(nonce: str, **fields: Any) -> list[Any]:
        answer = ask(provider, "/v1/chat/completions", chat(f"[[n:{nonce};out=4]]", stream=True, **fields))
        data = [part.partition(b"data: ")[2].strip() for part in answer.split(b"\n\n") if b"data: " in part]
        assert data.pop() == b"[DONE]"
        return [json.loads(item) for item in data]

    silent = events("quiet")
    asked = events("asked", stream_options={"include_usage": True})
    each = events("each", stream_options={"include_usage": True, "continuous_usage_stats": True})

    assert all("usage" not in event for event in silent)
    assert [event["usage"] for event in asked[:-1]] == [None] * (len(asked) - 1)
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["completion_tokens"] == 4
    assert [event["usage"]["completion_tokens"] for event in each] == [0, 1, 2, 3, 4, 4, 4]
    assert line_of(provider, "quiet").told == "nothing"


def test_stream_options_without_a_stream_are_refused(provider: Provider) -> None:
    answer = ask(provider, "/v1/chat/completions", chat("[[n:x]]", stream_options={"include_usage": True}))

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(("order", "out"), [("", 6), (";cap=ignore", 9)])
def test_a_cap_holds_unless_ordered_otherwise(provider: Provider, order: str, out: int) -> None:
    ask(provider, "/v1/chat/completions", chat(f"[[n:cap{out}{order};out=9]]", max_tokens=6, n=3))

    assert line_of(provider, f"cap{out}").billed["output"] == 3 * out


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/completions", {"model": "tm-plain", "prompt": ["a b [[n:N;out=3]]", "c"], "n": 2},
         {"input": 4, "output": 12}),
        ("/v1/embeddings", {"model": "tm-embed", "input": "a b c d [[n:N]]"}, {"input": 5}),
        ("/v1/responses", {"model": "tm-odd", "input": "a b [[n:N;out=9;reason=4]]", "stream": True},
         {"input": 3, "output": 5, "reasoning": 4}),
        ("/v1/messages", {"model": "tm-dear", "max_tokens": 50, "stream": True, "system": "be kind", "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a b [[n:N;out=9;cached=1;written=2]]"}]}]},
         {"input": 2, "cache_read": 1, "cache_write_5m": 2, "output": 9}),
        ("/v1beta/models/tm-plain:streamGenerateContent", {"contents": [{"parts": [{"text": "a [[n:N;out=9;reason=2]]"}]}]},
         {"input": 2, "output": 7, "reasoning": 2}),
    ],
)  # fmt: skip
def test_every_format_bills_its_units(provider: Provider, path: str, body: Any, expected: dict[str, int]) -> None:
    nonce = path.replace("/", "")
    answer = ask(provider, path, json.loads(json.dumps(body).replace("n:N", f"n:{nonce}")))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert line_of(provider, nonce).billed == expected
    if "/messages" in path:
        assert b'"output_tokens":9' in answer.partition(b"message_delta")[2]


@pytest.mark.parametrize(("mode", "least", "most"), [("bill_anyway", 100, 100), ("stop_on_disconnect", 3, 60)])
def test_what_a_caller_that_leaves_owes_is_the_laws_to_say(
    provider: Provider, mode: str, least: int, most: int
) -> None:
    body = chat(f"[[n:{mode};out=100;chunk_delay=0.01;mode={mode}]]", stream=True)

    ask(provider, "/v1/chat/completions", body, until=b'" and"')

    line = line_of(provider, mode)
    assert line.end == "client_left"
    assert line.told == "nothing"
    assert least <= line.billed["output"] <= most


def test_a_wrong_key_and_an_unknown_model_are_not_on_the_invoice(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    provider.up("--keys", "sk-a,sk-b")
    try:
        wrong = ask(provider, "/v1/chat/completions", chat("[[n:k]]"))
        unknown = ask(provider, "/v1/chat/completions", chat("[[n:m]]", model="gpt-none"), key="sk-b")
        right = ask(provider, "/v1/chat/completions", chat("[[n:r]]"), key="sk-b")
        assert provider.status() == {"open": 0, "accepted": 1, "refused_401": 1, "refused_404": 1}
    finally:
        assert provider.stop(10) == 0

    assert [answer[9:12] for answer in (wrong, unknown, right)] == [b"401", b"404", b"200"]
    assert [line.nonce for line in read_invoice(provider.invoice)] == ["r"]


@pytest.mark.parametrize(
    ("fault", "stream", "expected"),
    [
        ("status@429", False, b"retry-after: 1\r\n"),
        ("bare@503", True, b"content-length: 0\r\n\r\n"),
        ("html", False, b"<h1>Welcome</h1>"),
        ("redirect", False, b"HTTP/1.1 307"),
        ("cutrst@2", True, b"<RST>"),
        ("half_frame@2", True, b'"half","cho\r\n0\r\n\r\n'),
        ("bad_chunk@2", True, b"zz\r\nnot a chunk"),
        ("error_event@2", True, b'data: {"error":'),
        ("crlf", True, b"\r\n\r\n\r\n"),
        ("done_twice", True, b"data: [DONE]\n\n\r\n"),
        ("trailers", True, b"0\r\nx-usage: 1000000\r\n"),
        ("informational@2", False, b"HTTP/1.1 103 Status\r\nlink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 103"),
        ("headers_many@200", False, b"x-filler-199: "),
        ("http10", True, b"HTTP/1.0 200"),
        ("wide+split@1", True, b"1\r\n\xf0\r\n1\r\n\x9f\r\n"),
        ("usage_negative", False, b'"completion_tokens":-5'),
        ("usage_string", False, b'"completion_tokens":"8"'),
        ("usage_huge", True, b'"completion_tokens":1000000000000000000'),
        ("usage_null", True, b'"completion_tokens":null'),
        ("bom", True, b"\xef\xbb\xbfdata: "),
    ],
)
def test_a_fault_is_what_it_says(provider: Provider, fault: str, stream: bool, expected: bytes) -> None:
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}

    assert expected in ask(provider, "/v1/chat/completions", chat(f"[[n:f;out=8;fault={fault}]]", **options))


def run_load(provider: Provider, log: Path, wanted: Traffic) -> dict[str, Any]:
    command = [*program("load"), "--url", f"http://127.0.0.1:{provider.port}", "--log", str(log)]
    ran = subprocess.run(
        [*command, "--traffic", to_json(wanted)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    summary: dict[str, Any] = json.loads(ran.stdout)
    return summary


def test_the_same_seed_draws_the_same_calls() -> None:
    one, other = Traffic(seed=5), Traffic(seed=6)

    assert [draw(one, number) for number in range(50)] == [draw(one, number) for number in range(50)]
    assert draw(one, 1).body != draw(other, 1).body
    assert draw(one, 1, attempt=1).nonce != draw(one, 1).nonce


def test_perfect_books_of_a_real_run_are_found_flawless(tmp_path: Path) -> None:
    """Provider and load are as real as they get, the gateway between them is a perfect one on paper."""
    provider = Provider(tmp_path)
    provider.up()
    try:
        summary = run_load(provider, tmp_path / "log", Traffic(calls=600, concurrency=32, ask_usage=1.0))
        wait_until("all answers have ended", lambda: provider.status()["open"] == 0, 5)
    finally:
        assert provider.stop(10) == 0

    verdict = judge(gather(kept_for(provider.invoice, tmp_path / "log").write(tmp_path / "books")))

    assert summary["ends"] == {"complete 200": 600}
    assert verdict.wrong(clean=True) == []
    assert verdict.numbers["requests"] == verdict.numbers["entries"] == 600


def test_every_fault_ends_and_is_billed_once(tmp_path: Path) -> None:
    """Whatever is ordered, a request has one line with one end, refusals cost nothing, and callers get away."""
    provider = Provider(tmp_path)
    provider.up()
    faults = tuple(f"{name}@{fault.sample}" if fault.sample else name for name, fault in FAULTS.items())
    wanted = Traffic(
        calls=400, concurrency=64, faults_in_turn=faults, kinds={"chat": 1.0}, ask_usage=1.0, timeout_s=1.0
    )
    try:
        run_load(provider, tmp_path / "log", wanted)
        wait_until("all answers have ended", lambda: provider.status()["open"] == 0, 10)
        assert provider.status()["accepted"] == 400
    finally:
        assert provider.stop(10) == 0

    # `length_short` leaves bytes behind, and the next call on that connection gives up on its answer
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    garbage = {row["nonce"] for row in rows if row["end"] == "garbage"}
    lines = [line for line in read_invoice(provider.invoice) if line.nonce not in garbage]
    orders = {number: draw(wanted, number).orders for number in range(400)}
    done = {order.faults[0][0] for order in orders.values()}
    assert done == set(FAULTS)
    for line in lines:
        fault = orders[int(line.nonce.split("-")[1])].faults[0][0]
        refused = fault in REFUSALS
        assert (line.end == "refused", line.told == "refused", line.billed_nano == 0) == (refused, refused, refused)
        assert line.end is not None
        assert refused or line.end == "failed" or line.billed == line.planned
    assert Counter(line.nonce for line in lines).most_common(1)[0][1] == 1


def test_callers_leave_as_ordered(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    provider.up()
    leave = {"fin": 1.0, "rst": 1.0, "half": 1.0, "stop": 1.0, "half_request": 1.0}
    wanted = Traffic(
        calls=200, concurrency=50, stream=1.0, kinds={"chat": 1.0}, out=(50, 60), tpc=(1, 1), chunk_delay=(0.01, 0.01),
        leave=leave, leave_after=(0, 3000), reason=0.0,
    )  # fmt: skip
    try:
        run_load(provider, tmp_path / "log", wanted)
        wait_until("all answers have ended", lambda: provider.status()["open"] == 0, 10)
    finally:
        assert provider.stop(10) == 0

    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    seen = {row["nonce"]: row for row in rows}
    ends = {(row["leave"], row["end"]) for row in rows}
    invoiced = {line.nonce for line in read_invoice(provider.invoice)}
    assert ends == {("fin", "left"), ("rst", "left"), ("half", "eof"), ("stop", "left"), ("half_request", "left")}
    assert {nonce for nonce, row in seen.items() if row["leave"] == "half_request"}.isdisjoint(invoiced)
    ends_of = {(seen[line.nonce]["leave"], line.end) for line in read_invoice(provider.invoice)}
    assert ends_of - {("stop", "complete")} == {(manner, "client_left") for manner in ("fin", "rst", "half", "stop")}
