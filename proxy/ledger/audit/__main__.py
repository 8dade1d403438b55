"""The audit as a process of its own, for a server: it reads for minutes, which the recorder beside it must not notice.

stdin: a line of JSON, `{"ledger": …, "spool": …}`; when it ends before we do, whoever asked is gone, and so are we.
stdout: a line `{"done": …, "whole": …}` now and then, and in the end `{"report": …}` or `{"failed": …}`.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from proxy.ledger.audit.verify import verify


def main() -> None:
    os.nice(10)
    question, answered = json.loads(sys.stdin.readline()), threading.Event()
    threading.Thread(target=_end_with_whoever_asked, args=(answered,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="taximeter-verify-") as scratch:
        try:
            answer: dict[str, Any] = {
                "report": asdict(verify(question["ledger"], Path(scratch), Path(question["spool"]), progress=_progress))
            }
        except SQLAlchemyError as error:
            answer = {"failed": f"the ledger database does not answer ({type(error).__name__})"}
        answered.set()
        _tell(answer)


def _end_with_whoever_asked(answered: threading.Event) -> None:
    while os.read(0, 1024):  # sys.stdin would be held when the interpreter ends
        pass
    if not answered.is_set():
        _thread.interrupt_main()


def _progress(done: int, whole: int) -> None:
    _tell({"done": done, "whole": whole})


def _tell(what: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
