"""The page of keys with more of them than a page has room for."""

from __future__ import annotations

import re

from proxy.ledger.database import writing
from proxy.ledger.planes import keys
from tests.unit.control.conftest import Control
from tests.unit.control.pages.test_site import signed_in


def names_in(text: str) -> list[str]:
    return re.findall(r"\bcustomer-\d{4}\b(?=</a>)", text)


def test_of_many_keys_a_page_shows_some_finds_any_and_has_all_as_csv(control: Control) -> None:
    """Ten thousand were a page of fifteen megabytes."""
    rows = [
        {"id": f"id-{n}", "key_id": f"k{n}", "name": f"customer-{n:04d}", "customer": f"c{n}", "created_at": n}
        for n in range(300)
    ]
    with writing(control.engine).begin() as connection:
        connection.execute(keys.keys.insert(), rows)
    browser = signed_in(control)
    page = browser.get("/keys").text
    assert 0 < len(names_in(page)) <= 50
    assert page.count("/rotate") <= 50
    assert "top=100" in page
    assert len(names_in(browser.get("/keys", params={"top": "500"}).text)) == 300

    found = browser.get("/keys", params={"find": "Customer-0299"}).text
    assert names_in(found) == ["customer-0299"]
    assert "/keys/id-299/revoke" in found
    assert "called so" in browser.get("/keys", params={"find": "zzz"}).text
    assert names_in(browser.get("/keys", params={"find": "c288"}).text) == ["customer-0288"]

    (link,) = re.findall(r'class="csv" href="([^"]+)"', page)
    assert len(set(re.findall(r"customer-\d{4}", browser.get(link.replace("&amp;", "&")).text))) == 300
