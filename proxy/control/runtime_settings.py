"""What is made at run time: keys, their limits, and raises. Read from the database, into which every instance and command
writes them, and sent to the data planes: whole to one that comes, and then what changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.budgets.budget import Budget, compile_budgets
from proxy.budgets.key_limits import KeyLimits, key_budgets
from proxy.config.model import Config
from proxy.ledger.planes.snapshot import as_raises

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


class RuntimeSettings(NamedTuple):
    """keys: as `Identity`'s fields. raises: as the ledger's rows."""

    keys: list[dict[str, Any]]
    limits: list[KeyLimits]
    raises: list[dict[str, Any]]

    def snapshot(self, seeds: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """For the data planes. seeds: what is spent."""
        return {
            "keys": self.keys, "limits": list(map(list, self.limits)), "raises": _as_sent(self.raises), "seeds": list(seeds)
        }  # fmt: skip

    def since(self, before: RuntimeSettings) -> dict[str, Any]:
        """For data planes that know what was `before`: what is another, and what is gone, keys by their ids; raises, of which
        the same may be there twice, all or none."""
        known = {key["key_id"]: key for key in before.keys}
        ids = {key["key_id"] for key in self.keys}
        had, has = set(before.limits), set(self.limits)
        changes: dict[str, Any] = {
            "keys": [key for key in self.keys if known.get(key["key_id"]) != key],
            "keys_gone": [key_id for key_id in known if key_id not in ids],
            "limits": [list(limit) for limit in self.limits if limit not in had],
            "limits_gone": [list(limit) for limit in before.limits if limit not in has],
        }
        return changes if self.raises == before.raises else changes | {"raises": _as_sent(self.raises)}

    def budgets(self, config: Config) -> tuple[Budget, ...]:
        """The configuration's and the keys' own, with what they are raised by."""
        raised = as_raises(self.raises)
        return compile_budgets(config.budgets, raised) + key_budgets(self.limits, raised)


def _as_sent(raises: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    return [list(one) for one in as_raises(raises)]


NO_RUNTIME_SETTINGS = RuntimeSettings([], [], [])


class SettingsReader:
    """Reads them again and again; what is as it was is the same object."""

    def __init__(self) -> None:
        from proxy.ledger.planes import keys  # noqa: PLC0415 - with SQLAlchemy, for which a first snapshot does not wait

        self._keys = keys.KnownKeys()

    def read(self, engine: Engine) -> RuntimeSettings:
        """Raises SQLAlchemyError."""
        from proxy.ledger.planes import raises  # noqa: PLC0415 - as above

        return RuntimeSettings(*self._keys.read(engine), raises.in_force(engine))


def runtime_settings(engine: Engine) -> RuntimeSettings:
    """Read once."""
    return SettingsReader().read(engine)
