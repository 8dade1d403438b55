"""Whatever a request asks for, what a provider that keeps its own rules can bill for it is within its ceiling."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.random_bills import MODELS, any_bill
from tests.attack.random_bodies import Tally
from tests.attack.random_dialects import LAWS, any_bill_of

EXAMPLES = 60


@pytest.mark.parametrize("provider", MODELS)
def test_no_bill_is_above_its_reservation(tmp_path: Path, provider: str) -> None:
    assert any_bill(tmp_path, EXAMPLES, Tally(), provider=provider, same=True) > EXAMPLES / 8


@pytest.mark.parametrize("api", LAWS)
def test_no_bill_of_another_api_is_above_its_reservation(tmp_path: Path, api: str) -> None:
    assert any_bill_of(tmp_path, EXAMPLES, Tally(), api=api, same=True) > EXAMPLES / 8
