"""Luma's newer API: by the image and what is sent along, by the second; nobody's generations but the team's own."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pricing.load import load_book
from proxy.errors import Refused
from proxy.jobs.api import Answer
from proxy.jobs.apis import find, luma_agents
from proxy.jobs.job import Job
from proxy.types import Call

URL = {"url": "https://pictures.test/a.png"}
NOW = 1_795_000_000


def call(**fields: Any) -> Call:
    return luma_agents.parse(orjson.dumps({"prompt": "a", **fields}))


def bound(asked: Call) -> int | None:
    book = load_book()
    known = luma_agents.bounded(asked, book.units("luma", asked.model, NOW, {}))
    if known.unbounded or not known.quantities:
        return None
    return book.ceiling_nanousd(
        known.quantities, provider="luma", model=known.model, at_s=NOW, until_s=NOW, attributes={}, fixed=known.fixed
    )


def job(asked: Call) -> Job:
    known = luma_agents.bounded(asked, load_book().units("luma", asked.model, NOW, {}))
    return Job("j", luma_agents.NAME, "d", "g", 0, 0, luma_agents.request_facts(known), {}, {"provider": "luma", "model": asked.model,
               "model_requested": asked.model, "upstream": "luma"})  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "nanousd"),
    [
        ({}, 40_400_000),
        ({"model": "uni-1", "image_ref": [URL] * 3}, 49_400_000),
        ({"model": "uni-1", "type": "image_edit", "source": URL}, 43_400_000),
        ({"model": "uni-1-max"}, 100_000_000),
        ({"model": "uni-1-max", "type": "image_edit", "source": URL, "image_ref": [URL] * 8}, 127_000_000),
        ({"type": "video"}, None),  # the book has no price of it
        ({"type": "layering", "source": URL}, None),
    ],
)
def test_an_image_costs_what_is_sent_along_too(fields: dict[str, Any], nanousd: int | None) -> None:
    asked = call(**fields)
    assert bound(asked) == nanousd
    if nanousd is None:
        return
    done = {"state": "completed", "output": [{"type": "image", "url": "https://made.test/a"}]}
    ended = luma_agents.read_end(job(asked), Answer(200, done))
    assert ended is not None
    assert ended.reading is not None
    cost = load_book().cost(ended.reading, provider="luma", model=asked.model, at_s=NOW, attributes={})
    assert cost.cost_nanousd == nanousd


@pytest.mark.parametrize(
    ("fields", "model", "seconds", "conditions"),
    [
        ({"type": "video"}, "ray-3.2", 10, {"resolution": "1080p", "mode": "sdr"}),
        ({"type": "video", "video": {"duration": "5s", "resolution": "540p", "hdr": True}}, "ray-3.2", 5,
         {"resolution": "540p", "mode": "hdr"}),
        ({"type": "video_edit", "source": URL, "video": {"duration": "5s"}}, "ray-3.2/edit", 18,
         {"resolution": "1080p", "mode": "sdr"}),
        ({"type": "video_reframe", "source": URL}, "ray-3.2/reframe", 18, {"resolution": "1080p", "mode": "sdr"}),
    ],
)  # fmt: skip
def test_a_film_is_bounded_by_its_seconds(fields: Any, model: str, seconds: int, conditions: Any) -> None:
    asked = call(**fields)
    assert (asked.model, dict(asked.quantities), dict(asked.fixed)) == (model, {"video_second": seconds}, conditions)
    assert b'"model":"ray-3.2"' in luma_agents._encode(asked, asked.model).written({})


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"type": "song"}, 400), ({"type": "video", "video": {"duration": "soon"}}, 400), ({"image_ref": [URL] * 10}, 400),
        ({"source": {"file_id": "theirs"}}, 404), ({"video": {"keyframes": [{"file_id": "theirs"}]}, "type": "video"}, 404),
        ({"source": {"generation_id": "../x"}}, 400), ({"Type": "video"}, 400),
    ],
)  # fmt: skip
def test_what_is_not_the_teams_or_not_known_is_refused(fields: Any, status: int) -> None:
    with pytest.raises(Refused) as refused:
        call(**fields)
    assert refused.value.refusal.status == status


def test_generations_that_a_request_names_have_to_be_the_teams_own() -> None:
    asked = call(type="video", video={"start_frame": {"generation_id": "g1"}, "keyframes": [{"generation_id": "g2"}]})
    assert sorted(asked.held) == ["luma.agents g1", "luma.agents g2"]


def test_an_end_is_seen_once_it_is_one() -> None:
    asked = job(call())
    assert luma_agents.read_end(asked, Answer(200, {"state": "processing"})) is None
    failed = luma_agents.read_end(asked, Answer(200, {"state": "failed"}))
    assert failed is not None
    assert failed.reading is not None
    assert failed.reading.usage == {}


@pytest.mark.parametrize("path", ["/luma/v1/files", "/luma/v1/files/a/complete"])
def test_files_of_the_account_are_refused_with_the_reason(path: str) -> None:
    with pytest.raises(Refused) as refused:
        find("POST", path)
    assert refused.value.refusal.code == "route_refused"
