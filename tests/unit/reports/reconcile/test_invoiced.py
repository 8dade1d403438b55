"""Calls that stand at their ceilings, settled by what the provider's invoice says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.control.metrics.series import MetricState
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.corrections import repricings
from proxy.ledger.entries.entry import Entry
from proxy.ledger.planes.instances import name_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.ledger.schema import budget_spend, metric_state
from proxy.reports.reconcile.answer import Reconciled, ReconcileQuestion, ReconcileShown, reconcile_answer
from proxy.reports.spend import spend
from tests.support.bought import bought, with_row
from tests.support.made_up import START, fill
from tests.unit.reports.reconcile.test_comparison import BOOK, DAY_US, FILES, LATER, at_its_ceiling, gpt, openai

COSTS = (FILES / "openai_costs.json").read_text()
"""As `test_reconcile` has it: on the second day 200,000 input tokens more than ours, 0.25 USD; on the third 1.5 USD past us."""
NANO = 1_000_000_000


@pytest.fixture
def ledger(database: str) -> Any:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def reconciled(
    engine: Engine, now_us: int = LATER, text: str = COSTS, provider: str = "openai", **more: Any
) -> Reconciled:
    return reconcile_answer(engine, BOOK, ReconcileQuestion(provider, text, **more), now_us)


def why_not(found: Reconciled) -> list[str]:
    """Also that nothing is settled."""
    assert found.corrections == []
    return [left.why for left in shown(found).not_settled]


def shown(found: Reconciled) -> ReconcileShown:
    assert isinstance(found.answer.shown, ReconcileShown)
    return found.answer.shown


def apply(engine: Engine, found: Reconciled) -> None:
    ship(engine, list(found.corrections))


def ship(engine: Engine, made: list[Entry]) -> None:
    Shipper(engine, "i", MetricState.load(engine, "i")).ship(Batch(entries=made), Positions([], []))


def counter(engine: Engine) -> int:
    with engine.connect() as connection:
        query = sa.select(sa.func.sum(budget_spend.c.amount)).where(budget_spend.c.budget == "company")
        return int(connection.execute(query).scalar_one())


def test_a_call_at_its_ceiling_costs_what_the_invoice_says(ledger: Engine, tmp_path: Path, database: str) -> None:
    """A ceiling of 0.6 came to 0.25: everywhere 0.35 less."""
    waiting = at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")
    fill(ledger, [*openai(), waiting])

    found = reconciled(ledger)
    items = shown(found).settled
    assert [(item.id, item.day, item.ceiling_usd, item.invoice_usd) for item in items] == [
        (waiting.row.id, "2026-11-24", "0.6", "0.25")
    ]
    apply(ledger, found)

    (total,) = spend(ledger, [], None, None)
    (from_entries,) = spend(ledger, [], None, None, rolled=False)
    assert (total.cost_nanousd, total.requests) == (7_150_000_000, 4)
    assert total == from_entries
    assert counter(ledger) == 7_150_000_000
    with ledger.connect() as connection:
        metric = sa.select(metric_state.c.value).where(metric_state.c.name == "cost_corrections_usd")
        assert connection.execute(metric).scalar_one() == "-350000000"
    assert verify(database, tmp_path).difference is None
    assert [charges[0][1:] for _, charges in repricings(found.corrections)] == [["", 0, "usd", -350_000_000]]


def test_a_second_run_changes_nothing(ledger: Engine, tmp_path: Path, database: str) -> None:
    waiting = at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")
    fill(ledger, [*openai(), waiting])
    found = reconciled(ledger)
    apply(ledger, found)
    before = spend(ledger, ["model"], None, None), counter(ledger)

    again = reconciled(ledger)
    assert (shown(again).settled, shown(again).not_settled, again.corrections) == ([], [], [])
    assert (shown(again).ours_usd, shown(again).unexplained_usd) == ("7.15", "0")
    assert {cause.name for cause in shown(again).causes} == {"credits", "not through us"}
    apply(ledger, found)  # written twice, or found by two at a time
    settled = gpt(START + DAY_US)
    ship(ledger, [with_row(settled, id=waiting.row.id)])  # what really happened comes after all

    assert (spend(ledger, ["model"], None, None), counter(ledger)) == before
    assert verify(database, tmp_path).difference is None


def test_a_call_that_comes_to_light_later_is_settled_by_itself(ledger: Engine) -> None:
    """Of 0.25 USD that the invoice has more, the first was taken for all; nothing is left for another."""
    fill(ledger, [*openai(), at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")])
    apply(ledger, reconciled(ledger))
    fill(ledger, [at_its_ceiling(START + DAY_US + 1, "0.4", "openai", "gpt-5")])

    found = reconciled(ledger)
    assert [(item.ceiling_usd, item.invoice_usd) for item in shown(found).settled] == [("0.4", "0")]
    apply(ledger, found)
    assert shown(reconciled(ledger)).unexplained_usd == "0"


def test_several_share_by_their_ceilings(ledger: Engine) -> None:
    fill(
        ledger, [*openai(), *[at_its_ceiling(START + DAY_US, usd, "openai", "gpt-5") for usd in ("0.6", "0.3", "0.1")]]
    )

    found = reconciled(ledger)

    assert sorted((item.ceiling_usd, item.invoice_usd) for item in shown(found).settled) == [
        ("0.1", "0.025"), ("0.3", "0.075"), ("0.6", "0.15"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("day", "now_us", "why"),
    [
        (2, LATER, "calls of their day and model did not come through here, or are on another day"),
        (1, START + 2 * DAY_US - 1, "the invoice does not cover their whole day"),
        (
            1,
            START + 3 * DAY_US - 1,
            "the invoice was written less than a day after their day, and may lack what is booked late",
        ),
    ],
)
def test_what_is_in_doubt_stays_at_its_ceiling(ledger: Engine, day: int, now_us: int, why: str) -> None:
    fill(ledger, [*openai(), at_its_ceiling(START + day * DAY_US, "0.6", "openai", "gpt-5")])

    found = reconciled(ledger, now_us)

    assert ([(left.why, left.entries) for left in shown(found).not_settled], found.corrections) == ([(why, 1)], [])


def test_a_difference_that_nothing_explains_settles_nothing(ledger: Engine) -> None:
    """Our own calls of that day cost more than the invoice has: the ceiling is not all that is wrong."""
    usual = gpt(START + DAY_US)
    dear = with_row(usual, cost_nanousd=(usual.row.cost_nanousd or 0) + NANO, cost_lines="[]")
    fill(ledger, [openai()[0], dear, openai()[2], at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")])

    found = reconciled(ledger)

    assert [left.why for left in shown(found).not_settled] == ["their day and model differ by more than is explained"]
    assert found.corrections == []


def test_the_command_line_applies_once(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    fill(engine, [*openai(), at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")], instance=name_of(data))
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"ledger": str(engine.url), "data_dir": str(data)}))
    file = tmp_path / "costs.json"
    file.write_text(COSTS)
    asking = ["report", "reconcile", "openai", str(file), "--config", str(config), "--format", "json"]

    first, done, after = (
        json.loads(CliRunner().invoke(app, [*asking, *more]).stdout) for more in ([], ["--apply"], ["--apply"])
    )

    assert (len(first["settled"]), first["applied"]) == (1, False)
    assert (done["settled"], done["applied"]) == (first["settled"], True)
    assert (after["settled"], after["ours_usd"]) == ([], "7.15")
    engine.dispose()


MAY_BE_FILTERED = "the invoice has nothing of their day and model"


def test_an_invoice_that_has_nothing_of_their_model_may_be_filtered(ledger: Engine) -> None:
    """It may be of one project, or call the model otherwise: only a person knows that it is whole."""
    fill(ledger, [*openai(), at_its_ceiling(START, "0.6", "openai", "gpt-4.1")])

    (why,) = why_not(reconciled(ledger))
    assert why.startswith(MAY_BE_FILTERED)
    (item,) = shown(reconciled(ledger, whole=True)).settled
    assert (item.model, item.invoice_usd) == ("gpt-4.1", "0")


def test_a_whole_invoice_with_a_model_that_nobody_here_knows_settles_no_other_at_nothing(ledger: Engine) -> None:
    """On the third day more of a model went past us: it may be this one, by another name."""
    fill(ledger, [*openai(), at_its_ceiling(START + 2 * DAY_US, "0.6", "openai", "gpt-4.1")])

    assert why_not(reconciled(ledger, whole=True)) == [
        "other calls of that day did not come through here: one may be theirs"
    ]


def test_a_call_through_another_account_than_the_invoice_shows_stays(ledger: Engine) -> None:
    waiting = with_row(at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5"), upstream="another")
    fill(ledger, [*openai(), waiting])

    (why,) = why_not(reconciled(ledger))
    assert why.startswith("the invoice shows no other call of their upstream that day")
    assert len(shown(reconciled(ledger, whole=True)).settled) == 1


def test_that_calls_come_to_nothing_is_said_as_the_invoice_may_be_filtered(ledger: Engine) -> None:
    """What it shows of their model and account agrees without them: nothing tells it from one that was filtered to the rest."""
    fill(ledger, [gpt(START), at_its_ceiling(START, "0.6", "openai", "gpt-5")])
    text = "date,model,cost\n2026-11-23,gpt-5,2.30\n"
    said = "1 of the unconfirmed entries come to 0"

    maybe, surely = (shown(reconciled(ledger, text=text, whole=whole)) for whole in (False, True))

    assert [item.invoice_usd for item in maybe.settled] == [item.invoice_usd for item in surely.settled] == ["0"]
    assert [caveat.startswith(said) for caveat in maybe.about.caveats] == [True]
    assert surely.about.caveats == []


def test_a_part_of_a_day_is_not_compared(ledger: Engine) -> None:
    """From noon on, the invoice had nothing, and the call at its ceiling would have come to 0."""
    noon = START + DAY_US + DAY_US // 2
    fill(ledger, [*openai(), at_its_ceiling(noon + 1, "0.6", "openai", "gpt-5")])

    late, early = reconciled(ledger, since=noon), reconciled(ledger, until=noon)

    assert late.corrections == early.corrections == []
    assert {item.day for item in shown(late).items} == {"2026-11-25"}
    assert {item.day for item in shown(early).items} == {"2026-11-23"}


def test_an_invoice_that_was_written_before_their_day_was_over_settles_nothing(ledger: Engine) -> None:
    fill(ledger, [*openai(), at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")])

    assert why_not(reconciled(ledger, made_at=START + DAY_US + 1)) == ["the invoice does not cover their whole day"]


def test_a_call_without_a_price_beside_it_leaves_it_in_doubt(ledger: Engine) -> None:
    """What the invoice has more may be of the one or of the other."""
    unpriced = bought(START + DAY_US, None, {}, provider="openai", model="gpt-5", model_requested="gpt-5")
    fill(ledger, [*openai(), unpriced, at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")])

    assert why_not(reconciled(ledger)) == ["other calls of their day and model have no price here"]


@pytest.mark.parametrize(
    ("cost", "why"),
    [("2.30", "the invoice's amounts are rounded by more than their ceilings"), ("2.3000001", None)],
)
def test_cents_do_not_say_what_a_call_of_less_cost(ledger: Engine, cost: str, why: str | None) -> None:
    fill(ledger, [*openai(), at_its_ceiling(START + DAY_US, "0.004", "openai", "gpt-5")])

    found = reconciled(ledger, text=f"date,model,cost\n2026-11-24,gpt-5,{cost}\n")

    assert [left.why for left in shown(found).not_settled] == ([why] if why else [])


def test_a_discount_may_be_what_makes_it_less(ledger: Engine) -> None:
    """Of a fifth less than the list's price, nobody can tell which part the waiting call has."""
    fill(ledger, [*openai(), at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")])
    focus = "ChargePeriodStart,BilledCost,ListCost,BillingCurrency,ResourceName,SkuMeter\n2026-11-24,2,2.5,USD,gpt-5,\n"

    assert why_not(reconciled(ledger, text=focus)) == ["their day and model differ by other causes, too: discount"]


def test_an_estimate_of_a_part_settles_nothing(ledger: Engine) -> None:
    model = "claude-haiku-4-5"
    fill(ledger, [at_its_ceiling(START, "0.6", "anthropic", model)])
    day = {
        "date": "2026-11-23T00:00:00Z",
        "model_breakdown": [{"model": model, "estimated_cost": {"currency": "USD", "amount": 10}}],
    }

    found = reconciled(ledger, text=json.dumps({"data": [day]}), provider="anthropic")

    assert why_not(found) == ["the file (Anthropic's Claude Code report) is an estimate of a part of what is billed"]


def test_two_exports_in_one_settle_nothing(ledger: Engine) -> None:
    """2.55 twice is 2.25 for the call at its ceiling, and it was 0.25."""
    fill(ledger, [gpt(START), at_its_ceiling(START, "5", "openai", "gpt-5")])
    row = "2026-11-23,gpt-5,2.55\n"

    once, twice = (reconciled(ledger, text=f"date,model,cost\n{row * count}") for count in (1, 2))

    assert [item.invoice_usd for item in shown(once).settled] == ["0.25"]
    assert [why.partition(" (")[0] for why in why_not(twice)] == ["rows of the file stand in it more than once"]
    assert any(caveat.startswith("1 of the file's rows stand in it before") for caveat in shown(twice).about.caveats)


def test_usage_that_has_no_price_here_settles_nothing(ledger: Engine) -> None:
    """Nothing says what a token of the waiting call costs, so that its usage came to 0."""
    fill(ledger, [gpt(START), at_its_ceiling(START, "5", "openai", "gpt-4.1")])
    head = "start_time,start_time_iso,input_tokens,output_tokens,num_model_requests,model,batch\n"
    usage = f"{head}1795392000,,1000000,100000,1,gpt-5,false\n1795392000,,1000,0,1,gpt-4.1,false\n"

    assert why_not(reconciled(ledger, text=usage, whole=True)) == [
        "the file has usage that nothing here has a price for"
    ]
