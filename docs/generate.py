"""Writes what is documented from the code itself: `python -m docs.generate`.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; what a person wrote around it stays. The
configuration's JSON Schema is written too. `tests/house/test_documents.py` holds what is committed against what this makes.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from docs.descriptions import described, described_schema
from docs.written import as_written
from pricing.units import UNITS
from proxy.config.model import Config
from proxy.config.reading import is_required, settings_of
from proxy.config.rules import Rule, is_section, key_of
from proxy.control.metrics.exposition import PREFIX
from proxy.control.metrics.table import METRICS, Metric
from tests.house.source import ROOT
from tests.house.test_imports import LAYERS

SCHEMA = ROOT / "proxy" / "config" / "config.schema.json"
DOCUMENTS = (ROOT / "docs" / "configuration.md", ROOT / "docs" / "metrics.md", ROOT / "proxy" / "README.md")

# What the end of a setting's path says of its unit; the first that fits.
_UNITS = (
    ("_kb_per_s", "KiB/s"),
    ("_usd_per_minute", "USD"),
    ("on_unpriced.input", "USD"),
    ("on_unpriced.output", "USD"),
    ("_s", "seconds"),
    ("spool.max_mb", "MiB"),
    ("_mb", "MB"),
    ("_kb", "KiB"),
    ("_days", "days"),
    ("_usd", "USD"),
    ("_tokens", "tokens"),
)
_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "any",
    "Decimal": "amount",
    "datetime": "time",
}
_BOUNDS = (("gt", "above", ""), ("ge", "at least", ""), ("le", "at most", ""), ("max_length", "at most", " characters"))


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; `head` has the columns' names between bars."""
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---- the configuration -----------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """One row. `path` is as in an error message, with NAME for a name of the operator's choice."""

    path: str
    type: str
    unit: str
    default: str
    meaning: str


def settings(kind: Any = Config, above: str = "") -> Iterator[Setting]:
    """Every setting, in the order of its section; a section before what is in it."""
    meanings = described(kind)
    for field in fields(kind):
        name, type_ = field.name, settings_of(kind)[field.name]
        path = above + key_of(name)
        unit = next((unit for ending, unit in _UNITS if path.endswith(ending)), "")
        yield Setting(f"`{path}`", _type_name(type_), unit, default_of(field), " ".join(meanings.get(name, "").split()))
        section, joint = _section_in(type_)
        if section is not None:
            yield from settings(section, path + joint)


def _section_in(annotation: Any) -> tuple[Any, str]:
    """The section that a setting is or holds, and what stands between its path and theirs."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _section_in(typing.get_args(annotation)[0])
    joint = {dict: ".NAME.", tuple: "[]."}.get(typing.get_origin(annotation) or annotation, ".")
    for part in (annotation, *typing.get_args(annotation)):
        if is_section(part):
            return part, joint
    return None, ""


def _with_bounds(name: str, rules: Iterable[Any]) -> str:
    bounds = [
        f"{word} {getattr(rule, bound):,}{of}"
        for rule in _plain(rules)
        for bound, word, of in _BOUNDS
        if getattr(rule, bound, None) is not None
    ]
    return ", ".join([name, *bounds])


def _plain(rules: Iterable[Any]) -> Iterator[Any]:
    for rule in rules:
        yield from rule if isinstance(rule, Rule) else (rule,)


def _type_name(annotation: Any) -> str:
    """What may stand there, with its bounds."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _with_bounds(_type_name(parts[0]), parts[1:])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type_name(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list: {_type_name(parts[0])}"
    if origin is dict:
        return f"by name: {_type_name(parts[1])}"
    if is_section(annotation):
        return "section"
    return _TYPES.get(annotation) or _TYPES[annotation.__name__]


def default_of(field: Field[Any]) -> str:
    """As YAML has it; nothing for what is simply absent."""
    if is_required(field):
        return "required"
    default = field.default if field.default_factory is MISSING else field.default_factory()
    if default is None or is_section(type(default)) or default in ((), {}):
        return ""
    if isinstance(default, tuple | bool):
        return f"`{json.dumps(default)}`"
    return f"`{default}`"


def configuration() -> str:
    """A table for what stands at the top, and one for each section."""
    tables: dict[str, list[Setting]] = {}
    for setting in settings():
        section, *inside = re.split(r"[.\[]", setting.path.strip("`"), maxsplit=1)
        tables.setdefault(section if inside else "", []).append(setting)
    head = "setting | type | unit | default | meaning"
    return "\n\n".join(
        f"## {f'`{section}`' if section else 'At the top of the file'}\n\n{table(head, rows)}"
        for section, rows in tables.items()
    )


def schema() -> str:
    """What editors check a configuration against."""
    made = as_written(described_schema(Config))
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def units() -> str:
    """What a price can be stated for."""
    return table(
        "unit | kind | price stated for | where it has no price, that of",
        (
            (f"`{unit.name}`", unit.kind, f"{unit.per:,}", f"`{unit.parent}`" if unit.parent else "")
            for unit in UNITS.values()
        ),
    )


# ---- the metrics -----------------------------------------------------------------------------------------------------


def unit_of(metric: Metric) -> str:
    """By the name, as Prometheus' own conventions have it."""
    name = metric.name.removesuffix("_total")
    for ending, unit in (
        ("_timestamp_seconds", "epoch seconds"),
        ("_seconds", "seconds"),
        ("_bytes", "bytes"),
        ("_joules", "joules"),
        ("_ratio", "0 to 1"),
        ("_info", "1"),
    ):
        if name.endswith(ending):
            return unit
    if "_usd" in name:
        return "USD"
    if name in ("budget_store_up", "spool_writable", "config_last_reload_successful"):
        return "0 or 1"
    return "tokens" if name == "tokens" else "count"


def metrics() -> str:
    """A row a metric, in the order of the exposition."""
    return table(
        "metric | type | labels | unit | meaning",
        (
            (f"`{PREFIX}{metric.name}`", metric.kind, ", ".join(metric.labels), unit_of(metric), metric.help)
            for metric in METRICS
        ),
    )


def buckets() -> str:
    """The upper edges of the histograms."""
    return table(
        "histogram | buckets up to",
        ((f"`{PREFIX}{metric.name}`", ", ".join(metric.buckets)) for metric in METRICS if metric.buckets),
    )


# ---- the layers ------------------------------------------------------------------------------------------------------


def layers() -> str:
    """The folders in the order of their imports, the highest first."""
    width = max(len(layer[0]) for layer in LAYERS)
    lines = [
        f"{layer[0]:<{width}}  {' '.join(name.removeprefix('proxy.') for name in layer[1:])}".rstrip()
        for layer in LAYERS
    ]
    return "\n".join(["```", *reversed(lines), "```"])


PARTS: Mapping[str, Callable[[], str]] = {
    "configuration": configuration,
    "units": units,
    "metrics": metrics,
    "buckets": buckets,
    "layers": layers,
}
_PART = re.compile(r"(?P<begin><!-- generated: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def renewed(text: str) -> str:
    """`text` with its generated parts as they should be. Raises KeyError for a name that is none of `PARTS`."""
    return _PART.sub(lambda part: f"{part['begin']}\n{PARTS[part['name']]()}\n\n{part['end']}", text)


def parts_in(text: str) -> list[str]:
    return [part["name"] for part in _PART.finditer(text)]


def write(path: Path, text: str) -> None:
    if path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    write(SCHEMA, schema())
    for document in DOCUMENTS:
        write(document, renewed(document.read_text(encoding="utf-8")))
