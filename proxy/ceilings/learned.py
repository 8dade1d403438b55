"""What bills have taught about ceilings: how far they were exceeded, how a model family's token counts compare with o200k's,
and whether a prompt cache keeps its promises.

Kept in a small file beside the spool, so that a restart does not unlearn it. How far ceilings were exceeded is kept for
each team separately, and halves with every day without another overrun. `taximeter prices learned` shows it and
takes it back; a running server sees that within a minute.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

log = logging.getLogger("taximeter.data")

_MAX_FACTOR = 100.0
_MAX_MODELS = 10_000
_MAX_TOLD = 500
_DAY_S = 86_400.0
_FORGOTTEN = 1.01  # a lower factor counts as none
_LOOK_EVERY_S = 60.0
_KEPT_BEFORE_TRUST = 20
_KEPT_AFTER_A_BREACH = 10_000


class Learned:
    """Factors by team and `provider/model`, ratios by tokenizer family. `path` None: in memory only.

    Times are epoch seconds. whose: the team or the key that a call is made for; nobody else learns from it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._factors: dict[str, tuple[float, float]] = {}  # and when the last overrun was
        self._written_ns = 0
        self._look_at_s = 0.0
        self._ratios: dict[str, float] = {}
        self._kept: dict[str, int] = {}
        if path is not None:
            self._load(path)

    def factor(self, whose: str, provider: str, model: str, now_s: float) -> float:
        """What a model's ceiling is multiplied by for them: 1, or what is left of the most that a bill exceeded it by."""
        if not self._factors:
            return 1.0
        if now_s >= self._look_at_s:
            self._look(now_s)
        return self._left(_name(whose, provider, model), now_s)

    def factors(self, now_s: float) -> dict[str, float]:
        """Every factor that is above 1, by `whose provider/model`."""
        return {name: left for name in self._factors if (left := self._left(name, now_s)) > 1}

    def most_raised(self, now_s: float) -> list[tuple[str, str, float]]:
        """Provider, model and factor of what is raised most, whoever it is raised for; some hundreds of models at most."""
        most: dict[tuple[str, str], float] = {}
        for name, factor in self.factors(now_s).items():
            provider, _, model = name.partition(" ")[2].partition("/")
            most[provider, model] = max(factor, most.get((provider, model), 1.0))
        largest = sorted(most.items(), key=lambda item: -item[1])[:_MAX_TOLD]
        return [(provider, model, factor) for (provider, model), factor in largest]

    def _left(self, name: str, now_s: float) -> float:
        overrun = self._factors.get(name)
        if overrun is None:
            return 1.0
        left = 1 + (overrun[0] - 1) * 0.5 ** (max(0.0, now_s - overrun[1]) / _DAY_S)
        return left if left >= _FORGOTTEN else 1.0

    def ratio(self, family: str, at_least: float) -> float:
        """The most tokens of a family that were seen for one of o200k."""
        return max(at_least, self._ratios.get(family, 0.0))

    def overran(
        self, whose: str, provider: str, model: str, cost_nanousd: int, ceiling_nanousd: int, now_s: float
    ) -> None:
        """A bill was larger than its ceiling."""
        if ceiling_nanousd <= 0 or cost_nanousd <= ceiling_nanousd:
            return
        name = _name(whose, provider, model)
        before = self._left(name, now_s)
        factor = min(_MAX_FACTOR, before * math.ceil(100 * cost_nanousd / ceiling_nanousd) / 100)
        if name not in self._factors and len(self._factors) >= _MAX_MODELS:
            self._factors = {name: self._factors[name] for name in self.factors(now_s)}
        if name in self._factors or len(self._factors) < _MAX_MODELS:
            log.warning(
                "a call of %s/%s cost %.2f times its ceiling: the ceilings of its team are raised",
                provider,
                model,
                factor,
            )
            self._factors[name] = factor, now_s
            self._save()

    def forget(self, model: str) -> list[str]:
        """Take back what was learned of how far a model's ceilings are exceeded; the names under which it stood."""
        gone = [name for name in self._factors if name.partition(" ")[2].partition("/")[2] == model]
        for name in gone:
            del self._factors[name]
        if gone:
            self._save()
        return gone

    def _look(self, now_s: float) -> None:
        """Whether an operator has taken something back."""
        self._look_at_s = now_s + _LOOK_EVERY_S
        if self._path is not None and _modified_ns(self._path) != self._written_ns:
            self._load(self._path)

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
            log.warning(
                "%s did not read from its prompt cache what it should hold: ceilings no longer count on that cache",
                name,
            )
        if before >= 0:
            self._save()

    def _load(self, path: Path) -> None:
        self._written_ns = _modified_ns(path)
        try:
            value = orjson.loads(path.read_bytes())
            self._factors = {
                str(name): (min(_MAX_FACTOR, float(factor)), float(at_s))
                for name, (factor, at_s) in value.get("overruns", {}).items()
            }
            self._ratios = {str(name): float(one) for name, one in value["ratios"].items()}
            self._kept = {str(name): int(one) for name, one in value.get("kept", {}).items()}
        except FileNotFoundError:
            self._factors = {}
        except (OSError, orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
            log.warning("%s cannot be read: what was learned about ceilings is forgotten", path.name)

    def _save(self) -> None:
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # learned again when it happens again
            new.write_bytes(orjson.dumps({"overruns": self._factors, "ratios": self._ratios, "kept": self._kept}))
            new.replace(self._path)
            self._written_ns = _modified_ns(self._path)


class Overrun(NamedTuple):
    """By how much (1 and more) the ceilings of a model are raised for a team or key."""

    whose: str
    provider: str
    model: str
    factor: float


def overruns_in(folder: Path, now_s: float) -> list[Overrun]:
    """What all processes of a server have learned of ceilings that were exceeded; of two that know the same, the larger."""
    factors: dict[str, float] = {}
    for learned in _all_in(folder):
        for name, factor in learned.factors(now_s).items():
            factors[name] = max(factor, factors.get(name, 0.0))
    return [_overrun(name, factor) for name, factor in sorted(factors.items())]


def forget_in(folder: Path, model: str, now_s: float) -> list[Overrun]:
    """As `Learned.forget`, in all processes of a server, each of which sees it within a minute; what there was until then."""
    gone = [one for one in overruns_in(folder, now_s) if one.model == model]
    for learned in _all_in(folder):
        learned.forget(model)
    return gone


def _overrun(name: str, factor: float) -> Overrun:
    whose, _, rest = name.partition(" ")
    provider, _, model = rest.partition("/")
    return Overrun(whose, provider, model, factor)


def _all_in(folder: Path) -> Iterator[Learned]:
    return (Learned(path) for path in sorted(folder.glob("learned-*.json")))


def _name(whose: str, provider: str, model: str) -> str:
    return f"{whose.replace(' ', '_')} {provider}/{model}"


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
