"""Whatever a provider says of a job, reading it never fails, and never makes a number below nothing: a fault there would keep the
job from ever ending, and be its client's 500."""

from __future__ import annotations

import random
from typing import Any

import pytest

from proxy.jobs.api import Answer, Ended, JobApi, seconds
from proxy.jobs.apis import APIS
from proxy.jobs.job import Job
from proxy.wire import lenient
from tests.support.rows import each_row

_NUMBERS = (None, True, 0, -1, 3.5, float("nan"), float("inf"), 10**30, -(10**30))
_TEXTS = (
    "", "x", "COMPLETED", "succeeded", "SUCCEEDED", "completed", "failed", "FAILED", "CANCELLED", "canceled", "dubbed", "ended",
    "1e999", "-5", "NaN", "\ud800", "2026-99-99", "0001-01-01T00:00:00", "9999-12-31T23:59:59-12:00", "BATCH_STATE_SUCCEEDED",
)  # fmt: skip
_NESTED: tuple[Any, ...] = (
    [], [1], {}, [{"url": "a"}], {"credits": None}, {"credits": -5}, {"credits": float("inf")}, {"predict_time": "x"},
    {"predict_time": -1}, {"image_count": [1]}, {"duration": 1e308}, {"state": 5}, {"completed": -1}, {"totalTokenCount": -1},
)  # fmt: skip
_NAMES = (
    "status", "state", "id", "name", "done", "error", "response", "metadata", "cost", "estimatedCost", "output", "metrics",
    "endedAt", "completed_at", "failureCode", "usage", "request_counts", "output_file_id", "processing_status", "ended_at",
    "request", "model", "input", "request_id", "response_url", "status_url", "images", "image", "video", "audio", "timings",
    "errors", "media_metadata", "target_languages", "audio_duration_secs", "usageMetadata", "expireTime", "updateTime", "urls",
)  # fmt: skip
_ENDS = ("status", "state", "processing_status")
_ASKED: tuple[dict[str, Any], ...] = (
    {}, {"units": ["credit"], "estimate": "60"}, {"units": ["image", "request"], "fields": {}}, {"units": ["gpu_second"]},
    {"units": ["video_second"], "things": {"video_second": 5}, "fields": {"duration": "5s"}},
    {"units": ["audio_second"], "estimate": "abc", "expected": "x"}, {"tokens": 5, "created": 1, "until": 2, "made": True},
)  # fmt: skip


@each_row("api", APIS, ids=lambda api: api.name)
def test_no_answer_makes_reading_it_fail(api: JobApi) -> None:
    chance = random.Random(api.name)
    intent = {"provider": "p", "upstream": "u", "model": "acme/m", "model_requested": "m", "reserved_nanousd": 5}
    for _ in range(300):
        body = {name: chance.choice(_NUMBERS + _TEXTS + _NESTED) for name in chance.sample(_NAMES, 6)}
        body |= {name: chance.choice(_TEXTS) for name in _ENDS if chance.random() < 0.7}
        asked = {"app": "/a/b", **chance.choice(_ASKED)}
        job = Job("1", api.name, "d", "t", 1, 2, asked, {}, intent)
        headers = {
            chance.choice(("x-fal-billable-units", "character-cost")): chance.choice(("", "-1", "nan", "9" * 50))
        }
        answer = Answer(
            chance.choice((200, 200, 202, 403, 404, 422, 500)), body, headers, chance.choice(("", "/status"))
        )
        for ended in (
            api.read_end(job, answer), api.read_result and api.read_result(job, answer), api.withdrawn(job),
            api.gone and api.gone(job, answer, 5),
        ):  # fmt: skip
            assert_sound(ended)
        api.creation_facts(body), api.job_id(body), api.listed_id(body), api.next_page(body, [body])
        if api.shown is not None:
            api.shown(body, "https://here", asked)


def assert_sound(ended: Ended | None) -> None:
    if ended is not None and ended.reading is not None:
        assert all(count >= 0 for count in ended.reading.usage.values()), ended


@pytest.mark.parametrize("text", [b"1e999", b"NaN", b"-Infinity", b'"0001-01-01T00:00:00"', b"[]", b"true", b'"soon"'])
def test_a_time_that_is_none_is_not_known(text: bytes) -> None:
    """As it may come: what reads answers is lenient."""
    (answer,) = lenient.answer(b'{"endedAt":' + text + b"}").values
    assert seconds(answer["endedAt"]) is None
