"""The same calls through Taximeter and through LiteLLM's own proxy, before fakes of the providers that keep a bill of their own:

    python -m tests.support.two_bills

Prints a table: what the provider charged, what each gateway says that the call cost. Both have the same prices, those of the fakes,
LiteLLM by its own fields for them (`input_cost_per_token` and the like), its cost from its own callback. LiteLLM gets an
environment of its own (bench/tools.py); it is not needed by any test.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench import tools
from bench.machine import Process, free_ports
from bench.translate import LITELLM, litellm_program
from tests.support import clouds
from tests.support.translation_rig import KEY, MODELS, Rig, translating

_PATHS = {"chat": "chat/completions", "responses": "responses", "messages": "messages"}
_NATIVE = {("chat", "openai"), ("messages", "anthropic"), ("responses", "openai")}
_PRICES = {
    "input_cost_per_token": 1e-6, "cache_read_input_token_cost": 1e-7, "cache_creation_input_token_cost": 1.25e-6,
    "cache_creation_input_token_cost_above_1hr": 2e-6, "output_cost_per_token": 1e-5,
}  # fmt: skip
_CALLBACK = """
import json, os
from litellm.integrations.custom_logger import CustomLogger

class Costs(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        with open(os.environ["TWO_BILLS_COSTS"], "a") as file:
            file.write(json.dumps({"cost": kwargs.get("response_cost")}) + "\\n")

costs = Costs()
"""
_KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "whole": ("Hi", {}),
    "stream": ("Hi", {"stream": True}),
    "stream, include_usage": ("Hi", {"stream": True, "stream_options": {"include_usage": True}}),
    "thoughts": ("THINK", {}),
    "hang-up": ("ENDLESS", {"stream": True}),
}
_THINKING: Mapping[str, dict[str, Any]] = {
    "chat": {"reasoning_effort": "low"},
    "responses": {"reasoning": {"effort": "low"}},
    "messages": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
}


def body_of(caller: str, provider: str, kind: str) -> dict[str, Any]:
    said, more = _KINDS[kind]
    body: dict[str, Any] = {"model": provider}
    if caller == "responses":
        body |= {"input": said, "max_output_tokens": 4000}
    else:
        body |= {"messages": [{"role": "user", "content": said}], "max_tokens": 4000}
    return body | more | (_THINKING[caller] if kind == "thoughts" else {})


def cases() -> Iterator[tuple[str, str, str]]:
    for provider in MODELS:
        for caller in _PATHS:
            for kind in _KINDS:
                if (caller, provider) not in _NATIVE and not (kind == "stream, include_usage" and caller != "chat"):
                    yield caller, provider, kind


@contextmanager
def litellm_proxy(folder: Path, port: int, account: str) -> Iterator[tuple[str, Path]]:
    """Its URL, and the file that its costs come to."""
    base, [own] = f"http://127.0.0.1:{port}", free_ports(1)
    google = f"{base}/vertex/v1/projects/p/locations/global/publishers"
    aws = {
        "aws_region_name": clouds.AWS_REGION, "aws_access_key_id": clouds.AWS_KEY, "aws_secret_access_key": clouds.AWS_SECRET,
    }  # fmt: skip
    vertex = {"vertex_project": "p", "vertex_location": "global", "vertex_credentials": account}
    key = {"api_key": clouds.KEY}
    rows: dict[str, dict[str, Any]] = {
        "anthropic": {"model": f"anthropic/{MODELS['anthropic']}", "api_base": f"{base}/anthropic"} | key,
        "openai": {"model": f"openai/{MODELS['openai']}", "api_base": f"{base}/openai/v1"} | key,
        "bedrock": {"model": f"bedrock/{MODELS['bedrock']}", "aws_bedrock_runtime_endpoint": f"{base}/bedrock"} | aws,
        "bedrock-invoke": {
            "model": f"bedrock/invoke/{MODELS['bedrock-invoke']}", "aws_bedrock_runtime_endpoint": f"{base}/bedrock-invoke",
        } | aws,
        "vertex": {"model": f"vertex_ai/{MODELS['vertex']}", "api_base": f"{google}/google/models/gemini-2.5-flash"} | vertex,
        "vertex-claude": {
            "model": f"vertex_ai/{MODELS['vertex-claude']}",
            "api_base": f"{base}/vertex-claude/v1/projects/p/locations/global/publishers/anthropic/models/claude",
        } | vertex,
        "azure": {"model": "azure/our-mini", "api_base": f"{base}/azure", "api_version": clouds.API_VERSION} | key,
        "gemini": {"model": f"gemini/{MODELS['gemini']}", "api_base": f"{base}/gemini/v1beta"} | key,
        "mistral": {"model": f"mistral/{MODELS['mistral']}", "api_base": f"{base}/mistral/v1"} | key,
        "cohere": {"model": f"cohere_chat/{MODELS['cohere']}", "api_base": f"{base}/cohere/v2/chat"} | key,
    }  # fmt: skip
    (folder / "costs.py").write_text(_CALLBACK)
    (folder / "litellm.yaml").write_text(yaml.safe_dump({
        "model_list": [{"model_name": name, "litellm_params": row | _PRICES} for name, row in rows.items()],
        "general_settings": {"master_key": KEY},
        "router_settings": {"num_retries": 0},
        "litellm_settings": {
            "callbacks": "costs.costs", "drop_params": True, "use_chat_completions_url_for_anthropic_messages": True,
        },
    }))  # fmt: skip
    told = folder / "costs.jsonl"
    told.touch()
    command = [
        str(litellm_program()),
        "--config",
        str(folder / "litellm.yaml"),
        "--host",
        "127.0.0.1",
        "--port",
        str(own),
    ]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "TWO_BILLS_COSTS": str(told)}
    process = Process(command, core=0, log=folder / "litellm.log", env=env, cwd=folder)
    try:
        for _ in range(1200):
            try:
                httpx.get(f"http://127.0.0.1:{own}/health/liveliness", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{own}", told
    finally:
        process.stop()


class Asked:
    """One gateway's answers, and what it says that each cost, in nano-dollars; None where it says nothing."""

    def __init__(self, rig: Rig, litellm: str, told: Path) -> None:
        self._rig, self._litellm, self._told = rig, litellm, told

    def ours(self, caller: str, body: dict[str, Any]) -> tuple[int, float | None]:
        status, headers = self._ask(self._rig.gateway.url, caller, body)
        if "x-taximeter-request-id" not in headers:
            return status, None
        return status, float(self._rig.entry(headers["x-taximeter-request-id"])["cost_usd"] or 0) * 1e9

    def theirs(self, caller: str, body: dict[str, Any]) -> tuple[int, float | None]:
        before = len(self._told.read_text().splitlines())
        status, _ = self._ask(self._litellm, caller, body)
        for _ in range(60):
            lines = self._told.read_text().splitlines()[before:]
            if lines:
                costs = [json.loads(line)["cost"] for line in lines]
                return status, sum(cost or 0 for cost in costs) * 1e9
            time.sleep(0.05)
        return status, None

    def _ask(self, url: str, caller: str, body: dict[str, Any]) -> tuple[int, httpx.Headers]:
        headers = {"authorization": f"Bearer {KEY}"}
        status, seen = 0, httpx.Headers()  # of one that does not answer
        with contextlib.suppress(httpx.HTTPError):
            address = f"{url}/v1/{_PATHS[caller]}"
            with httpx.stream("POST", address, json=body, headers=headers, timeout=30) as answer:
                status, seen = answer.status_code, answer.headers
                for _ in answer.iter_bytes():
                    if "ENDLESS" in json.dumps(body):
                        break
        return status, seen

    def bill(self, provider: str) -> tuple[int, int]:
        row = self._rig.bill().get(provider, {"nanousd": 0, "hung_up": 0})
        return row["nanousd"], row["hung_up"]


def main() -> None:
    answered, right = {"ours": 0, "theirs": 0}, {"ours": 0, "theirs": 0}
    count = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "litellm").mkdir()
        with translating(folder) as rig:
            account = rig.account
            with litellm_proxy(folder / "litellm", rig.port, account) as (url, told):
                asked = Asked(rig, url, told)
                for caller, provider, kind in cases():
                    cells = []
                    count += 1
                    for who, ask in (("ours", asked.ours), ("theirs", asked.theirs)):
                        before = asked.bill(provider)
                        status, cost = ask(caller, body_of(caller, provider, kind))
                        time.sleep(0.3 if kind == "hang-up" else 0)
                        billed, hung_up = (now - then for now, then in zip(asked.bill(provider), before, strict=True))
                        is_right = bool(hung_up) if kind == "hang-up" else round(cost or 0) == billed
                        good = status == 200 and is_right
                        answered[who] += status == 200
                        right[who] += good
                        said = "–" if cost is None else f"{cost / 1000:g}"
                        wanted = "hang-up seen" if hung_up else f"bill {billed / 1000:g}"
                        cells.append(f"{'' if good else '**'}{status}: {said} ({wanted}){'' if good else '**'}")
                    print(f"| {caller} | {provider} | {kind} | {' | '.join(cells)} |", flush=True)
    version = tools.version(litellm_program(), "litellm")
    print(
        f"of {count}: Taximeter answered {answered['ours']} and was right in {right['ours']}, {LITELLM} ({version}) "
        f"{answered['theirs']} and {right['theirs']}"
    )


if __name__ == "__main__":
    main()
