"""The SDKs when the money ends, with all the retries that they make of themselves: one request, and our message."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anthropic
import openai
import pytest

from tests.agents.rig import BUDGET, CHAT_MODEL, CLAUDE_MODEL, GPT_MODEL, POOR_KEY, AgentRig, running
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentRig]:
    with running(tmp_path_factory.mktemp("sdks")) as made:
        yield made


def openai_chat(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=POOR_KEY) as client:
        client.chat.completions.create(model=CHAT_MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=500)


def openai_responses(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=POOR_KEY) as client:
        client.responses.create(model=GPT_MODEL, input="hi", max_output_tokens=500)


def anthropic_messages(url: str) -> None:
    with anthropic.Anthropic(base_url=url, api_key=POOR_KEY) as client:
        client.messages.create(model=CLAUDE_MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=500)


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (openai_chat, lambda: openai.APIStatusError),
        (openai_responses, lambda: openai.APIStatusError),
        (anthropic_messages, lambda: anthropic.APIStatusError),
    ],
)
def test_an_sdk_gives_up_at_once_and_says_why(
    rig: AgentRig,
    ask: Callable[[str], None],
    error: Callable[[], type[openai.APIStatusError | anthropic.APIStatusError]],
) -> None:
    before = rig.refusals()
    with pytest.raises(error()) as told:
        ask(rig.url)
    assert told.value.status_code == 402
    assert f"Budget {BUDGET}" in str(told.value)
    assert eventually(rig.refusals, lambda now: now > before) - before == 1
