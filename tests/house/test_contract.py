"""proxy/CONTRACT.md has every name that the code shows to others: refusals, paths, routes, columns, commands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from proxy.cli.main import COMMANDS
from proxy.dialects import ENDPOINTS, MODELS_PATHS
from proxy.ledger.schema import entries
from tests.house.source import ROOT, product
from tests.support.api_routes import CONTRACT as ROUTES
from tests.support.rows import each_row

TEXT = (ROOT / "proxy" / "CONTRACT.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands under a heading, the headings below it included."""
    found = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,2}} |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[2]


def in_backticks(text: str) -> set[str]:
    return set(re.findall(r"[\w/:{}.-]+", " ".join(re.findall(r"`([^`]+)`", text))))


def refusal_codes() -> Iterator[str]:
    """The second argument of each `Refusal(…)`, and the first of the guards' own builder of them."""
    for source in product():
        for node in ast.walk(source.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("Refusal", "_refusal")
            ):
                for argument in node.args[:2]:
                    if (
                        isinstance(argument, ast.Constant)
                        and isinstance(argument.value, str)
                        and " " not in argument.value
                    ):
                        yield argument.value


def test_every_refusal_is_in_the_table() -> None:
    codes = set(refusal_codes())

    assert len(codes) > 20
    assert sorted(codes - in_backticks(section("Refusals"))) == []


def test_every_path_of_the_data_plane_is_named() -> None:
    named = in_backticks(section("Data plane"))
    served = {path for path in (*ENDPOINTS, *MODELS_PATHS) if path.startswith("/v1/")}

    assert sorted(served - named) == []


@each_row(("method", "path"), sorted(ROUTES))
def test_every_route_of_the_api_is_named(method: str, path: str) -> None:
    named = {re.sub(r"\{\w+\}", "{}", name.partition("?")[0]) for name in in_backticks(section("Control plane"))}

    assert re.sub(r"\{\w+\}", "{}", path) in named
    assert method.upper() in section("Control plane")


def test_every_column_of_an_entry_is_explained() -> None:
    columns = {column.name for column in entries.columns}

    assert sorted(columns - in_backticks(section("Ledger entry"))) == []


def test_every_command_is_in_the_table() -> None:
    shown = set(re.findall(r"`taximeter ([a-z-]+)", section("Commands")))

    assert shown == set(COMMANDS)


def test_a_name_that_is_missing_is_seen() -> None:
    """The check itself."""
    assert "no_such_code" not in in_backticks(section("Refusals"))
    assert "budget_busy" in in_backticks(section("Refusals"))
