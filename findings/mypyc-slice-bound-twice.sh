#!/bin/sh
# mypyc 2.4.1: what stands in the bounds of a slice is evaluated twice, where mypyc has no quick way to slice such an object.
#
# `data = data[os.write(fd, data):]` with a memoryview writes all of it twice once it is compiled, and nothing is said. For a slice
# without a step whose bounds, as many as are given, are ints to mypyc, `try_gen_slice_op` (mypyc/irbuild/expression.py) makes the code of
# both bounds first, then looks whether the object is a list, tuple, str or bytes, and returns None where it is not; the slice
# is made in the ordinary way then, with its bounds once more. So it is a memoryview, a bytearray, an Any, a Sequence, a class of one's
# own, and any other object whose `[a:b]` is read. Once is it where a bound is an Any, where there is a step, where something is assigned
# to the slice, and where it is deleted.
# Seen: how often a counter in the bounds is called, by form: twice as often compiled in the first, as often in the others.
# Exits 0 while this is so, 1 when it has changed. It needs a C compiler and Python's headers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'mypy[mypyc]==2.4.1'
cat >"$folder/compare.py" <<'PYTHON'
import importlib.util
import subprocess
import sys
from pathlib import Path

HEAD = """from collections.abc import Sequence
from typing import Any

calls = 0


def count() -> int:
    global calls
    calls += 1
    return 1


def of_any_type() -> Any:
    return count()


class Own:
    def __getitem__(self, key: slice) -> int:
        return 0
"""
TWICE = [
    ("memoryview", "memoryview(b'abc')", "kept = data[count():]"),
    ("memoryview", "memoryview(b'abc')", "kept = data[:count()]"),
    ("memoryview", "memoryview(b'abc')", "kept = data[count():count() + 1]"),
    ("bytearray", "bytearray(b'abc')", "kept = data[count():]"),
    ("Any", "b'abc'", "kept = data[count():]"),
    ("Sequence[int]", "[1, 2, 3]", "kept = data[count():]"),
    ("Own", "Own()", "kept = data[count():]"),
]
ONCE = [
    *[(kind, value, "kept = data[count():]") for kind, value in (
        ("list[int]", "[1, 2, 3]"), ("tuple[int, ...]", "(1, 2, 3)"), ("str", "'abc'"), ("bytes", "b'abc'"))],
    ("memoryview", "memoryview(b'abc')", "kept = data[of_any_type():]"),
    ("memoryview", "memoryview(b'abc')", "kept = data[count()::1]"),
    ("bytearray", "bytearray(b'abc')", "data[count():] = b'x'"),
    ("bytearray", "bytearray(b'abc')", "del data[count():]"),
]
FORMS = [*TWICE, *ONCE]


def counted(file):
    """How often each form calls the counter."""
    spec = importlib.util.spec_from_file_location("forms", file)
    forms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(forms)
    found = []
    for number, (_, value, _) in enumerate(FORMS):
        before = forms.calls
        getattr(forms, f"form_{number}")(eval(value, vars(forms)))
        found.append(forms.calls - before)
    return found


source = Path("forms.py")
source.write_text(HEAD + "".join(
    f"\n\ndef form_{number}(data: {kind}) -> None:\n    {form}\n" for number, (kind, _, form) in enumerate(FORMS)))
subprocess.run([Path(sys.executable).with_name("mypyc"), source], check=True, stdout=subprocess.DEVNULL)
interpreted, compiled = counted(source), counted(next(Path().glob("forms.*.so")))
for (kind, _, form), once, now in zip(FORMS, interpreted, compiled, strict=True):
    print(f"{kind:16} {form:33} interpreted {once}, compiled {now}")
raise SystemExit(compiled != [count * (1 + (form in TWICE)) for form, count in zip(FORMS, interpreted, strict=True)])
PYTHON
cd "$folder"
"$folder/venv/bin/python" compare.py
