"""libyaml reads a configuration as PyYAML does, whose words for mistakes are the ones that people are told."""

from __future__ import annotations

import random
from typing import Any

import pytest
import yaml

from proxy.config import file
from proxy.config.file import parse_yaml
from proxy.config.problems import ConfigError

SOUND = """\
# a comment
server: {port: 4200, host: 127.0.0.1}
upstreams:
  "one": &one
    base_url: http://localhost:11434/v1
    api_key: ${KEY:-none}
  two: *one
models:
  small: {upstream: one, model: 'a: b'}
prices:
  - {provider: "*", model: é, input: "0.15", output: 0.60}
  - provider: x
    model: |
      two
      lines
keys: [~, true, 2026-01-01, -1, 1.5]
note: >-
  folded
  more
"""
# What libyaml would take, and PyYAML refuses or reads otherwise.
ODD = [
    "a: one\ttwo",
    "a: [h?ttp://x]",
    "a: {b?: c}",
    "a: |#\n  x",
    "a: b\x85c: d",
    "\ufeff a: b",
    "a: 'x\u2028y'",
    "a: \ufeff\n  b: c",
    "a: !",
    "{! : b}",
]
MISTAKES = [
    "a: 1\na: 2", "a: [", "a: b: c", "- 1", "a: 010", "a: 1:30", "{a: 1}: 2", "a: 2026-13-45", "a: *none", "a: !x y", "[" * 3000,
    "{" * 3000, "a: &x [*x]", "? [a]\n: b", "a:\n\t- b", "a: \x00", "a: !!python/name:os.system x", "a: !!bool x", "a: !!timestamp x", "a: !!int ''", "---\na: 1\n---\nb: 2",
    "- " * 100_000 + "x", "a: " + "[" * 30_000 + "]" * 30_000,
]  # fmt: skip
_CHARACTERS = ":{}[],&*#?|-<>!%@`\"'\\ \t\n\x07\x85\u2028\ufeffé0a~"


def read(text: str) -> Any:
    try:
        return parse_yaml(text, "c.yaml")
    except ConfigError as error:
        return str(error)


def both(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """As it is read with libyaml, and without."""
    quickly = read(text)
    with monkeypatch.context() as without:
        without.setattr(file.yaml, "__with_libyaml__", False)
        return quickly, read(text)


@pytest.mark.parametrize("text", [SOUND, "", "# nothing", *ODD, *MISTAKES], ids=range(len(ODD) + len(MISTAKES) + 3))
def test_both_read_it_alike(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly, slowly = both(text, monkeypatch)
    assert repr(quickly) == repr(slowly)  # a tree may hold itself


def test_both_read_it_alike_whatever_is_mistyped(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    for _ in range(400):
        at, length = chance.randrange(len(SOUND)), chance.choice((0, 0, 1, 3))
        text = SOUND[:at] + chance.choice(_CHARACTERS) + SOUND[at + length :]
        quickly, slowly = both(text, monkeypatch)
        assert repr(quickly) == repr(slowly), text


def test_libyaml_reads_what_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    if not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(file.yaml, "SafeLoader", None)
    monkeypatch.setattr(file, "_StrictLoader", None)
    assert parse_yaml(SOUND, "c.yaml")["upstreams"]["two"]["api_key"] == "${KEY:-none}"
