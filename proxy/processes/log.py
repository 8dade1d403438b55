"""What `serve` writes to its log: one line a call, JSON where nobody watches, never a secret, never a prompt.

The lines of calls come from the recorder, out of the very rows that are in the ledger: the two cannot disagree.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import msgspec
import orjson
from msgspec import Struct

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


def log_refused(refused: Mapping[tuple[str, str | None], int]) -> None:
    """A line for each reason and budget, as no ledger has refused calls: whose agent stopped finds out why."""
    for (reason, budget), count in refused.items():
        calls = "a call was" if count == 1 else f"{count} calls were"
        _refusals.info("%s refused: %s%s", calls, reason, f", budget {budget}" if budget else "")


def _cost(row: Any) -> str | None:
    return None if row.cost_nanousd is None else usd_text(row.cost_nanousd)


class _Line(Struct, gc=False):
    """A call's line, in the order of its keys."""

    at: str
    logger: str
    id: str
    request_id: str
    session_id: str | None
    key: str | None
    team: str | None
    model: str | None
    upstream: str | None
    operation: str | None
    stream: bool | None
    status: str
    outcome: str
    http_status: int | None
    client: str | None
    cost_usd: str | None
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    reasoning_tokens: int
    duration_ms: float | None


_encode_lines = msgspec.json.Encoder().encode_lines
_AS_THEY_ARE = (
    "id", "request_id", "root_session_id", "key", "team", "model", "upstream", "operation", "stream", "status", "outcome",
    "http_status", "client",
)  # fmt: skip
_TOKENS = ("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens")
_MOST_MS = 1e12


def _json(rows: Sequence[Any]) -> bytes:
    """A line for each. Column by column: a row's lines are then made without a step of Python."""
    columns = dict(zip(rows[0]._fields, zip(*rows, strict=True), strict=True))
    lines = map(
        _Line,
        _times(columns["ended_at"]),
        repeat("call"),
        *[columns[name] for name in _AS_THEY_ARE],
        [None if cost is None else usd_text(cost) for cost in columns["cost_nanousd"]],
        *[columns[name] for name in _TOKENS],
        # `round` takes four times as long.
        [
            int(took * 1000 + 0.5) / 1000 if took is not None and -_MOST_MS < took < _MOST_MS else took
            for took in columns["duration_ms"]
        ],
    )
    return _encode_lines(lines)


def _times(moments_us: Iterable[int]) -> Iterator[str]:
    begins: dict[int, str] = {}  # a batch's calls end within some seconds
    for moment in moments_us:
        second, microsecond = divmod(moment, 1_000_000)
        begin = begins.get(second)
        if begin is None:
            begin = begins[second] = datetime.fromtimestamp(second, UTC).isoformat()[:19]
        yield f"{begin}.{str(microsecond + 1_000_000)[1:]}+00:00"


def _plain(row: Any) -> str:
    cost = _cost(row)
    tokens = f"{row.input_tokens + row.cache_read_tokens} in, {row.output_tokens + row.reasoning_tokens} out"
    price = "unpriced" if cost is None else f"${cost}"
    took = f"{(row.duration_ms or 0) / 1000:.2f} s"
    return f"{row.key} {row.model} {row.outcome} {row.http_status or ''} {tokens}, {price}, {took}\n"
