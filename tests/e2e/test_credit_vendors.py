"""Runway, Stability and ElevenLabs through their own SDKs (Stability has none): what they take in credits is what is counted."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import elevenlabs
import httpx
import pytest
import runwayml
from elevenlabs.core.api_error import ApiError

from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.media import wav
from tests.support.processes import module_running
from tests.support.waiting import eventually

KEY, OTHER_KEY, POOR_KEY = "sk-team-blue-0000000001", "sk-team-green-000000001", "sk-team-poor-0000000001"
IMAGE = "https://pictures.invalid/a.png"
CENT, CREDIT = Decimal("0.01"), Decimal("0.00008")


@dataclass(frozen=True, slots=True)
class Rig:
    gateway: Gateway
    vendors_url: str
    open: contextlib.ExitStack

    @property
    def url(self) -> str:
        return self.gateway.url

    def entries(self, session: str) -> list[dict[str, Any]]:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        answer = httpx.get(f"{self.gateway.admin_url}/api/requests", params={"session": session}, headers=headers)
        found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return found

    def settled(self, session: str, number: int = 1) -> list[dict[str, Any]]:
        return eventually(
            lambda: self.entries(session),
            lambda items: len(items) >= number and all(item["status"] != "running" for item in items),
        )

    def cost(self, nonce: str) -> Decimal:
        """The cost of the one entry of the session of that name: its vendor's bill, and within what was reserved."""
        (entry,) = self.settled(nonce)
        billed = Decimal(httpx.get(f"{self.vendors_url}/bill").json()[nonce])
        assert Decimal(entry["cost_usd"]) == billed.quantize(Decimal("1e-9")), entry
        assert Decimal(entry["reserved_usd"]) >= billed.quantize(Decimal("1e-9")), entry
        assert entry["status"] == "settled"
        return Decimal(entry["cost_usd"])

    def seen(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.vendors_url}/seen").json()
        return found


