"""What is made at run time, as a data plane was told it: keys, their limits, and raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy.budgets.budget import Raise
from proxy.budgets.key_limits import KeyLimits
from proxy.exchange.configured import budgets_of
from proxy.exchange.plane import Plane
from proxy.types import Identity


class MissedError(ConnectionError):
    """What was told does not follow what is known here: on another connection all of it is told."""


class Made:
    """`raises` and `limits` are in force."""

    def __init__(self) -> None:
        self.raises: list[Raise] = []
        self.limits: list[KeyLimits] = []
        self._number: int | None = None  # control's, of what is known here

    def take_all(self, plane: Plane, snapshot: Mapping[str, Any]) -> None:
        self._number = snapshot.get("number")
        plane.keys.replace_runtime_keys(Identity(**key) for key in snapshot["keys"])
        self._limit(plane, _raises(snapshot["raises"]), [KeyLimits(*row) for row in snapshot["limits"]])

    def take_changes(self, plane: Plane, changes: Mapping[str, Any]) -> None:
        """Keys and limits that are others or gone; raises, where any has changed, all. Raises MissedError."""
        if self._number is None or changes["number"] != self._number + 1:
            raise MissedError("a change of keys follows another one that is not known here")
        self._number += 1
        plane.keys.change_runtime_keys((Identity(**key) for key in changes["keys"]), changes["keys_gone"])
        gone = {KeyLimits(*row) for row in changes["limits_gone"]}
        limits = [limit for limit in self.limits if limit not in gone] if gone else self.limits
        raises = _raises(changes["raises"]) if "raises" in changes else self.raises
        self._limit(plane, raises, [*limits, *[KeyLimits(*row) for row in changes["limits"]]])

    def _limit(self, plane: Plane, raises: list[Raise], limits: list[KeyLimits]) -> None:
        """What budgets are raised by, and what keys were made with."""
        if (raises, limits) != (self.raises, self.limits):
            self.raises, self.limits = raises, limits
            configured = plane.configured
            plane.configured = replace(configured, budgets=budgets_of(configured.config, raises, limits))
            plane.store.limits_changed()


def _raises(rows: list[list[Any]]) -> list[Raise]:
    return [Raise(*row) for row in rows]
