"""`verify`: a sound ledger passes, and of each kind of error one is planted and found, in its place and by its name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.ledger.audit.verify import Report, verify
from proxy.ledger.database import open_ledger
from proxy.spool.frames import frame
from proxy.spool.writer import SpoolWriter
from tests.support.made_up import fill, made_up
from tests.support.spooled import Ledger, append, intent, settle


@pytest.fixture(scope="module")
def sound(shared_database: str) -> str:
    """The URL of a ledger in which everything adds up."""
    engine, made = open_ledger(shared_database), made_up(300)
    fill(engine, made[:150], instance="one")
    fill(engine, made[150:], instance="other")
    engine.dispose()
    return shared_database


@pytest.fixture
def copy(sound: str, copy_of: Callable[[str], str]) -> str:
    return copy_of(sound)


@pytest.fixture
def audit(tmp_path: Path) -> Callable[..., Report]:
    def run(url: str, spool: Path | None = None) -> Report:
        with tempfile.TemporaryDirectory(dir=tmp_path) as scratch:
            return verify(url, Path(scratch), spool)

    return run


def change(url: str, *statements: str) -> None:
    engine = open_ledger(url)
    with engine.begin() as connection:
        for statement in statements:
            done = connection.execute(sa.text(statement))
            assert done.rowcount > 0, f"nothing to plant an error in: {statement}"
    engine.dispose()


def test_a_sound_ledger_passes(sound: str, audit: Callable[..., Report]) -> None:
    report = audit(sound)
    assert report.difference is None
    assert report.counted["entries"] > 300
    assert report.counted["corrections"] > 5
    assert report.counted["budget counters"] > 50
    assert report.counted["roll-up rows"] > 500
    assert report.counted["metric series"] > 50


ONE = "id = (SELECT min(id) FROM entries WHERE kind = 'attempt' AND status = 'settled' AND cost_nanousd > 1000)"
FIXED = "id = (SELECT min(id) FROM entries WHERE kind = 'correction' AND cost_nanousd IS NOT NULL)"
CHARGED = "id = (SELECT min(id) FROM entries WHERE status = 'unconfirmed')"
ERRORS = {
    # what is planted, and what is told of it
    "a cost a nano too high": (f"UPDATE entries SET cost_nanousd = cost_nanousd + 1 WHERE {ONE}", "its lines add up to"),
    "a cost line of another price": (
        f"""UPDATE entries SET cost_lines = replace(cost_lines, '"cost_usd":"0.', '"cost_usd":"1.') WHERE {ONE}""", "cost line 1"),
    "cost lines that are none": (f"UPDATE entries SET cost_lines = '[[' WHERE {ONE}", "cost_lines or budgets"),
    "a cost below 0": (f"UPDATE entries SET cost_nanousd = -5 WHERE {ONE}", "below 0"),
    "a budget counted otherwise": (
        f"""UPDATE entries SET budgets = '[["company","",0,"usd",1]]' WHERE {ONE}""", "counted as 1 in budget 'company'"),
    "an unconfirmed one below its ceiling": (
        f"UPDATE entries SET reserved_nanousd = reserved_nanousd + 1 WHERE {CHARGED}", "it is unconfirmed"),
    "a void one that costs": (
        "UPDATE entries SET cost_nanousd = 5 WHERE id = (SELECT min(id) FROM entries WHERE status = 'void')", "it is void"),
    "an unknown status": (f"UPDATE entries SET status = 'maybe' WHERE {ONE}", "its status is 'maybe'"),
    "an unknown kind": (f"UPDATE entries SET kind = 'refund' WHERE {ONE}", "its kind is 'refund'"),
    "tokens below 0": (f"UPDATE entries SET output_tokens = -1 WHERE {ONE}", "output_tokens is -1"),
    "flags that are none": (f"""UPDATE entries SET flags = '{{"a": 1}}' WHERE {ONE}""", "its flags"),
    "a flag twice": (f"""UPDATE entries SET flags = '["estimated","estimated"]' WHERE {ONE}""", "its flags"),
    "an implausible usage at its price": (f"""UPDATE entries SET flags = '["implausible"]' WHERE {ONE}""", "implausible"),
    "attempt number 0": (f"UPDATE entries SET attempt = 0 WHERE {ONE}", "number 0"),
    "two attempts of one number": (
        "UPDATE entries SET request_id = 'r-0' WHERE request_id < 'r-2' AND status = 'settled' AND kind = 'attempt'", "number 1"),
    "an attempt that corrects": (f"UPDATE entries SET corrects_id = id WHERE {ONE}", "it is an attempt, and says"),
    "a correction of nothing": (f"UPDATE entries SET corrects_id = 'nobody' WHERE {FIXED}", "is not in the ledger"),
    "a correction of another call": (
        f"UPDATE entries SET corrects_id = (SELECT max(corrects_id) FROM entries) WHERE {FIXED}", "of another call"),
    "a correction by too much": (
        f"UPDATE entries SET cost_nanousd = cost_nanousd - 1, budgets = NULL WHERE {FIXED}", "with it"),
    "an entry that is gone": (f"DELETE FROM entries WHERE {ONE}", "its entries come to"),
    "a budget's counter": (
        "UPDATE budget_spend SET amount = amount + 1 WHERE budget = 'company'", "budget_spend budget=company"),
    "a counter that is gone": ("DELETE FROM budget_spend WHERE budget = 'hourly'", "budget_spend budget=hourly"),
    "a counter of nothing": ("INSERT INTO budget_spend VALUES ('a', 'x', 0, 'usd', 7)", "no entry adds to it"),
    "a roll-up's cost": (
        "UPDATE spend_hours SET cost_nanousd = cost_nanousd - 1 WHERE requests > 1", "spend_hours start_at=2026-11-2"),
    "a day's requests": ("UPDATE spend_days SET requests = requests + 1 WHERE requests > 1", "spend_days"),
    "a roll-up row that is gone": ("DELETE FROM spend_people_days WHERE customer = 'ümlaut'", "customer=ümlaut: it is missing"),
    "a roll-up of another team": ("UPDATE spend_days SET team = 'x' WHERE team = 'payments'", "team is x"),
    "a session's total": ("UPDATE spend_sessions SET output_tokens = 0 WHERE session = 'session-1'", "session=session-1"),
    "a unit's total": ("UPDATE spend_units SET amount = amount * 2 WHERE unit = 'web_search'", "unit=web_search"),
    "a metric": ("UPDATE metric_state SET value = '7' WHERE name = 'requests_total'", "metric requests_total"),
    "a metric of tokens": ("DELETE FROM metric_state WHERE labels LIKE '%citation%'", "unit='citation'"),
    "a metric of cost": ("DELETE FROM metric_state WHERE name = 'cost_usd_total' AND labels LIKE '%odd%'", "metric cost_usd_total"),
    "the corrections' gauge": ("UPDATE metric_state SET value = '0' WHERE name = 'cost_corrections_usd'", "metric cost_"),
}  # fmt: skip


# What is compared is the same, whichever database it is read from: of PostgreSQL's, an error in each table.
IN_EACH_TABLE = (
    "a cost a nano too high",
    "a budget's counter",
    "a roll-up's cost",
    "a day's requests",
    "a roll-up row that is gone",
    "a session's total",
    "a unit's total",
    "a metric",
)
PLANTED = [
    *[("sqlite", name) for name in ERRORS],
    *[pytest.param("postgresql", name, marks=pytest.mark.needs("postgres")) for name in IN_EACH_TABLE],
]


@pytest.mark.long
@pytest.mark.parametrize(("shared_database", "name"), PLANTED, indirect=["shared_database"])
def test_a_planted_error_is_found(copy: str, audit: Callable[..., Report], name: str) -> None:
    statement, told = ERRORS[name]
    change(copy, statement)
    difference = audit(copy).difference
    assert difference is not None
    assert told in str(difference)


def test_the_entry_is_named(copy: str, audit: Callable[..., Report]) -> None:
    engine = open_ledger(copy)
    with engine.connect() as connection:
        wanted = connection.execute(sa.text(f"SELECT id FROM entries WHERE {ONE}")).scalar_one()
    engine.dispose()
    change(copy, f"UPDATE entries SET cost_nanousd = cost_nanousd + 1 WHERE {ONE}")
    difference = audit(copy).difference
    assert difference is not None
    assert difference.where == f"entry {wanted}"


# The spool


def shipped(folder: Path, database: str) -> tuple[Path, SpoolWriter, list[str]]:
    """A spool of a living worker whose records are in the ledger; the attempts' ids."""
    ledger = Ledger(folder, database)
    writer = SpoolWriter(ledger.folder, "w")
    calls = [intent(request_id=f"r-{number}", cost_lines=None) for number in range(5)]
    append(writer, intent(request_id="open"))  # keeps the segment
    for call in calls:
        append(writer, call, settle(call, 0, cost_lines=[], usage={}))
    ledger.ship()
    ledger.engine.dispose()
    return ledger.folder, writer, [call["id"] for call in calls]


