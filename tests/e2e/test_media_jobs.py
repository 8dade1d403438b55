"""Replicate, fal and Luma through their own SDKs: one entry a job, settled once at the vendor's own bill; nobody goes round us."""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
import replicate
import replicate.exceptions

from tests.support.media_rig import KEY, LONE_KEY, OTHER_KEY, VERSION, MediaRig, running


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