def config(folder: Path, url: str) -> dict[str, Any]:
    models = {
        "runway": (
            "gen4.5",
            "gen4_turbo",
            "veo3.1",
            "gen4_image",
            "kling_4",
            "aleph2",
            "own_price",
            "recipes/*",
            "act_two",
            "eleven_voice_dubbing",
            "eleven_voice_isolation",
            "eleven_multilingual_sts_v2",
        ),
        "stability": ("stable-image/*", "sd3*", "image-to-video", "3d/*", "audio/*"),
        "elevenlabs": ("eleven_*", "scribe_*", "music_*", "audio-isolation", "dubbing"),
    }
    each = {"per": 1}
    return {
        "server": server(),
        "upstreams": {
            "runway": {"base_url": url, "api_key": "sk-real-runway"},
            "stability": {"base_url": url, "api_key": "sk-real-stability"},
            "elevenlabs": {"base_url": url, "api_key": "sk-real-eleven"},
        },
        "models": {name: {"upstream": upstream} for upstream, names in models.items() for name in names}
        | {
            "runway-speech": {"upstream": "runway", "model": "eleven_multilingual_v2"},
            "runway-effects": {"upstream": "runway", "model": "eleven_text_to_sound_v2"},
        },
        "prices": [
            {"provider": "runway", "model": "own_price", "video_second": {"usd": "0.09"} | each},
            {
                "provider": "runway",
                "model": "recipes/product_ad",
                "request": {"usd": "0.50"} | each,
                "credit": {"usd": "0.01"} | each,
            },
            {"provider": "stability", "model": "image-to-video", "request": {"usd": "0.2"} | each},
        ],
        "keys": [
            {"name": "blue", "key": KEY, "team": "blue"},
            {"name": "green", "key": OTHER_KEY, "team": "green"},
            {"name": "poor", "key": POOR_KEY, "team": "poor"},
        ],
        "budgets": [
            {"name": "all", "limit_usd": 1000, "window": "total"},
            {"name": "poor", "match": {"team": "poor"}, "limit_usd": "1", "window": "total"},
        ],
        "jobs": {"poll_s": 0.5, "recheck_s": 1},
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("credits")
    with module_running(folder, "tests.support.credit_vendors") as port:
        url = f"http://127.0.0.1:{port}"
        with gateway(folder, config(folder, url)) as made, contextlib.ExitStack() as stack:
            yield Rig(made, url, stack)


def in_session(session: str) -> dict[str, str]:
    return {"x-taximeter-session-id": session} if session else {}


# Runway


def runway(rig: Rig, session: str = "", key: str = KEY) -> runwayml.RunwayML:
    return rig.open.enter_context(
        runwayml.RunwayML(api_key=key, base_url=f"{rig.url}/runway", max_retries=0, default_headers=in_session(session))
    )


def film(rig: Rig, nonce: str, orders: str = "", *, key: str = KEY, **fields: Any) -> Any:
    asked = {"model": "gen4.5", "prompt_image": IMAGE, "ratio": "1280:720", "duration": 5} | fields
    return runway(rig, nonce, key).image_to_video.create(**asked, prompt_text=f"nonce={nonce} {orders}")


def test_a_film_costs_the_credits_that_its_task_says(rig: Rig) -> None:
    made = film(rig, "rw-done", "after=0.2")
    assert made.estimated_cost.credits == 60
    task = eventually(lambda: runway(rig).tasks.retrieve(made.id), lambda one: one.status == "SUCCEEDED")
    assert task.cost.credits == 60
    assert rig.cost("rw-done") == Decimal("0.6")
    (entry,) = rig.settled("rw-done")
    assert (entry["operation"], entry["usage"], entry["reserved_usd"]) == ("video", {"credit": 60}, "0.6")
    assert {one["version"] for one in rig.seen() if "/tasks/" in one["path"]} == {"2024-11-06"}


@pytest.mark.parametrize(
    ("orders", "usd"),
    [("end=failed after=0.1", "0"), ("end=moderated", "0.6"), ("cheaper=7", "0.53"), ("silent=1", "0.6"),
     ("end=moderated silent=1", "0.6"), ("end=failed silent=1", "0")],
)  # fmt: skip
def test_a_task_that_nobody_asks_for_costs_what_is_not_given_back(rig: Rig, orders: str, usd: str) -> None:
    nonce = f"rw-{orders.replace('=', '-').replace(' ', '-')}"
    film(rig, nonce, orders)
    if "silent" in orders and "failed" not in orders:
        (entry,) = rig.settled(nonce)  # nothing but what was reserved is known of it
        assert Decimal(entry["cost_usd"]) == Decimal(usd)
        return
    assert rig.cost(nonce) == Decimal(usd)


def test_a_task_that_is_cancelled_costs_what_its_end_says(rig: Rig) -> None:
    made = film(rig, "rw-cancel", "after=60")
    runway(rig).tasks.delete(made.id)
    assert rig.cost("rw-cancel") == 0


def test_a_task_that_is_cancelled_and_forgotten_costs_what_it_was_estimated_at(rig: Rig) -> None:
    """Runway gives nothing back for what ran, and a deleted task cannot be fetched again: it ends here at once."""
    made = film(rig, "rw-gone", "after=60 gone=1", output_format="prores")
    runway(rig).tasks.delete(made.id)
    assert rig.cost("rw-gone") == Decimal("0.85")
    (entry,) = rig.settled("rw-gone")
    assert (entry["status"], entry["usage_source"]) == ("settled", "estimated")


def test_a_task_that_is_deleted_before_anybody_saw_its_end_is_asked_first(rig: Rig) -> None:
    made = film(rig, "rw-delete", "after=0.05")
    eventually(lambda: httpx.get(f"{rig.vendors_url}/bill").json(), lambda bill: "rw-delete" in bill)
    runway(rig).tasks.delete(made.id)
    (entry,) = rig.settled("rw-delete")
    assert Decimal(entry["cost_usd"]) in (Decimal("0.6"), Decimal(0))  # ended by then, or cancelled


def test_sound_formats_and_sizes_are_conditions_of_the_price(rig: Rig) -> None:
    client = runway(rig, "rw-silent")
    client.text_to_video.create(
        model="veo3.1", prompt_text="nonce=rw-silent", ratio="1280:720", duration=4, audio=False
    )
    assert rig.cost("rw-silent") == Decimal("0.8")
    film(rig, "rw-prores", output_format="prores")
    assert rig.cost("rw-prores") == Decimal("0.85")
    for ratio, usd in (("1280:720", "0.05"), ("1920:1080", "0.08")):
        nonce = f"rw-{ratio[-3:]}"
        runway(rig, nonce).text_to_image.create(model="gen4_image", prompt_text=f"nonce={nonce}", ratio=ratio)  # type: ignore[arg-type]
        assert rig.cost(nonce) == Decimal(usd)


def test_an_operators_price_by_the_second_is_what_counts(rig: Rig) -> None:
    film(rig, "rw-own", model="own_price", duration=6)
    assert rig.cost("rw-own") == Decimal("0.54")
    assert rig.settled("rw-own")[0]["usage"] == {"video_second": 6}


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("image_to_video", {"model": "kling_4"}, 402),  # no price by the second
        ("image_to_video", {"model": "nobody-has-this"}, 404),
        ("image_to_video", {"duration": 0}, 400),
        ("image_to_video", {"duration": "5"}, 400),
        ("image_to_video", {"duration": 5, "Duration": 10}, 400),
        ("image_to_video", {"audio": "no"}, 400),
        ("image_to_video", {"promptImage": "runway://uploads/abc"}, 404),
        ("image_to_video", {"promptImage": [{"uri": " RUNWAY://uploads/abc"}]}, 404),
        ("video_to_video", {"model": "aleph2", "duration": None}, 400),  # as long as what is sent
        ("text_to_image", {"outputCount": 999}, 400),
        ("voice_isolation", {"model": "eleven_voice_isolation", "audioUri": IMAGE}, 400),  # nothing says how long it is
        ("recipes/product_swap", {}, 402),  # no price by the call
        ("text_to_speech", {"model": "runway-speech", "voice": {"type": "custom", "voiceId": "theirs"}}, 404),
        ("avatar_videos", {"model": "own_price", "avatar": {"type": "custom", "avatarId": "theirs"}}, 404),
        ("generate/video", {"configId": "theirs"}, 404),
        ("organization/usage", {}, 403),
        ("uploads", {}, 403),
        ("voices", {}, 404),
        ("tasks/..%2f..%2forganization", {}, 404),
    ],
)
def test_what_has_no_bound_or_is_not_served_is_refused(
    rig: Rig, path: str, fields: dict[str, Any], status: int
) -> None:
    body = {"model": "gen4.5", "promptImage": IMAGE, "promptText": "a", "ratio": "1280:720", "duration": 5, **fields}
    headers = {"authorization": f"Bearer {KEY}", **in_session("rw-hostile")}
    answer = httpx.post(f"{rig.url}/runway/v1/{path}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert rig.entries("rw-hostile") == []


SOUND = "data:audio/wav;base64," + base64.b64encode(wav(9)).decode()


@pytest.mark.parametrize(
    ("name", "taken", "asked"),
    [
        ("text_to_speech", 3, {"model": "runway-speech", "prompt_text": "nonce={} " + "x" * 110}),
        ("sound_effect", 2, {"model": "runway-effects", "prompt_text": "nonce={}"}),
        ("sound_effect", 1, {"model": "runway-effects", "prompt_text": "nonce={}", "duration": 4.5}),
        ("voice_dubbing", 5, {"model": "eleven_voice_dubbing", "audio_uri": SOUND, "target_lang": "nonce={} long=9"}),
        ("voice_isolation", 2, {"model": "eleven_voice_isolation", "audio_uri": SOUND, "extra_body": {"x": "nonce={} long=9"}}),
        ("speech_to_speech", 3, {"model": "eleven_multilingual_sts_v2", "media": {"type": "audio", "uri": SOUND},
                                 "voice": {"type": "runway-preset", "presetId": "nonce={} long=9"}}),
        ("character_performance", 50, {"model": "act_two", "extra_body": {"x": "nonce={}"},
                                       "character": {"type": "image", "uri": IMAGE}, "reference": {"type": "video", "uri": IMAGE}}),
    ],
)  # fmt: skip
def test_sound_costs_the_credits_that_its_task_says(rig: Rig, name: str, taken: int, asked: dict[str, Any]) -> None:
    nonce = f"rw-{name}-{taken}"
    if name == "text_to_speech":
        asked = asked | {"voice": {"type": "runway-preset", "presetId": "Maya"}}
    filled = json.loads(json.dumps(asked).replace("nonce={}", f"nonce={nonce}"))
    made = getattr(runway(rig, nonce), name).create(**filled)
    assert made.estimated_cost.credits == taken
    assert rig.cost(nonce) == taken * CENT
    (entry,) = rig.settled(nonce)
    assert entry["operation"] == ("video" if name == "character_performance" else "audio")


def test_a_recipe_costs_its_credits_under_a_price_of_its_operators(rig: Rig) -> None:
    made = runway(rig, "rw-recipe").recipes.product_ad(
        version="2026-06", product_images=[{"uri": IMAGE}], extra_body={"x": "nonce=rw-recipe"}
    )
    assert made.estimated_cost.credits == 33
    assert rig.cost("rw-recipe") == Decimal("0.33")


def test_a_task_is_its_teams_own(rig: Rig) -> None:
    made = film(rig, "rw-team")
    for call in (runway(rig, key=OTHER_KEY).tasks.retrieve, runway(rig, key=OTHER_KEY).tasks.delete):
        with pytest.raises(runwayml.NotFoundError):
            call(made.id)
    assert runway(rig).tasks.retrieve(made.id).status == "SUCCEEDED"


def test_racing_films_never_pass_a_hard_budget(rig: Rig) -> None:
    """$1, and a film costs $0.50: of twenty two fit."""

    def one(number: int) -> str:
        try:
            film(rig, f"rw-poor{number}", "after=0.5", key=POOR_KEY, model="gen4_turbo", duration=10)
        except runwayml.APIStatusError as refused:
            return str(refused.response.json()["error"]["code"])
        return "made"

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = list(pool.map(one, range(20)))
    assert got.count("made") == 2
    assert set(got) <= {"made", "budget_exceeded", "budget_busy"}


# Stability


def picture(
    rig: Rig, path: str, nonce: str, orders: str = "", *, key: str = KEY, accept: str = "image/*", **fields: Any
) -> Any:
    form = {"prompt": f"nonce={nonce} {orders}", **fields}
    headers = {"authorization": f"Bearer {key}", "accept": accept, **in_session(nonce)}
    files = {"image": ("a.png", b"\x89PNG" + b"x" * 100, "image/png")}
    return httpx.post(f"{rig.url}/stability/v2beta/{path}", data=form, files=files, headers=headers)


@pytest.mark.parametrize("accept", ["image/*", "application/json"])
@pytest.mark.parametrize(
    ("path", "fields", "usd"),
    [
        ("stable-image/generate/ultra", {}, "0.08"),
        ("stable-image/generate/core", {}, "0.03"),
        ("stable-image/generate/sd3", {}, "0.065"),
        ("stable-image/generate/sd3", {"model": "sd3.5-medium"}, "0.035"),
        ("stable-image/upscale/fast", {}, "0.02"),
        ("stable-image/edit/erase", {}, "0.05"),
        ("stable-image/control/style", {}, "0.05"),
        ("3d/stable-fast-3d", {}, "0.1"),
        ("audio/stable-audio-2/text-to-audio", {"model": "stable-audio-2.5", "duration": "30"}, "0.2"),
        ("audio/stable-audio-2/audio-to-audio", {}, "0.2"),
    ],
)
def test_a_picture_costs_its_services_credits(rig: Rig, path: str, fields: Any, usd: str, accept: str) -> None:
    nonce = f"st-{path.replace('/', '-')}-{len(fields)}-{accept[:5]}"
    made = picture(rig, path, nonce, accept=accept, **fields)
    assert made.status_code == 200, made.text
    if "json" in accept:
        assert made.json()["finish_reason"] == "SUCCESS"
    else:
        assert made.content.startswith(b"\x89PNG")
        assert made.headers["finish-reason"] == "SUCCESS"
    assert made.headers["x-taximeter-cost-usd"] == usd
    assert rig.cost(nonce) == Decimal(usd)
    assert rig.seen()[-1]["accept"] == [accept] or [accept] in [one["accept"] for one in rig.seen()]


@pytest.mark.parametrize(
    ("end", "status", "usd"), [("filtered", 200, "0.08"), ("moderated", 403, "0"), ("broken", 500, "0")]
)
def test_what_failed_is_free_and_what_was_blurred_is_not(rig: Rig, end: str, status: int, usd: str) -> None:
    made = picture(rig, "stable-image/generate/ultra", f"st-{end}", f"end={end}")
    assert made.status_code == status
    assert rig.cost(f"st-{end}") == Decimal(usd)


def result(
    rig: Rig, generation: str, *, key: str = KEY, path: str = "results", accept: str = "image/*"
) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", "accept": accept}
    return httpx.get(f"{rig.url}/stability/v2beta/{path}/{generation}", headers=headers)


@pytest.mark.parametrize("accept", ["image/*", "application/json"])
def test_a_picture_that_takes_its_time_is_a_generation(rig: Rig, accept: str) -> None:
    nonce = f"st-later-{accept[:3]}"
    made = picture(rig, "stable-image/upscale/creative", nonce, "after=0.5")
    assert made.status_code == 202
    assert result(rig, made.json()["id"]).status_code in (202, 200)  # a busy machine may be too late to see it begun
    done = eventually(lambda: result(rig, made.json()["id"], accept=accept), lambda one: one.status_code == 200)
    assert done.content
    assert result(rig, made.json()["id"], key=OTHER_KEY).status_code == 404
    assert rig.cost(nonce) == Decimal("0.6")


@pytest.mark.parametrize(("end", "usd"), [("done", "0.08"), ("moderated", "0")])
def test_a_generation_that_nobody_asks_for_is_settled_too(rig: Rig, end: str, usd: str) -> None:
    picture(rig, "stable-image/edit/replace-background-and-relight", f"st-alone-{end}", f"end={end} after=0.2")
    assert rig.cost(f"st-alone-{end}") == Decimal(usd)


def test_video_from_images_has_no_price_but_the_operators(rig: Rig) -> None:
    made = picture(rig, "image-to-video", "st-video", "after=0.1")
    done = eventually(
        lambda: result(rig, made.json()["id"], path="image-to-video/result"), lambda one: one.status_code == 200
    )
    assert done.content
    assert rig.cost("st-video") == Decimal("0.2")


@pytest.mark.parametrize(
    ("path", "status"),
    [("stable-image/generate/sdxl", 404), ("stable-image/generate/core/x", 404), ("3d/stable-fast-4d", 404)],
)  # fmt: skip
def test_other_services_are_not_there(rig: Rig, path: str, status: int) -> None:
    assert picture(rig, path, "st-hostile").status_code == status
    assert rig.entries("st-hostile") == []


def test_a_picture_that_a_budget_does_not_afford_is_not_made(rig: Rig) -> None:
    answers = [picture(rig, "stable-image/upscale/conservative", "st-poor", key=POOR_KEY) for _ in range(3)]
    assert answers[-1].status_code == 402


# ElevenLabs


def eleven(rig: Rig, session: str = "", key: str = KEY) -> elevenlabs.ElevenLabs:
    client = rig.open.enter_context(httpx.Client(headers=in_session(session), timeout=60))
    return elevenlabs.ElevenLabs(base_url=f"{rig.url}/elevenlabs", api_key=key, httpx_client=client)


@pytest.mark.parametrize(
    ("model", "voice", "each"), [("eleven_v3", "calm", 1), ("eleven_flash_v2_5", "calm", Decimal("0.5")),
                                 ("eleven_multilingual_v2", "apexTwice", 2)],
)  # fmt: skip
def test_speech_costs_the_credits_that_its_answer_tells(rig: Rig, model: str, voice: str, each: Decimal) -> None:
    nonce, text = f"el-{model}", f"nonce=el-{model} " + "abcdefghij" * 20
    text += " " * (len(text) % 2)
    sound = b"".join(eleven(rig, nonce).text_to_speech.convert(voice, text=text, model_id=model))
    assert sound.startswith(b"\xff\xfbsound")
    assert rig.cost(nonce) == len(text) * each * CREDIT
    assert rig.settled(nonce)[0]["operation"] == "audio.speech"


def test_each_way_of_speaking_is_metered(rig: Rig) -> None:
    client = eleven(rig, "el-ways")
    text = "nonce=el-ways hello"
    b"".join(client.text_to_speech.stream("calm", text=text))
    assert client.text_to_speech.convert_with_timestamps("calm", text=text).audio_base_64
    assert len(list(client.text_to_speech.stream_with_timestamps("calm", text=text))) == 3
    dialogue = [{"text": text, "voice_id": "calm"}, {"text": "and you", "voice_id": "calm"}]
    b"".join(client.text_to_dialogue.convert(inputs=dialogue))  # type: ignore[arg-type]
    entries = rig.settled("el-ways", 4)
    assert sorted(entry["usage"]["credit"] for entry in entries) == [19, 19, 19, 26]
    assert {entry["model"] for entry in entries} == {"eleven_multilingual_v2", "eleven_v3"}


def test_speech_goes_on_as_it_comes(rig: Rig) -> None:
    """The vendor sends no more before its first piece was read here."""
    url = f"{rig.url}/elevenlabs/v1/text-to-speech/calm/stream?output_format=mp3_44100_128&secret=1"
    body = {"text": "nonce=el-gated gated=1 hello"}
    with httpx.stream(
        "POST", url, json=body, headers={"xi-api-key": KEY, **in_session("el-gated")}, timeout=30
    ) as answer:
        pieces = answer.iter_raw()
        assert next(pieces).startswith(b"\xff\xfbsound")
        assert int(answer.headers["character-cost"]) == len(body["text"])
        httpx.get(f"{rig.vendors_url}/go")
        assert b"".join(pieces)
    assert rig.cost("el-gated") == len(body["text"]) * CREDIT
    assert [one["query"] for one in rig.seen() if "calm/stream" in one["path"]][-1] == "output_format=mp3_44100_128"


def test_speech_whose_client_leaves_costs_what_its_head_told(rig: Rig) -> None:
    body = {"text": "nonce=el-left gated=1 hello"}
    headers = {"xi-api-key": KEY, **in_session("el-left")}
    url = f"{rig.url}/elevenlabs/v1/text-to-speech/calm/stream"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=30) as answer:
        assert next(answer.iter_raw())
    httpx.get(f"{rig.vendors_url}/go")
    assert rig.cost("el-left") == len(body["text"]) * CREDIT


