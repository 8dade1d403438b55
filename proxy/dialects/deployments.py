"""Azure's way to ask OpenAI's API: `/openai/deployments/{deployment}/chat/completions?api-version=…`. The path names the model.

As at Azure, the path's name goes before the body's, which may be missing. Here it is one of the names under `models`, whoever
serves it (learn.microsoft.com/azure/ai-foundry/openai/reference; openai SDK 3.57: its client for Azure).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from proxy.types import Call
from proxy.wire.multipart import Part

PREFIX = "/openai/deployments/"


class ParseNamed(Protocol):
    """Parses a body that is for `model`, whatever it says itself."""

    def __call__(self, raw: bytes, *, model: str) -> Call: ...


def deployment_in(path: str, asked: Container[str]) -> tuple[str, str] | None:
    """The deployment in a path that begins with `PREFIX`, whose name may have slashes, and what is asked of it, one of `asked`
    (`/chat/completions`); None where it is none of them."""
    for parts in (2, 1):
        name, *end = path.removeprefix(PREFIX).rsplit("/", parts)
        operation = "/" + "/".join(end)
        if operation in asked:
            return (name, operation) if name else None
    return None


def parse_for(model: str, parse: ParseNamed, raw: bytes) -> Call:
    """What a body asks of the model that its path names. Raises `Refused`."""
    call = parse(raw, model=model)
    form = call.form
    if form is None:
        return call._replace(body={**call.body, "model": model})
    if any(part.name == "model" for part in form.parts):
        return call
    return call._replace(form=form._replace(parts=(Part("model", model.encode()), *form.parts)))
