"""Keys, limits and raises in a data plane are those of the control process, whatever has changed in which order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy.engine import Engine

from pricing.load import packaged_book
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control.made import Made as Control
from proxy.dataplane.made import Made, MissedError
from proxy.dataplane.process import build_plane
from proxy.errors import Refused
from proxy.exchange.plane import Plane
from proxy.ledger.database import open_ledger
from proxy.ledger.planes import keys, raises
from proxy.processes.link import ControlServer, DataPlaneLink
from proxy.times import now_s


class Told:
    """A control process and a data plane, and what the one has told the other, as bytes."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.config = read_section(
            Config, {"data_dir": str(folder), "budgets": [{"name": "b", "limit_usd": 1, "window": "total"}]}
        )
        self.plane = build_plane(self.config, "data-0", {}, packaged_book())
        self.here = Made()
        self.said: list[dict[str, Any]] = []
        self.control = Control(lambda: engine, self._push)
        self.control.begin()
        self.here.take_all(self.plane, _sent(self.control.snapshot()))

    def _push(self, message: Mapping[str, Any]) -> None:
        self.said.append(_sent(message)["changes"])
        self.here.take_changes(self.plane, self.said[-1])

    async def changed(self) -> dict[str, Any]:
        """What was told since."""
        self.said.clear()
        assert await self.control.refresh()
        (said,) = self.said
        return said

    def obeys(self, secret: str) -> bool:
        with suppress(Refused):
            self.plane.keys.identify({b"x-api-key": secret.encode()}, now_s())
            return True
        return False


def _sent(message: Mapping[str, Any]) -> Any:
    return orjson.loads(orjson.dumps(message))


def state_of(plane: Plane) -> object:
    budgets = [(one, one.raises, one.overrides, one.keys) for one in plane.configured.budgets.budgets]
    return plane.keys._by_id, budgets


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield Told(engine, tmp_path / "data")
    engine.dispose()


@pytest.mark.parametrize("others", [9, pytest.param(10_000, marks=pytest.mark.long)])
async def test_only_what_has_changed_is_told_and_it_is_obeyed(told: Told, others: int) -> None:
    fill(told.engine, others)
    said = await told.changed()
    assert (len(said["keys"]), len(said["limits"])) == (others, others)
    old = told.plane.keys._by_id["key-1"]

    _, secret = keys.create_key(told.engine, "new", limits=keys.limits_named("new", "2", "month"))
    assert not told.obeys(secret)
    said = await told.changed()
    assert [len(said[part]) for part in ("keys", "keys_gone", "limits", "limits_gone")] == [1, 0, 1, 0]
    assert "raises" not in said
    assert told.obeys(secret)

    rotated = keys.rotate_key(told.engine, "new", grace_s=3600)
    assert rotated is not None
    said = await told.changed()
    assert [len(said[part]) for part in ("keys", "keys_gone", "limits", "limits_gone")] == [2, 0, 0, 0]
    assert told.obeys(secret)
    assert told.obeys(rotated[1])

    first = next(row["id"] for row in keys.list_keys(told.engine) if row["name"] == "new" and row["expires"])
    for key, of, gone in ((first, secret, 0), ("new", rotated[1], 1)):
        assert keys.revoke_key(told.engine, key)
        said = await told.changed()
        assert [len(said[part]) for part in ("keys", "keys_gone", "limits_gone")] == [0, 1, gone]
        assert not told.obeys(of)

    row = raises.make_raise(
        told.engine, told.control.budgets(told.config), raises.RaiseRequest("key:month", Decimal(3), "name-1"), now_s=now_s()
    )  # fmt: skip
    said = await told.changed()
    assert [len(said[part]) for part in ("keys", "keys_gone", "limits", "raises")] == [0, 0, 0, 1]
    limited = next(one for one in told.plane.configured.budgets.budgets if one.name == "key:month")
    assert limited.limit_for("name-1", now_s()) == 8_000_000_000
    raises.end_raise(told.engine, row["id"], now_s())
    assert (await told.changed())["raises"] == []
    # What did not change is the very same, so that nothing that is known of its calls is looked for again.
    assert told.plane.keys._by_id["key-1"] is old


