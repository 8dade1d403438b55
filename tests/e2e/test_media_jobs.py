"""Replicate, fal and Luma through their own SDKs: one entry a job, settled once at the vendor's own bill; nobody goes round us."""

from __future__ import annotations

import concurrent.futures
import http.client
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import luma_agents
import lumaai
import pytest
import replicate

from tests.support.gateway import server
from tests.support.media_rig import KEY, LONE_KEY, OTHER_KEY, POOR_KEY, VERSION, MediaRig, running
from tests.support.tls_front import tls_front
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaRig]:
    with running(tmp_path_factory.mktemp("media")) as made:
        yield made
        for client in _OPEN:
            client._client.close()
        assert made.leaks() == []


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


# Replicate

_OPEN: list[replicate.Client] = []


def of_replicate(rig: MediaRig, session: str = "", key: str = KEY) -> replicate.Client:
    headers = {"x-taximeter-session-id": session} if session else {}
    client = replicate.Client(api_token=key, base_url=f"{rig.url}/replicate", headers=headers)
    client.poll_interval = 0.05
    _OPEN.append(client)
    return client


def predict(rig: MediaRig, nonce: str, model: str, given: dict[str, Any], key: str = KEY, **more: Any) -> Any:
    prompt = {"prompt": f"nonce={nonce} {given.pop('orders', '')}", **given}
    return of_replicate(rig, nonce, key).models.predictions.create(model, prompt, **more)


def test_an_official_model_costs_what_it_made(rig: MediaRig) -> None:
    made = predict(rig, "r-images", "black-forest-labs/flux-schnell", {"num_outputs": 3, "orders": "after=0.2"})
    made.wait()
    assert (made.status, len(made.output)) == ("succeeded", 3)
    assert rig.cost("r-images") == Decimal("0.009")
    (entry,) = rig.settled("r-images")
    assert (entry["operation"], entry["usage"], entry["reserved_usd"]) == ("prediction", {"image": 3}, "0.009")


def test_urls_of_a_prediction_lead_here_and_its_stream_nowhere(rig: MediaRig) -> None:
    made = predict(rig, "r-urls", "black-forest-labs/flux-schnell", {})
    own = f"{rig.url}/replicate/v1/predictions/{made.id}"
    assert made.urls["get"] == own
    assert made.urls["cancel"] == f"{own}/cancel"
    assert "stream" not in made.urls
    made.reload()
    assert made.urls["get"] == own
    with pytest.raises(replicate.exceptions.ReplicateError, match="another host"):
        predict(rig, "r-stream", "black-forest-labs/flux-schnell", {}, stream=True)


def test_tokens_and_seconds_of_video_by_what_the_prediction_counts(rig: MediaRig) -> None:
    predict(rig, "r-tokens", "meta/llama-3-8b-instruct", {"max_tokens": 50, "orders": "in=900 out=40"})
    predict(rig, "r-film", "acme/film", {"duration": 6})
    assert rig.cost("r-tokens") == Decimal("0.000055")
    assert rig.cost("r-film") == Decimal(3)


@pytest.mark.parametrize("end", ["done", "failed"])
def test_hardware_is_paid_for_the_seconds_that_it_ran(rig: MediaRig, end: str) -> None:
    predict(rig, f"r-gpu-{end}", "acme/upscaler", {"orders": f"gpu=3.5 end={end} after=0.1"})
    assert rig.cost(f"r-gpu-{end}") == Decimal("0.0034125")


def test_hardware_that_the_configuration_names_has_the_books_price(rig: MediaRig) -> None:
    predict(rig, "r-t4", "acme/by-hardware", {"orders": "gpu=10"})
    assert rig.cost("r-t4") == Decimal("0.00225")


def test_what_never_ran_costs_nothing(rig: MediaRig) -> None:
    """Asked for by another team: the SDK cannot read the word `aborted`, in lists neither."""
    predict(rig, "r-aborted", "acme/upscaler", {"orders": "end=aborted after=0.1"}, key=LONE_KEY)
    assert rig.cost("r-aborted") == Decimal(0)


