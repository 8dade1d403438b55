"""Programs that leave a server of theirs behind for their next start (Cline does): it ends with the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents.programs import At, Command, Program
from tests.agents.table import Rig, config_of
from tests.support.gateway import Gateway
from tests.support.marks import marked

pytestmark = pytest.mark.agents


def rig_of(folder: Path) -> Rig:
    url = "http://127.0.0.1:9"
    return Rig(Gateway(folder, config_of(folder, url, 0)), url, folder)


def program_of(script: str) -> Program:
    def command(_: At) -> Command:
        return Command(["sh", "-c", script], {})

    return Program("one that leaves something behind", (), command)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("setsid sleep 600 >/dev/null 2>&1 & echo done", 0),  # a session of its own: no group has it
        (
            "setsid sh -c 'sleep 600 & sleep 600' >/dev/null 2>&1 & echo done; sleep 600",
            None,
        ),  # and what has to be ended
    ],
)
def test_what_a_program_leaves_behind_ends_with_it(tmp_path: Path, script: str, code: int | None) -> None:
    ran, file = rig_of(tmp_path).run(program_of(script), "sk", "run", 2)
    assert (ran.code, ran.output) == (code, "done\n")
    assert marked(f"HOME={file.parent.parent / 'home'}") == []
