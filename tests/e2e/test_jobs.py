"""Jobs through the real SDKs: one entry each, settled once by the provider's own bill; polls and downloads cost nothing."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai

from tests.support.gateway import ADMIN_KEY, server
from tests.support.jobs_rig import KEY, OTHER_KEY, POOR_KEY, TRIAL_KEY, JobsRig, running
from tests.support.processes import get
from tests.support.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsRig]:
    with running(tmp_path_factory.mktemp("jobs"), server=server(max_body_mb=1)) as made:
        yield made


def sdk(rig: JobsRig, key: str = KEY, session: str = "") -> openai.OpenAI:
    headers = {"x-taximeter-session-id": session} if session else {}
    return openai.OpenAI(base_url=f"{rig.url}/v1", api_key=key, default_headers=headers, max_retries=0)


def video(client: openai.OpenAI, prompt: str, **fields: Any) -> Any:
    return client.videos.create(**{"model": "film-1", "prompt": prompt, "seconds": "4"} | fields)


def test_a_video_is_one_entry_settled_when_its_client_sees_its_end(rig: JobsRig) -> None:
    client = sdk(rig, session="v-1")
    made = video(client, "nonce=v1 end=done", seconds="8", size="1280x720")
    assert client.videos.retrieve(made.id).status == "completed"
    assert client.videos.download_content(made.id).read().startswith(b"\x00film")
    (entry,) = rig.settled("v-1")
    assert (entry["operation"], entry["status"], entry["outcome"]) == ("video", "settled", "ok")
    assert Decimal(entry["cost_usd"]) == rig.billed()["v1"] == Decimal(4)
    assert entry["usage"] == {"video_second": 8}


@pytest.mark.parametrize("end", ["done", "failed"])
def test_a_video_that_nobody_asks_for_is_settled_all_the_same(rig: JobsRig, end: str) -> None:
    video(sdk(rig, session=f"alone-{end}"), f"nonce=alone{end} end={end} after=0.3")
    (entry,) = rig.settled(f"alone-{end}")
    assert Decimal(entry["cost_usd"]) == rig.billed()[f"alone{end}"]
    assert entry["status"] == "settled"


def test_what_is_given_back_after_the_end_is_a_correction(rig: JobsRig) -> None:
    client = sdk(rig, session="refund")
    made = video(client, "nonce=refund end=refunded later=0.5", seconds="4")
    assert client.videos.retrieve(made.id).status == "completed"
    entries = rig.settled("refund", 2)
    assert sorted(Decimal(entry["cost_usd"]) for entry in entries) == [Decimal(-2), Decimal(2)]
    assert [entry["flags"] for entry in entries if entry["kind"] == "correction"] == [["changed_later"]]
    assert rig.billed()["refund"] == 0


def test_a_video_that_is_deleted_before_its_end_costs_its_ceiling_at_once(rig: JobsRig) -> None:
    client = sdk(rig, session="v-deleted")
    made = video(client, "nonce=vdeleted after=600")
    assert client.videos.delete(made.id).deleted
    (entry,) = rig.settled("v-deleted")
    assert (entry["status"], Decimal(entry["cost_usd"])) == ("unconfirmed", rig.billed()["vdeleted"])


def test_a_video_that_had_ended_when_it_was_deleted_costs_its_end(rig: JobsRig) -> None:
    client = sdk(rig, session="v-late")
    made = video(client, "nonce=vlate end=failed after=0.05")
    eventually(
        lambda: httpx.get(f"{rig.provider_url}/v1/videos/{made.id}").json(), lambda one: one["status"] == "failed"
    )
    client.videos.delete(made.id)
    (entry,) = rig.settled("v-late")
    assert (entry["status"], Decimal(entry["cost_usd"])) == ("settled", 0)


def test_jobs_are_listed_with_what_they_came_to(rig: JobsRig) -> None:
    made = video(sdk(rig, session="listed"), "nonce=listed after=600")
    (job,) = eventually(
        lambda: [one for one in rig.get("/api/jobs", state="running")["items"] if one["session_id"] == "listed"], bool
    )
    assert (job["api"], job["team"], job["reserved_usd"], job["cost_usd"]) == ("openai.videos", "blue", "2", None)
    assert made.id not in str(job)
    assert rig.get("/api/jobs", limit="1")["next"]
    assert 'taximeter_jobs{state="running"}' in get(f"{rig.gateway.admin_url}/metrics", ADMIN_KEY)[1]


def test_what_is_another_teams_is_not_there(rig: JobsRig) -> None:
    mine, others = sdk(rig), sdk(rig, OTHER_KEY)
    made = video(mine, "nonce=own end=done")
    for call in (others.videos.retrieve, others.videos.delete, others.videos.download_content):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    assert made.id in [one.id for one in mine.videos.list()]
    assert made.id not in [one.id for one in others.videos.list()]
    assert mine.videos.delete(made.id).deleted


def test_racing_videos_never_pass_a_hard_budget(rig: JobsRig) -> None:
    """$1, and a film costs $0.50 a second: of twenty that ask for one second two fit."""
    client = sdk(rig, POOR_KEY, session="poor")

    def one(number: int) -> str:
        try:
            video(client, f"nonce=poor{number} end=done after=0.5", seconds="1")
        except openai.APIStatusError as refused:
            return str(refused.response.json()["error"]["code"])
        return "made"

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = sorted(pool.map(one, range(20)))
    assert got.count("made") == 2
    assert set(got) <= {"made", "budget_exceeded", "budget_busy"}
    rig.settled("poor", 2)
    assert sum(usd for nonce, usd in rig.billed().items() if nonce.startswith("poor")) == Decimal(1)


# Files and batches


def line(number: int, text: str, model: str = "gpt-5-mini", **fields: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 50} | fields
    return {"custom_id": f"c{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def file_of(lines: list[dict[str, Any]]) -> tuple[str, bytes]:
    return "lines.jsonl", b"\n".join(json.dumps(one).encode() for one in lines)


def batch(client: openai.OpenAI, lines: list[dict[str, Any]], **orders: str) -> Any:
    file = client.files.create(file=file_of(lines), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata=orders
    )


def test_a_batch_is_reserved_by_its_lines_and_settled_by_its_results(rig: JobsRig) -> None:
    client = sdk(rig, session="b-1")
    lines = [line(n, f"line=ok in={100 + n} out={n}") for n in range(30)] + [line(99, "line=failed")]
    made = batch(client, lines, nonce="b1", after="2")
    running = eventually(lambda: {one["operation"]: one for one in rig.entries(session="b-1")}.get("batch"), bool)
    assert (running["status"], running["cost_usd"]) == ("running", None)
    done = eventually(lambda: client.batches.retrieve(made.id), lambda one: one.status == "completed")
    assert len(client.files.content(done.output_file_id).text.splitlines()) == 30
    entry = next(one for one in rig.settled("b-1", 2) if one["operation"] == "batch")
    assert Decimal(entry["cost_usd"]) == rig.billed()["b1"] > 0
    assert entry["usage"]["input"] == sum(100 + n for n in range(30))
    assert Decimal(entry["reserved_usd"]) >= Decimal(entry["cost_usd"])


@pytest.mark.parametrize("end", ["expired", "failed"])
def test_a_batch_that_ends_early_costs_the_lines_that_were_answered(rig: JobsRig, end: str) -> None:
    lines = [line(n, "line=ok in=1000 out=50", model="fast") for n in range(10)]  # by another name here
    batch(sdk(rig, session=f"b-{end}"), lines, nonce=f"b{end}", end=end, ready="4")
    entry = next(one for one in rig.settled(f"b-{end}", 2) if one["operation"] == "batch")
    assert (
        Decimal(entry["cost_usd"]) == rig.billed()[f"b{end}"] == (Decimal(0) if end == "failed" else Decimal("0.0007"))
    )


def test_a_cancelled_batch_costs_what_was_answered_by_then(rig: JobsRig) -> None:
    client = sdk(rig, session="b-cancel")
    made = batch(client, [line(n, "in=1000 out=50") for n in range(5)], nonce="bcancel", after="60", ready="2")
    assert client.batches.cancel(made.id).status == "cancelled"
    entry = next(one for one in rig.settled("b-cancel", 2) if one["operation"] == "batch")
    assert Decimal(entry["cost_usd"]) == rig.billed()["bcancel"] == Decimal("0.00035")


def test_files_and_batches_are_their_teams_own(rig: JobsRig) -> None:
    mine, others = sdk(rig), sdk(rig, OTHER_KEY)
    made = batch(mine, [line(1, "in=1 out=1")], nonce="bown")
    for call in (
        lambda: others.batches.retrieve(made.id), lambda: others.batches.cancel(made.id),
        lambda: others.files.content(made.input_file_id), lambda: others.files.delete(made.input_file_id),
        lambda: others.batches.create(
            input_file_id=made.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
        ),
    ):  # fmt: skip
        with pytest.raises(openai.NotFoundError):
            call()
    assert made.id in [one.id for one in mine.batches.list()]
    assert [one.id for one in others.batches.list()] == []
    assert made.input_file_id in [one.id for one in mine.files.list()]
    assert [one.id for one in others.files.list()] == []
    assert mine.files.delete(made.input_file_id).deleted


def test_a_line_without_a_bound_is_refused_by_its_number(rig: JobsRig) -> None:
    lines = [line(1, "in=1"), line(2, "in=1", tools=[{"type": "brand_new_tool_of_theirs"}])]
    for wrong, code in (
        ([line(1, "x"), line(2, "x", model="gpt-5")], "invalid_request_error"),
        ([line(1, "x", stream=True)], "invalid_request_error"),
        ([line(1, "x", model="nobody-has-this")], "model_not_found"),
        ([line(1, "x", temperature=0) | {"url": "/v1/audio/speech"}], "invalid_request_error"),
        ([line(1, "x") | {"url": "/openai/deployments/gpt-5/chat/completions"}], "invalid_request_error"),
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            sdk(rig).files.create(file=file_of(wrong), purpose="batch")
        assert refused.value.response.json()["error"]["code"] == code
        assert refused.value.response.json()["error"]["message"].startswith("Line ")
    assert lines


def sent_first(rig: JobsRig, data: bytes, *behind: tuple[str, str]) -> httpx.Response:
    """A form whose file stands before its fields, as openai-java sends it."""
    parts = [
        ('name="file"; filename="lines.jsonl"', data),
        *((f'name="{name}"', text.encode()) for name, text in behind),
    ]
    heads = [(f"--b\r\ncontent-disposition: form-data; {head}\r\n\r\n".encode(), part) for head, part in parts]
    body = b"".join(head + part + b"\r\n" for head, part in heads) + b"--b--\r\n"
    headers = {"authorization": f"Bearer {KEY}", "content-type": "multipart/form-data; boundary=b"}
    return httpx.post(f"{rig.url}/v1/files", content=body, headers=headers, timeout=30)


def test_a_batchs_lines_are_bounded_whatever_its_form_begins_with(rig: JobsRig) -> None:
    client, lines = sdk(rig, session="b-first"), [line(n, "line=ok in=100 out=10") for n in range(3)]
    file = sent_first(rig, file_of(lines)[1], ("purpose", "batch")).json()
    orders = {"nonce": "bfirst"}
    client.batches.create(
        input_file_id=file["id"], endpoint="/v1/chat/completions", completion_window="24h", metadata=orders
    )
    entry = next(one for one in rig.settled("b-first", 1) if one["operation"] == "batch")
    assert Decimal(entry["reserved_usd"]) >= Decimal(entry["cost_usd"]) == rig.billed()["bfirst"] > 0
    wrong = sent_first(rig, file_of([line(1, "x", stream=True)])[1], ("purpose", "batch"))
    assert (wrong.status_code, wrong.json()["error"]["message"][:7]) == (400, "Line 1:")
    missing = sent_first(rig, file_of(lines)[1])
    assert (missing.status_code, missing.json()["error"]["message"]) == (400, "`purpose` is missing.")


def test_a_file_that_stands_first_is_held_up_to_a_bound(rig: JobsRig) -> None:
    beyond = sent_first(rig, b"{}\n" * 400_000, ("purpose", "user_data"))
    assert (beyond.status_code, beyond.json()["error"]["message"]) == (
        400, "`purpose` must stand before `file` in a form of more than 1 MB (server.max_body_mb).",
    )  # fmt: skip


def test_a_batch_that_a_budget_does_not_afford_is_refused(rig: JobsRig) -> None:
    client = sdk(rig, POOR_KEY)
    lines = [line(n, "in=1 out=1", max_tokens=100_000) for n in range(20)]
    with pytest.raises(openai.APIStatusError) as refused:
        batch(client, lines, nonce="bpoor")
    assert refused.value.response.json()["error"]["code"] == "budget_exceeded"
    assert "bpoor" not in rig.billed()


def test_a_file_that_is_looked_at_takes_no_label_off_its_key(rig: JobsRig) -> None:
    client = sdk(rig, TRIAL_KEY)
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=file_of([line(1, "x", tools=[{"type": "brand_new_tool"}])]), purpose="batch")
    assert refused.value.response.json()["error"]["code"] == "unbounded_cost"
    with pytest.raises(openai.APIStatusError) as refused:
        batch(client, [line(n, "in=1 out=1", max_tokens=100_000) for n in range(20)], nonce="btrial")
    assert refused.value.response.json()["error"]["code"] == "budget_exceeded"


# Anthropic


def messages(rig: JobsRig, key: str = KEY, session: str = "") -> anthropic.Anthropic:
    headers = {"x-taximeter-session-id": session} if session else {}
    return anthropic.Anthropic(base_url=rig.url, api_key=key, default_headers=headers, max_retries=0)


def asked(number: int, text: str) -> Any:
    message = {"role": "user", "content": text}
    return {"custom_id": f"c{number}", "params": {"model": "claude-haiku-4-5", "max_tokens": 60, "messages": [message]}}


def test_a_message_batch_costs_the_lines_that_succeeded(rig: JobsRig) -> None:
    client = messages(rig, session="a-1")
    lines = [asked(n, f"nonce=a1 after=0.3 in={200 + n} out={n}") for n in range(20)]
    made = client.messages.batches.create(requests=[*lines, asked(99, "line=failed")])
    done = eventually(lambda: client.messages.batches.retrieve(made.id), lambda one: one.processing_status == "ended")
    assert [one.result.type for one in client.messages.batches.results(done.id)].count("succeeded") == 20
    (entry,) = rig.settled("a-1")
    assert Decimal(entry["cost_usd"]) == rig.billed()["a1"] > 0
    assert (entry["operation"], entry["model"]) == ("batch", "claude-haiku-4-5")


def test_a_message_batch_is_its_teams_own_and_can_be_cancelled_and_deleted(rig: JobsRig) -> None:
    client, others = messages(rig, session="a-2"), messages(rig, OTHER_KEY)
    made = client.messages.batches.create(
        requests=[asked(n, "nonce=a2 after=60 ready=1 in=1000 out=10") for n in range(3)]
    )
    with pytest.raises(anthropic.NotFoundError):
        others.messages.batches.retrieve(made.id)
    assert [one.id for one in others.messages.batches.list()] == []
    client.messages.batches.cancel(made.id)
    assert made.id in [one.id for one in client.messages.batches.list()]
    (entry,) = rig.settled("a-2")
    assert Decimal(entry["cost_usd"]) == rig.billed()["a2"] == Decimal("0.000525")
    assert client.messages.batches.delete(made.id).type == "message_batch_deleted"


# Background responses


@pytest.mark.parametrize(("after", "status"), [("600", "unconfirmed"), ("0.05", "settled")])
def test_a_background_response_that_is_deleted_is_over(rig: JobsRig, after: str, status: str) -> None:
    """Before its end it costs its ceiling, which nobody can say better then; behind it what it came to, which is asked first."""
    nonce = f"rd{status}"
    client = sdk(rig, session=nonce)
    made = client.responses.create(
        model="gpt-5-mini", input=f"nonce={nonce} in=900 out=40 after={after}", background=True, max_output_tokens=100
    )
    if status == "settled":
        url = f"{rig.provider_url}/v1/responses/{made.id}"
        eventually(lambda: httpx.get(url).json()["status"], lambda one: one == "completed")
    client.responses.delete(made.id)
    (entry,) = eventually(
        lambda: [one for one in rig.entries(session=nonce) if one["operation"] == "responses"],
        lambda found: [one["status"] for one in found] == [status],
    )
    cost = Decimal(entry["cost_usd"])
    assert cost == rig.billed()[nonce] if status == "settled" else cost > rig.billed()[nonce]


def test_a_background_response_is_settled_when_it_has_ended(rig: JobsRig) -> None:
    client = sdk(rig, session="r-1")
    made = client.responses.create(
        model="gpt-5-mini", input="nonce=r1 in=900 out=40 after=0.3", background=True, max_output_tokens=100
    )
    assert made.status == "in_progress"
    eventually(lambda: client.responses.retrieve(made.id).status, lambda status: status == "completed")
    (entry,) = eventually(
        lambda: [one for one in rig.entries(session="r-1") if one["operation"] == "responses"],
        lambda found: [one["status"] for one in found] == ["settled"],
    )
    assert Decimal(entry["cost_usd"]) == rig.billed()["r1"] == Decimal("0.000305")
    with pytest.raises(openai.NotFoundError):
        sdk(rig, OTHER_KEY).responses.retrieve(made.id)


def test_a_background_response_that_nobody_asks_for_is_settled_too(rig: JobsRig) -> None:
    sdk(rig, session="r-2").responses.create(
        model="gpt-5-mini", input="nonce=r2 end=failed after=0.2", background=True, max_output_tokens=100
    )
    (entry,) = rig.settled("r-2")
    assert (Decimal(entry["cost_usd"]), entry["outcome"]) == (rig.billed()["r2"], "upstream_error")


# Gemini


def google(rig: JobsRig, key: str = KEY, session: str = "") -> Any:
    headers = {"x-taximeter-session-id": session} if session else {}
    return genai.Client(api_key=key, http_options=genai.types.HttpOptions(base_url=rig.url, headers=headers))


def test_veo_costs_the_seconds_that_were_made(rig: JobsRig) -> None:
    """By HTTP, as ai.google.dev has it: the SDK (google-genai 3.4) makes videos through Vertex alone."""
    headers = {"x-goog-api-key": KEY, "x-taximeter-session-id": "g-1"}
    asked = {"sampleCount": 3, "durationSeconds": 6, "resolution": "720p"}
    body = {"instances": [{"prompt": "nonce=g1 filtered=1 after=0.3"}], "parameters": asked}
    with httpx.Client(base_url=rig.url, headers=headers) as client:
        made = (
            client.post("/v1beta/models/veo-3.0-generate-001:predictLongRunning", json=body).raise_for_status().json()
        )
        path = f"/v1beta/{made['name']}"
        done = eventually(lambda: client.get(path).raise_for_status().json(), lambda one: bool(one.get("done")))
        videos = done["response"]["generateVideoResponse"]["generatedSamples"]
        assert len(videos) == 2
        file = videos[0]["video"]["uri"].partition("/v1beta")[2]
        assert client.get(f"/v1beta{file}").raise_for_status().content.startswith(b"\x00veo")
        for foreign in (path, f"/v1beta{file}"):
            assert client.get(foreign, headers={"x-goog-api-key": OTHER_KEY}).status_code == 404
    (entry,) = rig.settled("g-1")
    assert Decimal(entry["cost_usd"]) == rig.billed()["g1"] == Decimal("4.80")


def test_a_gemini_batch_costs_what_its_responses_used(rig: JobsRig) -> None:
    client = google(rig, session="g-2")
    requests = [
        {"contents": [{"role": "user", "parts": [{"text": f"nonce=g2 after=0.3 in={500 + n} out={n}"}]}],
         "config": {"max_output_tokens": 50}}
        for n in range(10)
    ]  # fmt: skip
    made = client.batches.create(model="gemini-2.5-flash", src=requests)
    eventually(lambda: client.batches.get(name=made.name).state.name, lambda state: state == "JOB_STATE_SUCCEEDED")
    assert made.name in [one.name for one in client.batches.list()]
    other = google(rig, OTHER_KEY)
    assert [one.name for one in other.batches.list()] == []
    (entry,) = rig.settled("g-2")
    assert Decimal(entry["cost_usd"]) == rig.billed()["g2"] > 0
    assert entry["usage"]["input"] == sum(500 + n for n in range(10))


def test_nothing_differs_when_all_have_ended(rig: JobsRig) -> None:
    assert rig.gateway.verified()["first_difference"] is None
