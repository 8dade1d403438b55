"""What a refused client is told, by the kind of client that it is: what makes each stop, as docs/clients.md has it."""

from __future__ import annotations

import pytest

from proxy.budgets.refusals import exceeded
from proxy.budgets.store import Standing
from proxy.errors import Refusal

NOW = 1_000_000.0


def refused(client: str, status: int = 402, measure: str = "usd") -> Refusal:
    standing = Standing("b", "", 0, int(NOW) + 60, measure, limit=10**9, spent=10**9, reserved=0)
    return exceeded(standing, 5 * 10**9, NOW, client=client, status=status)


@pytest.mark.parametrize("client", ["openai-python", "litellm"])
def test_aider_s_words_are_told_to_whoever_may_be_aider(client: str) -> None:
    """aider/exceptions.py of 0.86.2: no more tries where `insufficient credits` and `"code":402` are in the error's text."""
    text = refused(client).message.lower()

    assert "insufficient credits" in text
    assert '"code":402' in text
    assert text.startswith("budget b: $0 of $1 left")


@pytest.mark.parametrize("client", ["claude-code", "openai-node", "opencode", "curl", "other", "codex"])
def test_others_are_told_no_more_than_is_so(client: str) -> None:
    assert "insufficient credits" not in refused(client).message


def test_another_status_is_not_called_402() -> None:
    assert '"code":402' not in refused("openai-python", status=429).message


def test_codex_gets_the_limit_that_it_understands() -> None:
    refusal = refused("codex")

    assert (refusal.status, refusal.code, refusal.detail) == (429, "usage_limit_reached", {"resets_at": int(NOW) + 60})


@pytest.mark.parametrize(
    ("seconds", "kind"), [(60, "rate_limit_exceeded"), (61, "insufficient_quota"), (None, "insufficient_quota")]
)
def test_a_limit_that_no_client_should_wait_for_is_told_as_a_quota(seconds: int | None, kind: str) -> None:
    """async-openai 0.43 (`middleware/retry/openai.rs`) sleeps for as long as `Retry-After` says at any 429 of another type."""
    end = None if seconds is None else NOW + seconds
    standing = Standing("b", "", 0, end if end is None else int(end), "requests", limit=1, spent=1, reserved=0)
    refusal = exceeded(standing, 1, NOW, client="other", status=402)

    assert (refusal.status, refusal.code, refusal.kind) == (429, "rate_limit_exceeded", kind)
    assert refusal.final is (kind == "insufficient_quota")
