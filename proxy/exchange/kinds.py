"""Parts of a plan that are the same for all calls that differ only in their texts: worked out once, then remembered.

Nearly every call looks like one before it: the same fields to the same model, another text. Then what its provider may be
asked, and how its ceiling is made, need not be worked out again. Nothing here belongs to one caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.dearest import InputRate
from pricing.values import Value, frozen
from proxy.access import provider_fields
from proxy.ceilings import costly
from proxy.ceilings.ceiling import Ceiling, depends_on_text_only
from proxy.types import Call, Route
from proxy.upstream.destinations import Destination

Key = tuple[object, ...]


@frozen
class Kind(Value):
    """Of calls of one shape at one route.

    facts: of the model, as they were looked up; others end it. known: the route with its provider's name in the book. renamed:
    the output cap under the name that the provider knows. fixed, without: as a `CallPrice` has them. bound: of one such call;
    None: not made yet. rate: what that costs, where nothing but the tokens of its input decides it (and nothing was learned).
    """

    route: Route
    facts: Any
    known: Route
    destination: Destination
    renamed: Mapping[str, Any]
    fixed: Mapping[str, str]
    longest_s: int
    may_be_ordinary: bool
    without: frozenset[str] = frozenset()
    bound: Ceiling | None = None
    rate: InputRate | None = None

    def holds(self, route: Route, facts: object) -> bool:
        """Whether it is still so."""
        return self.facts is facts and (self.route is route or self.route == route)


def key_of(call: Call, route: Route, target: str) -> Key | None:
    """By what a call's kind is remembered; None where nothing is. target: of its endpoint."""
    if call.shape is None or call.betas:
        return None
    return (route.requested, route.upstream, target, call.stream, call.shape)


def may_be_remembered(kind: Kind, call: Call, bound: Ceiling) -> bool:
    """Whether the plans of all calls of this one's shape differ from its own by their texts' sizes alone. To be asked once
    it was screened and has its bound: these know its fields by then."""
    return (
        not kind.destination.translated
        and depends_on_text_only(bound, call)
        and provider_fields.goes_by_names(call, kind.route)
        and costly.goes_by_names(call)
    )
