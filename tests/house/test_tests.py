"""The tests' own architecture: helpers stand in tests/support, no folder takes from one above it, every module has its tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatch

import pytest

from tests.house.source import ROOT, Source, product, sources
from tests.house.source import imports as absolute_imports
from tests.support import scheduling

# What each folder may import from besides itself. Only what runs the product as a whole stands on the independent bill's rig.
MAY_IMPORT = {
    "support": (),
    "house": ("support",),
    "cases": ("support",),
    "unit": ("support",),
    "contract": ("support",),
    "flow": ("support",),
    "attack": ("support", "flow", "torture"),
    "torture": ("support",),
    "recorded": ("support", "flow"),
    "e2e": ("support", "torture"),
    "observability": ("support", "torture"),
    "agents": ("support",),
}
# The independent bill: its programs must not share a mistake with what they check.
INDEPENDENT = frozenset(
    [
        "provider",
        "wire",
        "formats",
        "answers",
        "faults",
        "tariff",
        "invoice",
        "orders",
        "load",
        "client",
        "traffic",
        "reconcile",
        "evidence",
        "joining",
        "charges",
        "accounts",
        "verdict",
        "figures",
    ]
)


def imports(source: Source) -> Iterator[tuple[str, int]]:
    """As the product's, but that a relative import is let be: it stays in its folder."""
    body = [node for node in source.tree.body if not (isinstance(node, ast.ImportFrom) and node.level)]
    return absolute_imports(Source(source.path, source.module, source.text, ast.Module(body, [])))


def misplaced(source: Source) -> list[str]:
    """Imports of `source` that go up or across, a line each."""
    _, folder, *_ = [*source.module.split("."), ""]
    if source.module in ("tests", "tests.conftest"):
        folder = "support"
    if folder not in MAY_IMPORT:
        return [f"{source.path}: tests/{folder} has no place in MAY_IMPORT"]
    allowed = {folder, "support", *MAY_IMPORT[folder]}
    found = [(name, line, name.split(".")[1]) for name, line in imports(source) if name.startswith("tests.")]
    return [
        f"{source.path}:{line}: {name}: put what both need into tests/support"
        for name, line, of in found
        if of not in allowed
    ]


def shared_with_the_product(source: Source) -> list[str]:
    """Imports of the product in the programs of the independent bill."""
    if source.module.rpartition(".")[0] != "tests.torture" or source.module.rpartition(".")[2] not in INDEPENDENT:
        return []
    return [
        f"{source.path}:{line}: imports {name}, which it is there to check"
        for name, line in imports(source)
        if name.split(".")[0] in ("proxy", "pricing")
    ]


@pytest.mark.parametrize("rule", [misplaced, shared_with_the_product])
def test_the_tests_keep_the_order(rule: object) -> None:
    assert callable(rule)
    found = [line for source in sources("tests") for line in rule(source)]

    assert not found, "\n" + "\n".join(found)


def test_every_program_of_the_independent_bill_is_there() -> None:
    """The list above names files, none of them in vain."""
    there = {source.module.rpartition(".")[2] for source in sources("tests/torture")}

    assert there >= INDEPENDENT


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("tests/support/day.py", "from tests.torture.harness import Gateway"),
        ("tests/unit/wire/test_sse.py", "import tests.e2e.serving"),
        ("tests/flow/house.py", "def f():\n    from tests.unit.sessions.test_chains import call_of"),
        ("tests/novel/test_x.py", ""),
    ],
)
def test_an_import_that_goes_up_is_seen(path: str, code: str) -> None:
    """The check itself."""
    assert misplaced(Source.parse(path, code)) != []


def test_a_bill_that_shares_code_with_the_product_is_seen() -> None:
    """The check itself."""
    assert shared_with_the_product(Source.parse("tests/torture/tariff.py", "from pricing.book import Book")) != []


ROW = re.compile(r"^\| [^|]+ \| ((?:`[\w/]+\.py` ?)+)\| ((?:`[\w/*.]+` ?)+)\|$", re.MULTILINE)


def homeless(modules: Iterable[str], tests: Collection[str], readme: str) -> list[str]:
    """What is wrong with the table of tests/README.md: modules with neither a test of their name nor a row, rows in vain."""
    rows = [(row[1].replace("`", "").split(), row[2].replace("`", "").split()) for row in ROW.finditer(readme)]
    patterns = {pattern for _, named in rows for pattern in named}
    modules = list(modules)
    wrong = [f"{module}: no {home_of(module)}, and no row names it" for module in modules
             if home_of(module) not in tests and not any(fnmatch(module, pattern) for pattern in patterns)]  # fmt: skip
    wrong += [
        f"tests/README.md: no file tests/{test}" for named, _ in rows for test in named if f"tests/{test}" not in tests
    ]
    wrong += [f"tests/README.md: {p} is no module" for p in sorted(patterns) if not any(fnmatch(m, p) for m in modules)]
    return wrong


def home_of(module: str) -> str:
    """The unit test of a module's name, both by their paths."""
    folder, _, name = module.removeprefix("proxy/").rpartition("/")
    return f"tests/unit/{folder}/test_{name}" if folder else f"tests/unit/test_{name}"


def test_every_module_has_a_home() -> None:
    """Who changes a module finds its tests by its name, or in the table of tests/README.md."""
    modules = [source.path for source in product() if source.tree.body and not source.path.endswith("__init__.py")]
    tests = {source.path for source in sources("tests")}
    found = homeless(modules, tests, (ROOT / "tests" / "README.md").read_text(encoding="utf-8"))

    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("modules", "row"),
    [
        (["proxy/new.py"], ""),
        (["proxy/wire/sse.py"], "| x | `unit/gone.py` | `proxy/wire/*` |\n"),
        ([], "| x | `unit/wire/test_sse.py` | `proxy/gone.py` |\n"),
    ],
)
def test_a_module_without_a_home_and_a_row_in_vain_are_seen(modules: list[str], row: str) -> None:
    """The check itself."""
    assert homeless(modules, {"tests/unit/wire/test_sse.py"}, row) != []


def test_what_the_scheduling_names_is_there() -> None:
    tests = {source.path for source in sources("tests")}

    assert tests >= {*scheduling.TOGETHER, *scheduling.APART}
    assert scheduling.scope_of("tests/flow/test_exchange.py::test_a[b::c]") == "tests/flow/test_exchange.py"
