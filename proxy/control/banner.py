"""What a person who starts Taximeter by hand is told: where it is, the key (once), and a line to paste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from proxy.config.model import Config
from proxy.processes.code import running_code


class Where(NamedTuple):
    """Where an instance serves, and by which configuration. The ports are those that were bound."""

    config: Config
    data_port: int
    admin_port: int

    def text(self, key: str | None) -> str:
        """For a person who started it by hand; `key` as of `banner`."""
        model = next((name for name in self.config.models if not name.endswith("*")), None)
        upstream = None if model is None else self.config.models[model].upstream
        return banner(
            data_url=self._data_url,
            admin_url=self._admin_url,
            model=model,
            key=key,
            ledger=self.config.ledger.removeprefix("sqlite:///"),
            dialect=first_dialect(self.config.upstreams[upstream].spoken(upstream) if upstream else ()),
        )

    def line(self, keys_made: int) -> str:
        """For the log. keys_made: those that the configuration does not have."""
        return running(data_url=self._data_url, admin_url=self._admin_url, keys=len(self.config.keys) + keys_made)

    @property
    def _data_url(self) -> str:
        return f"http://{host_in_url(self.config.server.host)}:{self.data_port}"

    @property
    def _admin_url(self) -> str:
        return f"http://{host_in_url(self.config.server.admin_host)}:{self.admin_port}"


def banner(
    *, data_url: str, admin_url: str, model: str | None, key: str | None, ledger: str, dialect: str = "openai"
) -> str:
    """The start-up text. `key` is only there at the very first start; later it cannot be shown again.

    model, dialect: what to try, and how it is asked.
    """
    shown = key or "<your key>"
    lines = [
        "",
        f"  Taximeter is running: {data_url}   page, API and metrics: {admin_url}",
        f"  Ledger: {ledger}   {running_code()}",
        "",
    ]
    if key:
        lines += ["  Your first key, shown this once (`taximeter keys create` makes more):", ""]
    else:
        lines += ["  Use the key that the first start showed, or make another: `taximeter keys create NAME`", ""]
    lines += [
        f"    export OPENAI_BASE_URL={data_url}/v1 OPENAI_API_KEY={shown}",
        f"    export ANTHROPIC_BASE_URL={data_url} ANTHROPIC_API_KEY={shown}",
        "",
    ]
    if model:
        path, body = _first_call(model, dialect)
        lines += [
            "  Try it:",
            "",
            f"    curl -i {data_url}{path} -H 'authorization: Bearer {shown}' \\",
            f"      -H 'content-type: application/json' -d '{body}'",
            "",
            "  What it cost: the x-taximeter-cost-usd header above, or `taximeter spend --by model`",
            "",
        ]
    return "\n".join(lines)


def _first_call(model: str, dialect: str) -> tuple[str, str]:
    """Path and body of a small call."""
    messages = '"messages": [{"role": "user", "content": "Say hi"}]'
    if dialect == "anthropic":
        return "/v1/messages", f'{{"model": "{model}", {messages}, "max_tokens": 20}}'
    if dialect == "gemini":
        body = '{"contents": [{"parts": [{"text": "Say hi"}]}], "generationConfig": {"maxOutputTokens": 200}}'
        return f"/v1beta/models/{model}:generateContent", body
    return "/v1/chat/completions", f'{{"model": "{model}", {messages}, "max_completion_tokens": 20}}'


def running(*, data_url: str, admin_url: str, keys: int) -> str:
    """One line for the log of a server with a configuration file."""
    known = (
        f"{keys} key{'' if keys == 1 else 's'}"
        if keys
        else "no key yet, so every call is refused: taximeter keys create NAME"
    )
    return f"Taximeter is running: {data_url}   page, API and metrics: {admin_url}   {known}   {running_code()}"


def host_in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def first_dialect(dialects: Sequence[str]) -> str:
    """The one to try first: most people know OpenAI's."""
    return "openai" if "openai" in dialects or not dialects else dialects[0]