def test_an_answer_that_tells_nothing_is_counted_by_its_text(rig: Rig) -> None:
    text = "nonce=el-untold untold=1 abcd"
    b"".join(eleven(rig, "el-untold").text_to_speech.convert("calm", text=text, model_id="eleven_flash_v2_5"))
    (entry,) = rig.settled("el-untold")
    assert entry["usage"] == {"character": len(text)}
    assert Decimal(entry["cost_usd"]) == len(text) * CREDIT / 2


def test_sounds_music_and_what_was_heard_by_the_call_or_the_second(rig: Rig) -> None:
    def recording(nonce: str) -> Any:
        return io.BytesIO(b"ID3 " + f"nonce={nonce} seconds=42 ".encode() + b"\x00" * 50_000)

    b"".join(eleven(rig, "el-sound").text_to_sound_effects.convert(text="nonce=el-sound rain", duration_seconds=3))
    b"".join(eleven(rig, "el-music").music.compose(prompt="nonce=el-music waltz", music_length_ms=20_000))
    heard = eleven(rig, "el-heard").speech_to_text.convert(model_id="scribe_v2", file=recording("el-heard"))
    assert heard.text == "hello"
    assert rig.cost("el-sound") == Decimal("0.12")
    assert rig.cost("el-music") == Decimal("0.1")
    assert rig.cost("el-heard") == (42 * Decimal("0.22") / 3600).quantize(Decimal("1e-9"))


