"""What somebody meant who asked for a path that is none: mostly a base URL has a part too many or too few, or the API is none
of those that are served."""

from __future__ import annotations

import re

from proxy.dialects import ENDPOINTS, MODELS_PATHS, find
from proxy.dialects.deployments import PREFIX

_MOST_PARTS = 12
_GEMINI = re.compile(
    r".*/models/[^/]+:(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)/?\Z"
)
_DEPLOYMENT = re.compile(r".*/deployments/[^/]+/")


def meant_path(path: str) -> str | None:
    """The path that is served and has the same end; None where nothing has. Never a word of the path itself."""
    if gemini := _GEMINI.match(path):
        return f"/v1beta/models/MODEL:{gemini[1]}"
    parts = [part for part in path.split("/") if part][-_MOST_PARTS:]
    for start in range(len(parts)):
        end = "/" + "/".join(parts[start:])
        for known in (f"/v1{end}", end):
            if known in ENDPOINTS or known in MODELS_PATHS:
                deployed = f"{PREFIX}MODEL{end}"
                return deployed if _DEPLOYMENT.match(path) and find("POST", deployed, b"") else known
    return None


_OTHER_APIS = {
    r"/api/(?:chat|generate|embed|embeddings|tags|show|ps|version|pull)": "Ollama's own API is not served. Ask by its OpenAI "
    "API, with a base URL that ends in /v1: /v1/chat/completions, /v1/embeddings.",
    r"/v[12]/(?:chat|embed|generate|classify|summarize)": "Cohere's own API is not served. Ask by its OpenAI API, with a "
    "base URL that ends in /v1: /v1/chat/completions, /v1/embeddings.",
    r"(?:/v1)?/(?:de)?tokenize": "Tokens are counted by /v1/responses/input_tokens, /v1/messages/count_tokens and Gemini's "
    ":countTokens, each where the model's upstream has it.",
    r".*/publishers/[^/]+/models/[^/]+:\w+": "Vertex AI's own paths are not served. Ask by the model's own SDK (Anthropic, or "
    "google-genai with an API key), with a base URL that ends with the port.",
    r"(?:/openai)?(?:/v1)?/(?:assistants|threads|vector_stores|conversations|containers|uploads|fine_tuning|evals|graders|skills"
    r"|chatkit|organization|chat/completions|fim|ocr|agents|libraries)(?:/.*)?": "What this API costs is not metered here, so "
    "nothing is passed on to it.",
}  # fmt: skip
_OTHERS = tuple((re.compile(rf"{pattern}/?\Z"), advice) for pattern, advice in _OTHER_APIS.items())


def other_api(path: str) -> str | None:
    """What to do where a path is of an API that is not served; None where it is of none that is known."""
    return next((advice for pattern, advice in _OTHERS if pattern.match(path)), None)
