"""`--server`: the same answers from a server's API as from its ledger, and the admin key in no argument."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.ledger.reconciliations import reconciliations_of
from tests.unit.control.conftest import ADMIN_KEY, CONFIG, Control, control, ledger, loop  # noqa: F401 - fixtures

Ask = Callable[..., Any]


def serving(control: Control) -> ThreadingHTTPServer:  # noqa: F811 - the fixture's value
    """The API on a socket: each request goes to the test client as it came, but for the client's own key."""

    class Bridge(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {"authorization": self.headers.get("authorization", "none"), "content-type": "application/json"}
            answer = control.client.request(self.command, self.path, content=body, headers=headers)
            self.send_response(answer.status_code)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PATCH = do_DELETE = _pass  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Bridge)


@pytest.fixture
def ask(control: Control, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:  # noqa: F811 - the fixture's value
    """A command's result; `server`: asked there with the key of the environment."""
    server = serving(control)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("TAXIMETER_ADMIN_KEY", ADMIN_KEY)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--server", f"http://127.0.0.1:{server.server_port}"])

    yield run
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def here(control: Control, tmp_path: Path) -> Ask:  # noqa: F811 - the fixture's value
    """The same command on the ledger itself."""
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({**CONFIG, "ledger": str(control.engine.url)}))
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--config", str(config)])


