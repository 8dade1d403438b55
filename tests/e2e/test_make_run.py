"""What `make run` gives a person: a real answer with a price on it, and every view of the bill agrees with an invoice
that the product did not write: the model server's own token counters."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import httpx
import openai
import pytest

from proxy.serve.local_model import ADDRESS_FILE, KEY_FILE, MODEL_NAME
from tests.e2e import serving
from tests.e2e.llama_counters import LlamaCounters, read_counters
from tests.e2e.serving import Serving, as_json
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # another run on this machine may have the default ports, and its turn first

PROMPT = "Xyloquartz: name three animals with stripes."
# The start-up configuration's invented prices: USD 0.10, 0.01 and 0.40 per million tokens, in nano-USD each.
NANO_PER_INPUT, NANO_PER_CACHED, NANO_PER_OUTPUT = 100, 10, 400


@dataclass(frozen=True, slots=True)
class Bill:
    """What some calls used and cost, by one of the views."""

    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: Decimal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("make-run")


@pytest.fixture(scope="module")
def first(folder: Path) -> Iterator[Serving]:
    running = serving.start(folder)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def first_answer(first: Serving) -> httpx.Response:
    """What the printed curl line brings."""
    return run_curl(first.curl)


@pytest.fixture(scope="module")
def reported(first: Serving, first_answer: httpx.Response) -> Bill:
    """Talk to it as an app would: after the curl line the real SDK, streamed and not. What all the answers said."""
    usages = [first_answer.json()["usage"]]
    with openai.OpenAI(base_url=first.base_url, api_key=first.key, max_retries=0) as client:
        for index in range(3):
            chat = client.chat.completions.create(
                model=MODEL_NAME, messages=[{"role": "user", "content": f"{PROMPT} {index}"}], max_tokens=16
            )
            assert chat.choices[0].message.content
            assert chat.usage
            usages.append(chat.usage.model_dump())
        for index in range(3):
            stream = client.chat.completions.create(
                model=MODEL_NAME,
                messages=[{"role": "user", "content": f"{PROMPT} {index}"}],
                max_tokens=16,
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = list(stream)
            assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
            assert chunks[-1].usage
            usages.append(chunks[-1].usage.model_dump())
        text = client.completions.create(model=MODEL_NAME, prompt="One, two,", max_tokens=6)
        embedding = client.embeddings.create(model=MODEL_NAME, input="a zebra, a tiger")
        assert text.usage
        usages += [text.usage.model_dump(), embedding.usage.model_dump()]
    cached = sum((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0 for usage in usages)
    prompt = sum(usage["prompt_tokens"] for usage in usages)
    output = sum(usage.get("completion_tokens", 0) for usage in usages)
    nano = (prompt - cached) * NANO_PER_INPUT + cached * NANO_PER_CACHED + output * NANO_PER_OUTPUT
    return Bill(len(usages), prompt - cached, cached, output, Decimal(nano) / 10**9)


def local_server(first: Serving) -> tuple[str, str]:
    """The embedded model's own base URL and key."""
    data = first.folder / "taximeter-data"
    return (data / ADDRESS_FILE).read_text().strip() + "/v1", (data / KEY_FILE).read_text().strip()


def run_curl(arguments: list[str]) -> httpx.Response:
    """The printed command, without needing curl: `curl -i URL -H … -d …`."""
    assert arguments[:2] == ["curl", "-i"]
    url, rest = arguments[2], arguments[3:]
    headers = dict(value.split(": ", 1) for flag, value in zip(rest[::2], rest[1::2], strict=True) if flag == "-H")
    bodies = [value for flag, value in zip(rest[::2], rest[1::2], strict=True) if flag == "-d"]
    return httpx.post(url, headers=headers, content=bodies[0], timeout=60).raise_for_status()


def bill_of(items: list[dict[str, object]]) -> Bill:
    """A report by model that has one row, or none yet."""
    if not items:
        return Bill(0, 0, 0, 0, Decimal(0))
    (row,) = items
    usage = row["usage"]
    assert row["model"] == MODEL_NAME
    assert isinstance(usage, dict)
    assert set(usage) <= {"input", "cache_read", "output"}
    return Bill(
        int(str(row["requests"])),
        int(usage.get("input", 0)),
        int(usage.get("cache_read", 0)),
        int(usage.get("output", 0)),
        Decimal(str(row["cost_usd"])),
    )


def test_the_printed_curl_line_gets_an_answer_with_its_price(first_answer: httpx.Response) -> None:
    """Paste it: a real model answers, and the header says what that cost."""
    assert first_answer.json()["choices"][0]["message"]["content"]
    assert Decimal(first_answer.headers["x-taximeter-cost-usd"]) > 0
    assert first_answer.headers["x-taximeter-request-id"]


def test_every_view_agrees_with_the_invoice(first: Serving, reported: Bill) -> None:
    """The SDK's usage, `/api/spend`, `taximeter spend`, `/metrics` and the model server's counters: one and the same."""
    spent = eventually(lambda: bill_of(first.api("/api/spend", by="model")["items"]), lambda bill: bill == reported)
    counted = eventually(lambda: bill_from(first), lambda bill: bill == reported)
    invoice = read_counters(*local_server(first))

    assert spent == reported
    assert counted == reported
    assert bill_of(as_json(first.command("spend", "--by", "model", "--format", "json"))) == reported
    assert LlamaCounters(spent.input_tokens, spent.cached_tokens, spent.output_tokens) == invoice


