"""A move from LiteLLM: its database as its own migrations make it, then a client that keeps its key and its budget.

With LITELLM_MIGRATIONS (a folder of `litellm-proxy-extras`) the tables come from there, else from `fixtures/litellm/schema.sql`,
which is made of them: `make litellm` does it with the newest.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from psycopg.types.json import Jsonb

from tests.support.gateway import ADMIN_KEY, gateway, server
from tests.support.http_server import listening
from tests.support.litellm_schema import migrate
from tests.support.postgres import PostgresServer
from tests.support.provider import StatedUsage

pytestmark = pytest.mark.needs("postgres")

SCHEMA = Path(__file__).parents[1] / "fixtures" / "litellm" / "schema.sql"
NOW = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
LATER = NOW + timedelta(days=40)
BY = {"created_by": "ida", "updated_by": "ida"}


def hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def key(secret: str, **columns: Any) -> dict[str, Any]:
    return {"token": hashed(secret), "key_alias": secret.removeprefix("sk-"), "models": [], **columns}


def call(number: int, secret: str, usd: float, *, minutes: int, **columns: Any) -> dict[str, Any]:
    began = NOW.replace(hour=0, minute=0, second=0) - timedelta(days=1) + timedelta(minutes=minutes)
    return {
        "request_id": f"r{number}", "call_type": "acompletion", "api_key": hashed(secret), "spend": usd, "total_tokens": 1000,
        "startTime": began, "endTime": began, "model": "openai/gpt-5", "model_group": "gpt-5", "custom_llm_provider": "openai",
        "status": "success", "messages": Jsonb([{"role": "user", "content": "a tab\t a line\n and \\."}]), **columns,
    }  # fmt: skip


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("LiteLLM_BudgetTable", {"budget_id": "b-org", "max_budget": 500.0, "budget_duration": "30d", "budget_reset_at": LATER, **BY}),
    ("LiteLLM_BudgetTable", {"budget_id": "b-member", "max_budget": 3.0, "soft_budget": 2.0, **BY}),
    ("LiteLLM_OrganizationTable", {"organization_id": "o-1", "organization_alias": "acme", "budget_id": "b-org", "spend": 40.0, **BY}),
    ("LiteLLM_TeamTable", {"team_id": "t-1", "team_alias": "search", "organization_id": "o-1", "max_budget": 100.0, "spend": 12.25,
                           "budget_duration": "30d", "budget_reset_at": LATER, "soft_budget": 80.0, "models": ["gpt-5"],
                           "budget_limits": Jsonb([{"budget_duration": "1d", "max_budget": 9.5, "reset_at": LATER.isoformat()}])}),
    ("LiteLLM_BudgetWindowSpend", {"entity_type": "team", "entity_id": "t-1", "window_duration": "1d", "window_start": NOW,
                                   "spend": 1.5, "updated_at": NOW}),
    ("LiteLLM_UserTable", {"user_id": "ida", "max_budget": 20.0, "spend": 0.1 + 0.2, "models": []}),
    ("LiteLLM_UserTable", {"user_id": "litellm-proxy-budget", "spend": 321.0, "models": []}),
    ("LiteLLM_TeamMembership", {"user_id": "ida", "team_id": "t-1", "spend": 0.5, "budget_id": "b-member"}),
    ("LiteLLM_VerificationToken", key("sk-checkout", team_id="t-1", user_id="ida", spend=1.5, max_budget=10.0)),
    ("LiteLLM_VerificationToken", key("sk-used-up", spend=5.0, max_budget=5.0)),
    ("LiteLLM_VerificationToken", key("sk-daily", max_budget=5.0, budget_duration="1d", budget_reset_at=LATER)),
    ("LiteLLM_VerificationToken", key("sk-over", spend=5.0, max_budget=5.0, budget_duration="1d", budget_reset_at=NOW)),
    ("LiteLLM_VerificationToken", key("sk-blocked", blocked=True)),
    ("LiteLLM_SpendLogs", call(3, "sk-daily", 2.0, minutes=30)),
    ("LiteLLM_SpendLogs", call(1, "sk-daily", 4.0, minutes=10)),
    ("LiteLLM_SpendLogs", call(2, "sk-daily", 0.5, minutes=20)),
    ("LiteLLM_SpendLogs", call(4, "sk-daily", 3.0, minutes=1500)),
    ("LiteLLM_SpendLogs", call(5, "sk-nobody's", 1.0, minutes=40)),
    ("LiteLLM_SpendLogs", call(6, "sk-checkout", 0.0, minutes=41, status="failure")),
]  # fmt: skip


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as made:
        made.execute("CREATE DATABASE litellm")
        if folder := os.environ.get("LITELLM_MIGRATIONS"):
            migrate(made, "litellm", Path(folder))
        else:
            made.execute(SCHEMA.read_text(), "litellm")
        with psycopg.connect(made.url("litellm")) as connection:
            for table, row in ROWS:
                names = ", ".join(f'"{name}"' for name in row)
                marks = ", ".join(["%s"] * len(row))
                connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values()))
        yield made


def bring(folder: Path, port: int, *source: str) -> tuple[dict[str, Any], str, str]:
    """The configuration that is made, and what is said on stdout and stderr."""
    theirs = folder / "litellm.yaml"
    model = {"model_name": "gpt-5", "litellm_params": {"model": "openai/gpt-5", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "sk-up"}}  # fmt: skip
    settings = {"max_budget": 1000, "budget_duration": "30d"}
    theirs.write_text(yaml.safe_dump({"model_list": [model], "litellm_settings": settings}))
    out = folder / "made.yaml"
    command = [sys.executable, "-m", "proxy", "import", "litellm", "--config", str(theirs), "--out", str(out), *source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(out.read_text())
    out.unlink()
    return made, done.stdout, done.stderr


def test_a_client_keeps_its_key_and_its_budget(postgres: PostgresServer, tmp_path: Path) -> None:
    with listening(StatedUsage) as port:
        # as Prisma writes its address
        url = postgres.url("litellm") + "&schema=public&connection_limit=5&pool_timeout=10"
        made, _, left = bring(tmp_path, port, "--database", url)

        spent = {budget["name"]: budget["opening"]["usd"] for budget in made["budgets"] if "opening" in budget}
        assert spent == {
            "all": "321",
            "key checkout": "1.5",
            "key used-up": "5",
            "organization acme": "40",
            "team search": "12.25",
            "team search soft_budget": "12.25",
            "team search 1d": "1.5",
            "user ida": "0.3",
            "user ida in team search": "0.5",
            "user ida in team search soft_budget": "0.5",
        }
        assert "key over: 5 USD were spent in a window that ended at" in left
        assert "key blocked: is blocked" in left

        config = made | {
            "server": server(), "ledger": f"sqlite:///{tmp_path}/ledger.db", "data_dir": str(tmp_path / "data"),
        }  # fmt: skip
        with gateway(tmp_path, config) as running:

            def ask(secret: str) -> httpx.Response:
                body = {
                    "model": "gpt-5",
                    "max_tokens": 100,
                    "messages": [{"role": "user", "content": "[1000, 0, 100, 0]"}],
                }
                headers = {"authorization": f"Bearer {secret}"}
                return httpx.post(f"{running.url}/v1/chat/completions", json=body, headers=headers, timeout=30)

            assert [ask(f"sk-{name}").status_code for name in ("checkout", "used-up", "over", "blocked")] == [
                200,
                402,
                200,
                401,
            ]
            # gpt-5: 1,000 tokens at $1.25 a million and 100 at $10
            shown = httpx.get(
                f"{running.admin_url}/api/budgets/key%20checkout",
                headers={"authorization": f"Bearer {ADMIN_KEY}"},
                timeout=30,
            ).json()
            assert float(shown["spent_usd"]) == pytest.approx(1.5 + 0.00225)


def test_a_dump_brings_the_same_and_its_log_says_what_would_have_been_refused(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    dump = tmp_path / "litellm.sql"
    dump.write_text(postgres.dump("litellm"))
    without = {"opening": None}

    made, said, left = bring(tmp_path, 1, "--dump", str(dump), "--replay")
    other, also_said, also_left = bring(tmp_path, 1, "--database", postgres.url("litellm"), "--replay")

    assert [budget | without for budget in made["budgets"]] == [budget | without for budget in other["budgets"]]
    assert made["keys"] == other["keys"]
    assert (said, left) == (also_said, also_left)
    # daily may spend 5 USD a day: 4 and 0.5 fit, 2 more do not; on the next day 3 do
    assert [line.split()[:6] for line in said.splitlines() if line.startswith("key daily")] == [
        ["key", "daily", "refuse", "1", "2", f"{NOW - timedelta(days=1):%Y-%m-%d}T00:30:00.000000Z"]
    ]
    assert "1 of 5 calls (2 of 10.5 USD) would have been refused" in said
    assert "Of keys that are not known here: 1 calls (1 USD)." in said


def test_an_archive_is_no_plain_dump(postgres: PostgresServer, tmp_path: Path) -> None:
    dump = tmp_path / "litellm.dump"
    dump.write_bytes(b"PGDMP\x01\x0e")
    theirs = tmp_path / "litellm.yaml"
    theirs.write_text("model_list: []")
    command = [
        sys.executable,
        "-m",
        "proxy",
        "import",
        "litellm",
        "--config",
        str(theirs),
        "--out",
        str(tmp_path / "o.yaml"),
    ]
    done = subprocess.run([*command, "--dump", str(dump)], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert "make it with --format=plain" in done.stderr
