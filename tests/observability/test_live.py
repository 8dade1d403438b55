"""Everything that is shipped, executed: a running gateway with calls of every kind, the real Prometheus and Alertmanager, and each
query of each panel, variable, annotation, rule and alert. Money is compared with the ledger.
"""

from __future__ import annotations

import math
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from proxy.ledger.database import connect
from tests.observability import boards
from tests.observability.boards import Query, Rule, selectors, substituted
from tests.observability.servers import Prometheus, Receiver, Series, alertmanager, prometheus, receiver
from tests.observability.traffic import Calls, gateway
from tests.support.gateway import ADMIN_KEY
from tests.support.machines import has_worked
from tests.support.waiting import wait_until
from tests.torture.harness import Gateway, Rig
from tests.torture.tariff import PRICES, price_pico

pytestmark = [pytest.mark.needs("prometheus", "prometheus-alertmanager"), pytest.mark.timeout(300)]

INTERVAL_S = 1
RATE_INTERVAL = "12s"
QUERIES = list(boards.queries())
BOARDS = boards.boards()


@dataclass(slots=True)
class Scene:
    """Everything has happened. `start` and `end` are what a dashboard's range would be."""

    prometheus: Prometheus
    receiver: Receiver
    rig: Rig
    start: float
    end: float

    @property
    def span(self) -> str:
        return f"{(self.end - self.start) * 1000:.0f}ms"

    def ask(self, query: Query, **values: str) -> list[Series]:
        """As Grafana asks."""
        expr = substituted(query.expr, interval=RATE_INTERVAL, span=self.span, values=values)
        if query.instant:
            return self.prometheus.instant(expr, self.end)
        return self.prometheus.over(expr, self.start, self.end)

    def ledger(self, sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.rig.gateway.ledger.removeprefix("sqlite:///")) as connection:
            found = connection.execute(sql).fetchall()
        connection.close()
        return found


def _scraped(prometheus: Prometheus, times: int = 2) -> None:
    """Wait for so many more scrapes, and for the rules behind them."""
    now = time.time()
    wait_until(
        "Prometheus has scraped",
        lambda: prometheus.value("timestamp(taximeter_build_info)") >= now + (times - 1) * INTERVAL_S,
        60,
    )
    last = prometheus.value("timestamp(taximeter_build_info)")
    wait_until("Prometheus has evaluated", lambda: prometheus.evaluated_at() > last, 60)


def _sessions_quiet(gateway: Gateway) -> None:
    wait_until(
        "all sessions are quiet",
        lambda: sum(value for _, value in gateway.metrics().get("taximeter_sessions_active", ())) == 0,
        60,
    )


