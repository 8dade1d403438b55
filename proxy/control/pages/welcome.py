"""The first run: an empty ledger says what to do, with lines to paste and a button that sends a test call."""

from __future__ import annotations

import http.client
import json
import logging
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.config.model import Config
from proxy.control.banner import first_dialect, host_in_url
from proxy.control.pages import view
from proxy.control.pages.page import Action, PageContent, PageRequest
from proxy.ids import Ids
from proxy.ledger.planes import keys as ledger_keys

log = logging.getLogger("taximeter.page")

_TIMEOUT_S = 60
_KEY_LIFE = timedelta(minutes=5)
_MOST_ANSWER_BYTES = 64 * 1024
_HEADERS = ("x-taximeter-cost-usd", "x-taximeter-request-id", "x-taximeter-budget-remaining-usd")


def show(request: PageRequest, trial: dict[str, Any] | None = None) -> PageContent:
    """What to paste where; trial: how a test call went."""
    config = request.state.config()
    url = data_url(config)
    values = {
        "url": url,
        "model": _model(config),
        "trial": trial,
        "has_key": bool(config.keys) or bool(ledger_keys.list_keys(request.state.engine)),
        "recipes": recipes(url, _model(config) or "MODEL"),
        "live": False,
    }
    return PageContent("welcome", "Welcome", values)


def data_url(config: Config) -> str:
    """Where clients find the data plane, as seen from this machine."""
    host = config.server.host
    return f"http://{host_in_url('127.0.0.1' if host in ('0.0.0.0', '::') else host)}:{config.server.port}"  # noqa: S104 - compared


def recipes(url: str, model: str) -> list[tuple[str, str]]:
    """(program, lines to paste), with YOUR_KEY for the key."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Say hi"}]})
    headers = "-H 'authorization: Bearer YOUR_KEY' -H 'content-type: application/json'"
    curl = f"curl {url}/v1/chat/completions {headers} -d '{body}'"
    return [
        ("Python, openai", f'client = OpenAI(base_url="{url}/v1", api_key="YOUR_KEY")'),
        ("Python, anthropic", f'client = Anthropic(base_url="{url}", api_key="YOUR_KEY")'),
        ("Claude Code", f"ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN=YOUR_KEY claude"),
        ("Codex", f"OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY=YOUR_KEY codex"),
        ("Gemini CLI", f"GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY=YOUR_KEY gemini"),
        ("aider", f"OPENAI_API_BASE={url}/v1 OPENAI_API_KEY=YOUR_KEY aider --model openai/{model}"),
        ("curl", curl),
    ]


def _model(config: Config) -> str | None:
    """A model that OpenAI's chat dialect reaches and whose name is no pattern."""
    for name, model in config.models.items():
        upstream = config.upstreams.get(model.upstream)
        if "*" not in name and upstream is not None and first_dialect(upstream.dialects or ()) == "openai":
            return name
    return None


# The test call


def _test(request: PageRequest) -> PageContent:
    """Send one small call through the data plane, with a key of its own that ends in five minutes."""
    config = request.state.config()
    model = _model(config)
    if model is None:
        return show(request, {"problem": "No model with a name of its own speaks OpenAI's chat dialect here."})
    engine = request.state.engine
    ends = datetime.now(UTC) + _KEY_LIFE
    key, secret = ledger_keys.create_key(engine, f"test call {Ids().new(request.now_us)[-6:]}", expires=ends)
    request.state.wait(request.state.refresh())
    try:
        return show(request, _call(data_url(config), secret, model))
    finally:
        ledger_keys.revoke_key(engine, key["id"])
        request.state.wait(request.state.refresh())


def _call(url: str, secret: str, model: str) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "Say hi."}], "max_completion_tokens": 20}
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)  # noqa: S310 - our own data plane
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
            headers = {name.lower(): value for name, value in answer.headers.items()}
            status, text = answer.status, answer.read(_MOST_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return {"problem": f"It was answered {error.code}: {_message(error.read(_MOST_ANSWER_BYTES))}"}
    except (OSError, http.client.HTTPException) as error:
        return {"problem": f"The data plane at {url} cannot be reached ({type(error).__name__})."}
    return {
        "status": status,
        "model": model,
        "headers": [(name, headers[name]) for name in _HEADERS if name in headers],
        "text": view.clip(_said(text)),
    }


def _message(body: bytes) -> str:
    try:
        return view.clip(str(json.loads(body)["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        return "no reason was given"


def _said(body: bytes) -> str:
    try:
        return str(json.loads(body)["choices"][0]["message"]["content"] or "")
    except (ValueError, KeyError, TypeError, IndexError):
        return ""


ACTIONS = (Action("/test-call", _test),)
