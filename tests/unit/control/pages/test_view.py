"""The page as text: amounts that can be read and compared, and no client's words as markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from proxy.control.pages import view
from proxy.control.pages.address import Address

TODAY = Address("/spend", "2026-11-23", by=("key",))
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>' onmouseover='alert(3) {{ 7*7 }} javascript:x"
TAGS = {
    "div", "h2", "h3", "p", "ol", "ul", "li", "span", "svg", "rect", "details", "summary", "time", "table", "caption", "thead",
    "tbody", "tr", "th", "td", "dl", "dt", "dd", "strong", "small", "code", "a",
}  # fmt: skip


class _Markup(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.04, "0.0 %"), (-0.0, "0.0 %"), (-0.06, "−0.1 %"), (-12.34, "−12.3 %"), (1204.4, "1,204 %")]
)
def test_a_share_that_rounds_to_nothing_has_no_sign(value: float, shown: str) -> None:
    assert view.percent(value) == shown


def call(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "1", "kind": "attempt", "started_at": 1_763_900_000_000_000, "status": "settled", "outcome": "ok", "http_status": 200,
        "model": "gpt-5.4", "model_requested": "gpt-5.4", "team": "blue", "key": "k", "upstream": "openai", "operation": "chat",
        "client": "codex", "root_session_id": "s", "session_source": "header", "agent": None,
        "usage": {"input": 1000, "cache_read": 20, "output": 5}, "cost_nanousd": 1_234_567, "duration_ms": 1234.5, "ttft_ms": None,
        "cost_lines": [{"unit": "input", "quantity": "1000", "price_usd": "2.50", "per": 1_000_000, "cost_usd": "0.00250000"}],
        "flags": [], "usage_source": "provider", "cost_source": "computed", "price_version": "v", "request_id": "r", "attempt": 1,
        "budgets": [["company", "", 0, "usd", 1]],
    }  # fmt: skip
    return made | changes


def budget(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": "b", "limit_usd": "10", "spent_usd": "5", "reserved_usd": "0.5", "remaining_usd": "4.5",
        "window": {"start": "2026-11-23T00:00:00Z", "end": "2026-11-24T00:00:00Z"}, "action": "block", "per": [], "groups": [],
    }  # fmt: skip
    return made | changes


def test_what_a_client_chose_is_never_markup() -> None:
    """Every string in every template."""
    texts = dict.fromkeys(
        ("model", "model_requested", "team", "key", "upstream", "operation", "client", "root_session_id"), HOSTILE
    )
    more = dict.fromkeys(("agent", "usage_source", "price_version", "request_id", "outcome"), HOSTILE)
    lines = [{"unit": HOSTILE, "quantity": "1", "price_usd": "1", "per": 1, "cost_usd": "1"}]
    bad = call(
        **texts, **more, usage={HOSTILE: 1}, cost_lines=lines, flags=[HOSTILE], budgets=[[HOSTILE, "", 0, "usd", 1]], attempt=2
    )  # fmt: skip
    groups = [{"group": HOSTILE, "limit_usd": "1", "spent_usd": "1", "reserved_usd": "1"}]
    session = {"session": HOSTILE, "team": HOSTILE, "agent": HOSTILE, "calls": 1, "cost": "$1"}
    html = "".join(
        (
            view.render("calls", {"calls": [view.call(bad, 4)]}),
            view.render("budgets", view.budgets([budget(name=HOSTILE, per=[HOSTILE], groups=groups)], {})),
            view.render("ranking", view.ranking("By model", [(HOSTILE, 1, 1, 1)], "none", TODAY, "model")),
            view.render("sessions", {"sessions": [session]}),
        )
    )
    markup = _Markup(html)
    assert markup.tags <= TAGS
    assert {name for name in markup.attributes if name.startswith("on")} == set()
    assert "style" not in markup.attributes
    assert markup.text.count("<script>alert(1)</script>") > 15
    assert "{{ 7*7 }}" in markup.text


def test_names_without_an_end_are_cut() -> None:
    html = view.render("ranking", view.ranking("By model", [("x" * 1_000_000, 1, 1, 0)], "none", TODAY, "model"))
    assert len(html) < 2000


@pytest.mark.parametrize(
    ("nanousd", "decimals", "text"),
    [
        (1_234_500_000_000, 2, "$1,234.50"), (0, 2, "$0.00"), (4_000_000, 2, "<$0.01"), (5_000_000, 2, "<$0.01"),
        (1, 6, "<$0.000001"), (-1_500_000_000, 2, "−$1.50"), (-1, 2, "−<$0.01"), (None, 2, "–"),
        (123_456_789_000_000_000_123, 9, "$123,456,789,000.000000123"), (10**39 + 10**7, 2, f"${10**30:,}.01"),
    ],
)  # fmt: skip
def test_money_is_never_shown_as_nothing(nanousd: int | None, decimals: int, text: str) -> None:
    assert view.usd(nanousd, decimals) == text


@pytest.mark.parametrize(
    ("amounts", "decimals"),
    [
        ([], 2),
        ([0, None], 2),
        ([5_000_000_000, 1], 2),
        ([999_000_000], 4),
        ([9_000_000], 6),
        ([100_000], 6),
        ([99_000], 9),
    ],
)
def test_a_column_has_as_many_decimals_as_its_largest_amount_needs(amounts: list[int | None], decimals: int) -> None:
    assert view.decimals_for(amounts) == decimals


def test_costs_of_a_call_are_exact_and_stand_below_each_other() -> None:
    lines = [
        {"unit": "cache_read", "quantity": "2400", "price_usd": "0.0750", "per": 1_000_000, "cost_usd": "0.00018000"},
        {"unit": "web_search", "quantity": "1", "price_usd": "0.01", "per": 1, "cost_usd": "0.01"},
        {"unit": "audio_second", "quantity": "1.50", "price_usd": "0.006", "per": 60, "cost_usd": "0.00015"},
    ]
    shown = [tuple(line.values())[:5] for line in view.call(call(cost_lines=lines), 4)["lines"]]
    assert shown == [
        ("cache read", "2,400", "$0.075", "per million", "$0.00018"),
        ("web search", "1", "$0.01", "each", "$0.01000"),
        ("audio second", "1.5", "$0.006", "per 60", "$0.00015"),
    ]


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({}, None), ({"cost_nanousd": None}, "unpriced"), ({"kind": "correction"}, "correction"), ({"status": "void"}, "not sent"),
        ({"outcome": "client_disconnected"}, "client disconnected"), ({"http_status": 429}, "HTTP 429"),
        ({"status": "unconfirmed"}, "unconfirmed"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_marked(changes: dict[str, Any], mark: str | None) -> None:
    made = view.call(call(**changes), 4)["mark"]
    assert (made[1] if made else None) == mark


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cost_nanousd": 0, "outcome": "upstream_error", "http_status": 500}, "nothing was billed: upstream error, HTTP 500."),
        ({"cost_nanousd": 0}, "There are no cost lines: nothing was billed."),
        ({"cost_nanousd": 9, "status": "unconfirmed", "outcome": "crashed", "http_status": None}, "its ceiling was charged: crashed."),
        ({"cost_nanousd": 0, "status": "void", "outcome": "not_sent", "http_status": None}, "It was not sent, so nothing was billed: not sent."),
        ({"cost_nanousd": 9, "cost_source": "provider"}, "the provider stated the cost."),
        ({"cost_nanousd": None, "status": "running"}, "It is still running; what it cost is known at its end."),
        ({"cost_nanousd": None}, "No price is known for this call."),
        ({"cost_nanousd": 9}, "it was charged as a whole."),
    ],
)  # fmt: skip
def test_a_call_without_cost_lines_says_why(changes: dict[str, Any], why: str) -> None:
    made = call(cost_lines=[], **changes)
    said = view.call(made, 4)["without_lines"]
    assert said.endswith(why)
    assert said in view.render("calls", {"calls": [view.call(made, 4)]}).replace("&#39;", "'")


def test_a_long_amount_is_set_smaller_where_its_tile_is_narrow() -> None:
    values = {"rate": "$3.44", "cost": "$0.000016140", "calls": 2, "each": ""}
    assert re.findall(r'class="big( long)?"', view.render("hour", values)) == ["", " long"]


def test_a_budgets_bar_shows_spent_and_reserved() -> None:
    (shown,) = view.budgets([budget()], {})["budgets"]
    (bar,) = shown["bars"]
    assert bar == {
        "group": None, "spent": "$5.00", "limit": "$10.00", "reserved": "$0.50", "percent": 50, "used": 50.0, "held": 5.0,
        "state": "calm", "link": f"/budgets/{shown['name']}", "flight": "/in-flight?budget=b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spent", "reserved", "state", "used", "held"),
    [
        ("8", "0", "high", 80, 0),
        ("7.99", "9", "calm", 79.9, 20.1),
        ("10", "1", "over", 100, 0),
        ("31", "0", "over", 100, 0),
    ],
)
def test_a_bar_never_leaves_its_track(spent: str, reserved: str, state: str, used: float, held: float) -> None:
    (bar,) = view.budgets([budget(spent_usd=spent, reserved_usd=reserved)], {})["budgets"][0]["bars"]
    assert (bar["state"], bar["used"], bar["held"]) == (state, used, held)


def test_a_limit_of_zero_is_full_with_anything_spent() -> None:
    (shown,) = view.budgets([budget(limit_usd="0", spent_usd="0.01", reserved_usd="0")], {})["budgets"]
    assert (shown["bars"][0]["percent"], shown["bars"][0]["used"]) == (100, 100)


def test_of_many_groups_and_budgets_the_fullest_are_shown() -> None:
    groups = [{"group": f"g{n}", "limit_usd": "10", "spent_usd": str(n), "reserved_usd": "0"} for n in range(10)]
    many = [budget(name=f"n{n}", spent_usd=str(n / 4)) for n in range(20)]
    made = view.budgets([budget(per=["session"], groups=groups), *many], {})
    assert len(made["budgets"]) == 12
    assert made["more"] == 9
    first = made["budgets"][0]
    assert [bar["group"] for bar in first["bars"]] == ["g9", "g8", "g7"]
    assert (first["groups"], first["more"]) == (10, 7)
    (told,) = view.budgets([budget(per=["session"], groups=groups[-3:])], {"b": 5000})["budgets"]
    assert (told["groups"], told["more"]) == (5000, 4997)


def test_budgets_of_tokens_and_requests_have_their_own_units() -> None:
    tokens = {"name": "t", "limit_tokens": 2_000_000, "spent_tokens": 1500, "reserved_tokens": 0}
    requests = {"name": "r", "limit_requests": 5000, "spent_requests": 12, "reserved_requests": 1}
    shared = {"window": {"start": None, "end": None}, "action": "block", "per": [], "groups": []}
    html = view.render("budgets", view.budgets([tokens | shared, requests | shared], {}))
    text = re.sub(r"\s+", " ", _Markup(html).text)
    assert "1.5k tokens of 2.0M tokens" in text
    assert "12 requests of 5,000 requests" in text
    assert "no window" in text


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(None, "–"), (999.4, "999 ms"), (1234, "1.2 s"), (59_900, "60 s"), (61_000, "1 min 1 s")]
)
def test_durations(milliseconds: float | None, text: str) -> None:
    assert view.took(milliseconds) == text


def test_a_change_can_be_read_whatever_was_before() -> None:
    for now, before, shown in (
        (112, 100, "+12.0 %"), (97, 100, "−3.0 %"), (100, 100, "0.0 %"), (0, 100, "−100.0 %"), (5, 0, "new"),
        (1099, 100, "+999.0 %"), (1100, 100, ">+999 %"), (495_663, 1, ">+999 %"), (10**25, 1, ">+999 %"),
        (100_001, 100_000, "+0.0 %"), (-5, 10, "−150.0 %"),
    ):  # fmt: skip
        change = view.change_of(now, before)
        assert change is not None
        assert view.change(change) == shown, (now, before)
    assert [view.change_of(*amounts) for amounts in ((0, 0), (5, -1), (-5, 0))] == [None] * 3
    assert [view.difference(amount) for amount in (5 * 10**9, -5 * 10**9, 0, 1, None)] == [
        "+$5.00", "−$5.00", "$0.00", "+<$0.01", "–",
    ]  # fmt: skip
