"""When a cache's stretches end, and what each of them is billed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from proxy.errors import Refused
from proxy.jobs.api import Answer
from proxy.jobs.apis import gemini_caches as caches
from proxy.jobs.job import Job

HOUR = 3_600_000_000
BEGAN = 1_800_000_000_000_000
TOLD = {"tokens": 1_000_000, "created": BEGAN, "updated": BEGAN, "until": BEGAN + 2 * HOUR}
MISSING = {"error": {"code": 403, "message": "CachedContent not found (or permission denied)"}}
NO_KEY = {"error": {"code": 403, "message": "The caller does not have permission"}}


def stretch(**changes: Any) -> Job:
    """One hour into a cache of two."""
    intent = {"provider": "google", "upstream": "google", "model": "gemini-2.5-flash", "model_requested": "fast"}
    return Job(
        "1", "gemini.caches", "d", "cachedContents/a", BEGAN, BEGAN, {"made": True, **TOLD} | changes, {}, intent
    )


def time_of(at_us: int) -> str:
    seconds, micros = divmod(at_us - BEGAN, 1_000_000)
    assert seconds < 60
    return f"2027-01-15T08:00:{seconds:02}.{micros:06}Z"


def test_a_cache_may_hold_the_teams_own_files() -> None:
    uri = "https://generativelanguage.googleapis.com/v1beta/files/film"
    body = {"model": "models/gemini-2.5-flash", "contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]}
    call = caches.parse(orjson.dumps(body))
    assert (call.held, caches.request_facts(call)["made"]) == (("files/film",), True)
    assert call.media_items > len(call.media)


def test_the_instants_here_are_what_they_seem() -> None:
    assert caches.micros(time_of(BEGAN)) == BEGAN


@pytest.mark.parametrize(
    ("answer", "at_us", "hours"),
    [
        (Answer(404, {}), BEGAN + HOUR, Decimal(1)),
        (Answer(404, {}), BEGAN + 5 * HOUR, Decimal(2)),  # seen late: it was over at its time
        (Answer(404, {}), BEGAN - HOUR, Decimal(0)),  # their clock is ahead of ours
        (Answer(403, MISSING), BEGAN + HOUR, Decimal(1)),
        (Answer(403, NO_KEY), BEGAN + 3 * HOUR, Decimal(2)),
        (Answer(403, NO_KEY), BEGAN + HOUR, None),
    ],
)
def test_what_is_not_there_any_more_is_stored_until_then(answer: Answer, at_us: int, hours: Decimal | None) -> None:
    ended = caches.gone(stretch(), answer, at_us)
    if hours is None:
        assert ended is None
        return
    assert ended is not None
    assert ended.reading is not None
    assert {"token_hour": 0, **ended.reading.usage} == {"input": 1_000_000, "token_hour": hours * 1_000_000}


def test_an_update_ends_the_stretch_before_it_and_pays_for_no_tokens_again() -> None:
    after = stretch(made=False, updated=BEGAN + HOUR // 2, until=BEGAN + 4 * HOUR)
    first, last = caches.followed(stretch(), after), caches.gone(after, Answer(404, {}), BEGAN + HOUR)
    assert first is not None
    assert first.reading is not None
    assert first.reading.usage == {"input": 1_000_000, "token_hour": 500_000}
    assert last is not None
    assert last.reading is not None
    assert last.reading.usage == {"token_hour": 500_000}


def test_an_update_that_is_answered_late_ends_none_that_came_after_it() -> None:
    late, newest = (stretch(made=False, updated=BEGAN + seconds * 1_000_000) for seconds in (10, 20))
    assert caches.followed(newest, late) is None
    assert caches.followed(late, newest) is not None


@pytest.mark.parametrize("made", [True, False])
def test_an_update_whose_answer_was_lost_ends_it_too(made: bool) -> None:
    job = stretch(made=made)
    assert caches.read_end(job, Answer(200, {"updateTime": time_of(BEGAN)})) is None
    assert caches.read_end(job, Answer(200, {})) is None
    ended = caches.read_end(job, Answer(200, {"updateTime": time_of(BEGAN + 36_000_000)}))
    assert ended is not None
    assert ended.reading is not None
    assert ended.reading.usage["token_hour"] == 10_000


@pytest.mark.parametrize("lacks", ["tokens", "created"])
def test_what_no_answer_told_is_not_nothing(lacks: str) -> None:
    ended = caches.gone(stretch(**{lacks: None}), Answer(404, {}), BEGAN + HOUR)
    assert ended is not None
    assert ended.reading is None


@pytest.mark.parametrize(
    ("body", "kept_s"),
    [({}, 3600), ({"ttl": "600s"}, 600), ({"ttl": "0.5s"}, 1), ({"ttl": "600.000000001s"}, 601),
     ({"expireTime": "2027-01-15T08:01:00.5Z"}, 61), ({"expire_time": "2027-01-15T09:01:00+01:00"}, 60),
     ({"expireTime": "2020-01-01T00:00:00Z"}, 0), ({"ttl": "2678400s"}, 2_678_400)],
)  # fmt: skip
def test_how_long_it_is_kept(body: dict[str, Any], kept_s: int) -> None:
    call = caches.parse(orjson.dumps({"model": "models/m", "systemInstruction": {"parts": [{"text": "a"}]}, **body}))
    assert caches.placed(call, None, BEGAN).kept_s == kept_s
    assert call.body.get("ttl") or "expireTime" in call.body


def test_an_update_is_bounded_by_the_tokens_that_are_stored() -> None:
    call = caches.parse_update("cachedContents/a", b'{"ttl": "1800s"}')
    renewed = caches.placed(call, stretch(), BEGAN)
    assert (renewed.model, renewed.quantities, renewed.held) == ("fast", {"token_hour": 500_000}, ("cachedContents/a",))
    assert caches.placed(call, stretch(tokens=None), BEGAN).unbounded


@pytest.mark.parametrize("body", [b"{}", b'{"ttl": "1s", "model": "m"}', b'{"contents": []}', b'{"Ttl": "1s"}', b"[]"])
def test_only_its_end_can_be_changed(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        caches.placed(caches.parse_update("cachedContents/a", body), stretch(), BEGAN)
    assert refused.value.refusal.status == 400
