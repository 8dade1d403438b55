"""The books of a perfect gateway, made up or kept for a real invoice and client log: the auditor must find no flaw.

They are plain data in the files that the auditor reads, so that a test can plant an error in any of them.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from . import tariff
from .invoice import read_invoice
from .reconcile import Sources

Row = dict[str, Any]

KEYS = {"sk-upstream-a": "torture-a", "sk-upstream-b": "torture-b"}
CALLERS = [("checkout", "payments"), ("search", "payments"), ("intern", "research")]
BUDGETS: list[Row] = [
    {"name": "company", "limit_usd": "1000", "window": "total"},
    {"name": "payments", "match": {"team": "payments"}, "limit_usd": "500", "window": "total"},
    {"name": "each-key", "per": ["key"], "limit_usd": "400", "window": "total"},
]
_COLUMNS = """id text primary key, kind text, corrects_id text, request_id text, attempt integer, started_at integer,
    status text, outcome text, upstream text, model text, key text, team text, session_id text, input integer,
    cache_read integer, cache_write_5m integer, output integer, reasoning integer, usage text, usage_source text,
    cost_nanousd integer, cost_lines text, flags text, budgets text, upstream_request_id text,
    reserved_nanousd integer"""
_UNITS = ("input", "cache_read", "cache_write_5m", "output", "reasoning")


def usd(nano: int) -> str:
    return f"{Decimal(nano).scaleb(-9):f}"


@dataclass
class Books:
    """`opens` and `closes` are the invoice's lines by their number, `client` and `entries` rows."""

    opens: dict[str, Row] = field(default_factory=dict)
    closes: dict[str, Row] = field(default_factory=dict)
    client: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)

    def add(self, number: int, rng: random.Random) -> None:
        """One more call, told and settled exactly."""
        model = rng.choice(["tm-plain", "tm-odd", "tm-half"])
        units = {"input": rng.randint(1, 3000), "cache_read": rng.choice([0, 128]), "output": rng.randint(0, 900)}
        units = {unit: quantity for unit, quantity in (units | {"reasoning": rng.choice([0, 77])}).items() if quantity}
        caller, team = rng.choice(CALLERS)
        stream, asked = rng.random() < 0.5, rng.random() < 0.5
        line, nonce, nano = f"1-{number}", f"n{number}", tariff.cost_nano(model, units)
        at_us = 1_795_000_000_000_000 + number * 1000
        self.opens[line] = {
            "e": "open", "line": line, "nonce": nonce, "at_us": at_us, "key": rng.choice(list(KEYS)),
            "path": "/v1/chat/completions", "model": model, "stream": stream, "planned": units, "planned_nano": nano,
            "attempt_id": f"attempt-{number}", "reply_id": f"reply-{number}",
        }  # fmt: skip
        self.closes[line] = {
            "e": "close", "line": line, "at_us": at_us + 500, "end": "complete", "told": "exact", "billed": units,
            "billed_nano": nano,
        }  # fmt: skip
        prompt, output = units["input"] + units.get("cache_read", 0), units.get("output", 0) + units.get("reasoning", 0)
        usage = {"prompt_tokens": prompt, "completion_tokens": output}
        self.client.append({
            "nonce": nonce, "caller": caller, "team": team, "user": None, "session": None, "model": model,
            "stream": stream, "asked_usage": asked, "end": "complete", "status": 200, "code": None,
            "usage": usage if asked or not stream else None, "usage_alone": stream, "cost_usd": None,
            "headers": {"x-taximeter-request-id": f"request-{number}"}
            | ({} if stream else {"x-taximeter-cost-usd": usd(nano)}),
        })  # fmt: skip
        self.keep(line)

    def keep(self, line: str) -> Row:
        """Enter a request of the invoice as a perfect gateway would."""
        opened, closed = self.opens[line], self.closes[line]
        row = next(row for row in self.client if row["nonce"] == opened["nonce"])
        told = closed["told"] == "exact"
        units = closed["billed"]
        budgets = [["company", "", 0], ["each-key", row["caller"], 0]]
        budgets += [["payments", "", 0]] if row["team"] == "payments" else []
        prices = {unit: tariff.price_pico(opened["model"], unit) for unit in units}
        lines = [
            {"unit": unit, "quantity": str(quantity), "price_usd": f"{Decimal(prices[unit]).scaleb(-6):f}",
             "per": 1_000_000, "cost_usd": f"{Decimal(quantity * prices[unit]).scaleb(-12):f}"}
            for unit, quantity in units.items()
        ]  # fmt: skip
        entry = {
            "id": opened["attempt_id"], "kind": "attempt", "corrects_id": None, "attempt": 1,
            "request_id": row["headers"]["x-taximeter-request-id"], "started_at": opened["at_us"] - 200,
            "status": "settled", "outcome": "ok", "upstream": KEYS[opened["key"]], "model": opened["model"],
            "key": row["caller"], "team": row["team"], "session_id": f"session-{line}", "usage": "{}",
            "usage_source": "provider" if told else "estimated", "cost_nanousd": closed["billed_nano"],
            "cost_lines": json.dumps(lines), "flags": "[]", "budgets": json.dumps(budgets),
            "upstream_request_id": opened["reply_id"], "reserved_nanousd": closed["billed_nano"] + 5000,
        } | {unit: units.get(unit, 0) for unit in _UNITS}  # fmt: skip
        self.entries.append(entry)
        return entry

    def correct(self, entry: Row, nano: int) -> None:
        correction = entry | {"id": f"{entry['id']}-c", "kind": "correction", "corrects_id": entry["id"]}
        zero = dict.fromkeys(_UNITS, 0)
        self.entries.append(correction | zero | {"cost_nanousd": nano, "cost_lines": "[]"})

    def standings(self) -> list[Row]:
        """What the store has to say: each budget's groups with what their entries cost."""
        spent: dict[str, Counter[str]] = {budget["name"]: Counter() for budget in BUDGETS}
        for entry in self.entries:
            for name, group, _ in json.loads(entry["budgets"]):
                spent[name][group] += entry["cost_nanousd"] or 0
        standings: list[Row] = []
        for budget in BUDGETS:
            of = spent[budget["name"]]
            groups = [{"group": group, "spent_usd": usd(nano), "reserved_usd": "0"} for group, nano in of.items()]
            total = {"spent_usd": usd(sum(of.values())), "reserved_usd": "0", "groups": groups}
            standings.append({"name": budget["name"], "window": {"start": None, "end": None}} | total)
        return standings

    def metrics(self) -> str:
        cost: Counter[str] = Counter()
        tokens: Counter[str] = Counter()
        requests = 0
        attempts = [entry for entry in self.entries if entry["kind"] == "attempt"]
        for entry in attempts:
            cost[entry["model"]] += entry["cost_nanousd"] or 0
            requests += entry["status"] != "void"
            for unit in _UNITS:
                tokens[unit] += entry[unit] or 0
        corrections = sum(entry["cost_nanousd"] for entry in self.entries if entry["kind"] == "correction")
        lines = ["# HELP taximeter_cost_usd_total Cost.", "# TYPE taximeter_cost_usd_total counter"]
        lines += [f'taximeter_cost_usd_total{{provider="t, \\"x\\"}}",model="{m}"}} {usd(n)}' for m, n in cost.items()]
        lines += [f'taximeter_tokens_total{{unit="{unit}"}} {n}' for unit, n in tokens.items()]
        lines += [f"taximeter_requests_total {requests}", "taximeter_ledger_dropped_total 0"]
        return "\n".join([*lines, f"taximeter_cost_corrections_usd {usd(corrections)}", ""])

    def write(self, folder: Path, *, standings: list[Row] | None = None, metrics: str | None = None) -> Sources:
        """All files; the store and the metrics follow the entries unless given."""
        folder.mkdir(parents=True, exist_ok=True)
        invoice = [*self.opens.values(), *self.closes.values()]
        (folder / "invoice.jsonl").write_text("".join(json.dumps(row) + "\n" for row in invoice))
        (folder / "client.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.client))
        (folder / "budgets.json").write_text(
            json.dumps({"items": self.standings() if standings is None else standings})
        )
        (folder / "metrics.txt").write_text(self.metrics() if metrics is None else metrics)
        upstreams = {name: {"api_key": key} for key, name in KEYS.items()}
        (folder / "config.yaml").write_text(json.dumps({"budgets": BUDGETS, "upstreams": upstreams}))
        (folder / "ledger.db").unlink(missing_ok=True)
        with sqlite3.connect(folder / "ledger.db") as database:
            database.execute(f"create table entries ({_COLUMNS})")
            database.execute("create table metric_state (name text, value text)")
            names = list(self.entries[0]) if self.entries else ["id"]
            marks = ", ".join("?" * len(names))
            rows = [[entry[name] for name in names] for entry in self.entries]
            database.executemany(f"insert into entries ({', '.join(names)}) values ({marks})", rows)
        database.close()
        return Sources(
            invoice=folder / "invoice.jsonl",
            client=(folder / "client.jsonl",),
            ledger=f"sqlite:///{folder / 'ledger.db'}",
            budgets=str(folder / "budgets.json"),
            metrics=str(folder / "metrics.txt"),
            config=folder / "config.yaml",
        )


def made_up(calls: int, seed: int = 1) -> Books:
    books = Books()
    rng = random.Random(seed)
    for number in range(calls):
        books.add(number, rng)
    return books


def kept_for(invoice: Path, client: Path) -> Books:
    """The perfect books of a real run straight against the provider, which knows nothing of attempts and budgets."""
    books = Books()
    books.client = [json.loads(line) for line in client.read_text().splitlines()]
    for row in books.client:
        row["headers"]["x-taximeter-request-id"] = f"request-{row['nonce']}"
        row["caller"], row["team"] = CALLERS[0]
        row["asked_usage"] = row["usage"] is not None
    for line in read_invoice(invoice):
        books.opens[line.line] = {
            "e": "open", "line": line.line, "nonce": line.nonce, "at_us": line.at_us, "key": next(iter(KEYS)),
            "path": line.path, "model": line.model, "stream": line.stream, "planned": line.planned,
            "planned_nano": line.planned_nano, "attempt_id": f"attempt-{line.line}", "reply_id": line.reply_id,
        }  # fmt: skip
        books.closes[line.line] = {
            "e": "close", "line": line.line, "at_us": line.ended_us, "end": line.end, "told": line.told,
            "billed": line.billed, "billed_nano": line.billed_nano,
        }  # fmt: skip
        books.keep(line.line)
    return books
