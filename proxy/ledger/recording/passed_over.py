"""Instances without which shared counters are rebuilt, as they were silent for so long that they have no call in flight.

One of them may stand still and go on later, as a virtual machine does that was paused. It then knows nothing of the counters
that were made of the ledger without what it still has to ship. So its number of batches is taken: whatever it would ship finds
the ledger moved, and is shipped once it has seen which counters there are.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.database import writing
from proxy.ledger.recording.shipping import BATCH_NUMBER, last_batch, next_number
from proxy.ledger.schema import instances, metric_state
from proxy.ledger.upserts import Upsert


def pass_over(engine: Engine, since_us: int, but: Iterable[str]) -> set[str]:
    """Forget those that were not heard of since then; who they are. A batch that one of them is writing is waited for.

    but: those that ship nothing as it is. Raises SQLAlchemyError.
    """
    silent = (instances.c.heartbeat_at < since_us, instances.c.instance.not_in(list(but)))
    set_number = Upsert(metric_state, engine.dialect)
    with writing(engine).begin() as connection:
        gone = connection.execute(sa.delete(instances).where(*silent).returning(instances.c.instance)).scalars().all()
        for name in sorted(gone):
            number = next_number(last_batch(connection, name))
            set_number.write(connection, [(name, BATCH_NUMBER, "[]", str(number))])
    return set(gone)
