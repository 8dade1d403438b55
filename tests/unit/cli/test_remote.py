"""`--server`: the same answers from a server's API as from its ledger, and the admin key in no argument."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pricing.load import packaged_book
from pricing.report import Hole
from proxy.ceilings.learned import Learned
from proxy.cli.main import app
from proxy.control.auditing import Auditor, AuditStatus
from proxy.dialects import openai
from proxy.errors import not_found
from proxy.ledger.audit.verify import Report
from proxy.ledger.notes.reconciliations import reconciliations_of
from proxy.times import now_s
from tests.support.http_server import Handler, listening
from tests.unit.control.conftest import ADMIN_KEY, CONFIG, Control, control, ledger, loop, served  # noqa: F401 - fixtures

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def address(served: Control) -> Iterator[str]:  # noqa: F811 - the fixture's value
    """The API on a socket: each request goes to the test client as it came, but for the client's own key."""

    class Bridge(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {"authorization": self.headers.get("authorization", "none"), "content-type": "application/json"}
            answer = served.client.request(self.command, self.path, content=body, headers=headers)
            self.send_response(answer.status_code)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PATCH = do_DELETE = _pass  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Bridge) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def ask(address: str, control: Control, monkeypatch: pytest.MonkeyPatch) -> Ask:  # noqa: F811 - the fixture's value
    """A command's result, asked at the server with the key of the environment."""
    monkeypatch.setenv("TAXIMETER_ADMIN_KEY", ADMIN_KEY)
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--server", address])


