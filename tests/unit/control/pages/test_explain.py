"""The bridge and its movers add up, whichever times are held against each other."""

from __future__ import annotations

import csv
import html
import io
import re
from decimal import Decimal

from tests.unit.control.conftest import Control

DAY = "since=2026-11-24&until=2026-11-25"


def table(control: Control, path: str, name: str) -> list[dict[str, str]]:
    answer = control.client.get(f"{path}&csv={name}")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_the_movers_and_the_others_are_the_whole_difference(control: Control) -> None:
    """Of more groups than are shown, too."""
    for by in ("model", "key,user,customer", "team,model,user,customer"):
        rows = table(control, f"/explain?{DAY}&by={by}", "movers")
        first = by.split(",")[0]
        assert ("other" in [row[first] for row in rows]) == (len(rows) > 10), by
        bridge = {row["part"]: Decimal(row["amount_usd"]) for row in table(control, f"/explain?{DAY}", "bridge")}
        difference = sum(bridge.values()) - bridge["The time before"]
        assert sum(Decimal(row["difference_usd"]) for row in rows) == difference != 0, by
        for row in rows:
            parts = [
                Decimal(row[f"{part}_usd"])
                for part in ("volume", "mix", "tokens", "cache", "price", "new", "gone", "unpriced")
            ]
            assert sum(parts) == Decimal(row["difference_usd"]), row
    page = control.client.get(f"/explain?{DAY}&by=model").text
    assert re.search(r'total"[^>]*>\s*<th[^>]*>total', page)


def test_a_column_of_zeros_is_left_out_of_the_page_and_stands_in_the_csv(control: Control) -> None:
    rows = table(control, f"/explain?{DAY}", "movers")
    page = control.client.get(f"/explain?{DAY}").text
    movers = page[page.index('id="table-movers"') :]
    titles = {
        "cache_usd": "Share from the cache",
        "volume_usd": "Number of calls",
        "price_usd": "Prices",
        "gone_usd": "What is gone",
    }
    kept = {name: any(Decimal(row[name]) for row in rows) for name in titles}
    assert set(kept.values()) == {True, False}, kept
    assert {name: title in movers for name, title in titles.items()} == kept


def test_differences_have_a_sign_and_amounts_have_none(control: Control) -> None:
    rows = table(control, f"/explain?{DAY}", "bridge")
    page = control.client.get(f"/explain?{DAY}").text
    bridge = page[page.index("table-bridge") : page.index('id="table-movers"')]
    texts = re.findall(r'<td class="num[^"]*"[^>]*>(?:<a[^>]*>)?([^<]+)', bridge)
    assert len(texts) == len(rows) + 1
    assert texts[0][0] == texts[-1][0] == "$"
    assert [text[0] for text in texts[1:-1]] == ["−" if row["amount_usd"].startswith("-") else "+" for row in rows[1:]]


def test_a_months_bridge_is_what_its_table_says(control: Control) -> None:
    """From the whole month before, however long that is, in the zone that is asked for."""
    for query in ("month=2026-11&by=team", "month=2026-11&by=team,model", "month=2026-11&by=key&tz=Asia/Tokyo"):
        changed = sum(
            Decimal(row["change_usd"]) for row in table(control, f"/month?{query}", "month") if row["change_usd"]
        )
        month = control.client.get(f"/month?{query}").text
        link = re.search(r'href="(/explain[^"]+)"', month)
        assert link, query
        path = html.unescape(link[1])
        bridge = [Decimal(row["amount_usd"]) for row in table(control, path, "bridge")]
        assert sum(bridge[1:]) == changed != 0, query
        page = control.client.get(path).text
        curl = html.unescape(re.search(r'TAXIMETER_URL(/api[^ "]*)"', page)[1])  # type: ignore[index]
        assert Decimal(control.client.get(curl).json()["difference_usd"]) == changed, query


def test_with_what_it_is_held_against_is_told_if_it_makes_no_sense(control: Control) -> None:
    for against in (
        "2026-11-01",
        "..",
        "x..y",
        "2026-11-02..2026-11-01",
        "all..2026-11-01",
        "2026-11-01.." + "9" * 300,
    ):
        answer = control.client.get(f"/explain?{DAY}&against={against}")
        assert answer.status_code == 400, against
