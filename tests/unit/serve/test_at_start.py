"""What a reload does not bring into force is named, and stays as it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.serve.at_start import AT_THE_TOP, OF_SERVER, as_started, needs_restart
from tests.support.rows import each_row

CHANGED: dict[str, Any] = {
    "store": "redis://127.0.0.1/3", "store_lease_share": 0.1, "store_timeout_s": 0.5, "ledger": "sqlite:///other.db", "data_dir": "other",
    "spool.mode": "fsync", "spool.max_mb": 5, "spool.keep_shipped_s": 5, "log.sample": 0.5,
    "server.host": "127.0.0.2", "server.port": 4860, "server.admin_host": "127.0.0.2", "server.admin_port": 4861,
    "server.max_connections": 5, "server.max_head_kb": 5, "server.header_timeout_s": 5, "server.body_timeout_s": 5,
    "server.min_body_kb_per_s": 5, "server.write_timeout_s": 5, "server.drain_timeout_s": 5, "server.session_quiet_s": 5,
}  # fmt: skip


def tree(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: {rest: value} if rest else value}


@each_row("path", CHANGED)
def test_a_reload_names_it_each_time_and_keeps_it_as_it_runs(path: str) -> None:
    running, new = Config(), read_section(Config, tree(path, CHANGED[path]))

    kept = as_started(running, new)

    assert needs_restart(running, new) == [path]
    assert needs_restart(kept, new) == [path]  # the next reload says it again
    assert kept == running


def test_what_a_reload_brings_is_taken() -> None:
    new = read_section(Config, {"server": {"port": 4860, "max_body_mb": 5}, "session_guess": "enforce"})

    kept = as_started(Config(), new)

    assert (kept.server.port, kept.server.max_body_mb, kept.session_guess) == (4100, 5, "enforce")
    assert needs_restart(new, new) == []


def test_the_documents_name_all_of_it() -> None:
    text = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
    sentence = text.partition("Read at the start only: ")[2].partition("\n\n")[0]

    assert {*re.findall(r"`(\w+)`", sentence.partition("of `server`")[0])} == {*AT_THE_TOP}
    assert {"addresses", "connections", "time-outs", "session_quiet_s"} <= {*re.findall(r"[\w-]+", sentence)}
    assert all(name in OF_SERVER for name in re.findall(r"`(\w+)`", sentence.partition("of `server`")[2]))
