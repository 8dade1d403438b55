"""What the bills have taught about ceilings: how far one was exceeded, and how a family counts tokens beside o200k.

Kept in a small file beside the spool, so that a restart does not unlearn it. Only ever grows; delete the file to forget.
"""

from __future__ import annotations

import contextlib
import logging
import math
from pathlib import Path

import orjson

log = logging.getLogger("taximeter.data")

_MAX_FACTOR = 100.0
_MAX_MODELS = 10_000


class Learned:
    """Factors by `provider/model`, ratios by tokenizer family. `path` None: in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._factors: dict[str, float] = {}
        self._ratios: dict[str, float] = {}
        if path is not None:
            self._load(path)

    def factor(self, provider: str, model: str) -> float:
        """What a model's ceiling is multiplied by: 1, or the most that a bill exceeded it by."""
        return self._factors.get(f"{provider}/{model}", 1.0) if self._factors else 1.0

    def ratio(self, family: str, at_least: float) -> float:
        """The most tokens of a family that were seen for one of o200k."""
        return max(at_least, self._ratios.get(family, 0.0))

    def overran(self, provider: str, model: str, cost_nanousd: int, ceiling_nanousd: int) -> None:
        """A bill was larger than its ceiling."""
        if ceiling_nanousd <= 0 or cost_nanousd <= ceiling_nanousd:
            return
        name = f"{provider}/{model}"
        factor = min(_MAX_FACTOR, self._factors.get(name, 1.0) * math.ceil(100 * cost_nanousd / ceiling_nanousd) / 100)
        if factor > self._factors.get(name, 1.0) and len(self._factors) < _MAX_MODELS:
            log.warning("a call of %s cost %.2f times its ceiling: its ceilings are raised", name, factor)
            self._factors[name] = factor
            self._save()

    def counted(self, family: str, tokens: int, o200k_tokens: int) -> None:
        """A provider counted `tokens` where o200k makes that many."""
        if o200k_tokens >= 100 and tokens / o200k_tokens > self._ratios.get(family, 1.0):
            self._ratios[family] = tokens / o200k_tokens
            self._save()

    def _load(self, path: Path) -> None:
        try:
            value = orjson.loads(path.read_bytes())
            self._factors = {str(name): min(_MAX_FACTOR, float(one)) for name, one in value["factors"].items()}
            self._ratios = {str(name): float(one) for name, one in value["ratios"].items()}
        except FileNotFoundError:
            pass
        except (OSError, orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
            log.warning("%s cannot be read: what was learned about ceilings is forgotten", path.name)

    def _save(self) -> None:
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # learned again when it happens again
            new.write_bytes(orjson.dumps({"factors": self._factors, "ratios": self._ratios}))
            new.replace(self._path)
