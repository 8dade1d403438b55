"""A client's name for a model stands in each record of its call, so that it is bounded, whatever lets any name through."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flow.house import House

ANY = {"models": {"*": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000}}}


@pytest.mark.parametrize(("chars", "status"), [(2048, 200), (2049, 404), (9_000_000, 404)])
async def test_a_models_name_is_no_longer_than_any_model_s(tmp_path: Path, chars: int, status: int) -> None:
    house = House(tmp_path, **ANY)
    told = await house.ask(model="m" * chars)
    assert told.status == status
    assert house.kinds() == (["intent", "settle"] if status == 200 else [])
    assert len(told.body) < 5000
