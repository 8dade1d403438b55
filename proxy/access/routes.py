"""Which upstream serves a requested model, and under what name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from proxy.config.model import Model
from proxy.config.upstream import Upstream
from proxy.errors import model_not_found
from proxy.types import Identity, Route

# Whoever sends wrong names again and again takes no more than half a millisecond each time.
_MOST_COMPARED = 100
_LONGEST_TYPO = 100


def matches(name: str, pattern: str) -> bool:
    """Exact, or by a trailing `*`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


class Router:
    """The `models` of the configuration: an exact name wins over patterns, a longer pattern over a shorter one."""

    def __init__(self, models: Mapping[str, Model], upstreams: Mapping[str, Upstream]) -> None:
        self._upstreams = upstreams
        self._exact = {name: self._route(name, name, row) for name, row in models.items() if not name.endswith("*")}
        patterns = [(name, row) for name, row in models.items() if name.endswith("*")]
        self._patterns = sorted(patterns, key=lambda item: -len(item[0]))

    def _route(self, requested: str, pattern: str, row: Model) -> Route:
        real = row.model or requested
        if real.endswith("*"):  # the part that the pattern's * stood for
            real = real[:-1] + requested[len(pattern) - 1 :]
        return Route(
            requested=requested,
            upstream=row.upstream,
            provider=self._upstreams[row.upstream].provider_name(row.upstream),
            model=real,
            context_tokens=row.context_tokens,
            max_output_tokens=row.max_output_tokens,
            cap_trust=row.cap_trust,
            retries=row.retries,
            fallbacks=row.fallbacks,
            answers=row.answers,
        )

    def route(self, model: str, identity: Identity) -> Route:
        """Raises `Refused` (404) where the model is unknown or not among the key's."""
        is_allowed = identity.models is None or any(matches(model, pattern) for pattern in identity.models)
        route = self._known(model) if is_allowed else None
        if route is None:
            raise model_not_found(model, self._meant(model, identity))
        return route

    def named(self, model: str) -> Route:
        """The route of a model, whoever asks: an operator's fallback needs nobody's permission."""
        route = self._known(model)
        if route is None:
            raise model_not_found(model)
        return route

    def _known(self, model: str) -> Route | None:
        route = self._exact.get(model)
        if route is not None:
            return route
        for pattern, row in self._patterns:
            if model.startswith(pattern[:-1]):
                return self._route(model, pattern, row)
        return None

    def _meant(self, model: str, identity: Identity) -> str | None:
        """A model that the key may use, by a name much like the one that is not there."""
        if len(model) > _LONGEST_TYPO:
            return None
        import difflib  # noqa: PLC0415 - only where a name is wrong

        names = {route.requested.lower(): route.requested for route in islice(self.visible(identity), _MOST_COMPARED)}
        near = difflib.get_close_matches(model.lower(), names, n=1)
        return names[near[0]] if near else None

    def is_exact(self, model: str) -> bool:
        """Whether the configuration has this very name, and no pattern that it fits."""
        return model in self._exact

    def any_at(self, upstream: str) -> Model | None:
        """The row that lets any name of a model through to that upstream."""
        return next((row for pattern, row in self._patterns if pattern == "*" and row.upstream == upstream), None)

    def visible(self, identity: Identity) -> Iterable[Route]:
        """The models with exact names that a key may use, for /v1/models."""
        for name, route in self._exact.items():
            if identity.models is None or any(matches(name, pattern) for pattern in identity.models):
                yield route
