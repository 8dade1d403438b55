"""What is made at run time: keys, their limits, and raises. Read from the database, into which every instance and command
writes them, and sent to the data planes as a snapshot."""

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
        raised = [list(one) for one in as_raises(self.raises)]
        return {"keys": self.keys, "limits": list(map(list, self.limits)), "raises": raised, "seeds": list(seeds)}

    def budgets(self, config: Config) -> tuple[Budget, ...]:
        """The configuration's and the keys' own, with what they are raised by."""
        raised = as_raises(self.raises)
        return compile_budgets(config.budgets, raised) + key_budgets(self.limits, raised)


NO_RUNTIME_SETTINGS = RuntimeSettings([], [], [])


def runtime_settings(engine: Engine) -> RuntimeSettings:
    """A key that is in it has its limits in it, too."""
    from proxy.ledger.planes import keys, raises  # noqa: PLC0415 - with SQLAlchemy, for which a first snapshot does not wait

    identities = keys.identities(engine)
    return RuntimeSettings(identities, keys.limits(engine), raises.in_force(engine))
