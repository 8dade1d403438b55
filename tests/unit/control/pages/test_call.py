"""One call's page: which prices held is said in a reader's words."""

from __future__ import annotations

from tests.support.bought import bought, with_row
from tests.support.made_up import START, fill
from tests.unit.control.conftest import Control

from .test_unpriced import words


def test_a_call_says_of_which_day_its_price_list_is(control: Control) -> None:
    version = control.state.book.version
    versions = (version, "0123456789ab", None)
    fill(control.engine, [with_row(bought(START, "1"), price_version=one) for one in versions])
    said = {}
    for item in control.get("/api/requests", limit=500, since="2026-11-23T00:00:00Z", until="2026-11-23T00:00:01Z")[
        "items"
    ]:
        if item["request_id"].startswith("bought-"):
            said[item["price_version"]] = words(control.client.get(f"/calls/{item['id']}").text)
    assert "price list of 20" in said[version]
    assert f", in use now (version {version})." in said[version]
    assert "price list of version 0123456789ab, not the one in use now." in said["0123456789ab"]
    assert "no price list." in said[None]
    assert not any("prices of" in page for page in said.values())
