"""What `serve` writes to its log: one line a call, JSON where nobody watches, never a secret, never a prompt.

The lines of calls come from the recorder, out of the very rows that are in the ledger: the two cannot disagree.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import orjson

from proxy.money import usd_text

_refusals = logging.getLogger("taximeter.refused")
_AT_ONCE = 100  # lines: memory for more is fetched from the kernel each time, and given back
_QUIET = ("alembic", "asyncio")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def set_up() -> None:
    """The process's logging: to standard error, as JSON unless it is a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    terminal = sys.stderr.isatty()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s") if terminal else _JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def call_logger(sample: float) -> Callable[[Sequence[Any]], None]:
    """Logs ledger rows (`proxy.ledger.row.Row`), `sample` of them (0 to 1; calls that did not go well always)."""
    terminal = sys.stderr.isatty()

    def log_rows(rows: Sequence[Any]) -> None:
        chosen = rows if sample >= 1 else [row for row in rows if row.outcome != "ok" or random.random() < sample]  # noqa: S311 - which calls are shown, no secret
        for first in range(0, len(chosen), _AT_ONCE):
            some = chosen[first : first + _AT_ONCE]
            sys.stderr.write("".join(map(_plain, some)) if terminal else _json(some).decode())
        if chosen:
            sys.stderr.flush()

    return log_rows


def log_refused(refused: Mapping[tuple[str, str], int]) -> None:
    """A line for each reason and budget, as no ledger has refused calls: whose agent stopped finds out why."""
    for (reason, budget), count in refused.items():
        calls = "a call was" if count == 1 else f"{count} calls were"
        _refusals.info("%s refused: %s%s", calls, reason, f", budget {budget}" if budget else "")


def _cost(row: Any) -> str | None:
    return None if row.cost_nanousd is None else usd_text(row.cost_nanousd)


def _json(rows: Sequence[Any]) -> bytes:
    """A line for each. What many calls say alike is written once."""
    alike: dict[tuple[Any, ...], bytes] = {}
    lines: list[bytes] = []
    for row in rows:
        said = _alike(row)
        between = alike.get(said)
        if between is None:
            between = alike[said] = orjson.dumps(dict(zip(_ALIKE, said, strict=True)))[1:-1]
        begin = {
            "at": datetime.fromtimestamp(row.ended_at / 1e6, UTC),
            "logger": "call",
            "id": row.id,
            "request_id": row.request_id,
            "session_id": row.root_session_id,
        }
        end = {
            "cost_usd": _cost(row),
            "input_tokens": row.input_tokens,
            "cache_read_tokens": row.cache_read_tokens,
            "output_tokens": row.output_tokens,
            "reasoning_tokens": row.reasoning_tokens,
            "duration_ms": None if row.duration_ms is None else round(row.duration_ms, 3),
        }
        lines.append(b"%b,%b,%b\n" % (orjson.dumps(begin)[:-1], between, orjson.dumps(end)[1:]))
    return b"".join(lines)


_ALIKE = (
    "key", "team", "model", "upstream", "operation", "stream", "status", "outcome", "http_status", "client",
)  # fmt: skip
_alike = attrgetter(*_ALIKE)


def _plain(row: Any) -> str:
    cost = _cost(row)
    tokens = f"{row.input_tokens + row.cache_read_tokens} in, {row.output_tokens + row.reasoning_tokens} out"
    price = "unpriced" if cost is None else f"${cost}"
    took = f"{(row.duration_ms or 0) / 1000:.2f} s"
    return f"{row.key} {row.model} {row.outcome} {row.http_status or ''} {tokens}, {price}, {took}\n"
