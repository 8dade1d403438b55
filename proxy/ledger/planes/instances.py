"""Which instances there are: each says every few seconds that it lives, in the one place that all of them share.

After the budget store lost what it knew, nothing is granted until every instance that may have calls in flight has reported.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.database import insert_into, writing
from proxy.ledger.schema import alerts, instances, metric_state
from proxy.times import now_us


def name_of(data_dir: Path) -> str:
    """The instance's own name: made once, kept in its data directory, whatever machine that is mounted on."""
    path = data_dir / "instance"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        made = data_dir / "instance.new"
        made.write_text(str(uuid.uuid4()), encoding="ascii")
        made.replace(path)  # whole or not at all
        return name_of(data_dir)


def adopt(engine: Engine, instance: str, data_dir: Path) -> None:
    """Take over the metrics and alerts that an older version kept under the data directory's path, which replicas on
    several machines may have in common."""
    path = str(data_dir.resolve())
    with writing(engine).begin() as connection:
        for table in (metric_state, alerts):
            connection.execute(sa.update(table).where(table.c.instance == path).values(instance=instance))


def shared_now_us(engine: Engine) -> int:
    """The time that all instances go by here: the database server's, for that of one's machine may be hours behind, as where a
    virtual machine was restored. A file's instances have a machine in common."""
    if engine.dialect.name != "postgresql":
        return now_us()
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp()) * 1000000").scalar_one())


def beat(engine: Engine, instance: str, at_us: int) -> None:
    """Note that this instance is alive. at_us: by `shared_now_us`."""
    statement = insert_into(engine, instances).values(instance=instance, heartbeat_at=at_us)
    with writing(engine).begin() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["instance"], set_={"heartbeat_at": at_us}))


def leave(engine: Engine, instance: str) -> None:
    """It is stopped, and everything that it knew is in the ledger."""
    with writing(engine).begin() as connection:
        connection.execute(sa.delete(instances).where(instances.c.instance == instance))


def heard_since(engine: Engine, since_us: int) -> set[str]:
    """The instances that said so since then and did not leave."""
    with engine.connect() as connection:
        query = sa.select(instances.c.instance).where(instances.c.heartbeat_at >= since_us)
        return set(connection.execute(query).scalars())