@pytest.fixture
def here(control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:  # noqa: F811 - the fixture's value
    """The same command on the ledger itself. The price book is read once for all."""
    monkeypatch.setattr("proxy.cli.prices.load_book", packaged_book)
    config = tmp_path / "taximeter.yaml"
    config.write_text(
        json.dumps({**CONFIG, "ledger": str(control.engine.url), "data_dir": str(tmp_path / "data")}, default=str)
    )
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--config", str(config)])


@pytest.mark.long
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
        ["prices", "show", "claude-sonnet-4-5", "--at", "2026-11-23"], ["prices", "show", "GPT-5", "--provider", "openai"],
        ["prices", "show", "own-model"], ["jobs"], ["jobs", "--team", "payments", "--state", "running"], ["report", "reprice"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_server_says_what_its_ledger_says(ask: Ask, here: Ask, command: list[str]) -> None:
    remote, local = ask(*command), here(*command)

    assert (remote.exit_code, remote.output) == (0, local.output), remote.output
    assert local.exit_code == 0
    assert len(local.output.splitlines()) > (0 if command[0] == "jobs" or command[-1] in ("raises", "own-model") else 1)


def test_a_price_that_is_not_there_is_told_as_the_server_has_it(ask: Ask, here: Ask) -> None:
    for command in (["show", "gpt-5o"], ["show", "gpt-5", "--provider", "nowhere"], ["show", "gpt-5", "--at", "soon"]):
        remote, local = ask("prices", *command), here("prices", *command)
        assert remote.output.replace("the server refused: ", "") == local.output != "", command
        assert remote.exit_code == local.exit_code != 0, command


def test_the_server_s_own_book_is_looked_through(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("prices", "check").output == "The price book has no holes.\n"
    monkeypatch.setattr("proxy.control.api.prices.holes_of", lambda *_: [Hole("no price", "p/m has none")])
    bad = ask("prices", "check")
    assert (bad.exit_code, bad.output) == (1, "no price: p/m has none\n")


def test_what_bills_taught_is_listed_and_taken_back_there(
    ask: Ask,
    here: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.control.api.prices._folder", lambda _: tmp_path / "data")
    (tmp_path / "data").mkdir()
    for worker, cost in enumerate((250, 300)):
        learned = Learned(tmp_path / "data" / f"learned-{worker}.json")
        learned.overran("a team", "vllm", "org/model", cost, 100, now_s())
    listed = ask("prices", "learned")
    assert listed.output == here("prices", "learned").output == "a_team vllm/org/model: 3.00\n"
    assert ask("prices", "learned", "--reset", "org/model").output == "a_team vllm/org/model: taken back\n"
    nothing = "Nothing has been learned: no bill has exceeded its ceiling lately.\n"
    assert ask("prices", "learned").output == here("prices", "learned").output == nothing
    assert "has been learned about" in ask("prices", "learned", "--reset", "org/model").output
    assert here("prices", "learned", "--reset", "org/model").exit_code == 1


@pytest.mark.long
def test_the_ledger_is_verified_there(ask: Ask, here: Ask, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811 - the fixture's value
    monkeypatch.setattr("proxy.cli.verify._ASK_EVERY_S", 0.2)
    monkeypatch.setattr("proxy.ledger.audit.store._CATCH_UP_S", 0)
    local = json.loads(here("verify", "--json").output)
    first = ask("verify", "--json")
    # The process that looked through it is asked once: the ledger stays as it is.
    monkeypatch.setattr(Auditor, "_report", lambda _: Report(result["counted"]))
    result = json.loads(first.output)
    assert (first.exit_code, result["ok"], result["counted"]["entries"]) == (0, True, local["counted"]["entries"])
    assert result["counted"].keys() - {"spool records"} == local["counted"].keys() - {"spool records"}
    assert result["store"] == "its 0 counters are the ledger's"
    standing = {"budget": "day", "group": "", "spent": 7, "reserved": 0, "window_start": 0}
    assert control.link.answers is not None
    control.link.answers["standing"] = [
        standing,
        standing | {"budget": "calls", "window_start": now_s() // 3600 * 3600},
    ]
    differs = ask("verify")
    assert (differs.exit_code, differs.output) == (1, "DIFFERENCE: budget calls: the store has 7, the ledger 0\n")
    assert control.get("/api/verify")["result"]["first_difference"]["where"] == "budget calls"
    control.link.answers = None
    assert "Budget store: not asked: No data plane answers" in ask("verify").output


def test_an_audit_that_cannot_be_made_is_told(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cli.verify._ASK_EVERY_S", 0.2)
    monkeypatch.setattr("proxy.control.auditing.sys.executable", "/bin/false")
    failed = ask("verify")
    assert (failed.exit_code, failed.output) == (
        1,
        "error: the server could not verify its ledger: the audit's process ended with status 1\n",
    )


def test_an_audit_that_breaks_is_over(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would run for ever, and none could begin after it."""
    monkeypatch.setattr("proxy.cli.verify._ASK_EVERY_S", 0.2)
    monkeypatch.setattr(Auditor, "_report", lambda _: Report({"entries": 0}))
    with monkeypatch.context() as broken:
        broken.setattr("proxy.control.auditing.compare_store", None)
        assert ask("verify").output == "error: the server could not verify its ledger: TypeError\n"
    assert ask("verify").exit_code == 0


def test_an_audit_whose_server_starts_anew_is_over(
    ask: Ask,
    control: Control,  # noqa: F811 - the fixture's value
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    auditor = control.client.app.state.auditor  # type: ignore[attr-defined]  # FastAPI's
    monkeypatch.setattr(auditor, "start", lambda: AuditStatus("running", 1))
    answer = ask("verify")
    assert (answer.exit_code, answer.output) == (
        1,
        "error: the server could not verify its ledger: it was started anew meanwhile\n",
    )


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
    monkeypatch.setattr("proxy.cli.remote.PAGE", 40)
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
    there, local = ask(*command, "--whole"), here(*command, "--whole")
    assert (there.output, there.exit_code) == (local.output, local.exit_code)
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


def test_a_refusal_that_is_too_long_to_be_read_leaves_no_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is found when it is collected, in whichever test that is."""

    got: list[HTTPResponse] = []

    class Long(Handler):
        def answer_request(self) -> None:
            self.send(b"x" * 100_000, status=401)

    class Noted(HTTPResponse):
        def begin(self) -> None:
            super().begin()
            got.append(self)

    monkeypatch.setenv("TAXIMETER_ADMIN_KEY", ADMIN_KEY)
    monkeypatch.setattr(HTTPConnection, "response_class", Noted)
    with listening(Long) as port:
        done = CliRunner().invoke(app, ["keys", "list", "--server", f"http://127.0.0.1:{port}"])
        assert [one.isclosed() for one in got] == [True]

    assert done.output.startswith("error: the server refused: it answered 401")


ASKED = [
    ["keys", "list"], ["keys", "create", "x"], ["keys", "rotate", "x"], ["budgets", "list"], ["budgets", "raises"],
    ["budgets", "raise", "x", "--by", "1"], ["budgets", "end", "x"], ["spend"], ["capacity"], ["capacity", "x"], ["jobs"],
    ["exports", "status"], ["exports", "retry", "x"], ["report", "margin"], ["report", "focus"], ["report", "focus", "--out", "x.csv"],
    ["report", "what-if", "--tier", "batch", "--format", "csv"], ["sessions", "top"], ["sessions", "show", "x"],
    ["prices", "show", "gpt-5"], ["prices", "check"], ["prices", "learned"], ["verify"], ["verify", "--json"],
]  # fmt: skip
STRANGERS = {
    "page": (200, "text/html", "<html>hello</html>"),
    "object": (200, "application/json", "{}"),
    "list": (200, "application/json", '["a"]'),
    "number": (200, "application/json", "7"),
}


@pytest.fixture(scope="module")
def stranger() -> Iterator[ThreadingHTTPServer]:
    """Somebody else's server: it answers whatever it is asked with `said`: status, type and body."""

    class Other(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, kind, body = self.server.said  # type: ignore[attr-defined]  # set below
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.long
@pytest.mark.parametrize("command", ASKED, ids=" ".join)
def test_another_program_at_the_address_is_one_sentence(
    stranger: ThreadingHTTPServer, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"http://127.0.0.1:{stranger.server_port}"
    for name, said in STRANGERS.items():
        stranger.said = said  # type: ignore[attr-defined]  # as above
        done = CliRunner().invoke(app, [*command, "--server", address])

        assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), (name, done.output)
        assert done.stderr.startswith(f"error: {address} does not answer as a Taximeter does ("), name
        assert list(tmp_path.iterdir()) == []


def test_the_port_of_the_calls_is_told_apart(stranger: ThreadingHTTPServer) -> None:
    stranger.said = 404, "application/json", openai.refusal_body(not_found().refusal).decode()  # type: ignore[attr-defined]  # as above
    done = CliRunner().invoke(app, ["spend", "--server", f"http://127.0.0.1:{stranger.server_port}"])

    assert done.stderr == (
        "error: the server refused: it knows no such path; --server takes the address of the page (port 4101), not that of the "
        "calls\n"
    )