@pytest.mark.parametrize(
    "command",
    [
        ["exports", "status"], ["exports", "status", "--format", "json"],
        ["spend"], ["spend", "--by", "team,model"], ["spend", "--by", "month", "--tz", "Europe/Berlin", "--format", "csv"],
        ["spend", "--by", "day,model", "--only", "team=payments", "--format", "json"], ["spend", "--by", "key", "--limit", "2"],
        ["sessions", "top"], ["sessions", "top", "--format", "json", "--by", "latest"], ["keys", "list"],
        ["keys", "list", "--format", "json"], ["budgets", "raises"],
        ["report", "focus", "--version", "1.2", "--tags", "plan", "--since", "2026-11-23", "--until", "2026-11-25", "--format", "json"],
        ["report", "margin", "--since", "2026-11-20", "--until", "2026-11-27"], ["report", "month", "2026-11", "--by", "key"],
        ["report", "explain", "--since", "2026-11-24", "--until", "2026-11-25", "--by", "team"],
        ["report", "what-if", "--since", "2026-11-23", "--until", "2026-11-26", "--tier", "batch", "--format", "json"],
        ["report", "reprice", "--since", "2026-11-23", "--until", "2026-11-26", "--format", "json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_server_says_what_its_ledger_says(ask: Ask, here: Ask, command: list[str]) -> None:
    remote, local = ask(*command), here(*command)

    assert (remote.exit_code, remote.output) == (0, local.output), remote.output
    assert local.exit_code == 0
    assert len(local.output.splitlines()) > (0 if "raises" in command else 1)


def test_what_needs_the_servers_machine_is_said(ask: Ask) -> None:
    for command in (["reprice", "--apply"], ["month", "2026-10", "--close"]):
        refused = ask("report", *command)
        assert (refused.exit_code, refused.output) == (
            2,
            f"error: {command[-1]} works beside the server, not through --server\n",
        )


def test_a_session_s_tree_is_the_same(ask: Ask, here: Ask) -> None:
    (first, *_) = json.loads(ask("sessions", "top", "--format", "json").output)
    for form in ("table", "csv", "json"):
        command = ["sessions", "show", first["session"], "--format", form]
        assert ask(*command).output == here(*command).output != ""


def test_more_rows_than_a_page_come_whole(ask: Ask, here: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cli.remote.PAGE", 7)
    command = ["spend", "--by", "hour,model,key", "--format", "json"]

    assert json.loads(ask(*command).output) == json.loads(here(*command).output)


def test_a_key_is_made_rotated_and_revoked_there(ask: Ask) -> None:
    made = ask("keys", "create", "far", "--team", "ops", "--label", "plan=pro").output.strip()
    rotated = ask("keys", "rotate", "far", "--grace", "1h").output.strip()
    (row,) = [
        row
        for row in json.loads(ask("keys", "list", "--format", "json").output)
        if row["name"] == "far" and row["expires"] is None
    ]

    assert made.startswith("sk-tx-")
    assert rotated.startswith("sk-tx-")
    assert made != rotated
    assert (row["team"], row["labels"]) == ("ops", {"plan": "pro"})
    assert ask("keys", "revoke", "far").output == "far is revoked\n"
    assert ask("keys", "revoke", "far").exit_code == 1


def test_a_budget_is_raised_lowered_and_ended_there(ask: Ask) -> None:
    raised = ask("budgets", "raise", "day", "--by", "5", "--until", "2h").output
    (row,) = json.loads(ask("budgets", "raises", "--format", "json").output)
    (lowered,) = [ask("budgets", "lower", row["id"], "--to", "2").output]
    (smaller,) = json.loads(ask("budgets", "raises", "day", "--format", "json").output)
    (listed,) = json.loads(ask("budgets", "list", "day", "--format", "json").output)
    ended = ask("budgets", "end", smaller["id"]).output

    assert raised.startswith("day is raised by 5 USD, from 5 to 10, until ")
    assert (row["budget"], row["by"], smaller["by"]) == ("day", "5", "2")
    assert lowered.startswith("day is raised by 2 USD, from ")
    assert (listed["limit"], listed["reserved"], listed["percent"]) == ("7", "0", 0.0)
    assert ended == "day: the raise is ended, its limit is 5, no longer 7\n"
    for wrong in (
        ["raise", "teams", "--by", "1"],
        ["raise", "day", "--by", "much"],
        ["raise", "teams", "--by", "1", "--group", "nosuch"],
    ):
        assert ask("budgets", *wrong).exit_code == 2, wrong
    for missing in (["end", "nosuch"], ["list", "nosuch"], ["raise", "nosuch", "--by", "1"]):
        assert ask("budgets", *missing).exit_code == 1, missing


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_providers_file_is_compared_there_as_here(
    ask: Ask,
    here: Ask,
    control: Control,  # noqa: F811 - the fixture's value
    tmp_path: Path,
    form: str,
) -> None:
    file = tmp_path / "activity ü.csv"
    file.write_text("date,model,usage\n2026-11-23,small,0.5\n2026-11-24,big,0.25\n2026-11-25,nothing,0\n")
    command = ["report", "reconcile", "p", str(file), "--format", form]
    there, local = ask(*command), here(*command)
    assert (there.output, there.exit_code) == (local.output, local.exit_code)
    assert there.exit_code == 1, "much is unexplained"
    assert ask(*command, "--tolerance", "1000").exit_code == 0
    runs = reconciliations_of(control.engine, 0, 2**60)
    assert {(run.provider, run.file) for run in runs} == {("p", file.name)}
    assert len({run._replace(ran_at=0) for run in runs}) == 1
    assert ask(*command, "--apply").exit_code == 2
    assert ask(*command, "--since", "nonsense").exit_code == 2


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "packed",
    [
        "", "x", "aGVsbG8=", _packed(gzip.compress(b"\xff" * 9)), _packed(gzip.compress(b"a" * 99)[:-9]),
    ],
    ids=["empty", "no base64", "not packed", "no text", "cut"],  # packed is the time, too
)  # fmt: skip
def test_a_file_that_cannot_be_unpacked_is_refused(control: Control, packed: str) -> None:  # noqa: F811 - the fixture's value
    answer = control.client.post("/api/reports/reconcile", json={"provider": "p", "text_gzip": packed})
    assert answer.status_code == 400
    assert "text_gzip" in answer.json()["error"]["message"]


def test_a_file_that_is_too_large_is_told_as_such(control: Control) -> None:  # noqa: F811 - the fixture's value
    packed = _packed(gzip.compress(b"\n" * (33 * 1024 * 1024)))
    answer = control.client.post("/api/reports/reconcile", json={"provider": "p", "text_gzip": packed})
    assert answer.status_code == 400
    assert "larger than 32 MiB" in answer.json()["error"]["message"]


def test_focus_rows_come_into_a_file_from_there(ask: Ask, here: Ask, tmp_path: Path) -> None:
    span = ["--since", "2026-11-23", "--until", "2026-11-26"]
    for run, name in ((ask, "there.csv"), (here, "here.csv")):
        done = run("report", "focus", "--out", str(tmp_path / name), *span)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert ask("report", "focus", "--out", str(tmp_path / "long.csv"), "--since", "2026-01-01").exit_code == 2
    assert not (tmp_path / "long.csv").exists()


def test_the_key_comes_from_a_file_too_and_is_told_when_it_is_wrong(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{ADMIN_KEY}\n")
    monkeypatch.setenv("TAXIMETER_ADMIN_KEY", "wrong")
    refused = ask("spend")
    monkeypatch.setenv("TAXIMETER_ADMIN_KEY_FILE", str(file))

    assert (refused.exit_code, "TAXIMETER_ADMIN_KEY_FILE" in refused.output) == (1, True)
    assert ask("spend").exit_code == 0
    monkeypatch.setenv("TAXIMETER_ADMIN_KEY_FILE", str(tmp_path / "none"))
    assert ask("spend").exit_code == 2


@pytest.mark.parametrize(
    "address", ["localhost:4101", "ftp://x", "http://user:pw@x", "http://", "http://127.0.0.1:1", "http://x/?y"]
)
def test_an_address_that_is_none_is_told(address: str) -> None:
    done = CliRunner().invoke(app, ["spend", "--server", address])

    assert done.exit_code in (1, 2)
    assert done.output.startswith("error: ")


def test_a_question_that_makes_no_sense_is_told_in_the_server_s_words(ask: Ask, here: Ask) -> None:
    for wrong in (["--by", "weather"], ["--since", "soon"], ["--tz", "Mars/Base"], ["--only", "day=x"]):
        remote, local = ask("spend", *wrong), here("spend", *wrong)
        assert (remote.exit_code, local.exit_code) == (2, 2)
        assert remote.output.strip().removeprefix("error: the server refused: ") == local.output.strip().removeprefix(
            "error: "
        )


def test_a_redirect_is_not_followed_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Away(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(302)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Away)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("TAXIMETER_ADMIN_KEY", ADMIN_KEY)
    done = CliRunner().invoke(app, ["keys", "list", "--server", f"http://127.0.0.1:{server.server_port}"])
    server.shutdown()
    server.server_close()
    thread.join()

    assert (done.exit_code, seen) == (1, ["/api/keys"])
