"""The configuration's schema as files are written: values may come from the environment, and what is optional may be empty.

Both are gone when the configuration's model gets to see it (`proxy/config/file.py`, `proxy/config/empty.py`).
"""

from __future__ import annotations

from typing import Any

from proxy.config.empty import LIMITING, PLACES

_REFERENCE = r"\$\{.+\}|^os\.environ/"
_ABOUT = ("title", "description", "default")
_NUMBERS = ("integer", "number", "boolean")


def as_written(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema of values, as one of what stands in a file."""
    made = dict(schema)
    for name in ("$defs", "properties"):
        if name in schema:
            made[name] = {key: as_written(below) for key, below in schema[name].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            made[name] = as_written(schema[name])
    if "anyOf" in schema:
        made["anyOf"] = [as_written(below) for below in schema["anyOf"]]
    for name, below in made.get("properties", {}).items():
        if name not in schema.get("required", ()) and name not in LIMITING | PLACES:
            made["properties"][name] = _or(below, {"type": "null"})
    if schema.get("type") in _NUMBERS or not {"enum", "pattern", "format"}.isdisjoint(schema):
        made = _or(made, {"type": "string", "pattern": _REFERENCE})
    return made


def _or(schema: dict[str, Any], other: dict[str, str]) -> dict[str, Any]:
    """The schema with another alternative: among its types, which editors explain best, where it is nothing but a type."""
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    about = {name: schema[name] for name in _ABOUT if name in schema}
    rest = {name: value for name, value in schema.items() if name not in about}
    if types and other["type"] not in types and "enum" not in schema:
        return {**schema, **other, "type": [*types, other["type"]]}
    if not rest or rest == other:
        return schema
    alternatives = rest["anyOf"] if set(rest) == {"anyOf"} else [rest]
    return {**about, "anyOf": [*alternatives, *([] if other in alternatives else [other])]}