def test_a_stream_whose_client_asked_for_no_usage_is_billed_all_the_same(first: Serving, reported: Bill) -> None:
    """The client sees no usage, as it would from the server itself; the ledger has the server's own count."""
    counted = read_counters(*local_server(first))
    before = eventually(lambda: bill_of(first.api("/api/spend", by="model")["items"]), lambda bill: bill == reported)
    with openai.OpenAI(base_url=first.base_url, api_key=first.key, max_retries=0) as client:
        chunks = list(
            client.chat.completions.create(
                model=MODEL_NAME, messages=[{"role": "user", "content": PROMPT}], max_tokens=16, stream=True
            )
        )
    after = eventually(
        lambda: bill_of(first.api("/api/spend", by="model")["items"]), lambda bill: bill.requests > before.requests
    )

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert after.requests == before.requests + 1
    assert read_counters(*local_server(first)) - counted == LlamaCounters(
        after.input_tokens - before.input_tokens,
        after.cached_tokens - before.cached_tokens,
        after.output_tokens - before.output_tokens,
    )


def test_the_models_are_listed(first: Serving) -> None:
    """An SDK's list of models has the one that there is."""
    with openai.OpenAI(base_url=first.base_url, api_key=first.key, max_retries=0) as client:
        assert MODEL_NAME in [model.id for model in client.models.list()]


def bill_from(running: Serving) -> Bill:
    """The bill as Prometheus would read it."""
    metrics = running.metrics()
    tokens = {dict(labels)["unit"]: value for labels, value in metrics["taximeter_tokens_total"].items()}
    return Bill(
        int(sum(metrics["taximeter_requests_total"].values())),
        int(tokens.get("input", 0)),
        int(tokens.get("cache_read", 0)),
        int(tokens.get("output", 0)),
        sum(metrics["taximeter_cost_usd_total"].values(), Decimal(0)),
    )


def test_neither_prompts_nor_keys_are_stored_or_logged(first: Serving, reported: Bill) -> None:
    """No file that was written, and nothing that was printed after the first key, holds a prompt or the key."""
    assert reported.requests
    assert first.key
    places = {str(file): file.read_bytes() for file in first.folder.rglob("*") if file.is_file()}
    assert any(name.endswith(".db") for name in places), f"there is no ledger among {sorted(places)}"

    assert [name for name, content in places.items() if b"Xyloquartz" in content] == []
    assert [name for name, content in places.items() if first.key.encode() in content] == []
    printed = "".join(first.output)
    assert "Xyloquartz" not in printed
    assert set(re.findall(r"^.*" + re.escape(first.key) + ".*$", printed, re.MULTILINE)) <= {
        line.rstrip("\n") for line in first.output if "export " in line or "curl " in line
    }


def test_it_stops_when_told_and_the_next_start_goes_on(first: Serving, reported: Bill) -> None:
    """SIGTERM ends all of it with code 0; started again, the key still works and no figure was lost."""
    assert first.key
    assert reported.requests
    spent = bill_of(first.api("/api/spend", by="model")["items"])
    before = eventually(lambda: bill_from(first), lambda bill: bill == spent)
    model_url = (first.folder / "taximeter-data" / ADDRESS_FILE).read_text().strip()

    code = first.stop()

    assert code == 0
    for url in (first.base_url, first.admin_url, model_url):
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)

    again = serving.start(first.folder)
    try:
        assert again.key is None, "a key is shown only once"
        assert eventually(lambda: bill_from(again), lambda bill: bill == before) == before
        with openai.OpenAI(base_url=again.base_url, api_key=first.key, max_retries=0) as client:
            assert client.chat.completions.create(
                model=MODEL_NAME, messages=[{"role": "user", "content": "Hi"}], max_tokens=2
            ).usage
        after = eventually(lambda: bill_from(again), lambda bill: bill.requests == before.requests + 1)
        assert after.requests == before.requests + 1
        assert after.cost_usd > before.cost_usd
    finally:
        assert again.stop() == 0


def children_of(pid: int) -> list[int]:
    """Control process, data plane and local model."""
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_a_file_of_ports_and_budgets_alone_goes_on_with_the_local_model(tmp_path: Path) -> None:
    """Written and reloaded as the README says, it stops a call and lets it through again."""
    file = tmp_path / "taximeter.yaml"
    ports = "server: {port: 0, admin_port: 0}\n"
    file.write_text(ports)
    running = serving.start(tmp_path, file)
    try:
        assert running.key
        with openai.OpenAI(base_url=running.base_url, api_key=running.key, max_retries=0) as client:

            def answer() -> int:
                try:
                    client.chat.completions.create(
                        model=MODEL_NAME, messages=[{"role": "user", "content": "Hi"}], max_tokens=2
                    )
                except openai.APIStatusError as error:
                    return error.status_code
                return 200

            assert answer() == 200
            children = children_of(running.process.pid)
            assert len(children) == 3
            for limit, status in (("0.000000001", 402), ("1", 200)):
                file.write_text(f"{ports}budgets: [{{name: day, limit_usd: {limit}, window: day}}]\n")
                for pid in (
                    *children,
                    int((tmp_path / "taximeter-data" / "lock").read_text()),
                ):  # children: as `killall` does
                    os.kill(pid, signal.SIGHUP)
                assert eventually(answer, status.__eq__) == status
            assert children_of(running.process.pid) == children
    finally:
        assert running.stop() == 0