def _machines_have_worked(gateway: Gateway) -> None:
    """A minute of machines takes longer than all that is seen here."""
    engine = connect(gateway.ledger)
    wait_until("the books have begun", lambda: has_worked(engine, "gpu-pool", time.time_ns() // 1000), 30)
    engine.dispose()


def _change_prices(gateway: Gateway) -> None:
    changed = yaml.safe_load(gateway.config_file.read_text())
    changed["prices"][0]["output"] = "0.7"
    gateway.config_file.write_text(yaml.safe_dump(changed, sort_keys=False))
    before = _price_books(gateway)
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    wait_until("the prices are changed", lambda: _price_books(gateway) != before, 30)


def _price_books(gateway: Gateway) -> Any:
    return gateway.metrics().get("taximeter_price_book_info")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("watched")
    with receiver() as told, gateway(folder / "gateway") as rig, alertmanager(folder, told.port) as address:
        target = rig.gateway.admin_url.removeprefix("http://")
        with prometheus(folder, target, ADMIN_KEY, address, INTERVAL_S) as asked:
            wait_until("the gateway is scraped", lambda: asked.value("count(up == 1)") == 1, 30)
            _machines_have_worked(rig.gateway)
            _scraped(asked)
            start = time.time()
            calls = Calls(rig.gateway.url)
            calls.wave(1)
            calls.until_refused("intern")
            _sessions_quiet(rig.gateway)
            _scraped(asked)
            calls.wave(2)
            calls.until_refused("intern")
            calls.close()
            _sessions_quiet(rig.gateway)
            rig.quiet()
            _change_prices(rig.gateway)
            _scraped(asked, 3)
            told.wait_for("TaximeterBudgetExhausted", 30)
            yield Scene(asked, told, rig, start, time.time())


def _values(series: Series) -> list[float]:
    points = series["values"] if "values" in series else [series["value"]]
    return [float(value) for _, value in points]


def assert_has_data(series: list[Series], what: str) -> None:
    assert series, f"{what}: no series"
    assert not all(math.isnan(value) for one in series for value in _values(one)), f"{what}: nothing but NaN"


@pytest.mark.parametrize("query", QUERIES, ids=[query.name for query in QUERIES])
def test_every_query_of_every_panel_has_data(scene: Scene, query: Query) -> None:
    assert_has_data(scene.ask(query), query.expr)


@pytest.mark.parametrize("query", list(boards.annotations()), ids=lambda query: query.name)
def test_every_annotation_has_data(scene: Scene, query: Query) -> None:
    """What they compare with is a minute old, of scrapes that are seconds apart; here, all is over within that minute."""
    assert_has_data(scene.ask(query._replace(expr=query.expr.replace("offset 1m", "offset 5s"))), query.expr)


VARIABLES = [
    (uid, name, variable["query"]["query"])
    for uid, board in BOARDS.items()
    for name, variable in boards.variables(board).items()
    if variable["type"] == "query"
]


def _quoted(value: str) -> str:
    """As a regular expression within a PromQL string."""
    return re.escape(value).replace("\\", "\\\\")


@pytest.mark.parametrize(("uid", "name", "query"), VARIABLES, ids=[f"{uid}-{name}" for uid, name, _ in VARIABLES])
def test_every_variable_has_values_and_every_value_has_data(scene: Scene, uid: str, name: str, query: str) -> None:
    asked = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert asked
    values = scene.prometheus.label_values(asked[2], substituted(asked[1]))
    assert values
    using = [one for one in QUERIES if one.board == uid and f'"${name}"' in one.expr]
    for value in values:
        assert any(scene.ask(one, **{name: _quoted(value)}) for one in using), f"{name}={value} shows nothing"


RULES = [*boards.rules("rules.yml"), *boards.rules("alerts.yml")]


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_every_rule_is_evaluated_with_data(scene: Scene, rule: Rule) -> None:
    """A recording rule has values. What an alert compares is there, whether or not it fires. Weeks ago nothing was recorded:
    there, now stands for then."""
    (loaded,) = [one for one in scene.prometheus.rules() if one["name"] == rule.name]
    assert loaded["health"] == "ok", loaded
    expr = re.sub(r" offset \dw", "", rule.expr).replace(":usual1h", ":gained1h")
    if not rule.is_alert:
        assert_has_data(scene.prometheus.instant(expr, scene.end), rule.name)
        return
    for selector, _ in selectors(re.sub(r" offset \d\w", "", expr)):
        assert_has_data(
            scene.prometheus.instant(f"last_over_time({selector.prettify()}[5m])", scene.end), selector.name
        )


EXEMPLARS = [query for query in QUERIES if query.exemplar]


@pytest.mark.parametrize("query", EXEMPLARS, ids=[query.name for query in EXEMPLARS])
def test_exemplars_lead_to_the_ledger(scene: Scene, query: Query) -> None:
    expr = substituted(query.expr, interval=RATE_INTERVAL, span=scene.span)
    found = [
        one["labels"]
        for series in scene.prometheus.exemplars(expr, scene.start, scene.end)
        for one in series["exemplars"]
    ]
    assert found
    requests = {row[0] for row in scene.ledger("SELECT request_id FROM entries")}
    roots = {row[0] for row in scene.ledger("SELECT root_session_id FROM entries")}
    assert {one["session_id"] for one in found} <= roots
    assert {one["request_id"] for one in found if "request_id" in one} <= requests


# Money


def _panel(board: str, title: str, ref: str = "A") -> Query:
    (found,) = [
        query
        for query in QUERIES
        if (query.board, query.panel, query.ref) == (f"taximeter-{board}", title, ref)
    ]  # fmt: skip
    return found


ATTEMPTS = "kind = 'attempt' AND status != 'void'"
MONEY = [
    ("overview", "What was spent in this time?", "A", "''"),
    ("money", "What was spent in this time?", "A", "''"),
    ("money", "Which teams spend most?", "A", "team"),
    ("money", "Which models cost most?", "A", "model"),
    ("money", "What does each model cost, and what for?", "C", "model"),
]


@pytest.mark.parametrize(("board", "title", "ref", "group"), MONEY)
def test_money_is_what_the_ledger_says(scene: Scene, board: str, title: str, ref: str, group: str) -> None:
    """To the precision of a float: no cent is lost on the way, and none is extrapolated."""
    label = group if group != "''" else "nothing"
    shown = {one["metric"].get(label, ""): float(one["value"][1]) for one in scene.ask(_panel(board, title, ref))}
    sql = f"SELECT {group}, sum(cost_nanousd) FROM entries WHERE {ATTEMPTS} GROUP BY 1"
    paid = {name or "": total / 1e9 for name, total in scene.ledger(sql) if total}
    if label == "model":  # a name that never answered is no label
        paid["other"] = paid.get("other", 0) + sum(paid.pop(name) for name in set(paid) - set(shown))
    assert sum(paid.values()) > 0.05
    assert {name: value for name, value in shown.items() if value} == pytest.approx(
        {name: value for name, value in paid.items() if value}, rel=1e-9, abs=1e-12
    )


def test_budgets_are_what_the_ledger_says(scene: Scene) -> None:
    rows = {
        one["metric"]["budget"]: float(one["value"][1])
        for one in scene.ask(_panel("budgets", "Where does each budget stand?", "B"))
    }
    paid = {
        name: amount / 1e9
        for name, amount in scene.ledger(
            "SELECT budget, amount FROM budget_spend WHERE measure = 'usd' AND \"group\" = ''"
        )
    }
    assert set(rows) == {"company", "research", "payments", "ever"}
    assert rows == pytest.approx(paid, rel=1e-9)


def test_calls_and_tokens_are_what_the_ledger_says(scene: Scene) -> None:
    calls = {
        one["metric"]["model"]: float(one["value"][1])
        for one in scene.ask(_panel("money", "What does each model cost, and what for?", "A"))
    }
    assert sum(calls.values()) == scene.ledger(f"SELECT count(*) FROM entries WHERE {ATTEMPTS}")[0][0]
    unpriced = scene.ask(_panel("money", "Which models have no price?"))
    sql = f"SELECT model, count(*) FROM entries WHERE {ATTEMPTS} AND cost_nanousd IS NULL GROUP BY 1"
    assert {one["metric"]["model"]: float(one["value"][1]) for one in unpriced} == dict(scene.ledger(sql))


def test_what_caching_saved_is_right(scene: Scene) -> None:
    """Computed again from the ledger: the input price of each model is that of its own fresh input."""
    (shown,) = scene.ask(_panel("money", "What did caching save?"))
    cached = ("cache_read", "cache_write_5m")
    saved = 0.0
    for model in PRICES:
        columns = ", ".join(f"sum({unit}_tokens)" for unit in cached)
        rows = scene.ledger(
            f"SELECT {columns} FROM entries WHERE model = '{model}' AND cost_nanousd IS NOT NULL AND kind = 'attempt'"
        )
        for unit, quantity in zip(cached, rows[0], strict=True):
            saved += (quantity or 0) * (price_pico(model, "input") - price_pico(model, unit)) / 1e12
    assert saved > 0
    assert float(shown["value"][1]) == pytest.approx(saved, rel=1e-3)


# Alerts


def test_a_crossed_budget_reaches_the_webhook(scene: Scene) -> None:
    _, alert = scene.receiver.wait_for("TaximeterBudgetExhausted", 5, budget="research")
    assert alert["labels"]["severity"] == "page"
    assert alert["annotations"]["summary"] == "Budget research is exhausted"
    assert alert["annotations"]["playbook"] == "playbooks.md#taximeterbudgetexhausted"


@pytest.mark.parametrize("name", ["TaximeterOverrun", "TaximeterUnpricedTraffic"])
def test_what_else_happened_reaches_the_webhook(scene: Scene, name: str) -> None:
    _, alert = scene.receiver.wait_for(name, 30)
    assert alert["annotations"]["summary"]


def test_only_what_happened_fires(scene: Scene) -> None:
    firing = {one["metric"]["alertname"] for one in scene.prometheus.instant('ALERTS{alertstate="firing"}', scene.end)}
    firing.discard("TaximeterBudgetBurnFast")  # pending for its first minute, which a slow machine may take
    assert firing == {"TaximeterBudgetExhausted", "TaximeterOverrun", "TaximeterUnpricedTraffic"}
