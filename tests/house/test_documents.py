"""Documents that say what the code has say all of it, and nothing else; what they point at is there."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from docs import generate
from proxy.config import translation
from proxy.config.checks import load_config
from proxy.config.model import Config
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
    standing = [
        name for document in generate.DOCUMENTS for name in generate.parts_in(document.read_text(encoding="utf-8"))
    ]

    assert sorted(standing) == sorted(generate.PARTS)


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


# ---- what documents and comments point at ----------------------------------------------------------------------------

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
_CITED = re.compile(r"(?<![\w/.-])((?:[\w-]+/)*[\w-]+\.md)(?:#([\w-]+))?")
_ELSEWHERE = re.compile(
    r"\b(?:design|contract|layout|notes?)(?:'s)?,? (?:section|rule|part) ?\d|\bprice notes\b|\bthe design(?:'s)?\b|\bSection \d+ of the",
    re.IGNORECASE,
)
_TEXT = ("*.py", "*.md", "*.toml", "*.lua", "*.yml", "*.yaml", "*.sh", "Makefile", "tests/fixtures/*.json")
# Documents of llama.cpp, of mlx-lm, of a provider.
_OTHERS = frozenset({"SERVER.md", "tools/server/README.md", "batch-processing.md"})


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    seen: dict[str, int] = {}
    made = set()
    for title in re.findall(r"^#{1,6} (.+)$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        made.add(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return made


def lost_links(name: str, text: str) -> list[str]:
    """The links of a document that lead nowhere."""
    here = ROOT / name
    lost = []
    for path, anchor in _LINK.findall(_FENCE.sub("", text)):
        target = (here.parent / path).resolve() if path else here
        if not target.exists():
            lost.append(f"{name}: {path} is not there")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8") if path else text):
            lost.append(f"{name}: {path}#{anchor} is no heading")
    return lost


def lost_citations(name: str, text: str) -> list[str]:
    """Documents that a file names and that a reader of the repository cannot open."""
    lost = [f"{name}: {words!r} is in no document here" for words in _ELSEWHERE.findall(text)]
    for path, anchor in _CITED.findall(text):
        places = [here for here in tracked("*.md") if f"/{here.relative_to(ROOT)}".endswith(f"/{path}")]
        if not places and path not in _OTHERS:
            lost.append(f"{name}: {path} is not there")
        elif places and anchor and not any(anchor in anchors(here.read_text(encoding="utf-8")) for here in places):
            lost.append(f"{name}: {path}#{anchor} is no heading")
    return lost


def _read(path: Path) -> tuple[str, str]:
    return path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_every_link_of_the_documents_leads_somewhere() -> None:
    lost = [line for path in tracked("*.md") for line in lost_links(*_read(path))]

    assert not lost, "\n" + "\n".join(lost)


def test_nothing_cites_a_document_that_is_not_here() -> None:
    """Name the file and the heading: `proxy/CONTRACT.md#ledger-entry`."""
    mine = Path(__file__).resolve()
    lost = [line for path in tracked(*_TEXT) if path != mine for line in lost_citations(*_read(path))]

    assert not lost, "\n" + "\n".join(lost)


@pytest.mark.parametrize(
    "text",
    [
        "as the design says",
        "(design, section 6)",
        "rule 1 of the price notes",
        "see docs/nothing.md",
        "README.md#no-such-heading",
    ],
)
def test_a_citation_that_leads_nowhere_is_seen(text: str) -> None:
    """The check itself."""
    assert lost_citations("README.md", text)


def test_a_link_that_leads_nowhere_is_seen() -> None:
    """The check itself, both ways."""
    assert len(lost_links("README.md", "[a](gone.md) [b](README.md#gone) [c](#gone)")) == 3
    assert lost_links("README.md", "# A `b`, c\n[a](LICENSE) [b](#a-b-c)") == []


_FILE_NAME = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|lua|toml|jsonl|html|js|css))`")
_DOTTED = re.compile(r"`(?:proxy\.)?([a-z]+(?:\.[a-z_]+)+\.\w+)`")  # `ledger.entries.row.Row`; settings have one dot
_OF_SDKS = re.compile(r"(?:types|entrypoints|serve)/\w|_exceptions\.py|\w+_(?:params?|usage)\.py")


def unknown_files(text: str, known: frozenset[str]) -> list[str]:
    """Files that a text names in backticks and that the repository does not have."""
    named = [name for name in _FILE_NAME.findall(text) if not _OF_SDKS.match(name) and "NAME" not in name]
    lost = [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in known)]
    return lost + [name for name in _DOTTED.findall(text) if not _is_of_a_module(name, known)]


def _is_of_a_module(dotted: str, known: frozenset[str]) -> bool:
    """Whether a module of ours is named, or what is in one; or nothing of ours."""
    folder, *_ = dotted.split(".")
    if not any(path.startswith(f"proxy/{folder}/") for path in known):
        return True
    here = tuple(
        f"proxy/{name.replace('.', '/')}{end}"
        for name, end in ((dotted, "/"), (dotted, ".py"), (dotted.rpartition(".")[0], ".py"))
    )
    return any(path.startswith(here) for path in known)


def test_files_that_comments_and_documents_name_are_there() -> None:
    """A header that names a file which has moved leads its reader astray. DECISIONS tells of its time, and keeps the names."""
    known = frozenset(path.relative_to(ROOT).as_posix() for path in tracked())
    lost = [
        f"{path.relative_to(ROOT)}: `{name}`"
        for path in tracked("proxy/*.py", "pricing/*.py", "docs/*.py", "*.md", "*.lua", "*.toml")
        if path.name not in ("DECISIONS.md", "CHANGELOG.md")
        for name in unknown_files(path.read_text(encoding="utf-8"), known)
    ]

    assert not lost, "\n" + "\n".join(lost)


def test_a_file_that_is_gone_is_seen() -> None:
    """The check itself, both ways."""
    assert unknown_files("`gone.py`, `wire/sse.py`", frozenset({"proxy/wire/sse.py"})) == ["gone.py"]
    assert unknown_files("`wire.sse.Event`, `wire.gone.Event`", frozenset({"proxy/wire/sse.py"})) == ["wire.gone.Event"]


def named_tests(text: str) -> list[str]:
    """The tests that a table names: `attack/test_x.py` or `attack/test_x.py::test_y`."""
    return re.findall(r"`((?:\w+/)*test_\w+\.py(?:::\w+)?)`", text)


def is_a_test(name: str) -> bool:
    path, _, function = name.partition("::")
    file = ROOT / "tests" / path
    return file.is_file() and (not function or f"def {function}(" in file.read_text(encoding="utf-8"))


def test_every_threat_has_a_test_that_is_there() -> None:
    """In proxy/THREATS.md a row of five columns ends with its tests."""
    rows = [
        line
        for line in (ROOT / "proxy" / "THREATS.md").read_text(encoding="utf-8").splitlines()
        if line.count(" | ") == 4
    ]
    threats = [row for row in rows if not row.startswith(("| asset", "|---"))]

    assert len(threats) > 30
    assert [row for row in threats if not named_tests(row.rsplit(" | ", 1)[1])] == []
    assert [name for row in threats for name in named_tests(row) if not is_a_test(name)] == []


def test_every_hole_that_was_found_has_a_test_that_is_there() -> None:
    """proxy/HOLES.md: the holes of the attack on the first version by number, 22 by its letters; none is left out."""
    table = (ROOT / "proxy" / "HOLES.md").read_text(encoding="utf-8").partition("|---")[2]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[1:] if line.startswith("|")]

    assert [row for row in rows if len(row) != 4 or not named_tests(row[2])] == []
    assert [name for row in rows for name in named_tests(row[2]) if not is_a_test(name)] == []
    assert {row[0] for row in rows} >= {*map(str, range(1, 23)), *(f"22 {letter}" for letter in "abcdefghijklmnop")}


def test_a_test_that_is_gone_is_seen() -> None:
    """The check itself, both ways."""
    assert not is_a_test("attack/test_gone.py")
    assert not is_a_test("house/test_documents.py::test_gone")
    assert is_a_test("house/test_documents.py::test_a_test_that_is_gone_is_seen")


def test_every_decision_is_in_the_index() -> None:
    """An entry that nobody finds is made a second time. Put it under its subject at the head of the file."""
    text = (ROOT / "proxy" / "DECISIONS.md").read_text(encoding="utf-8")
    index, _, _ = text.partition("\n## 2")
    entries = sorted(anchor for anchor in anchors(text) if anchor.startswith("20"))

    assert sorted(re.findall(r"\(#(20[^)]+)\)", index)) == entries


_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """The configurations that the documents for users show."""
    documents = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "proxy" / "CONTRACT.md")
    return [(path.name, text) for path in documents for text in _EXAMPLE.findall(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("document", "text"), examples(), ids=lambda value: value if value.endswith(".md") else "")
def test_a_configuration_that_a_document_shows_is_one(
    document: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each can be pasted as it is, once the environment has what it names, and the extra that it needs is installed."""
    monkeypatch.setattr(translation, "installed", lambda: True)
    file = tmp_path / "taximeter.yaml"
    file.write_text(text, encoding="utf-8")
    named = dict.fromkeys(re.findall(r"\$\{(\w+)", text), "a-secret-that-is-long-enough")

    config = load_config(file, named).config

    assert config != Config(), f"{document} shows an empty one"


def test_there_are_examples_to_check() -> None:
    assert len(examples()) >= 3


def test_every_attack_has_a_threat() -> None:
    """A file of tests/attack that no row of proxy/THREATS.md names guards something that nobody reads of."""
    named = {
        name.partition("::")[0] for name in named_tests((ROOT / "proxy" / "THREATS.md").read_text(encoding="utf-8"))
    }
    attacks = [path.relative_to(ROOT / "tests").as_posix() for path in tracked("tests/attack/test_*.py")]

    assert [name for name in attacks if name not in named] == []