def wave(nonce: str, seconds: int) -> bytes:
    """Silence, at a byte for each of 8000 samples a second."""
    data = f"nonce={nonce} seconds={seconds} ".encode().ljust(8000 * seconds, b"\x80")
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8
    ) + b"data" + struct.pack("<I", len(data)) + data  # fmt: skip


def test_a_recording_is_measured_where_nothing_says_how_long_it_is(rig: Rig) -> None:
    b"".join(eleven(rig, "el-voice").speech_to_speech.convert("calm", audio=("a.wav", wave("el-voice", 5))))
    b"".join(eleven(rig, "el-clean").audio_isolation.convert(audio=("a.wav", wave("el-clean", 3))))
    b"".join(eleven(rig, "el-prompt").music.compose(prompt="nonce=el-prompt seconds=3 waltz"))
    assert rig.cost("el-voice") == Decimal("0.01")
    assert rig.cost("el-clean") == Decimal("0.006")
    assert rig.cost("el-prompt") == Decimal("0.015")
    assert rig.settled("el-prompt")[0]["usage_source"] == "estimated"
    unread = io.BytesIO(b"nonce=el-odd seconds=1 " + b"\x00" * 5000)
    b"".join(eleven(rig, "el-odd").audio_isolation.convert(audio=unread))
    (entry,) = rig.settled("el-odd")
    assert (entry["status"], entry["cost_usd"]) == ("unconfirmed", entry["reserved_usd"])


