"""One gateway with a day in its ledger, and one Chromium, for all that looks at pages: what only reads shares them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.pages.visiting import ADMIN, HOSTILE, signed_in
from tests.support.browser import chromium
from tests.support.day import Day, running
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="package")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    with running(tmp_path_factory.mktemp("pages")) as made:
        made.call("ci", agent="codex")  # so that there is something today just after midnight, too
        answer = made.call("summaries", model=HOSTILE, session_id=HOSTILE, agent="codex")
        assert answer.status_code == 200, answer.text
        wait_until(
            "the calls are in the ledger",
            lambda: any(
                item["model"] == HOSTILE
                for item in httpx.get(made.url + "api/requests?limit=5", headers=ADMIN).json()["items"]
            ),
        )
        yield made


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture
def page(day: Day, browser: Browser) -> Iterator[Page]:
    """Signed in, with nothing opened before."""
    made = signed_in(day, browser)
    yield made
    made.context.close()
