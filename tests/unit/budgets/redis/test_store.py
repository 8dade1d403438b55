"""What a data plane says of a reservation that Redis did not answer for."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import StoreUnavailable, Unanswered
from proxy.types import Claim

CLAIM = Claim("b", "", 0, None, 1000, 10, "usd")


async def test_who_was_asked_and_did_not_answer_may_have_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisStore("redis://127.0.0.1:1", deadline_s=1)
    owed: list[Any] = []

    async def silent(*_: object, **__: object) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(store.member, "call", silent)
    monkeypatch.setattr(store.member, "owe", lambda *words: owed.append(words[1:]))
    store.member.ready.set()
    with pytest.raises(Unanswered):
        await store.reserve("r", (CLAIM,), 0.0, 60.0)
    assert owed == [("release", "r")]


async def test_who_could_not_be_asked_has_reserved_nothing() -> None:
    store = RedisStore("redis://127.0.0.1:1", deadline_s=1)
    with pytest.raises(StoreUnavailable) as raised:
        await store.reserve("r", (CLAIM,), 0.0, 60.0)
    assert not isinstance(raised.value, Unanswered)
