"""What a batch may cost at most: the sum of its lines' own bounds. A value that can be kept beside the file it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Bounds(NamedTuple):
    """nanousd: of all lines together; None where one has no price or no bound, then `missing` says why. tokens: by unit, of
    all. path: what every line calls; "" for a file that is no batch's. models: the names by which the client calls them.
    """

    lines: int = 0
    nanousd: int | None = 0
    input_tokens: int = 0
    output_tokens: int = 0
    missing: str = ""
    path: str = ""
    models: Sequence[str] = ()

    @property
    def tokens(self) -> dict[str, int]:
        return {"input": self.input_tokens, "output": self.output_tokens}

    def with_line(self, nanousd: int | None, tokens: Mapping[str, int], missing: str, model: str) -> Bounds:
        """The bounds with one more line."""
        return self.with_lines(1, nanousd, tokens, missing, model)

    def with_lines(
        self, count: int, nanousd: int | None, tokens: Mapping[str, int], missing: str, model: str
    ) -> Bounds:
        """The bounds with so many more lines, each of which comes to that."""
        unknown = self.nanousd is None or nanousd is None
        return self._replace(
            lines=self.lines + count,
            nanousd=None if unknown else (self.nanousd or 0) + count * (nanousd or 0),
            input_tokens=self.input_tokens + count * tokens.get("input", 0),
            output_tokens=self.output_tokens + count * tokens.get("output", 0),
            missing=self.missing or missing,
            models=self.models if model in self.models else (*self.models, model),
        )

    def record(self) -> dict[str, Any]:
        return self._asdict()


def bounds_of(record: Mapping[str, Any] | None) -> Bounds | None:
    """The bounds that `record` was made of; None for anything else."""
    if not record or "lines" not in record:
        return None
    return Bounds(**{name: value for name, value in record.items() if name in Bounds._fields})
