"""Other packages are compiled without docstrings and assertions, ours and Python's own with theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.house.source import ROOT

# From Python 3.15 on modules have no `__cached__`.
COMPILE = """
import annotated_types, served_bytecode
vars(annotated_types).pop("__cached__", None)
served_bytecode.SERVED = "annotated_types", "proxy.times"
served_bytecode.main()
"""
ASK = "import annotated_types, enum, proxy.times; print(*(bool(m.__doc__) for m in (annotated_types.GroupedMetadata, enum.Enum, proxy.times)))"


def test_only_other_packages_lose_their_docstrings(tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "",
    }

    def said(program: str) -> str:
        run = subprocess.run(
            [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True, timeout=60
        )
        return run.stdout.strip()

    assert said(ASK) == "True True True"
    said(COMPILE)
    assert said(ASK) == "False True True"
