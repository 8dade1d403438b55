"""What the bills have taught about ceilings: how far one was exceeded, how a family counts tokens beside o200k, and whether
a prompt cache keeps its promises.

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
_KEPT_BEFORE_TRUST = 20
_KEPT_AFTER_A_BREACH = 10_000


class Learned:
    """Factors by `provider/model`, ratios by tokenizer family. `path` None: in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._factors: dict[str, float] = {}
        self._ratios: dict[str, float] = {}
        self._kept: dict[str, int] = {}
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

    def trusts_cache(self, upstream: str, model: str) -> bool:
        """Whether the model's cache at that upstream has always read what it was known to hold, often enough to tell."""
        return self._kept.get(f"{upstream}/{model}", 0) >= _KEPT_BEFORE_TRUST

    def cache_read(self, upstream: str, model: str, *, kept: bool) -> None:
        """What a cache held was read from it, or was not."""
        name = f"{upstream}/{model}"
        before = self._kept.get(name, 0)
        if name not in self._kept and len(self._kept) >= _MAX_MODELS:
            return
        if kept:
            self._kept[name] = min(before + 1, _KEPT_BEFORE_TRUST)
            return
        self._kept[name] = _KEPT_BEFORE_TRUST - _KEPT_AFTER_A_BREACH
        if before >= _KEPT_BEFORE_TRUST:
            log.warning("%s did not read from its cache what it held: its ceilings do not count on that any more", name)
        if before >= 0:
            self._save()

    def _load(self, path: Path) -> None:
        try:
            value = orjson.loads(path.read_bytes())
            self._factors = {str(name): min(_MAX_FACTOR, float(one)) for name, one in value["factors"].items()}
            self._ratios = {str(name): float(one) for name, one in value["ratios"].items()}
            self._kept = {str(name): int(one) for name, one in value.get("kept", {}).items()}
        except FileNotFoundError:
            pass
        except (OSError, orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
            log.warning("%s cannot be read: what was learned about ceilings is forgotten", path.name)

    def _save(self) -> None:
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # learned again when it happens again
            new.write_bytes(orjson.dumps({"factors": self._factors, "ratios": self._ratios, "kept": self._kept}))
            new.replace(self._path)