def test_a_cancelled_prediction_costs_the_time_until_then(rig: MediaRig) -> None:
    made = predict(rig, "r-cancel", "acme/upscaler", {"orders": "gpu=2 after=60"})
    made.cancel()
    assert made.status == "canceled"
    assert rig.cost("r-cancel") == Decimal("0.00195")


def test_versions_and_deployments_have_prices_of_their_own(rig: MediaRig) -> None:
    of_replicate(rig, "r-version").predictions.create(version=VERSION, input={"prompt": "nonce=r-version gpu=2"})
    made = of_replicate(rig, "r-deployment").deployments.predictions.create(
        "acme/mine", {"prompt": "nonce=r-deployment gpu=4"}
    )
    assert made.status == "succeeded"
    assert rig.cost("r-version") == Decimal("0.0028")
    assert rig.cost("r-deployment") == Decimal("0.0061")


def test_who_waits_for_a_prediction_gets_it_at_once(rig: MediaRig) -> None:
    client = of_replicate(rig, "r-wait")
    given = {"prompt": "nonce=r-wait after=0.3"}
    made = client._request("POST", "/v1/models/black-forest-labs/flux-schnell/predictions", json={"input": given},
                           headers={"prefer": "wait=5", "cancel-after": "30s"}).json()  # fmt: skip
    assert made["status"] == "succeeded"
    asked = next(one for one in rig.seen() if one["headers"].get("cancel-after"))
    assert (asked["headers"]["prefer"], asked["headers"]["cancel-after"]) == ("wait=5", "30s")
    assert rig.cost("r-wait") == Decimal("0.003")


def test_how_long_it_may_run_is_what_is_reserved_for_its_hardware(rig: MediaRig) -> None:
    for nonce, headers, seconds in (("r-long", {}, 1800), ("r-short", {"cancel-after": "1m30s"}, 90)):
        of_replicate(rig, nonce)._request(
            "POST",
            "/v1/models/acme/upscaler/predictions",
            headers=headers,
            json={"input": {"prompt": f"nonce={nonce}"}},
        )
        (entry,) = rig.settled(nonce)
        assert Decimal(entry["reserved_usd"]) == seconds * Decimal("0.000975")


def test_predictions_are_their_teams_own(rig: MediaRig) -> None:
    made = predict(rig, "r-own", "black-forest-labs/flux-schnell", {})
    others = of_replicate(rig, key=OTHER_KEY)
    for call in (others.predictions.get, others.predictions.cancel):
        with pytest.raises(replicate.exceptions.ReplicateError) as refused:
            call(made.id)
        assert refused.value.status == 404
    assert made.id in [one.id for one in of_replicate(rig).predictions.list()]
    assert made.id not in [one.id for one in others.predictions.list()]


def test_files_go_up_as_they_come_and_are_their_teams_own(rig: MediaRig) -> None:
    mine, others = of_replicate(rig, "r-files"), of_replicate(rig, key=OTHER_KEY)
    made = mine.files.create(io.BytesIO(b"\x89PNG" * 1000))
    assert mine.files.get(made.id).id == made.id
    assert [one.id for one in mine.files.list()] == [made.id]
    assert [one.id for one in others.files.list()] == []
    given = {"image": made.urls["get"], "prompt": "nonce=r-of-file"}
    of_replicate(rig, "r-of-file").models.predictions.create("black-forest-labs/flux-schnell", given)
    for call in (
        lambda: others.files.get(made.id),
        lambda: others.models.predictions.create("black-forest-labs/flux-schnell", given),
    ):
        with pytest.raises(replicate.exceptions.ReplicateError) as refused:
            call()
        assert refused.value.status == 404
    assert rig.cost("r-of-file") == Decimal("0.003")
    assert mine.files.delete(made.id)


