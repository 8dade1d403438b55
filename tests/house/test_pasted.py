"""What documents give people to paste can be pasted: blocks parse, and commands, options, targets and modules are there.

That configurations are accepted is in test_documents.py. What the real programs make of their recipes only `make agents` tells.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.house.source import ROOT
from tests.support.commands import commands
from tests.support.rows import each_row

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_OURS = re.compile(r"(?:^|[;&|] |\$ |\) )(?:[A-Z_]+=\S+ )*taximeter ([a-z][^\n|;&]*)", re.MULTILINE)
_MODULE = re.compile(r"python -m ([a-z_][\w.]*)")
_TARGET = re.compile(r"(?:^|\s)make ([a-z]+)\b")
_OR = "¦"
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def code_of(text: str) -> str:
    """What stands in blocks and between backticks, a line each. The `|` of `top|show`, which is no pipe, is another sign there."""
    parts = [match[2] for match in _FENCE.finditer(text)] + _INLINE.findall(_FENCE.sub("", text))
    return re.sub(r"(?<=\w)\\?\|(?=\w)", _OR, "\n".join(parts))


class Block(NamedTuple):
    """A block of a document: where it stands, its language, its text."""

    place: str
    language: str
    text: str


def documents() -> list[Path]:
    """Those for people who use it."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")),
            ROOT / "proxy" / "CONTRACT.md", *sorted((ROOT / "dashboards").glob("*.md")), ROOT / "bench" / "README.md"]  # fmt: skip


def blocks() -> list[Block]:
    found = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        found += [
            Block(f"{name}:{text.count(chr(10), 0, match.start()) + 1}", match[1], match[2])
            for match in _FENCE.finditer(text)
        ]
    return found


def wrong_in(line: str, known: dict[str, set[str]]) -> Iterator[str]:
    """What a command line of ours says that there is not. Of `top¦show` each is looked at; NAME stands for any."""
    words = line.split()
    paths = [""]
    while words:
        longer = [f"{path} {part}".strip() for path in paths for part in words[0].split(_OR)]
        if not set(longer) <= known.keys():
            break
        paths = longer
        words.pop(0)
    is_group = any(name.startswith(f"{path} ".lstrip()) for path in paths for name in known if name)
    if is_group and words and not words[0].startswith("-") and not words[0].isupper():
        yield f"there is no command `taximeter {line}`"
    for option in _OPTION.findall(line):
        if not all(option in known[path] for path in paths):
            yield f"`taximeter {line}` has no option {option}"


@each_row("block", blocks(), ids=lambda block: block.place)
def test_a_block_parses(block: Block) -> None:
    """Shells, JSON, TOML, units of systemd and Python by their own parsers (YAML: test_documents.py); what else there is are pictures and output."""
    match block.language:
        case "sh":
            parsed = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            assert (parsed.returncode, parsed.stderr) == (0, "")
        case "json":
            json.loads(block.text)
        case "toml":
            tomllib.loads(block.text)
        case "python":
            ast.parse(block.text)
        case "ini":
            ConfigParser(interpolation=None).read_string(block.text)
        case language:
            assert language in ("", "yaml")


def comments_in(text: str) -> list[str]:
    """Words that begin with `#`, outside quotes."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    return [word for word in lexer if word.startswith("#")]


@each_row("block", [one for one in blocks() if one.language == "sh"], ids=lambda block: block.place)
def test_a_block_to_paste_has_no_comments(block: Block) -> None:
    """macOS's shell knows none at its prompt: it hands them to the program, or waits for the other half of an apostrophe."""
    assert comments_in(block.text) == []


def test_a_comment_is_seen() -> None:
    assert comments_in("claude   # Claude Code\n") == ["#"]
    assert comments_in("a 'b # c' \\\n d#e\n") == []
    with pytest.raises(ValueError, match="No closing quotation"):
        comments_in("activate  # this terminal's path\n")


def test_every_command_and_option_that_documents_name_is_there() -> None:
    known = commands()
    wrong = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in documents()
        for line in _OURS.findall(code_of(path.read_text(encoding="utf-8")))
        for what in wrong_in(line.partition("#")[0].strip(), known)
    ]

    assert not wrong, "\n" + "\n".join(wrong)


def test_what_is_not_there_is_seen() -> None:
    """The check itself, both ways."""
    known = commands()
    for line in (
        "nosuch",
        "budgets nosuch",
        "spend --nosuch",
        "budgets raise x --by 1 --grup y",
        "sessions top¦nosuch",
        "report x",
    ):
        assert list(wrong_in(line, known)), line
    for line in (
        "spend --by team",
        "sessions top¦show ID",
        "report NAME",
        "prices show gpt-5",
        "verify",
        "serve --workers N",
        "",
    ):
        assert list(wrong_in(line, known)) == [], line
    assert _OURS.findall(
        code_of("`X=1 taximeter spend`, `a; taximeter keys create\\|list`\n```sh\n$ taximeter jobs\n```\n")
    ) == [
        "jobs",
        "spend",
        "keys create¦list",
    ]


def test_every_target_and_module_that_documents_name_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    lost = []
    for path in documents():
        code = code_of(path.read_text(encoding="utf-8"))
        lost += [f"{path.name}: make {name}" for name in _TARGET.findall(code) if name not in targets]
        lost += [f"{path.name}: python -m {name}" for name in _MODULE.findall(code) if not _is_module(name)]

    assert not lost, "\n" + "\n".join(lost)


def _is_module(name: str) -> bool:
    """Of the house, or of one that is installed."""
    return importlib.util.find_spec(name) is not None
