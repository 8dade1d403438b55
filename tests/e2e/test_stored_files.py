"""Gemini's and Anthropic's files through their own SDKs, and Gemini's batches from files: owned, bounded as they pass, billed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import pytest
from google import genai
from google.genai import errors, types

from tests.support.billed_rig import billed
from tests.support.jobs_rig import KEY, OTHER_KEY, POOR_KEY, JobsRig, config
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsRig]:
    folder = tmp_path_factory.mktemp("files")
    with billed(folder, "tests.torture.files_provider", lambda url: config(folder, url)) as made:
        yield JobsRig(*made)


def gemini(rig: JobsRig, key: str = KEY, session: str = "") -> genai.Client:
    headers = {"x-taximeter-session-id": session} if session else {}
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=rig.url, headers=headers))


def messages(rig: JobsRig, key: str = KEY) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=rig.url, api_key=key, max_retries=0)


def requests(nonce: str, number: int, pad: str = "", **fields: Any) -> bytes:
    rows = []
    for n in range(number):
        text = f"nonce={nonce} after=0.2 in={100 + n % 7} out={n % 5} {pad}"
        request = {
            "contents": [{"role": "user", "parts": [{"text": text}]}],
            "generation_config": {"max_output_tokens": 50},
        }
        rows.append(json.dumps({"key": f"k{n}", "request": request | fields}).encode())
    return b"\n".join(rows) + b"\n"


def uploaded(client: genai.Client, data: bytes, **more: Any) -> types.File:
    options = types.UploadFileConfig(**({"mime_type": "application/jsonl", "display_name": "lines"} | more))
    return client.files.upload(file=io.BytesIO(data), config=options)


def ended(client: genai.Client, name: str) -> types.BatchJob:
    return eventually(
        lambda: client.batches.get(name=name), lambda job: job.state == types.JobState.JOB_STATE_SUCCEEDED
    )


def test_a_batch_from_a_file_costs_its_answers(rig: JobsRig) -> None:
    client = gemini(rig, session="g-1")
    file = uploaded(client, requests("g1", 200))
    job = client.batches.create(model="gemini-2.5-flash", src=file.name, config={"display_name": "one"})
    assert job.name is not None
    done = ended(client, job.name)
    assert done.dest is not None
    assert done.dest.file_name is not None
    lines = client.files.download(file=done.dest.file_name).splitlines()
    assert len(lines) == 200
    assert b"usageMetadata" in lines[0]
    upload, batch = sorted(rig.settled("g-1", 2), key=lambda entry: entry["operation"] != "files")
    assert (upload["operation"], Decimal(upload["cost_usd"])) == ("files", 0)
    assert (batch["operation"], batch["model"]) == ("batch", "gemini-2.5-flash")
    assert Decimal(batch["cost_usd"]) == rig.billed()["g1"] > 0
    # A bound of 200 lines: what they may write at most, and at least a token a byte of what they ask.
    assert Decimal(batch["reserved_usd"]) > 200 * 50 * Decimal("1.25") / 1_000_000
    other = gemini(rig, OTHER_KEY)
    with pytest.raises(errors.ClientError) as refused:
        other.files.download(file=done.dest.file_name)
    assert refused.value.code == 404


def test_a_large_file_comes_in_parts_and_is_read_across_them(rig: JobsRig) -> None:
    client = gemini(rig, session="g-2")
    data = requests("g2", 300, pad="word " * 9000)  # 13 MB: parts of 8 MB, and a line that lies in two of them
    file = uploaded(client, data)
    assert file.size_bytes == len(data)
    job = client.batches.create(model="gemini-2.5-flash", src=file.name)
    assert job.name is not None
    ended(client, job.name)
    entries = rig.settled("g-2", 2)
    assert Decimal(next(one for one in entries if one["operation"] == "batch")["cost_usd"]) == rig.billed()["g2"]


def test_files_are_the_teams_own(rig: JobsRig) -> None:
    client, other = gemini(rig), gemini(rig, OTHER_KEY)
    file = uploaded(client, b"some notes", mime_type="text/plain", name="our-notes")
    assert file.name == "files/our-notes"
    assert client.files.get(name=file.name).display_name == "lines"
    assert file.name in [one.name for one in client.files.list()]
    assert file.name not in [one.name for one in other.files.list()]
    for call in (
        lambda: other.files.get(name=file.name),
        lambda: other.files.delete(name=file.name),
        lambda: other.batches.create(model="gemini-2.5-flash", src=file.name),
        lambda: other.models.generate_content(model="gemini-2.5-flash", contents=["what is it?", file]),
    ):
        with pytest.raises(errors.ClientError) as refused:
            call()
        assert refused.value.code == 404
    client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError):
        client.files.get(name=file.name)


def test_a_file_in_a_request_is_counted_and_charged(rig: JobsRig) -> None:
    client = gemini(rig, session="g-in")
    file = uploaded(client, b"x" * 5000, mime_type="text/plain")
    client.models.generate_content(
        model="gemini-2.5-flash", contents=["what is it?", file], config={"max_output_tokens": 50}
    )
    entry = next(one for one in rig.settled("g-in", 2) if one["operation"] == "generate")
    assert Decimal(entry["cost_usd"]) == (5100 * Decimal("0.30") + 10 * Decimal("2.50")) / 1_000_000
    # A model's whole context: nobody here knows what is in a file.
    assert Decimal(entry["reserved_usd"]) > Decimal("0.30")


def test_an_upload_of_another_is_nobodys(rig: JobsRig) -> None:
    begun = httpx.post(
        f"{rig.url}/upload/v1beta/files", json={"file": {}},
        headers={"x-goog-api-key": KEY, "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start",
                 "x-goog-upload-header-content-length": "4", "x-goog-upload-header-content-type": "text/plain"},
    )  # fmt: skip
    url = begun.headers["x-goog-upload-url"]
    assert url.startswith(f"{rig.url}/upload/v1beta/files?upload_id=")
    part = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    assert httpx.post(url, content=b"text", headers=part | {"x-goog-api-key": OTHER_KEY}).status_code == 404
    head, _, tail = url.partition("&")
    changed = head[:-1] + ("0" if head[-1] != "0" else "1") + "&" + tail
    assert httpx.post(changed, content=b"text", headers=part).status_code == 404
    assert httpx.post(url, content=b"text", headers=part | {"x-goog-upload-command": "start"}).status_code == 400
    assert httpx.post(url, content=b"text", headers=part).json()["file"]["sizeBytes"] == "4"


def begun(url: str, size: int, key: str = KEY, name: str = "") -> str:
    """The URL of an upload of lines."""
    answer = httpx.post(
        f"{url}/upload/v1beta/files", json={"file": {"name": name} if name else {}},
        headers={"x-goog-api-key": key, "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start",
                 "x-goog-upload-header-content-length": str(size),
                 "x-goog-upload-header-content-type": "application/jsonl"},
    )  # fmt: skip
    return str(answer.headers["x-goog-upload-url"])


def sent(url: str, data: bytes, offset: str = "0") -> httpx.Response:
    return httpx.post(
        url, content=data, headers={"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": offset}
    )


def test_a_last_part_that_is_said_again_with_other_bytes_says_nothing_of_the_file(rig: JobsRig) -> None:
    dear = requests("again", 1, generation_config={"max_output_tokens": 60_000})
    cheap = requests("again", 1, generation_config={"max_output_tokens": 1})
    cheap += b" " * (len(dear) - len(cheap))
    url = begun(rig.url, len(dear))
    name = sent(url, dear).json()["file"]["name"]
    assert sent(url, cheap).json()["file"]["name"] == name
    client = gemini(rig)
    with pytest.raises(errors.ClientError) as refused:
        client.batches.create(model="gemini-2.5-flash", src=name)
    assert "Upload it again" in str(refused.value)
    assert "again" not in rig.billed()


def test_a_file_that_another_has_replaced_under_its_name_is_no_batchs(rig: JobsRig) -> None:
    """As by way of another process, which has noted the new one's lines; this one knows the old one's."""
    lines = requests("replaced", 1)
    name = sent(begun(rig.url, len(lines), name="files/replaced"), lines).json()["file"]["name"]
    dear = requests("replaced", 50)
    there = begun(rig.provider_url, len(dear), "sk-real-google", name).replace(
        "https://generativelanguage.googleapis.com", rig.provider_url
    )
    assert sent(there, dear).json()["file"]["name"] == name
    client = gemini(rig)
    with pytest.raises(errors.ClientError) as refused:
        client.batches.create(model="gemini-2.5-flash", src=name)
    assert "Another file has taken this file's name" in str(refused.value)
    assert "replaced" not in rig.billed()


def test_numbers_of_an_upload_that_are_none_are_refused(rig: JobsRig) -> None:
    url = begun(rig.url, 4)
    for offset in ("9" * 5000, "-1", "1e3", "0x1"):
        assert sent(url, b"text", offset).status_code == 400


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (requests("bad", 2) + b'{"key":"x"}\n', "line 3: it must be an object with a `request`"),
        (b"no json\n", "line 1"),
        (b'{"request":' + b"[" * 1010 + b"]" * 1010 + b"}\n", "line 1"),
        (b'{"key":' + b"[" * 1010 + b"]" * 1010 + b',"request":{"contents":[]}}\n', "line 1"),
        (b"", "no lines"),
        (requests("bad", 1) + requests("bad", 1, model="models/gemini-3-pro"), "names a model"),
        (requests("bad", 1).replace(b'"max_output_tokens": 50', b'"max_output_tokens": 50, "max_output_tokens": 50000'), "twice"),
        (requests("bad", 1, tools=[{"future_tool": {}}]), "future_tool"),
        (requests("bad", 1, contents=[{"parts": [
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/nobody"}}]}]), "line 1"),
    ],
)  # fmt: skip
def test_what_is_no_batchs_says_why(rig: JobsRig, data: bytes, why: str) -> None:
    client = gemini(rig)
    file = uploaded(client, data)
    with pytest.raises(errors.ClientError) as refused:
        client.batches.create(model="gemini-2.5-flash", src=file.name)
    assert refused.value.code in (400, 402), refused.value
    assert why in str(refused.value)
    assert "bad" not in rig.billed()


def test_a_file_that_does_not_say_that_it_has_lines_is_no_batchs(rig: JobsRig) -> None:
    client = gemini(rig)
    file = uploaded(client, requests("plain", 2), mime_type="text/plain")
    with pytest.raises(errors.ClientError) as refused:
        client.batches.create(model="gemini-2.5-flash", src=file.name)
    assert "application/jsonl" in str(refused.value)


def test_a_budget_that_a_file_does_not_fit_into_refuses_its_batch(rig: JobsRig) -> None:
    client = gemini(rig, POOR_KEY)
    file = uploaded(client, requests("gpoor", 20, generation_config={"max_output_tokens": 60_000}))
    with pytest.raises(errors.ClientError) as refused:
        client.batches.create(model="gemini-2.5-flash", src=file.name)
    assert refused.value.code == 402
    assert "gpoor" not in rig.billed()


def test_anthropics_files_are_the_teams_own(rig: JobsRig) -> None:
    client, other = messages(rig), messages(rig, OTHER_KEY)
    file = client.beta.files.upload(file=("notes.txt", b"some notes", "text/plain"))
    assert client.beta.files.retrieve_metadata(file.id).size_bytes == 10
    assert [one.id for one in client.beta.files.list()] == [file.id]
    assert [one.id for one in other.beta.files.list()] == []
    block = {"type": "document", "source": {"type": "file", "file_id": file.id}}
    asked: Any = [{"role": "user", "content": [block, {"type": "text", "text": "what is it?"}]}]
    options: Any = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": asked, "betas": ["files-api-2025-04-14"]}
    assert client.beta.messages.create(**options).usage.input_tokens == 110
    for call in (
        lambda: other.beta.files.retrieve_metadata(file.id),
        lambda: other.beta.files.delete(file.id),
        lambda: other.beta.files.download(file.id),
        lambda: other.beta.messages.create(**options),
    ):
        with pytest.raises(anthropic.NotFoundError) as refused:
            call()
        assert refused.value.body["type"] == "error"  # type: ignore[index]
    client.beta.files.delete(file.id)
    with pytest.raises(anthropic.NotFoundError):
        client.beta.files.retrieve_metadata(file.id)


def test_nothing_differs_when_all_have_ended(rig: JobsRig) -> None:
    assert rig.gateway.verified()["first_difference"] is None
