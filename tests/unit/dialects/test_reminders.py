"""Reminders in what the user says: taken out whole, and nothing else with them."""

from __future__ import annotations

from typing import Any

from proxy.dialects.reminders import without_reminders
from tests.support.rows import each_row

R = "<system-reminder>now</system-reminder>"


@each_row(
    ("content", "left"),
    [
        (f"{R}\nhello", "hello"),
        (f"hello {R}", "hello"),
        (f"a{R}b{R}c", "abc"),
        (R, None),
        (f" {R}\n{R} ", None),
        ([{"type": "text", "text": R}, {"type": "text", "text": "hello"}], [{"type": "text", "text": "hello"}]),
        ([{"type": "text", "text": R}], None),
        ([{"type": "image", "source": {}}, {"type": "text", "text": R}], [{"type": "image", "source": {}}]),
        ([{"type": "tool_result", "content": R}], [{"type": "tool_result", "content": R}]),
        ("hello", "hello"),
        ("", ""),
        (None, None),
        (5, 5),
        ([None, 5, "x", {"text": 5}], [None, 5, "x", {"text": 5}]),
    ],
)
def test_reminders_are_left_out(content: Any, left: Any) -> None:
    shown = without_reminders({"role": "user", "content": content})

    assert shown == ({"role": "user", "content": left} if left is not None or content is None else None)