def test_catalogues_are_everybodys_and_the_account_is_nobodys(rig: MediaRig) -> None:
    client = of_replicate(rig)
    assert client._request("GET", "/v1/models/acme/upscaler").json()["name"] == "upscaler"
    for method, path in (("GET", "/v1/account"), ("POST", "/v1/deployments"), ("GET", "/v1/trainings"),
                         ("GET", "/v1/webhooks/default/secret")):  # fmt: skip
        answer = httpx.request(method, f"{rig.url}/replicate{path}", headers={"authorization": f"Bearer {KEY}"})
        assert (answer.status_code, code_of(answer)) == (403, "route_refused"), path
    for path in ("/v1/nothing", "/v1/predictions/../account", "/v2/predictions", "/v1/predictions/a/b"):
        answer = httpx.get(f"{rig.url}/replicate{path}", headers={"authorization": f"Bearer {KEY}"})
        assert answer.status_code in (403, 404), path


def test_tokens_that_nothing_caps_are_refused_under_a_budget_that_blocks(rig: MediaRig) -> None:
    with pytest.raises(replicate.exceptions.ReplicateError, match="max_tokens"):
        predict(rig, "r-uncapped", "openai/gpt-5-nano", {})
    predict(rig, "r-capped", "openai/gpt-5-nano", {"max_completion_tokens": 100, "orders": "in=20 out=7"})
    (entry,) = rig.settled("r-capped")
    assert entry["usage"] == {"input": 20, "output": 7}
    assert Decimal(entry["cost_usd"]) == rig.billed()["r-capped"]


def test_a_model_without_a_price_is_refused_by_its_name(rig: MediaRig) -> None:
    with pytest.raises(replicate.exceptions.ReplicateError, match="acme/unpriced"):
        predict(rig, "r-unpriced", "acme/unpriced", {})


# fal


def fal(
    rig: MediaRig, path: str, nonce: str = "", key: str = KEY, method: str = "POST", **given: Any
) -> httpx.Response:
    headers = {"authorization": f"Key {key}"} | ({"x-taximeter-session-id": nonce} if nonce else {})
    body = {"prompt": f"nonce={nonce} {given.pop('orders', '')}", **given} if method == "POST" else None
    return httpx.request(method, f"{rig.url}/fal/{path}", json=body, headers=headers)


@pytest.mark.parametrize(
    ("path", "given", "usd"),
    [
        ("fal-ai/flux/schnell", {"num_images": 2}, "0.006"),
        ("fal-ai/flux/schnell", {"num_images": 2, "orders": "header=no"}, "0.006"),
        ("acme/pixels", {"orders": "units=1.5"}, "0.0375"),
        ("acme/film/pro", {"duration": "8s"}, "4"),
        ("acme/per-call", {"orders": "header=no"}, "0.2"),
        ("fal-ai/flux/schnell", {"orders": "end=failed"}, "0"),
        ("fal-ai/flux/schnell", {"orders": "end=rejected"}, "0"),
        ("fal-ai/flux/schnell", {"orders": "end=rejected units=1"}, "0.003"),
    ],
)
def test_a_request_in_the_queue_costs_the_units_that_fal_counts(
    rig: MediaRig, path: str, given: dict[str, Any], usd: str
) -> None:
    nonce = f"f-{abs(hash((path, str(given))))}"
    given = {**given, "orders": f"{given.get('orders', '')} after=0.2"}
    assert fal(rig, path, nonce, **given).status_code == 200
    assert rig.cost(nonce) == Decimal(usd)


def test_urls_of_a_request_lead_here_and_it_is_its_teams_own(rig: MediaRig) -> None:
    made = fal(rig, "fal-ai/flux/schnell", "f-own").json()
    own = f"{rig.url}/fal/fal-ai/flux/requests/{made['request_id']}"
    assert (made["response_url"], made["status_url"], made["cancel_url"]) == (own, f"{own}/status", f"{own}/cancel")
    path = own.partition("/fal/")[2]
    for method, rest in (("GET", ""), ("GET", "/status"), ("PUT", "/cancel")):
        assert fal(rig, path + rest, key=OTHER_KEY, method=method).status_code == 404
    assert fal(rig, f"{path}/status", method="GET").json()["status_url"] == f"{own}/status"
    assert rig.cost("f-own") == Decimal("0.003")