def test_a_dubbing_is_a_job(rig: Rig) -> None:
    file = ("a.mp3", b"ID3 " + b"nonce=el-dub seconds=30 after=0.3 " + b"\x00" * 60_000, "audio/mpeg")
    made = eleven(rig, "el-dub").dubbing.create(file=file, target_lang="es", watermark=True)
    mine, others = eleven(rig), eleven(rig, key=OTHER_KEY)
    done = eventually(lambda: mine.dubbing.get(made.dubbing_id), lambda one: one.status == "dubbed")
    assert b"".join(mine.dubbing.audio.get(done.dubbing_id, "es"))
    with pytest.raises(ApiError) as refused:
        others.dubbing.get(made.dubbing_id)
    assert refused.value.status_code == 404
    assert [one.dubbing_id for one in mine.dubbing.list().dubs] == [made.dubbing_id]
    assert others.dubbing.list().dubs == []
    assert rig.cost("el-dub") == Decimal("0.165")
    mine.dubbing.delete(made.dubbing_id)


def test_a_dubbing_that_is_deleted_while_it_is_made_ends_at_once(rig: Rig) -> None:
    file = ("a.mp3", b"ID3 " + b"nonce=el-undub seconds=30 after=60 " + b"\x00" * 60_000, "audio/mpeg")
    made = eleven(rig, "el-undub").dubbing.create(file=file, target_lang="es", watermark=True)
    eleven(rig).dubbing.delete(made.dubbing_id)
    assert rig.cost("el-undub") == Decimal("0.165")
    assert rig.settled("el-undub")[0]["usage_source"] == "estimated"


