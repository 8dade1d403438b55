"""The programs that people point at Taximeter, each with its pinned version and the settings that point it there.

A row's `command` gives the arguments, the environment, files for its home, and what it reads. `refused`: how many requests it
makes of itself when its budget is spent; `calls`: how many the task takes it, where that is not a call each step and one more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import ROOT

CLIENTS = ROOT / ".clients"
BIN = CLIENTS / "node_modules" / ".bin"
SCRIPTS = Path(__file__).parent / "scripts"
CHAT, RESPONSES, CLAUDE, GEMINI = "gpt-4o-mini", "gpt-5.4", "claude-sonnet-4-6", "gemini-3.8-flash"
SIDE_GEMINI = "gemini-3.5-flash-lite"
MODELS = {CHAT: "openai", RESPONSES: "openai", CLAUDE: "anthropic", GEMINI: "google", SIDE_GEMINI: "google"}


class At(NamedTuple):
    """Where to ask, with which key, for what."""

    url: str
    key: str
    task: str
    file: str


class Command(NamedTuple):
    arguments: list[str]
    env: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    stdin: str = ""


class Program(NamedTuple):
    name: str
    packages: tuple[str, ...]
    command: Callable[[At], Command]
    refused: int = 1
    calls: int = 7
    sessions: int = 1
    seconds: int = 120
    dialect: str = "chat"

    @property
    def venv(self) -> Path:
        return CLIENTS / "py" / self.packages[0].partition("==")[0].partition("[")[0]

    @property
    def version(self) -> str:
        return self.packages[0].rpartition("@" if self.is_npm else "==")[2]

    @property
    def is_npm(self) -> bool:
        return "==" not in self.packages[0]


def _script(name: str, package: str, *arguments: str) -> Callable[[At], Command]:
    """A framework's script, in the framework's own environment."""

    def command(at: At) -> Command:
        python = CLIENTS / "py" / package / "bin" / "python"
        env = {
            "URL": at.url,
            "KEY": at.key,
            "FILE": at.file,
            "PYTHONPATH": str(SCRIPTS),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return Command([str(python), str(SCRIPTS / name), *arguments], env)

    return command


def _node(script: str, *arguments: str) -> Callable[[At], Command]:
    """A script that finds its packages where it lies: in .clients."""

    def command(at: At) -> Command:
        lying = CLIENTS / script
        lying.write_text((SCRIPTS / script).read_text())
        return Command(["node", str(lying), *arguments], {"URL": at.url, "KEY": at.key, "FILE": at.file})

    return command


def claude_code(at: At) -> Command:
    program = CLIENTS / "python" / "claude_agent_sdk" / "_bundled" / "claude"
    env = {"ANTHROPIC_BASE_URL": at.url, "ANTHROPIC_API_KEY": at.key, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    return Command([str(program), "-p", at.task, "--model", CLAUDE], env)


def codex(at: At) -> Command:
    provider = f'model_providers.tm={{name="tm",base_url="{at.url}/v1",env_key="OPENAI_API_KEY",wire_api="responses"}}'
    options = ["--skip-git-repo-check", "-c", "model_provider=tm", "-c", provider, "-m", RESPONSES]
    return Command([str(BIN / "codex"), "exec", *options, at.task], {"OPENAI_API_KEY": at.key})


def _ai_sdk_config(at: At) -> str:
    options = {"baseURL": f"{at.url}/v1", "apiKey": at.key}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "tm", "options": options, "models": {CHAT: {}}}
    return json.dumps({"provider": {"tm": provider}, "autoupdate": False, "share": "disabled"})


def opencode(at: At) -> Command:
    return Command(
        [str(BIN / "opencode"), "run", "-m", f"tm/{CHAT}", at.task], {"OPENCODE_CONFIG_CONTENT": _ai_sdk_config(at)}
    )


def kilo(at: At) -> Command:
    env = {"KILO_CONFIG_CONTENT": _ai_sdk_config(at)}
    return Command([str(BIN / "kilo"), "run", "--auto", "-m", f"tm/{CHAT}", at.task], env)


def gemini_cli(at: At) -> Command:
    env = {"GOOGLE_GEMINI_BASE_URL": at.url, "GEMINI_API_KEY": at.key, "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}}
    files = {".gemini/settings.json": json.dumps(settings)}
    return Command([str(BIN / "gemini"), "-m", GEMINI, "--yolo", "-p", at.task], env, files)


def qwen_code(at: At) -> Command:
    env = {"OPENAI_BASE_URL": f"{at.url}/v1", "OPENAI_API_KEY": at.key, "OPENAI_MODEL": CHAT}
    return Command([str(BIN / "qwen"), "--auth-type", "openai", "--yolo", "-p", at.task], env)


def _pi(api: str, model: str) -> Callable[[At], Command]:
    def command(at: At) -> Command:
        base = at.url if api == "anthropic-messages" else f"{at.url}/v1"
        provider = {"baseUrl": base, "api": api, "apiKey": at.key, "models": [{"id": model}]}
        files = {".pi/agent/models.json": json.dumps({"providers": {"tm": provider}})}
        return Command(
            [str(BIN / "pi"), "--provider", "tm", "--model", model, "-p", at.task], {"PI_OFFLINE": "1"}, files
        )

    return command


def cline(at: At) -> Command:
    script = f'"$0" auth -p openai -b "{at.url}/v1" -k "$KEY" -m {CHAT} >/dev/null && exec "$0" "$1"'
    return Command(["sh", "-c", script, str(BIN / "cline"), at.task], {"KEY": at.key})


def continue_cn(at: At) -> Command:
    model = {"name": "tm", "provider": "openai", "model": CHAT, "apiBase": f"{at.url}/v1", "apiKey": at.key}
    config = {
        "name": "tm",
        "version": "1.0.0",
        "schema": "v1",
        "models": [model | {"roles": ["chat"], "capabilities": ["tool_use"]}],
    }
    return Command(
        [str(BIN / "cn"), "--config", "config.yaml", "--auto", "-p", at.task],
        {},
        {"../work/config.yaml": json.dumps(config)},
    )


def _copilot(kind: str, wire: str, model: str) -> Callable[[At], Command]:
    def command(at: At) -> Command:
        base = at.url if kind == "anthropic" else f"{at.url}/v1"
        env = {
            "COPILOT_PROVIDER_BASE_URL": base, "COPILOT_PROVIDER_API_KEY": at.key, "COPILOT_PROVIDER_TYPE": kind,
            "COPILOT_PROVIDER_WIRE_API": wire, "COPILOT_MODEL": model, "COPILOT_OFFLINE": "true",
        }  # fmt: skip
        return Command([str(BIN / "copilot"), "--allow-all-tools", "--allow-all-paths", "-p", at.task], env)

    return command


def _kimi(kind: str, model: str) -> Callable[[At], Command]:
    def command(at: At) -> Command:
        config = f'''default_model = "tm"
[models.tm]
provider = "tm"
model = "{model}"
max_context_size = 100000
[providers.tm]
type = "{kind}"
base_url = "{at.url}/v1"
api_key = "{at.key}"
'''
        return Command([str(BIN / "kimi"), "-p", at.task], {}, {".kimi-code/config.toml": config})

    return command


def aider(at: At) -> Command:
    """No tools: it is told six things, one after the other."""
    env = {"OPENAI_API_BASE": f"{at.url}/v1", "OPENAI_API_KEY": at.key, "AIDER_ANALYTICS": "false"}
    options = ["--model", f"openai/{CHAT}", "--yes-always", "--no-git", "--no-show-model-warnings", "--no-check-update"]
    options += ["--no-fancy-input", "--no-pretty", "--no-auto-commits", "--map-tokens", "0"]
    said = "".join(f"say number {number} FILE={at.file}\n" for number in range(7))
    return Command([str(CLIENTS / "py" / "aider-chat" / "bin" / "aider"), *options], env, {}, said)


def mini_swe_agent(at: At) -> Command:
    env = {
        "OPENAI_API_BASE": f"{at.url}/v1",
        "OPENAI_API_KEY": at.key,
        "MSWEA_CONFIGURED": "true",
        "MSWEA_SILENT_STARTUP": "1",
    }
    env |= {"MSWEA_COST_TRACKING": "ignore_errors", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    program = CLIENTS / "py" / "mini-swe-agent" / "bin" / "mini"
    return Command(
        [str(program), "--yolo", "--exit-immediately", "-m", f"openai/{CHAT}", "-t", at.task, "-o", "out.json"], env
    )


def llm(at: At) -> Command:
    models = (
        f"- model_id: tm\n  model_name: {CHAT}\n  api_base: {at.url}/v1\n  api_key_name: tm\n  supports_tools: true\n"
    )
    keys = json.dumps({"tm": at.key})
    files = {".config/io.datasette.llm/extra-openai-models.yaml": models, ".config/io.datasette.llm/keys.json": keys}
    function = 'def lookup(number: int) -> str:\n    "Look a number up"\n    return str(number * 11)\n'
    program = CLIENTS / "py" / "llm" / "bin" / "llm"
    return Command([str(program), "-m", "tm", "--functions", function, "--chain-limit", "20", at.task], {}, files)


PROGRAMS = (
    Program("Claude Code", ("claude-agent-sdk==0.2.189",), claude_code, dialect="messages"),
    Program("Codex", ("@openai/codex@0.171.0",), codex, dialect="responses"),
    Program("opencode", ("opencode-ai@1.18.33",), opencode, refused=2, calls=8),
    Program("Gemini CLI", ("@google/gemini-cli@0.61.0",), gemini_cli, dialect="gemini"),
    Program("Qwen Code", ("@qwen-code/qwen-code@0.24.4",), qwen_code),
    Program("pi", ("@earendil-works/pi-coding-agent@1.6.0",), _pi("openai-completions", CHAT)),
    Program("pi", ("@earendil-works/pi-coding-agent@1.6.0",), _pi("openai-responses", RESPONSES), dialect="responses"),
    Program("pi", ("@earendil-works/pi-coding-agent@1.6.0",), _pi("anthropic-messages", CLAUDE), dialect="messages"),
    Program("Cline", ("cline@3.0.65",), cline),
    Program("Kilo", ("@kilocode/cli@7.7.7",), kilo, seconds=300),
    Program("Continue", ("@continuedev/cli@1.5.47",), continue_cn),
    Program("Copilot", ("@github/copilot@1.0.102",), _copilot("openai", "completions", CHAT)),
    Program("Copilot", ("@github/copilot@1.0.102",), _copilot("openai", "responses", RESPONSES), dialect="responses"),
    Program("Copilot", ("@github/copilot@1.0.102",), _copilot("anthropic", "completions", CLAUDE), dialect="messages"),
    Program("Kimi Code", ("@moonshot-ai/kimi-code@2.1.0",), _kimi("openai", CHAT)),
    Program("Kimi Code", ("@moonshot-ai/kimi-code@2.1.0",), _kimi("openai_responses", RESPONSES), dialect="responses"),
    Program("aider", ("aider-chat==0.86.2",), aider, refused=7),  # a question each, refused once each
    Program("mini-swe-agent", ("mini-swe-agent==2.4.6",), mini_swe_agent, refused=6),
    Program("llm", ("llm==0.36",), llm),
    Program("LangGraph", ("langgraph==1.2.24", "langchain-openai==1.7.4", "langchain"), _script("run_langgraph.py", "langgraph")),
    Program("LangGraph", ("langgraph==1.2.24", "langchain-openai==1.7.4", "langchain"), _script("run_langgraph_responses.py", "langgraph"), dialect="responses"),
    Program("OpenAI Agents SDK", ("openai-agents==0.24.0",), _script("run_openai_agents.py", "openai-agents"), dialect="responses"),
    Program("pydantic-ai", ("pydantic-ai-slim[openai]==2.68.0",), _script("run_pydantic_ai.py", "pydantic-ai-slim"), dialect="responses"),
    Program("pydantic-ai", ("pydantic-ai-slim[openai]==2.68.0",), _script("run_pydantic_ai.py", "pydantic-ai-slim", "chat")),
    Program("smolagents", ("smolagents[openai]==1.26.0",), _script("run_smolagents.py", "smolagents")),
    Program("Strands", ("strands-agents[openai]==1.62.0",), _script("run_strands.py", "strands-agents")),
    Program("Agno", ("agno==3.1.10", "openai"), _script("run_agno.py", "agno")),
    Program("DSPy", ("dspy==3.4.1",), _script("run_dspy.py", "dspy"), calls=1),
    Program("Haystack", ("haystack-ai==3.4.1",), _script("run_haystack.py", "haystack-ai")),
    Program("LlamaIndex", ("llama-index-llms-openai==0.8.3", "llama-index-core"), _script("run_llama_index.py", "llama-index-llms-openai")),
    Program("AutoGen", ("autogen-ext[openai]==0.7.5", "autogen-agentchat"), _script("run_autogen.py", "autogen-ext")),
    Program("Instructor", ("instructor==1.17.0",), _script("run_instructor.py", "instructor"), calls=1),
    Program("Google ADK", ("google-adk==2.13.0", "litellm"), _script("run_google_adk.py", "google-adk"), dialect="gemini"),
    Program("Google ADK", ("google-adk==2.13.0", "litellm"), _script("run_google_adk.py", "google-adk", "litellm")),
    Program("CrewAI", ("crewai==1.15.30",), _script("run_crewai.py", "crewai"), refused=3),
    Program("Semantic Kernel", ("semantic-kernel==1.45.0",), _script("run_semantic_kernel.py", "semantic-kernel")),
    Program("AI SDK", ("ai@7.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/openai-compatible@3.0.92", "zod"), _node("run_ai_sdk.mjs"), dialect="responses"),
    Program("AI SDK", ("ai@7.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/openai-compatible@3.0.92", "zod"), _node("run_ai_sdk.mjs", "chat")),
)  # fmt: skip


def chosen(names: Sequence[str]) -> list[Program]:
    """Those whose name has one of these in it; all where none is given."""
    parts = [name.lower() for name in names]
    return [program for program in PROGRAMS if not parts or any(part in program.name.lower() for part in parts)]