def test_a_request_that_is_answered_when_it_is_done_is_settled_with_its_answer(rig: MediaRig) -> None:
    answer = fal(rig, "fal.run/fal-ai/flux/schnell", "f-run", num_images=4)
    assert (answer.headers["x-taximeter-cost-usd"], answer.headers["x-fal-billable-units"]) == ("0.012", "4")
    rejected = fal(rig, "fal.run/fal-ai/flux/schnell", "f-run-rejected", orders="end=rejected")
    assert rejected.status_code == 422
    assert (rig.cost("f-run"), rig.cost("f-run-rejected")) == (Decimal("0.012"), Decimal(0))


def test_a_request_that_vanishes_behind_its_cancelling_costs_its_ceiling_at_once(rig: MediaRig) -> None:
    made = fal(rig, "acme/per-call", "f-vanish", orders="after=60 vanishes=1").json()
    cancelled = fal(rig, made["cancel_url"].partition("/fal/")[2], method="PUT")
    assert cancelled.json() == {"status": "CANCELLATION_REQUESTED"}
    assert rig.cost("f-vanish") == Decimal("0.2")
    assert rig.settled("f-vanish")[0]["status"] == "unconfirmed"


def test_units_that_nobody_can_have_used_are_none(rig: MediaRig) -> None:
    orders = f"after=0.2 units={'9' * 30}"
    assert fal(rig, "acme/pixels", "f-huge", orders=orders).status_code == 200
    fal(rig, "fal.run/acme/pixels", "f-run-huge", orders=orders)
    for session in ("f-huge", "f-run-huge"):
        (entry,) = rig.settled(session)
        assert entry["cost_usd"] == entry["reserved_usd"]


def test_webhooks_go_with_the_request(rig: MediaRig) -> None:
    fal(rig, "fal-ai/flux/schnell?fal_webhook=https%3A%2F%2Fown.example%2Fdone&fal_other=1", "f-webhook")
    assert [one["query"] for one in rig.seen() if one["query"]] == ["fal_webhook=https%3A%2F%2Fown.example%2Fdone"]


@pytest.mark.parametrize(
    "path",
    [
        "fal-ai/../../replicate/v1/account", "fal-ai/flux/requests/../status", "..%2Ffal-ai/flux", "fal-ai",
        "fal-ai/flux/requests/a/b/c", "queue.fal.run/fal.run/x/requests/a/status", "storage/upload/initiate",
    ],
)  # fmt: skip
def test_paths_that_are_no_models_are_not_there(rig: MediaRig, path: str) -> None:
    """As they are written: a client of HTTP would tidy them up."""
    connection = http.client.HTTPConnection("127.0.0.1", int(rig.url.rpartition(":")[2]))
    for method in ("GET", "POST"):
        connection.request(method, f"/fal/{path}", body=b"{}", headers={"authorization": f"Key {KEY}"})
        answer = connection.getresponse()
        assert answer.status in (403, 404, 405)
        answer.read()
    connection.close()
    assert not [one for one in rig.seen() if one["path"].rpartition("/")[2] in ("account", "initiate", "flux", "c")]


def test_streams_are_refused_by_their_name(rig: MediaRig) -> None:
    for path in ("fal.run/fal-ai/flux/schnell/stream", "fal-ai/flux/schnell/stream"):
        answer = fal(rig, path)
        assert (answer.status_code, code_of(answer)) == (403, "route_refused")
        assert "Streams" in answer.json()["detail"]


def test_racing_films_never_pass_a_hard_budget(rig: MediaRig) -> None:
    """$1, and a film costs $0.50 a second: of twenty that ask for one second two fit."""

    def one(number: int) -> str:
        answer = fal(rig, "acme/film/pro", f"poor{number}", key=POOR_KEY, duration="1", orders="after=0.5")
        return "made" if answer.status_code == 200 else code_of(answer)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = sorted(pool.map(one, range(20)))
    assert got.count("made") == 2
    assert set(got) <= {"made", "budget_exceeded", "budget_busy"}