def only_the_spool(url: str) -> None:
    """So that nothing else differs: the entries of these tests' recorder have no metrics."""
    change(url, "UPDATE entries SET status = 'void', budgets = NULL, provider = NULL, corrects_id = NULL")
    engine = open_ledger(url)
    with engine.begin() as connection:
        for table in (
            "budget_spend",
            "metric_state",
            "spend_hours",
            "spend_days",
            "spend_people_days",
            "spend_people_weeks",
            "spend_sessions",
            "spend_units",
        ):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    engine.dispose()


def test_what_the_spool_says_is_shipped_is_there(database: str, tmp_path: Path, audit: Callable[..., Report]) -> None:
    folder, writer, _ = shipped(tmp_path, database)
    only_the_spool(database)
    report = audit(database, folder)
    assert (report.difference, report.counted["spool records"]) == (None, 12)
    writer.close()


def test_a_shipped_attempt_that_is_not_in_the_ledger_is_found(
    database: str, tmp_path: Path, audit: Callable[..., Report]
) -> None:
    folder, writer, ids = shipped(tmp_path, database)
    only_the_spool(database)
    change(database, f"DELETE FROM entries WHERE id = '{ids[3]}'")
    difference = audit(database, folder).difference
    assert difference is not None
    assert f"attempt {ids[3]} counts as shipped" in difference.what
    writer.close()


