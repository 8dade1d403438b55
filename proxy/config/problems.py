"""What is wrong with a configuration, as people are told it."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from pricing.values import frozen


@frozen
class Problem:
    """One thing that is wrong in a configuration: where (`models.smart.upstream`, and on which line of the file, where that is
    known), and what to do about it."""

    path: str
    message: str
    line: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path} (line {self.line})"
        return f"{where}: {self.message}" if self.path else self.message


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds every reason found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems

    def __reduce__(self) -> tuple[Any, ...]:
        """Who reads a configuration may be another process than who is told of it."""
        return ConfigError, (self.problems,)
