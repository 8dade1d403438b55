"""The tables of Replicate, fal and Luma: which path is what, and what answers say; hostile ones among them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.config.model import Config
from proxy.config.upstream import Upstream
from proxy.downstream.address import root_of
from proxy.errors import Refused
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, Matched
from proxy.jobs.apis import fal, find, luma, replicate
from proxy.jobs.job import Job
from proxy.upstream.destinations import destinations_of
from proxy.upstream.pool import UpstreamClient
from tests.support.rows import each_row

VERSION = "0" * 64


def job(api: JobApi, units: list[str], **asked: Any) -> Job:
    return Job(
        id="e", api=api.name, digest="d", provider_id="abc123", created_at=0, deadline_at=0,
        asked={"units": units, "fields": {}, **asked}, attributes={}, intent={"model": "a/b"},
    )  # fmt: skip


def route(method: str, path: str) -> str:
    """The API and what the path does there."""
    try:
        found = find(method, path)
    except Refused as refused:
        return refused.refusal.code
    if found is None:
        return ""
    return f"{found.api.name} {'create' if isinstance(found, JobEndpoint) else found.route.does}"


@each_row(
    ("method", "path", "what"),
    [
        ("POST", "/replicate/v1/predictions", "replicate.predictions create"),
        ("POST", "/replicate/v1/models/a/b.c-d/predictions", "replicate.predictions create"),
        ("POST", "/replicate/v1/deployments/a/b/predictions", "replicate.predictions create"),
        ("GET", "/replicate/v1/predictions/abc/stream", "route_refused"),
        ("POST", f"/replicate/v1/models/a/b/versions/{VERSION}/trainings", "route_refused"),
        ("GET", f"/replicate/v1/models/a/b/versions/{VERSION}", "replicate.predictions open"),
        ("POST", "/replicate/v1/files", "replicate.files upload"),
        ("GET", "/replicate/v1/models/../account", ""),
        ("GET", "/replicate/v1/models/a/..", ""),
        ("GET", "/replicate/v1/predictions/a%2e", ""),
        ("PUT", "/replicate/v1/predictions", "method_not_allowed"),
        ("POST", "/fal/fal-ai/flux", "fal.queue create"),
        ("POST", "/fal/queue.fal.run/fal-ai/flux/dev", "fal.queue create"),
        ("POST", "/fal/fal.run/fal-ai/flux/dev", "fal.run create"),
        ("POST", "/fal/workflows/me/mine", "fal.queue create"),
        ("GET", "/fal/fal-ai/flux/requests/a-1/status", "fal.queue read"),
        ("GET", "/fal/fal-ai/flux/dev/requests/a-1", "fal.queue read"),
        ("GET", "/fal/fal-ai/flux/requests/a-1/status/stream", "route_refused"),
        ("PUT", "/fal/fal-ai/flux/requests/a-1/cancel", "fal.queue cancel"),
        ("POST", "/fal/fal-ai/flux/requests/a-1", "method_not_allowed"),
        ("GET", "/fal/fal-ai/../requests/a-1", ""),
        ("GET", "/fal/fal-ai/flux/requests/theirs/requests/a-1", ""),
        ("PUT", "/fal/fal-ai/flux/requests/theirs/status/requests/a-1/cancel", ""),
        ("GET", "/fal/../flux/requests/a-1/status", ""),
        ("POST", "/fal/fal-ai", ""),
        ("POST", "/luma/dream-machine/v1/generations", "luma.generations create"),
        ("POST", "/luma/generations/image", "luma.generations create"),
        ("GET", "/luma/dream-machine/v1/credits", "route_refused"),
        ("GET", "/luma/dream-machine/v1/generations/concepts/list", "luma.generations open"),
        ("GET", "/luma/dream-machine/v1/generations/..", ""),
        ("GET", "/luma/generations/a/b", ""),
    ],
)
def test_what_a_path_is(method: str, path: str, what: str) -> None:
    assert route(method, path) == what


# Replicate


def ended(body: dict[str, Any], units: list[str]) -> Ended | None:
    return replicate.read_end(
        job(replicate.PREDICTIONS, units), Answer(200, {"id": "abc123", **body}, path="/v1/predictions/x")
    )


def used(found: Ended | None) -> Any:
    assert found is not None
    return None if found.reading is None else dict(found.reading.usage)


@each_row(
    ("body", "units", "usage"),
    [
        ({"status": "succeeded", "metrics": {"image_count": 2}}, ["image"], {"image": 2}),
        ({"status": "succeeded", "metrics": {}, "output": ["u", "v"]}, ["image"], {"image": 2}),
        ({"status": "succeeded", "metrics": None, "output": None}, ["image"], None),
        (
            {"status": "succeeded", "metrics": {"predict_time": 1.5, "image_count": 4}},
            ["gpu_second"],
            {"gpu_second": "1.5"},
        ),
        ({"status": "succeeded", "metrics": {"predict_time": -1}}, ["gpu_second"], None),
        ({"status": "succeeded", "metrics": {"predict_time": "x"}}, ["gpu_second"], None),
        (
            {"status": "succeeded", "metrics": {"input_token_count": 0, "output_token_count": 5}},
            ["input", "output"],
            {"output": 5},
        ),
        ({"status": "succeeded", "metrics": {"output_token_count": 5}}, ["input", "output"], None),
        ({"status": "canceled", "metrics": {"predict_time": 2}}, ["gpu_second"], {"gpu_second": 2}),
        ({"status": "canceled", "metrics": {}}, ["image"], {}),
        ({"status": "failed", "metrics": {"predict_time": 2}}, ["image"], {}),
        ({"status": "aborted", "metrics": {"predict_time": 2}}, ["gpu_second"], {}),
    ],
)
def test_what_a_prediction_came_to(body: dict[str, Any], units: list[str], usage: dict[str, Any] | None) -> None:
    got = used(ended(body, units))
    assert (got if got is None else {name: str(count) for name, count in got.items()}) == (
        usage if usage is None else {name: str(count) for name, count in usage.items()}
    )


def test_what_runs_or_is_anothers_has_not_ended() -> None:
    assert ended({"status": "processing"}, ["image"]) is None
    assert ended({"status": ["succeeded"]}, ["image"]) is None
    assert ended({"id": "other", "status": "succeeded"}, ["image"]) is None
    listed = Answer(200, {"id": "abc123", "status": "succeeded"}, path="/v1/predictions")
    assert replicate.read_end(job(replicate.PREDICTIONS, ["image"]), listed) is None


@pytest.mark.parametrize(
    "body",
    [
        {"version": "../account"}, {"version": "a" * 101}, {"version": "a/b:../c"}, {"version": "a/b/c"}, {"version": 7}, {},
        {"version": VERSION, "stream": True}, {"version": VERSION, "Version": "x"},
    ],
)  # fmt: skip
def test_a_version_is_an_id_or_a_name(body: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        replicate.parse("", orjson.dumps({"input": {}, **body}))


@pytest.mark.parametrize(
    ("url", "held"),
    [
        ("https://api.replicate.com/v1/files/f1", ("f1",)),
        (" \nhttps://api.replicate.com./v1/files/f1", ("f1",)),
        ("https://api.replicate.com//v1/./files/%661", ("f1",)),
        ("https://API.replicate.com:443/v1/files/f1?x=1", ("f1",)),
        ("https://me@api.replicate.com/v1/files/f1", ("f1",)),
        ("https://own.example/v1/files/f1", ()),
        ("https://notreplicate.com/v1/files/f1", ()),
    ],
)
def test_files_of_replicates_that_an_input_names_have_to_be_ones_own(url: str, held: tuple[str, ...]) -> None:
    assert replicate.parse("a/b", orjson.dumps({"input": {"deep": [{"image": url}]}})).held == held


@pytest.mark.parametrize(("value", "seconds"), [(b"90", 90), (b"5m", 300), (b"1h30m", 1800), (b"45s", 45)])
def test_a_deadline_bounds_the_time(value: bytes, seconds: int) -> None:
    call = replicate.parse("a/b", orjson.dumps({"input": {}}))
    bounded = replicate.bounded(replicate.deadline(call, {b"cancel-after": value}), frozenset({"gpu_second"}))
    assert bounded.quantities == {"gpu_second": seconds}
    for bad in (b"", b"soon", b"0", b"-5", b"5m5m"):
        with pytest.raises(Refused):
            replicate.deadline(call, {b"cancel-after": bad})


def test_of_a_next_page_nothing_counts_but_its_cursor() -> None:
    page = {"next": "https://evil.example/steal?cursor=c1&token=x"}
    assert replicate.next_page(page, ()) == {"cursor": "c1"}
    assert replicate.envelope(page, "https://own", True)["next"] == "https://own/replicate/v1/predictions?cursor=c1"
    assert replicate.next_page({"next": 7}, ()) == {}


def test_urls_of_a_prediction_are_our_own() -> None:
    body = {
        "id": "abc",
        "urls": {"get": "https://evil/x", "cancel": "https://evil/y", "stream": "https://z", "web": "w"},
    }
    own = "https://own/replicate/v1/predictions/abc"
    assert replicate.shown(body, "https://own", {})["urls"] == {"web": "w", "get": own, "cancel": f"{own}/cancel"}


# fal


def fal_job(units: list[str], **asked: Any) -> Job:
    return job(fal.QUEUE, units, app="/fal-ai/flux", **asked)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://queue.fal.run/fal-ai/flux/requests/abc123", "/fal-ai/flux"),
        ("https://queue.fal.run/fal-ai/flux/dev/requests/abc123", "/fal-ai/flux/dev"),
        ("https://evil.example/base/fal-ai/flux/requests/abc123", "/fal-ai/flux"),
        ("https://queue.fal.run/other/model/requests/abc123", "/fal-ai/flux"),
        ("https://queue.fal.run/fal-ai/flux/../../x/requests/abc123", "/fal-ai/flux"),
        ("https://queue.fal.run/fal-ai/flux?x=/requests/abc123", "/fal-ai/flux"),
        (None, "/fal-ai/flux"),
    ],
)
def test_of_what_the_queue_states_only_a_path_counts(url: Any, path: str) -> None:
    told = fal.creation_facts({"request_id": "abc123", "response_url": url})
    assert fal.QUEUE.poll(fal_job(["image"], **told)) == f"{path}/requests/abc123/status"


def test_a_status_says_only_where_what_it_came_to_stands() -> None:
    status = Answer(200, {"status": "COMPLETED", "request_id": "abc123"}, path="/fal-ai/flux/requests/abc123/status")
    found = fal.read_end(fal_job(["image"]), status)
    assert found is not None
    assert found.ask == "/fal-ai/flux/requests/abc123"
    for word in ("IN_QUEUE", "IN_PROGRESS", 7, None):
        assert fal.read_end(fal_job(["image"]), status._replace(body={"status": word})) is None


@each_row(
    ("status", "headers", "body", "units", "usage"),
    [
        (200, {"x-fal-billable-units": "2.5"}, {}, ["megapixel"], {"megapixel": "2.5"}),
        (200, {"x-fal-billable-units": "3"}, {"images": [{}]}, ["image"], {"image": 3}),
        (200, {}, {"images": [{}, {}]}, ["image"], {"image": 2}),
        (200, {}, {"images": [{"width": 1024, "height": 768}]}, ["megapixel"], {"megapixel": 1}),
        (200, {}, {"images": [{}]}, ["megapixel"], None),
        (200, {}, {"video": {"duration": 4.5}}, ["video_second"], {"video_second": "4.5"}),
        (200, {}, {}, ["request"], {"request": 1}),
        (200, {"x-fal-billable-units": "-1"}, {"images": [{}]}, ["image"], {"image": 1}),
        (200, {"x-fal-billable-units": "NaN"}, {"images": [{}]}, ["image"], {"image": 1}),
        (422, {"x-fal-billable-units": "1"}, {}, ["image"], {"image": 1}),
        (422, {}, {}, ["image"], {}),
        (500, {"x-fal-billable-units": "1"}, {}, ["image"], {}),
    ],
)
def test_what_a_request_came_to(
    status: int, headers: dict[str, str], body: dict[str, Any], units: list[str], usage: dict[str, Any] | None
) -> None:
    got = used(fal.read_result(fal_job(units), Answer(status, body, headers)))
    assert (got if got is None else {name: str(count) for name, count in got.items()}) == (
        usage if usage is None else {name: str(count) for name, count in usage.items()}
    )


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 502, 503, 504, 302])
def test_an_answer_that_is_not_the_jobs_own_settles_nothing(status: int) -> None:
    assert fal.read_result(fal_job(["image"]), Answer(status, {})) is None


def test_what_a_model_made_is_no_request_of_the_queue() -> None:
    assert fal.request_id({"request_id": "abc", "status_url": "u"}) == "abc"
    assert fal.request_id({"request_id": "abc", "images": []}) is None
    assert fal.request_id({"request_id": "abc", "status_url": "u", "response_url": "v", "new_of_theirs": 1}) == "abc"
    assert fal.request_id({"request_id": "../abc"}) is None


# Luma


def test_a_generation_is_read_as_its_provider_understood_it() -> None:
    body = {"state": "completed", "request": {"resolution": "1080p", "duration": "9s", "prompt": "x"}}
    ordered = job(luma.API, ["video_second"], fields={"resolution": "540p", "duration": "5s"})
    found = luma.read_end(ordered, Answer(200, body))
    assert used(found) == {"video_second": 9}
    assert found is not None
    assert found.reading is not None
    assert found.reading.conditions["resolution"] == "1080p"
    assert luma.read_end(ordered, Answer(200, {"state": "dreaming"})) is None
    assert used(luma.read_end(ordered, Answer(200, {"state": "failed"}))) == {}


@pytest.mark.parametrize(
    "frame", [{"type": "generation"}, {"type": "generation", "id": "../x"}, {"type": "generation", "id": 7}]
)
def test_keyframes_name_generations_by_their_ids(frame: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        luma.parse("video", "", None, orjson.dumps({"keyframes": {"frame0": frame}}))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("upscale", {"duration": "1s"}), ("audio", {"duration": 1}), ("modify", {"model": "ray-2", "seconds": 1}),
     ("reframe", {"model": "ray-2", "num_frames": 1, "fps": 1000}), ("image", {"width": 1, "height": 1}),
     ("video", {"length": 1})],
)  # fmt: skip
def test_no_field_of_another_vendor_makes_a_generation_smaller(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        luma.parse(kind, "", "gen-1", orjson.dumps({"resolution": "4k", **fields}))
    assert refused.value.refusal.param in fields


# Where URLs lead


@pytest.mark.parametrize(
    ("headers", "root"),
    [
        ({b"host": b"gw.example:4100"}, "http://gw.example:4100"),
        ({b"host": b"gw.example", b"x-forwarded-proto": b"https, http"}, "https://gw.example"),
        ({b"host": b"[::1]:4100"}, "http://[::1]:4100"),
        ({b"host": b"gw.example/evil"}, ""),
        ({b"host": b'gw"><script>'}, ""),
        ({b"host": b"user@gw.example"}, ""),
        ({b"host": b"gw.example", b"x-forwarded-proto": b"javascript"}, "http://gw.example"),
        ({}, ""),
    ],
)
def test_urls_lead_to_where_the_request_came(headers: dict[bytes, bytes], root: str) -> None:
    assert root_of(headers) == root
    assert root_of(headers, "https://public.example/") == "https://public.example"


def test_a_target_is_made_of_what_the_pattern_let_through() -> None:
    found = find("GET", "/fal/fal-ai/flux/requests/a-1/status")
    assert isinstance(found, Matched)
    assert found.target(b"logs=1&evil=2") == "/fal-ai/flux/requests/a-1/status?logs=1"


@pytest.mark.parametrize(
    ("base_url", "queue", "direct"),
    [
        ("https://queue.fal.run", "https://queue.fal.run", "https://fal.run"),
        ("https://fal.run/", "https://queue.fal.run", "https://fal.run"),
        ("https://relay.example/fal", "https://relay.example/fal", "https://relay.example/fal"),
    ],
)
def test_of_fals_two_hosts_either_may_be_named(base_url: str, queue: str, direct: str) -> None:
    upstream = Upstream(base_url=base_url)
    assert upstream.spoken("fal") == ("fal", "fal_run")
    assert (upstream.address("fal", "fal"), upstream.address("fal", "fal_run")) == (queue, direct)


@pytest.mark.parametrize(
    ("name", "base_url", "path", "target"),
    [
        ("replicate", "https://api.replicate.com", "/v1/predictions", "/v1/predictions"),
        ("replicate", "https://api.replicate.com/v1", "/v1/predictions", "/v1/predictions"),
        ("luma", "https://api.lumalabs.ai/dream-machine/v1", "/dream-machine/v1/ping", "/dream-machine/v1/ping"),
        ("luma", "https://api.lumalabs.ai/dream-machine/v1/", "/ping", "/dream-machine/v1/ping"),
        ("luma", "https://api.lumalabs.ai", "/dream-machine/v1/ping", "/dream-machine/v1/ping"),
    ],
)
def test_a_base_url_may_end_with_what_paths_begin_with(name: str, base_url: str, path: str, target: str) -> None:
    config = Config(upstreams={name: Upstream(base_url=base_url, api_key="real-key-0001")})
    made = destinations_of(config, {}, UpstreamClient(lambda: True))
    assert made[name, name].target(path) == target
    assert b"authorization: Bearer real-key-0001" in made[name, name].fixed
