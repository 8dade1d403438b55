"""Documents that say what the code has say all of it, and nothing else; what they point at is there."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from docs import generate
from tests.house.source import ROOT, product

HEADERS = ROOT / "docs" / "headers.md"
_HEADER = re.compile(r"x-taximeter-[a-z]+(?:-[a-z]+)*")


@cache
def tracked(*patterns: str) -> tuple[Path, ...]:
    """The repository's own files, those that are new but not ignored among them."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", *patterns],
        capture_output=True, text=True, cwd=ROOT, check=True,
    ).stdout.splitlines()  # fmt: skip
    return tuple(path for name in listed if (path := ROOT / name).is_file())


def test_the_shipped_schema_is_the_configurations_own() -> None:
    assert generate.SCHEMA.read_text(encoding="utf-8") == generate.schema(), "run: python -m docs.generate"


@pytest.mark.parametrize("document", generate.DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_generated_is_as_the_code_is(document: Path) -> None:
    text = document.read_text(encoding="utf-8")

    assert text == generate.renewed(text), "run: python -m docs.generate"


def test_everything_that_can_be_generated_stands_somewhere() -> None:
    found = [
        name for document in generate.DOCUMENTS for name in generate.parts_in(document.read_text(encoding="utf-8"))
    ]

    assert sorted(found) == sorted(generate.PARTS)


def test_a_stale_part_is_seen() -> None:
    """The check itself: what stands around a part stays, what stands in it does not."""
    stale = "before\n<!-- generated: layers -->\nold\n<!-- end -->\nafter\n"

    assert (
        generate.renewed(stale) == f"before\n<!-- generated: layers -->\n\n{generate.layers()}\n\n<!-- end -->\nafter\n"
    )


def test_every_setting_is_described() -> None:
    """A setting without a docstring is one that nobody can look up."""
    assert [setting.path for setting in generate.settings() if not setting.meaning.endswith((".", ")"))] == []


def headers_of_the_code() -> dict[str, str]:
    """Each header of ours that the product names in a literal, and a file that does."""
    return {name: source.path for source in product() for name in _HEADER.findall(source.text)}


def test_every_header_is_documented_and_no_other() -> None:
    """docs/headers.md has a row for each `x-taximeter-…` header that the code reads or writes."""
    rows = re.findall(r"^\| `(x-taximeter-[a-z-]+)` \|", HEADERS.read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(rows) == sorted(headers_of_the_code())
