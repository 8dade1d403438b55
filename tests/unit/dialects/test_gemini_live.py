"""The set-up of a spoken session is read as strictly as a call: what it refers to is nobody's here."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.dialects.gemini_live import parse_setup
from proxy.errors import Refused


@pytest.mark.parametrize(
    "fields",
    [
        {"cachedContent": "cachedContents/a"},
        {"cached_content": "cachedContents/a"},
        {"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}}]},
    ],
)
def test_what_is_stored_is_nobodys_in_a_session(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        parse_setup(orjson.dumps({"setup": {"model": "models/gemini-live", **fields}}))
    assert refused.value.refusal.status == 404


def test_an_ordinary_set_up_is_taken() -> None:
    raw = orjson.dumps({"setup": {"model": "models/gemini-live", "generationConfig": {"responseModalities": ["TEXT"]}}})
    assert parse_setup(raw).model == "gemini-live"
