"""What tests of pages share: the key, a name that is markup, and a browser that has signed in."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.day import Day
from tests.support.gateway import ADMIN_KEY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
HOSTILE = "\"><img/src=x/onerror=document.title='owned'>{{7*7}}" + "x" * 60

_SIGNED_IN: dict[str, Any] = {}
"""Address of a gateway -> the cookies of a browser that has signed in there."""


def cookies(day: Day) -> Any:
    """The cookies of who has signed in, as a browser's context takes them."""
    if day.url not in _SIGNED_IN:
        with httpx.Client() as client:
            client.post(day.url + "sign-in", data={"key": ADMIN_KEY, "to": "/"})
            kept = [{"name": one.name, "value": one.value, "url": day.url} for one in client.cookies.jar]
        assert kept
        _SIGNED_IN[day.url] = kept
    return _SIGNED_IN[day.url]


def signed_in(day: Day, browser: Browser, **shape: Any) -> Page:
    """A page of a new context, which has the cookie. shape: of the context."""
    context = browser.new_context(**shape)
    context.add_cookies(cookies(day))
    return context.new_page()


def rows_of(day: Day, path: str) -> list[dict[str, str]]:
    answer = httpx.get(day.url + path, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def some_of(day: Day) -> tuple[str, str]:
    """The dearest session, and the last call that has a price."""
    sessions = httpx.get(day.url + "api/sessions?order=cost", headers=ADMIN).json()["items"]
    calls = httpx.get(day.url + "api/requests?limit=20&filter.priced=yes", headers=ADMIN).json()["items"]
    return sessions[0]["session"], next(call["id"] for call in calls if call["cost_lines"])