def test_fals_own_sdk_works_unchanged(tmp_path: Path) -> None:
    ours = server()
    with tls_front(tmp_path, ours["port"]) as (port, certificate):
        host = f"127.0.0.1:{port}"
        with running(tmp_path, server=ours | {"public_url": f"https://{host}"}) as own:
            env = os.environ | {
                "FAL_KEY": KEY, "SSL_CERT_FILE": str(certificate), "FAL_RUN_HOST": f"{host}/fal/fal.run",
                "FAL_QUEUE_RUN_HOST": f"{host}/fal",
            }  # fmt: skip
            program = [sys.executable, "-m", "tests.support.fal_sdk", "sdk"]
            done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
            assert_its_jobs(own, f"https://{host}", done)


def assert_its_jobs(own: MediaRig, root: str, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert all(url.startswith(f"{root}/fal/fal-ai/flux/requests/") for url in told["urls"])
    assert (len(told["queue"]["images"]), told["again"]) == (2, told["queue"])
    assert (told["first"], told["cancelled"], told["rejected"]) == ("InProgress", "Completed", 422)
    entries = eventually(
        own.entries, lambda items: len(items) == 5 and all(one["status"] == "settled" for one in items)
    )
    costs = sorted(Decimal(one["cost_usd"]) for one in entries)
    assert costs == sorted(own.billed().values()) == [Decimal(usd) for usd in ("0", "0.003", "0.003", "0.006", "2.5")]
    assert own.leaks() == []


# Luma


def of_luma_agents(rig: MediaRig, session: str = "", key: str = KEY) -> luma_agents.Luma:
    headers = {"x-taximeter-session-id": session} if session else {}
    return luma_agents.Luma(auth_token=key, base_url=f"{rig.url}/luma/v1", default_headers=headers, max_retries=0)


@pytest.mark.parametrize(
    ("name", "asked", "usd"),
    [
        ("plain", {"model": "uni-1"}, "0.0404"),
        ("references", {"model": "uni-1-max", "image_ref": [{"url": "https://x.invalid/a.png"}] * 2}, "0.106"),
        ("edit", {"model": "uni-1", "type": "image_edit", "source": {"url": "https://x.invalid/a.png"}}, "0.0434"),
        ("film", {"model": "ray-3.2", "type": "video", "video": {"duration": "5s", "resolution": "720p"}}, "1.00"),
        ("failed", {"model": "uni-1"}, "0"),
    ],
)
def test_lumas_newer_api_bills_images_and_seconds(rig: MediaRig, name: str, asked: dict[str, Any], usd: str) -> None:
    nonce, end = f"la-{name}", "failed" if name == "failed" else "done"
    client = of_luma_agents(rig, nonce)
    made = client.generations.create(prompt=f"nonce={nonce} end={end} after=0.1", **asked)
    eventually(lambda: client.generations.get(made.id), lambda one: one.state in ("completed", "failed"))
    (entry,) = rig.settled(nonce)
    assert Decimal(entry["cost_usd"]) == rig.billed()[nonce] == Decimal(usd)
    others = of_luma_agents(rig, key=OTHER_KEY)
    with pytest.raises(luma_agents.NotFoundError):
        others.generations.get(made.id)
    with pytest.raises(luma_agents.PermissionDeniedError, match="belongs to the account"):
        client.files.list()


def of_luma(rig: MediaRig, session: str = "", key: str = KEY, root: str = "/dream-machine/v1") -> lumaai.LumaAI:
    headers = {"x-taximeter-session-id": session} if session else {}
    return lumaai.LumaAI(auth_token=key, base_url=f"{rig.url}/luma{root}", default_headers=headers, max_retries=0)


@pytest.mark.parametrize(
    ("given", "usd"),
    [
        ({"model": "ray-2", "resolution": "720p", "duration": "9s"}, "1.27401984"),
        ({"model": "ray-2", "resolution": "540p", "duration": "5s"}, "0.3981312"),
        ({"model": "ray-2"}, "0.7077888"),
    ],
)
def test_a_generation_costs_its_seconds_by_resolution(rig: MediaRig, given: dict[str, Any], usd: str) -> None:
    nonce = f"l-{usd}"
    client = of_luma(rig, nonce)
    made = client.generations.create(prompt=f"nonce={nonce} after=0.2", **given)
    assert made.id is not None
    assert eventually(lambda: client.generations.get(made.id), lambda one: one.state == "completed").assets is not None
    assert rig.cost(nonce) == Decimal(usd)


def test_what_failed_is_free_and_an_image_is_one(rig: MediaRig) -> None:
    for root in ("", "/dream-machine/v1"):  # its base URL may end with it or not
        name = root.strip("/").partition("/")[0]
        of_luma(rig, f"l-failed{name}", root=root).generations.create(
            model="ray-2", prompt=f"nonce=l-failed{name} end=failed"
        )
        assert rig.cost(f"l-failed{name}") == 0
    image = of_luma(rig, "l-image").generations.image.create(model="photon-1", prompt="nonce=l-image", sync=True)
    assert image.state == "completed"
    assert rig.cost("l-image") == Decimal("0.0073")


@pytest.mark.parametrize("model", ["ray-2", "photon-1"])
def test_a_generation_that_is_deleted_while_it_is_made_stays_charged(rig: MediaRig, model: str) -> None:
    """Luma takes the money beforehand, and gives it back for what failed alone."""
    nonce = f"l-deleted-{model}"
    client = of_luma(rig, nonce)
    order = f"nonce={nonce} after=60"
    made = (client.generations if model == "ray-2" else client.generations.image).create(prompt=order, model=model)  # type: ignore[arg-type]
    assert made.id is not None
    client.generations.delete(made.id)
    assert rig.cost(nonce) > 0
    assert rig.settled(nonce)[0]["usage_source"] == "estimated"


def test_what_is_made_of_a_generation_needs_it_to_be_ones_own(rig: MediaRig) -> None:
    mine, others = of_luma(rig, "l-of"), of_luma(rig, key=OTHER_KEY)
    made = mine.generations.create(model="ray-2", prompt="nonce=l-base")
    assert made.id is not None
    frames: Any = {"frame0": {"type": "generation", "id": made.id}}
    of_luma(rig, "l-upscale").generations.upscale(made.id, resolution="1080p")
    of_luma(rig, "l-audio").generations.audio(made.id, prompt="nonce=l-audio")
    of_luma(rig, "l-frames").generations.create(model="ray-2", prompt="nonce=l-frames", keyframes=frames)
    assert rig.cost("l-audio") == Decimal("0.25")
    assert rig.cost("l-frames") == Decimal("0.7077888")
    for call in (
        lambda: others.generations.get(made.id), lambda: others.generations.delete(made.id),
        lambda: others.generations.upscale(made.id), lambda: others.generations.audio(made.id),
        lambda: others.generations.create(model="ray-2", prompt="x", keyframes=frames),
    ):  # fmt: skip
        with pytest.raises(lumaai.NotFoundError):
            call()
    assert made.id in [one.id for one in mine.generations.list(limit=50).generations]
    assert others.generations.list().generations == []
    mine.generations.delete(made.id)


def test_lists_count_what_is_the_teams_own(rig: MediaRig) -> None:
    client = of_luma(rig, "l-list", LONE_KEY)
    made = [client.generations.create(model="ray-2", prompt=f"nonce=l-list{n}").id for n in range(3)]
    page = client.generations.list(limit=2, offset=1)
    assert [one.id for one in page.generations] == made[1::-1]
    assert (page.count, page.limit, page.offset, page.has_more) == (2, 2, 1, False)
    assert client.generations.list(limit=1).has_more


def test_the_balance_is_the_accounts(rig: MediaRig) -> None:
    client = of_luma(rig)
    with pytest.raises(lumaai.PermissionDeniedError, match="balance"):
        client.credits.get()
    assert client.ping.check().message == "pong"
    assert client.generations.concepts.list() == ["dolly_zoom", "crash_zoom"]
    for bad in ({"resolution": "8k"}, {"duration": "long"}):
        with pytest.raises(lumaai.BadRequestError):
            client.generations.create(model="ray-2", prompt="x", **bad)  # type: ignore[arg-type]