def test_catalogues_are_open_and_accounts_are_not(rig: Rig) -> None:
    client = eleven(rig)
    assert client.models.list()[0].model_id == "eleven_v3"
    assert client.voices.search().voices[0].voice_id == "calm"
    for ask in (client.user.get, client.user.subscription.get):
        with pytest.raises(ApiError) as refused:
            ask()
        assert refused.value.status_code == 403
    for path in ("history", "workspace/members", "voices/add/a/b", "text-to-voice/design"):
        assert httpx.get(f"{rig.url}/elevenlabs/v1/{path}", headers={"xi-api-key": KEY}).status_code == 404
    assert httpx.get(f"{rig.url}/elevenlabs/v1/models", headers={"xi-api-key": "sk-nobody"}).status_code == 401


def test_what_the_vendor_refuses_costs_nothing(rig: Rig) -> None:
    with pytest.raises(ApiError) as refused:
        b"".join(eleven(rig, "el-broken").text_to_speech.convert("calm", text="nonce=el-broken end=broken"))
    assert refused.value.status_code == 429
    assert rig.cost("el-broken") == 0


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("text-to-speech/calm", {"text": None}, 400),
        ("text-to-speech/calm", {"text": ["a"]}, 400),
        ("text-to-speech/calm", {"Text": "b"}, 400),
        ("text-to-speech/calm", {"model_id": "gpt-5"}, 404),
        ("text-to-speech/calm", {"model_id": 5}, 400),
        ("text-to-speech/calm", {"model_id": "eleven_unheard_of"}, 402),
        ("text-to-speech/calm", {"previous_request_ids": ["r"]}, 404),
        ("text-to-speech/calm", {"pronunciation_dictionary_locators": [{"pronunciation_dictionary_id": "d"}]}, 404),
        ("text-to-speech/calm", {"webhook_url": "https://a.invalid"}, 400),
        ("text-to-speech/..%2fhistory", {}, 404),
        ("text-to-speech/calm/multi-stream-input", {}, 404),
        ("sound-generation", {"duration_seconds": 1e9}, 400),
        ("sound-generation", {"duration_seconds": "3"}, 400),
        ("music", {"text": None, "prompt": "a", "music_length_ms": -1}, 400),
        ("music", {"text": None, "prompt": "a", "finetune_id": "f"}, 404),
    ],
)
def test_hostile_requests_are_refused(rig: Rig, path: str, fields: dict[str, Any], status: int) -> None:
    headers = {"xi-api-key": KEY, **in_session("el-hostile")}
    answer = httpx.post(f"{rig.url}/elevenlabs/v1/{path}", json={"text": "a", **fields}, headers=headers)
    assert answer.status_code == status, answer.text
    assert rig.entries("el-hostile") == []


def test_nothing_differs_when_all_have_ended(rig: Rig) -> None:
    assert rig.gateway.verified()["first_difference"] is None
