"""The translator beside LiteLLM as it is: `python -m tests.support.beside_litellm FOLDER PORT OTHER`, each port that of a
`tests.support.clouds`.

LiteLLM, which takes seconds to import, is imported once. One fork has it before anything of it is replaced: it says which of
the names that are replaced are there as they are expected to be (`names.json`), and makes its calls through the plain library
(`plain`). Another asks for odd streams (`streams`), and the process itself makes the same calls as the first (`ours`).
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from proxy.translate import hook, internals, sdk
from proxy.translate.adapter import Adapter
from proxy.translate.internals import REPLACED, owner_of
from proxy.translate.runs import Run
from tests.support.odd_streams import Provider, streamed
from tests.support.translated_calls import called

EVERY = os.environ.get("TRANSLATION") == "all"
_AWAITED = ("_nothing_later", "_put_together_at_once", "_ended_once", "_signed_at_once")
_OF_A_STREAM = ("chunks", "sent_last_chunk", "sent_stream_usage", "send_stream_usage", "stream_options")


def names() -> dict[str, list[str]]:
    """What LiteLLM has not, or not as it is replaced; it must not have been replaced by then."""
    stream = owner_of("litellm.litellm_core_utils.streaming_handler:CustomStreamWrapper")
    started = inspect.getsource(stream.__init__)
    rows = [
        (f"{row.owner}.{row.name}", getattr(owner_of(row.owner), row.name, None), row.by.__name__) for row in REPLACED
    ]
    awaited = {name for name, value, _ in rows if inspect.iscoroutinefunction(value)}
    return {
        "lost": [name for name, value, _ in rows if not callable(value)],
        "bare": [name for name, value, by in rows if by == "_undecorated" and not hasattr(value, "__wrapped__")],
        "not awaited": [name for name, _, by in rows if by in _AWAITED and name not in awaited],
        "awaited": [name for name, _, by in rows if by not in (*_AWAITED, "_undecorated") and name in awaited],
        "not of a stream": [name for name in _OF_A_STREAM if f"self.{name}" not in started]
        + [name for name in ("_build_complete_streaming_response", "aclose") if not hasattr(stream, name)],
    }


def _plain_one() -> None:
    """Nothing of LiteLLM is to be replaced in this process, and nothing passes it by."""
    internals.REPLACED = tuple(row for row in REPLACED if row.name == "supports_native_streaming")
    sdk.install = lambda: None
    Run.event = lambda *_: None  # type: ignore[method-assign]


def _forked(work: Callable[[], Any]) -> int:
    """The process id of a fork that does this and ends, with 1 where it failed."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(folder: Path, port: int, other: int) -> int:
    """0 where all of it could be run."""
    forks: list[int] = []
    install = internals.install
    plain = False

    def forked_first() -> None:
        nonlocal plain
        pid = os.fork()
        if pid:
            forks.append(pid)
        else:
            plain = True
            (folder / "names.json").write_text(json.dumps(names()))
            _plain_one()
        install()

    internals.install = forked_first
    provider = Provider()
    hook.quicker = provider.beside
    adapter = Adapter(os.environ)
    if plain:
        uvloop.run(called(adapter, other, folder / "plain", every=EVERY))
        return 0
    forks.append(_forked(lambda: uvloop.run(streamed(adapter, provider, folder / "streams"))))
    uvloop.run(called(adapter, port, folder / "ours", every=EVERY))
    return max(os.waitpid(pid, 0)[1] != 0 for pid in forks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
