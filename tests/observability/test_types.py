"""The dashboards hold against Grafana's own types: TypeScript with npm's @grafana/schema, at the versions of the lock file."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.observability.boards import Json, boards
from tests.support.programs import find_program

pytestmark = pytest.mark.needs("node", "npm")

HERE = Path(__file__).parent / "types"
ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "node_modules"  # ignored by git; `make clean` takes it away
BOARDS = boards()
_PANELS = {"stat": "Stat", "timeseries": "TimeSeries", "bargauge": "BarGauge", "table": "Table"}
_CUSTOM = {"timeseries": "GraphFieldConfig", "table": "TableFieldOptions"}

# Grafana's enums are strings in JSON. What the Prometheus data source adds to an annotation is no part of the schema.
_HEAD = """
import type { AnnotationQuery, Dashboard, DataQuery, GraphFieldConfig, TableFieldOptions } from '@grafana/schema';
type Annotation = AnnotationQuery<DataQuery & { expr: string; interval: string }>
  & { titleFormat: string; textFormat: string; tagKeys: string };
type Board = Omit<Dashboard, 'annotations'> & { annotations: { list: Annotation[] } };
type J<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? J<U>[] : T extends object ? { [K in keyof T]: J<T[K]> } : T;
"""


def _imports() -> str:
    path = "@grafana/schema/dist/esm/raw/composable/{0}/panelcfg/x/{1}PanelCfg_types.gen"
    return "".join(
        f"import type {{ Options as {name} }} from '{path.format(kind, name)}';\n" for kind, name in _PANELS.items()
    )


def program(board: Json) -> str:
    """TypeScript that compiles if the dashboard, each panel's options and its fields' own settings are what Grafana expects."""
    lines = [_imports(), _HEAD, f"export const board = {json.dumps(board)} satisfies J<Partial<Board>>;"]
    for panel in board["panels"]:
        kind, number = panel["type"], panel["id"]
        lines.append(
            f"export const options{number} = {json.dumps(panel['options'])} satisfies J<Partial<{_PANELS[kind]}>>;"
        )
        if kind in _CUSTOM:
            custom = json.dumps(panel["fieldConfig"]["defaults"]["custom"])
            lines.append(f"export const custom{number} = {custom} satisfies J<Partial<{_CUSTOM[kind]}>>;")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def packages() -> Path:
    """The packages of the lock file, installed where it was not done yet; scripts of theirs are not run."""
    marker, wanted = CACHE / "installed", (HERE / "package-lock.json").read_bytes()
    if not marker.exists() or marker.read_bytes() != wanted:
        shutil.rmtree(CACHE, ignore_errors=True)
        CACHE.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, CACHE / name)
        npm = [str(find_program("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(npm, cwd=CACHE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        marker.write_bytes(wanted)
    return CACHE / "node_modules"


def compiled(packages: Path, folder: Path, programs: dict[str, str]) -> str:
    """What the compiler complains about."""
    (folder / "node_modules").symlink_to(packages)
    for name, text in programs.items():
        (folder / f"{name}.ts").write_text(text, encoding="utf-8")
    command = [
        str(find_program("node")), str(packages / "typescript" / "bin" / "tsc"), "--noEmit", "--strict", "--skipLibCheck",
        "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022", *(f"{name}.ts" for name in programs),
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_grafanas_types_hold(packages: Path, tmp_path: Path) -> None:
    programs = {uid: program(board) for uid, board in BOARDS.items()}
    assert compiled(packages, tmp_path, programs) == ""


def _panel(board: Json, kind: str) -> Json:
    return next(panel for panel in board["panels"] if panel["type"] == kind)


WRONG: dict[str, Callable[[Json], object]] = {
    "threshold": lambda board: _panel(board, "stat")["fieldConfig"]["defaults"]["thresholds"].update(mode="sometimes"),
    "place": lambda board: board["panels"][0]["gridPos"].update(x="0"),
    "option": lambda board: _panel(board, "bargauge")["options"].update(displayMode="fancy"),
    "line": lambda board: _panel(board, "timeseries")["fieldConfig"]["defaults"]["custom"].update(drawStyle="wavy"),
    "variable": lambda board: board["templating"]["list"][1].update(refresh=7),
    "unknown": lambda board: board.update(colour="red"),
}


def test_what_is_wrong_is_seen(packages: Path, tmp_path: Path) -> None:
    """The check itself: each of these does not compile."""
    programs = {}
    for name, change in WRONG.items():
        board = copy.deepcopy(BOARDS["taximeter-money"])
        change(board)
        programs[name] = program(board)
    told = compiled(packages, tmp_path, programs)
    assert {line.partition(".ts")[0] for line in told.splitlines() if ".ts(" in line} == set(WRONG)
