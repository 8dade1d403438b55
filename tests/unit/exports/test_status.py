"""Where sinks stand, as the command, the API and the metrics say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.exports.sink import Later
from proxy.exports.status import sinks_shown
from proxy.ledger.beside.export_log import FORGET_US, forget, read_place, wanted
from proxy.ledger.schema import entries
from proxy.times import now_us
from tests.support.export_receiver import KEY
from tests.support.exported import Told, drain, exporter, ids
from tests.support.made_up import fill, made_up
from tests.unit.control.conftest import Control, control, ledger, loop, served  # noqa: F401 - fixtures


def row(told: Told) -> dict[str, Any]:
    return {"name": "meter", "type": "cloudevents", "url": f"{told.url}/api/v1/events", "api_key": KEY}


def test_status_and_retry_on_the_command_line(sqlite: Engine, told: Told, tmp_path: Path) -> None:
    one = exporter(sqlite, row(told))
    fill(sqlite, made_up(40))
    told.plan(refuse="globex")
    drain(one)
    config = tmp_path / "taximeter.yaml"
    config.write_text(
        json.dumps({"ledger": str(sqlite.url), "exports": [row(told), {"type": "file", "path": str(tmp_path)}]})
    )

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["exports", *arguments, "--config", str(config)])

    refused = len(ids(sqlite, entries.c.customer == "globex"))
    newer, meter = json.loads(run("status", "--format", "json").stdout)
    assert (newer["name"], newer["state"], newer["cursor"]) == ("file", "new", None)
    assert (meter["state"], meter["set_aside"], meter["lag_entries"]) == ("ok", refused, 0)
    assert meter["cursor"] in ids(sqlite)
    assert KEY not in run("status").stdout
    assert run("retry", "meter").stdout == f"{refused} events are tried once more\n"
    failed = run("retry", "nobody")
    assert (failed.exit_code, "no sink 'nobody'" in failed.stderr) == (1, True)


def test_a_sink_that_is_behind_says_why_and_for_how_long(sqlite: Engine, told: Told) -> None:
    one = exporter(sqlite, row(told))
    fill(sqlite, made_up(10))
    told.plan({"status": 401})
    with pytest.raises(Later) as later:
        one.step()
    one._note(str(later.value))
    (shown,) = sinks_shown(sqlite, {"meter": "cloudevents"}, now_us() + 7_200_000_000)
    assert shown["state"] == "behind"
    assert "401; look at api_key" in shown["error"]
    assert KEY not in shown["error"]
    assert shown["lag_seconds"] >= 7200
    assert shown["failed"] == 1
    drain(one)
    (shown,) = sinks_shown(sqlite, {"meter": "cloudevents"}, now_us())
    assert (shown["state"], shown["error"], shown["lag_seconds"]) == ("ok", None, 0.0)


def test_a_sink_that_nobody_wants_is_forgotten_after_a_week(sqlite: Engine, told: Told) -> None:
    exporter(sqlite, row(told))
    fill(sqlite, made_up(10))
    now = now_us()
    (shown,) = sinks_shown(sqlite, {}, now)
    assert shown["state"] == "removed"
    assert forget(sqlite, now + FORGET_US - 1_000_000_000) == []
    assert wanted(sqlite, ["meter"], now + 120_000_000) == {"meter"}
    assert forget(sqlite, now + FORGET_US + 60_000_000) == []  # it was wanted since
    assert forget(sqlite, now + FORGET_US + 180_000_000) == ["meter"]
    with sqlite.connect() as connection:
        assert read_place(connection, "meter") is None


def test_the_api_and_the_metrics_say_so_too(control: Control, told: Told) -> None:  # noqa: F811 - the fixture's value
    (item,) = control.get("/api/exports")["items"]
    assert (item["name"], item["state"]) == ("meter", "new")
    client: TestClient = control.client
    assert client.post("/api/exports/nobody/retry").status_code == 404
    exporter(control.engine, row(told))
    assert client.post("/api/exports/meter/retry").json() == {"events": 0}
    metrics = client.get("/metrics").text
    assert 'taximeter_export_lag_seconds{sink="meter"} 0' in metrics
    for outcome in ("sent", "set_aside", "skipped", "failed"):
        assert f'taximeter_export_events_total{{sink="meter",outcome="{outcome}"}} 0' in metrics
    assert "export meter" in client.get("/health").text
