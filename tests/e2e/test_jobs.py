"""Jobs through the real SDKs: one entry each, settled once by the provider's own bill; polls and downloads cost nothing."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from tests.e2e.jobs_rig import KEY, OTHER_KEY, POOR_KEY, JobsRig, running

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsRig]:
    with running(tmp_path_factory.mktemp("jobs")) as made:
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


def test_nothing_differs_when_all_have_ended(rig: JobsRig) -> None:
    assert rig.gateway.verified()["first_difference"] is None
