"""What a model that is not there is told: a name much like it, of those that the key may use."""

from __future__ import annotations

import pytest

from proxy.access.routes import Router
from proxy.config.model import Model
from proxy.config.upstream import Upstream
from proxy.errors import Refused
from proxy.types import Identity

ROUTER = Router(
    {name: Model(upstream="local") for name in ("smollm2-135m", "Claude-Sonnet", "secret-sonnet", "gpt-*")},
    {"local": Upstream(base_url="http://127.0.0.1:1")},
)


def told(model: str, models: tuple[str, ...] | None = None) -> str:
    with pytest.raises(Refused) as refused:
        ROUTER.route(model, Identity("1", "a", models=models))
    return refused.value.refusal.message


@pytest.mark.parametrize(
    ("model", "meant"),
    [("smollm2-135M", "smollm2-135m"), ("smollm2_135m", "smollm2-135m"), ("claude-sonet", "Claude-Sonnet")],
)
def test_a_mistyped_name_is_answered_with_the_one_that_was_meant(model: str, meant: str) -> None:
    assert f"{model} does not exist here, or this key may not use it; did you mean {meant}? `GET" in told(model)


@pytest.mark.parametrize("model", ["whisper", "gp", "", "smollm2-135m" * 20])
def test_what_is_like_nothing_has_no_such_answer(model: str) -> None:
    assert "did you mean" not in told(model)


def test_a_model_that_the_key_may_not_use_is_not_told() -> None:
    assert "secret-sonnet" in told("secret-sonet")
    assert "secret-sonnet" not in told("secret-sonet", models=("smollm2-135m",)).replace("secret-sonet", "")
    assert "did you mean" not in told("secret-sonnet", models=("smollm2-135m",))