def fill(engine: Engine, count: int) -> None:
    limit = '{"key":"name-%d","nanousd":5000000000,"window":"month","requests_a_minute":null,"tokens_a_minute":null,"live":true}'
    rows = [
        {"id": f"id-{number}", "key_id": f"key-{number}", "name": f"name-{number}", "created_at": number, "limits": limit % number}
        for number in range(count)
    ]  # fmt: skip
    with engine.begin() as connection:
        connection.execute(keys.keys.insert(), rows)


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_changes_a_data_plane_knows_what_one_does_that_comes(told: Told, seed: int) -> None:
    chance, names = random.Random(seed), [f"n{number}" for number in range(6)]
    for _ in range(25):
        for _ in range(chance.randrange(1, 4)):
            name, budget = chance.choice(names), chance.choice([None, "1", "2.5"])
            what = chance.randrange(5)
            with suppress(keys.KeyProblem):
                if what == 0:
                    limits = keys.limits_named(name, budget, chance.choice(["day", "month"]), chance.choice([None, 7]))
                    keys.create_key(told.engine, name, team=chance.choice([None, "t"]), limits=limits)
                elif what == 1:
                    keys.revoke_key(told.engine, name)
                elif what == 2:
                    keys.rotate_key(told.engine, name, grace_s=chance.choice([0, 60]))
            made = told.control.budgets(told.config)
            if what == 3:
                wanted = raises.RaiseRequest(chance.choice(made).name, Decimal(1))
                raises.make_raise(told.engine, made, wanted, now_s=now_s())
            elif what == 4 and (rows := raises.in_force(told.engine)):
                raises.end_raise(told.engine, chance.choice(rows)["id"], now_s())
        assert await told.control.refresh()
        comes, knows = build_plane(told.config, "data-1", {}, packaged_book()), Made()
        knows.take_all(comes, _sent(told.control.snapshot()))
        comes.spool.close()
        assert state_of(told.plane) == state_of(comes)
        fresh = Control(lambda: told.engine, told.said.append)
        fresh.begin()
        assert sorted(fresh.settings.keys, key=str) == sorted(told.control.settings.keys, key=str)


async def test_who_has_missed_a_change_is_told_all_on_another_connection(told: Told, tmp_path: Path) -> None:
    """Never on with a key that was revoked meanwhile."""
    _, secret = keys.create_key(told.engine, "one")
    await told.control.refresh()
    whole = asyncio.Event()

    def take(message: Mapping[str, Any]) -> None:
        if "changes" in message:
            told.here.take_changes(told.plane, message["changes"])
        else:
            told.here.take_all(told.plane, message)
            whole.set()

    async def first(_: str) -> Mapping[str, Any]:
        return told.control.snapshot()

    server = ControlServer(tmp_path / "control.sock", first)
    await server.start()
    link = DataPlaneLink(tmp_path / "control.sock", worker="data-0", on_snapshot=take, handlers={})
    linked = asyncio.create_task(link.run())
    await whole.wait()
    while not server.workers:
        await asyncio.sleep(0)
    told.control._push = lambda message: None  # which is lost
    keys.revoke_key(told.engine, "one")
    assert await told.control.refresh()
    assert told.obeys(secret)

    whole.clear()
    told.control._push = server.push
    keys.create_key(told.engine, "two")
    assert await told.control.refresh()
    async with asyncio.timeout(20):
        await whole.wait()
    assert not told.obeys(secret)
    linked.cancel()
    await asyncio.gather(linked, return_exceptions=True)
    await server.stop()


def test_a_change_to_what_is_not_known_is_not_taken(told: Told) -> None:
    nothing: dict[str, Any] = {"keys": [], "keys_gone": [], "limits": [], "limits_gone": []}
    with pytest.raises(MissedError):
        told.here.take_changes(told.plane, nothing | {"number": 2})
    early = Made()  # what is said before the ledger is open has no number
    early.take_all(told.plane, {"keys": [], "limits": [], "raises": []})
    with pytest.raises(MissedError):
        early.take_changes(told.plane, nothing | {"number": 1})
