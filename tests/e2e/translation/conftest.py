"""The gateway that translates, once for these files: its translator imports LiteLLM, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.translation_rig import Rig, translating


@pytest.fixture(scope="package")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with translating(tmp_path_factory.mktemp("translation")) as made:
        yield made