def test_what_is_not_shipped_yet_is_not_missed(database: str, tmp_path: Path, audit: Callable[..., Report]) -> None:
    folder, writer, _ = shipped(tmp_path, database)
    only_the_spool(database)
    late = intent()
    append(writer, late, settle(late))
    assert audit(database, folder).difference is None
    writer.close()


def test_damage_in_the_middle_of_the_spool_is_found(
    database: str, tmp_path: Path, audit: Callable[..., Report]
) -> None:
    folder, writer, _ = shipped(tmp_path, database)
    only_the_spool(database)
    (segment,) = folder.glob("*.spool")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    difference = audit(database, folder).difference
    assert difference is not None
    assert difference.where.startswith(f"spool {segment.name} at ")
    writer.close()


def test_a_torn_end_of_the_spool_is_what_kills_leave(
    database: str, tmp_path: Path, audit: Callable[..., Report]
) -> None:
    folder, writer, _ = shipped(tmp_path, database)
    only_the_spool(database)
    append(writer, intent())
    (segment,) = folder.glob("*.spool")
    with segment.open("rb+") as file:
        file.truncate(segment.stat().st_size - 20)
    assert audit(database, folder).difference is None
    writer.close()


def test_a_torn_record_that_was_passed_over_is_no_difference(
    database: str, tmp_path: Path, audit: Callable[..., Report]
) -> None:
    folder, writer, _ = shipped(tmp_path, database)
    only_the_spool(database)
    whole = frame(orjson.dumps(intent()))
    for cut in (1, 8, 9, 100):
        (folder / f"w.000000.{cut}.damaged").write_bytes(whole[:cut])
    assert audit(database, folder).difference is None
    (folder / "w.000000.7.damaged").write_bytes(whole[:50] + b"?" + whole[51:])
    difference = audit(database, folder).difference
    assert difference is not None
    assert difference.where == "spool w.000000.7.damaged"
    writer.close()


def test_what_was_kept_for_a_person_is_told(database: str, tmp_path: Path, audit: Callable[..., Report]) -> None:
    folder, writer, _ = shipped(tmp_path, database)
    only_the_spool(database)
    (folder / "000000.123.unreadable").write_bytes(orjson.dumps([]))
    difference = audit(database, folder).difference
    assert difference is not None
    assert "000000.123.unreadable" in difference.where
    writer.close()


def test_the_command_says_it_in_one_line(copy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"ledger": copy, "data_dir": str(tmp_path / "data"), "server": {"admin_port": 1}}))
    fine = CliRunner().invoke(app, ["verify", "--config", str(config)])
    assert (fine.exit_code, fine.stdout.splitlines()[0][:20]) == (0, "The ledger adds up: ")
    change(copy, f"UPDATE entries SET cost_nanousd = cost_nanousd + 1 WHERE {ONE}")
    wrong = CliRunner().invoke(app, ["verify", "--config", str(config)])
    assert (wrong.exit_code, wrong.stdout.startswith("DIFFERENCE: entry ")) == (1, True)
    told = CliRunner().invoke(app, ["verify", "--json", "--config", str(config)])
    result = json.loads(told.stdout)
    assert (told.exit_code, result["ok"], set(result["first_difference"])) == (1, False, {"where", "what"})
    assert CliRunner().invoke(app, ["verify", "--jsn"]).exit_code == 2
