"""The path that somebody meant who asked for one that is none: mostly a base URL with a part too many, or one too few."""

from __future__ import annotations

import re

from proxy.dialects import ENDPOINTS, MODELS_PATHS

_MOST_PARTS = 12
_GEMINI = re.compile(
    r".*/models/[^/]+:(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)/?\Z"
)


def meant_path(path: str) -> str | None:
    """The path that is served and has the same end; None where nothing has. Never a word of the path itself."""
    if gemini := _GEMINI.match(path):
        return f"/v1beta/models/MODEL:{gemini[1]}"
    parts = [part for part in path.split("/") if part][-_MOST_PARTS:]
    for start in range(len(parts)):
        end = "/" + "/".join(parts[start:])
        for known in (f"/v1{end}", end):
            if known in ENDPOINTS or known in MODELS_PATHS:
                return known
    return None
