"""What PyYAML says of a mistake, in words that say what to do: its own speak of blocks, nodes and tokens."""

from __future__ import annotations

import re

import yaml

_CANNOT_BEGIN = re.compile(r"found character '(.)' that cannot start any token")
_UNKNOWN_ESCAPE = re.compile(r"found unknown escape character '(.)'")
_UNDEFINED_ALIAS = re.compile(r"found undefined alias '(.+)'")
_TAG = re.compile(r"could not determine a constructor for the tag '(?:tag:yaml\.org,2002:)?(.*)'")
_SEVERAL = "a second file begins here; leave the `---` out"


def what_and_where(error: yaml.YAMLError, text: str) -> tuple[str, str]:
    """What is wrong; and where: `:line:column`, or nothing where that is not known."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"there is a character that no text has (code {error.character}); take it out", f":{line}"
    mark = getattr(error, "problem_mark", None)
    return _in_plain_words(error), f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _in_plain_words(error: yaml.YAMLError) -> str:
    problem = str(getattr(error, "problem", None) or "not valid YAML")
    context = str(getattr(error, "context", None) or "")
    begun = getattr(error, "context_mark", None)
    line = f"on line {begun.line + 1}" if begun else "above"
    if problem.startswith("found character '\\t'"):
        return "there is a tab; YAML is indented by blanks"
    if problem.startswith("expected <block end>"):
        return "its indentation fits no line above: names and rows that belong together begin in the same column"
    if problem.startswith("mapping values are not allowed"):
        return (
            "no `name:` can stand here: this line has one already, or is indented too far, or the line above lacks its `:`; "
            "a text with `: ` in it goes in quotes"
        )
    if problem.startswith("expected ',' or"):
        bracket = problem.split("'")[3]
        return (
            f"the `{'{' if bracket == '}' else '['}` {line} is not closed, or a comma is missing; "
            "a text with a bracket or brace in it, such as ${NAME}, goes in quotes"
        )
    if problem.startswith("expected the node content"):
        return "a value is missing here, or a bracket above is not closed"
    if "quoted scalar" in context and "end of stream" in problem:
        return f"the quote that begins {line} is not closed"
    if "scanning an alias" in context:
        return "a text that begins with * goes in quotes"
    if alias := _UNDEFINED_ALIAS.match(problem):
        return f'a text that begins with * goes in quotes: "*{alias[1]}"'
    if character := _CANNOT_BEGIN.match(problem):
        return f"a text that begins with {character[1]} goes in quotes"
    if escape := _UNKNOWN_ESCAPE.match(problem):
        return f"\\{escape[1]} means nothing between double quotes; take single ones"
    if problem == "but found another document":
        return _SEVERAL
    if tag := _TAG.match(problem):
        return f"the tag {tag[1]} is not understood; write the value itself, or ${{NAME}} for one from the environment"
    return problem


def not_utf8(error: UnicodeDecodeError) -> str:
    """Of a file in another encoding: which byte, and on which line."""
    line = error.object.count(b"\n", 0, error.start) + 1
    return f"is not UTF-8 (the byte 0x{error.object[error.start]:02x} on line {line}); save it as UTF-8"
