"""Which reader reads which dialect: one line each."""

from __future__ import annotations

from proxy.meters import openai
from proxy.meters.reader import Reader

_READERS: dict[str, Reader] = {
    one.dialect: one
    for one in (
        openai.chat,
        openai.completions,
        openai.embeddings,
    )
}


def reader(dialect: str | None, provider: str = "", endpoint: str = "") -> Reader:
    """The reader of `dialect` (a `.stream` suffix makes no difference).

    Raises LookupError, naming the dialect, if there is none.
    """
    name = (dialect or "").removesuffix(".stream")
    if found := _READERS.get(name):
        return found
    raise LookupError(f"no reader for dialect {dialect!r} (provider {provider!r}, endpoint {endpoint!r})")
