"""Runway, Stability and ElevenLabs: what a request is bounded by, and what an end is read as, in the units of its price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from proxy.errors import Refused
from proxy.jobs.api import Answer, Ended, JobApi
from proxy.jobs.apis import APIS, elevenlabs, elevenlabs_dubbing, find, runway, stability
from proxy.jobs.job import Job
from tests.support.rows import each_row

CREDITS = frozenset({"credit"})


def job(asked: dict[str, Any]) -> Job:
    intent = {"provider": "p", "upstream": "p", "model": "m", "model_requested": "m"}
    return Job("1", "a", "d", "t", 1, 2, asked, {}, intent)


def usage(ended: Ended | None) -> dict[str, Any] | None:
    assert ended is not None
    return None if ended.reading is None else dict(ended.reading.usage)


# Runway


_OF_AN_ACCOUNT = (
    "account", "balance", "billing", "credit", "invoice", "key", "member", "organization", "quota", "subscription", "team",
    "usage", "user", "webhook", "workspace",
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "body", "quantities", "bounded"),
    [
        ("character_performance", {"model": "act_two", "duration": 1}, {"video_second": 30}, True),
        ("video_to_hdr", {"model": "ruby", "duration": 1}, {"video_second": 0}, False),
        ("sound_effect", {"model": "seed_audio", "duration": 1}, {}, False),
        ("sound_effect", {"model": "mirelo_sfx_2_0", "duration": 2.5, "numVariants": 3}, {"audio_second": 9}, True),
        ("sound_effect", {"model": "eleven_text_to_sound_v2"}, {"audio_second": 30}, True),
        ("voice_isolation", {"model": "eleven_voice_isolation", "audioUri": "https://x.test/a.wav"}, {}, False),
        ("voice_isolation", {"model": "eleven_voice_isolation", "audioUri": "data:audio/wav;base64,!"}, {}, False),
        ("recipes/product_ad", {"version": "2026-06"}, {}, True),
    ],
)
def test_what_runway_makes_is_bounded_by_what_it_reads(kind: str, body: Any, quantities: Any, bounded: bool) -> None:
    call = runway.parse(kind, orjson.dumps(body))
    assert (dict(call.quantities), not call.unbounded) == (quantities, bounded)
    assert runway.bounded(call, frozenset({"credit"})).unbounded  # nobody knows how many credits that is
    assert not runway.bounded(call, frozenset({"credit", "request"})).unbounded  # its operator says what it costs


@pytest.mark.parametrize(
    ("kind", "body", "model", "quantities"),
    [
        ("character_performance", {}, "act_two", {"video_second": 30}),
        ("image_to_video", {}, "veo3.1", {"video_second": 8}),
        ("text_to_image", {}, "gen4_image", {"image": 1}),
        ("sound_effect", {"promptText": "a"}, "eleven_text_to_sound_v2", {"audio_second": 30}),
        ("sound_effect", {"promptText": "a", "duration": 4.5}, "mirelo_sfx_2_0", {"audio_second": 5}),
    ],
)
def test_a_model_under_another_name_is_bounded_as_what_it_is(
    kind: str, body: dict[str, Any], model: str, quantities: dict[str, int]
) -> None:
    known = dict(runway.parse(kind, orjson.dumps({"model": model, **body})).quantities)
    for name in ("ours", "gen4_turbo", "gen4_image", "mirelo_sfx_2_0"):
        call = runway.of_model(kind, runway.parse(kind, orjson.dumps({"model": name, **body})), model)
        assert (dict(call.quantities), call.unbounded, known) == (quantities, "", quantities)


@each_row("api", APIS, ids=lambda api: api.name)
def test_no_vendors_account_is_open_to_every_team(api: JobApi) -> None:
    opened = [route.pattern for route in api.routes if route.does == "open"]
    assert [path for path in opened if any(word in path for word in _OF_AN_ACCOUNT)] == []


@pytest.mark.parametrize(
    "path",
    [
        "/replicate/v1/account", "/replicate/v1/webhooks/default/secret", "/luma/credits", "/luma/dream-machine/v1/credits",
        "/runway/v1/organization", "/stability/v1/user/balance", "/stability/v1/user/account", "/elevenlabs/v1/user",
        "/elevenlabs/v1/user/subscription", "/elevenlabs/v1/usage/character-stats",
    ],
)  # fmt: skip
def test_what_an_account_pays_is_refused_with_the_reason(path: str) -> None:
    with pytest.raises(Refused) as refused:
        find("GET", path)
    assert (refused.value.refusal.status, refused.value.refusal.code) == (403, "route_refused")


@each_row(
    "path",
    [
        "/v1/organization/usage/completions", "/v1/organization/admin_api_keys", "/v1/dashboard/billing/usage", "/v1/usage",
        "/v1/organizations/usage_report/messages", "/api/v1/credits", "/fal/billing", "/fal/keys",
        "/elevenlabs/v1/workspace", "/elevenlabs/v1/service-accounts", "/elevenlabs/v1/history", "/runway/v1/organization/keys",
        "/stability/v1/user/keys", "/replicate/v1/account/billing", "/luma/usage",
    ],
)  # fmt: skip
def test_nothing_else_of_an_account_is_there(path: str) -> None:
    assert find("GET", path) is None


def task(kind: str = "image_to_video", **fields: Any) -> Any:
    return runway.parse(kind, orjson.dumps({"model": "gen4.5", "promptText": "a", **fields}))


@each_row(
    ("kind", "fields", "quantities"),
    [
        ("image_to_video", {"duration": 5}, {"video_second": 5}),
        ("image_to_video", {}, {"video_second": 15}),
        ("image_to_video", {"duration": "auto"}, {"video_second": 30}),
        ("image_to_video", {"model": "veo3.1"}, {"video_second": 8}),
        ("image_to_video", {"duration": 5, "outputFormat": "mp4"}, {"video_second": 5}),
        ("image_to_video", {"duration": 5, "outputFormat": "png_sequence"}, {"video_second": 5, "credit": 25}),
        ("image_to_video", {"duration": 5, "outputFormat": "hdr10"}, {"video_second": 5, "credit": 200}),
        ("video_to_video", {"model": "gen4_aleph"}, {"video_second": 5}),
        ("video_to_video", {"model": "gen4_aleph", "duration": 1}, {"video_second": 5}),
        ("text_to_image", {"outputCount": 3}, {"image": 3}),
        ("text_to_image", {"model": "muse_image"}, {"image": 4}),
        ("text_to_image", {"model": "gen4_image"}, {"image": 1}),
    ],
)
def test_what_a_task_takes_at_most(kind: str, fields: dict[str, Any], quantities: dict[str, int]) -> None:
    call = task(kind, **fields)
    assert (call.quantities, call.unbounded) == (quantities, "")


def test_a_duration_is_no_bound_where_the_model_takes_none() -> None:
    assert task("video_upscale", duration=1).unbounded


@pytest.mark.parametrize("kind", ["video_to_video", "video_upscale", "image_upscale"])
def test_what_is_as_large_as_what_was_sent_has_no_bound(kind: str) -> None:
    assert task(kind).unbounded


@pytest.mark.parametrize(
    ("fields", "fixed"),
    [({"ratio": "1280:720"}, {"resolution": "720p"}), ({"ratio": "1080:1920"}, {"resolution": "1080p"}),
     ({"ratio": "3840:2160"}, {"resolution": "4k"}), ({"ratio": "auto_1080p"}, {"resolution": "1080p"}),
     ({"ratio": "16:9"}, {}), ({"resolution": "768P"}, {"resolution": "768p"}), ({"audio": False}, {"audio": "off"}),
     ({"audio": True, "ratio": "adaptive"}, {"audio": "on"})],
)  # fmt: skip
def test_what_its_price_may_depend_on(fields: dict[str, Any], fixed: dict[str, str]) -> None:
    assert task(duration=5, **fields).fixed == fixed


ASKED = {"units": ["credit", "video_second"], "things": {"video_second": 5}, "conditions": {}, "estimate": "60"}


@each_row(
    ("body", "changes", "used"),
    [
        ({"status": "SUCCEEDED", "cost": {"credits": 60}}, {}, {"credit": 60}),
        ({"status": "succeeded", "cost": {"credits": 53}}, {}, {"credit": 53}),
        ({"status": "FAILED", "cost": {"credits": 0}}, {}, {}),
        ({"status": "CANCELLED", "cost": {"credits": 12}}, {}, {"credit": 12}),
        ({"status": "CANCELLED", "cost": {"credits": 0}}, {}, {}),
        ({"status": "CANCELLED"}, {}, {"credit": 60}),
        ({"status": "cancelled", "cost": {"credits": None}}, {"estimate": None}, None),
        ({"status": "SUCCEEDED"}, {}, {"credit": 60}),
        ({"status": "SUCCEEDED"}, {"estimate": None}, None),
        ({"status": "SUCCEEDED", "cost": {"credits": -5}}, {"estimate": None}, None),
        ({"status": "SUCCEEDED", "cost": {"credits": "many"}}, {"estimate": None}, None),
        ({"status": "FAILED", "failureCode": "SAFETY.INPUT.TEXT"}, {}, {"credit": 60}),
        ({"status": "FAILED", "failureCode": "SAFETY.OUTPUT.VIDEO"}, {}, {}),
        ({"status": "FAILED", "failureCode": 5}, {}, {}),
        ({"status": "SUCCEEDED", "cost": {"credits": 60}}, {"units": ["video_second"]}, {"video_second": 5}),
        ({"status": "FAILED", "cost": {"credits": 0}}, {"units": ["video_second"]}, {}),
        (
            {"status": "SUCCEEDED", "cost": {"credits": 8}, "output": ["a", "b"]},
            {"units": ["image"], "things": {"image": 4}},
            {"image": 2},
        ),
    ],
)
def test_what_a_task_came_to(body: dict[str, Any], changes: dict[str, Any], used: dict[str, Any] | None) -> None:
    asked = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
    assert usage(runway.read_end(job(asked), Answer(200, body))) == used


@pytest.mark.parametrize("status", ["PENDING", "THROTTLED", "RUNNING", "SOMETHING_NEW", None, 5])
def test_what_runs_has_not_ended(status: Any) -> None:
    assert runway.read_end(job(ASKED), Answer(200, {"status": status, "cost": {"credits": 60}})) is None


# Stability


def form(**fields: str) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    return ("".join(parts) + "--b--\r\n").encode()


def test_a_service_is_called_by_its_path_and_sd3_by_its_model() -> None:
    assert stability.parse("stable-image/edit/erase", form(prompt="a")).model == "stable-image/edit/erase"
    assert stability.parse("stable-image/generate/sd3", form(prompt="a")).model == "sd3.5-large"
    call = stability.parse("stable-image/generate/sd3", form(prompt="a", model="sd3.5-medium"))
    assert call.model == "sd3.5-medium"
    assert b"own-name" in stability._encode(call, "own-name").written({})
    assert b"own-name" in stability._encode(
        stability.parse("stable-image/generate/sd3", form(prompt="a")), "own-name"
    ).written({})


@pytest.mark.parametrize("raw", [b"", b"{}", form(prompt="a") + b"x", form(model="a").replace(b'"model"', b'"Model"')])
def test_what_is_no_form_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused) as refused:
        stability.parse("stable-image/generate/sd3", raw)
    assert refused.value.refusal.status == 400


@pytest.mark.parametrize(
    ("answer", "used"),
    [(Answer(200, {}), {"image": 1}), (Answer(200, {"image": "x", "finish_reason": "CONTENT_FILTERED"}), {"image": 1}),
     (Answer(200, {"errors": ["a"], "name": "b"}), {})],
)  # fmt: skip
def test_what_was_made_is_charged(answer: Answer, used: dict[str, int]) -> None:
    assert usage(stability.read_end(job({"things": {"image": 1}}), answer)) == used


def test_what_is_being_made_or_was_stopped() -> None:
    asked = job({"things": {"image": 1}})
    assert stability.read_end(asked, Answer(202, {"id": "a"})) is None
    assert stability.read_end(asked, Answer(200, {"status": "in-progress"})) is None
    assert usage(stability.gone(asked, Answer(403, {"name": "content_moderation"}), 1)) == {}
    assert stability.gone(asked, Answer(403, {"name": "permission_denied"}), 1) is None
    assert stability.gone(asked, Answer(404, {"name": "not_found"}), 1) is None


# ElevenLabs


def spoken(text: str, **fields: Any) -> Any:
    return elevenlabs.parse_speech(orjson.dumps({"text": text, **fields}))


@pytest.mark.parametrize(
    ("units", "model", "quantities"),
    [
        ({"credit", "character"}, "eleven_v3", {"credit": 20}),
        ({"credit", "character"}, "eleven_flash_v2_5", {"credit": 10}),
        ({"credit"}, "eleven_v3", {"credit": 20}),
        ({"character"}, "eleven_flash_v2_5", {"character": 10}),
    ],
)
def test_speech_is_bounded_in_the_unit_in_which_it_is_read(
    units: set[str], model: str, quantities: dict[str, int]
) -> None:
    call = elevenlabs.bounded(spoken("ten letters"[:10], model_id=model), frozenset(units))
    assert (call.quantities, call.unbounded) == (quantities, "")
    told = elevenlabs.read_end(job(dict(elevenlabs.request_facts(call))), Answer(200, {}, {"character-cost": "7"}))
    assert usage(told) == ({"credit": 7} if "credit" in units else {"character": 10})


def test_a_plans_credits_are_what_a_sound_costs_where_the_operator_says_so() -> None:
    call = elevenlabs.bounded(elevenlabs.parse_effect(b'{"text": "rain"}'), CREDITS)
    assert "credits" in call.unbounded
    asked = job(dict(elevenlabs.request_facts(call)))
    assert usage(elevenlabs.read_end(asked, Answer(200, {}, {"character-cost": "120"}))) == {"credit": 120}
    for odd in ("", "-3", "NaN", "many"):
        assert usage(elevenlabs.read_end(asked, Answer(200, {}, {"character-cost": odd}))) is None


@pytest.mark.parametrize(
    ("body", "seconds"),
    [({"prompt": "a"}, 600), ({"prompt": "a", "music_length_ms": 10_001}, 11),
     ({"composition_plan": {"sections": [{"duration_ms": 4000}, {"duration_ms": 6500}]}}, 11),
     ({"composition_plan": {"sections": [{"duration_ms": 4000}, {}]}}, 600),
     ({"composition_plan": {"sections": [{"duration_ms": 60_000}]}, "music_length_ms": 1000}, 60)],
)  # fmt: skip
def test_music_is_bounded_by_its_length(body: dict[str, Any], seconds: int) -> None:
    assert elevenlabs.parse_music(orjson.dumps(body)).quantities == {"audio_second": seconds}


def test_a_transcript_of_several_channels_and_of_an_address() -> None:
    raw = form(model_id="scribe_v2", use_multi_channel="true", file="ID3" + "y" * 997)
    assert elevenlabs.parse_transcript(raw).quantities == {
        "audio_second": 5 * 1000
    }  # no recording: a second for each byte
    assert elevenlabs.parse_transcript(form(model_id="scribe_v2", source_url="https://a.invalid/b")).unbounded
    with pytest.raises(Refused):
        elevenlabs.parse_transcript(form(model_id="scribe_v2", webhook="true", file="a"))


@pytest.mark.parametrize(
    ("fields", "quantities", "unbounded"),
    [({"file": "ID3" + "y" * 9_997, "target_lang": "es"}, {"audio_second": 10_000}, False),
     ({"file": "ID3" + "y" * 9_997, "start_time": "2", "end_time": "5"}, {"audio_second": 3}, False),
     ({"source_url": "https://a.invalid/b"}, {}, True),
     ({"source_url": "https://a.invalid/b", "end_time": "30"}, {"audio_second": 30}, False)],
)  # fmt: skip
def test_a_dubbing_is_as_long_as_what_was_sent(
    fields: dict[str, str], quantities: dict[str, int], unbounded: bool
) -> None:
    call = elevenlabs_dubbing.parse(form(**fields))
    assert (call.quantities, bool(call.unbounded)) == (quantities, unbounded)


@pytest.mark.parametrize(
    ("body", "used"),
    [
        ({"status": "dubbed", "media_metadata": {"duration": 30.5}}, {"audio_second": Decimal("30.5")}),
        ({"status": "dubbed", "target_languages": ["es", "fr"]}, {"audio_second": 24}),
        ({"status": "failed", "error": "no"}, {}),
    ],
)
def test_a_dubbing_costs_its_length_in_each_language(body: dict[str, Any], used: dict[str, Any]) -> None:
    assert usage(elevenlabs_dubbing.read_end(job({"expected": "12"}), Answer(200, body))) == used
    assert elevenlabs_dubbing.read_end(job({"expected": "12"}), Answer(200, {"status": "dubbing"})) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/runway/v1/image_to_video/"), ("POST", "/runway/image_to_video"), ("GET", "/runway/v1/tasks/a/b"),
        ("POST", "/runway/v1/voices"), ("GET", "/stability/v2beta/results/"), ("POST", "/stability/v1/generation"),
        ("POST", "/elevenlabs/v1/text-to-speech/a-b"), ("GET", "/elevenlabs/v1/history"), ("POST", "/elevenlabs/v1/voices/add"),
        ("POST", "/elevenlabs/v1/convai/conversation"), ("POST", "/elevenlabs/v1/dubbing/resource/a/dub"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_tables_is_not_there(method: str, path: str) -> None:
    try:
        assert find(method, path) is None
    except Refused as refused:
        assert refused.refusal.status == 405  # noqa: PT017 - another method of a path that is there
