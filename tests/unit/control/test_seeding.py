"""What an epoch's marks say of a budget; that it is put in once, whoever is at it, is asked in test_rebuilding.py."""

from __future__ import annotations

from proxy.budgets.budget import compile_budgets
from proxy.config import model as config
from proxy.config.reading import read_section
from proxy.control.seeding import began_in, began_mark, seeding_of

DAY = 86_400
NOW = 20_000 * DAY + 500
START = 20_000 * DAY
BUCKET = f"usd:{START}:b"


def test_what_marks_say() -> None:
    row = {"name": "b", "limit_usd": 1, "window": "day"}
    (budget,) = compile_budgets([read_section(config.Budget, row)])
    before, after = (START - 5) * 1_000_000, (START + 5) * 1_000_000
    began, lately = f"began {START}", f"began {START + 1}"
    # marks, when the definition was taken -> is_done, is_counted, is_whole, adopts, is_unclear
    table = {
        "nothing": (set(), before, "-----"),
        "an epoch from before the window": ({began}, before, "-cw--"),
        "one that began in it, without the budget": ({lately}, before, "-----"),
        "one that began in it, with it": ({lately, "usd:b"}, before, "-c---"),
        "redefined, all were counted": ({began}, after, "--w--"),
        "redefined, put in": ({lately, "usd:b", f"{BUCKET}\nwhole"}, after, "--w--"),
        "redefined, done": ({began, f"{BUCKET}\nbase {after}"}, after, "d-w--"),
        "of another window": ({lately, f"usd:{START - DAY}:b\nwhole"}, after, "-----"),
        "of another budget": ({lately, "usd:0:b", "usd:bb"}, before, "-----"),
        "an earlier version's": ({"usd:b", f"usd:b\ndefined {before}"}, before, "-c---"),
        "its definition": ({"usd:b", "usd:b\n0", f"usd:b\ndefined {after}"}, after, "---a-"),
        "another one of its": ({"usd:b", f"usd:b\ndefined {after}"}, after + 1, "----u"),
        "none of its": ({"usd:b"}, after, "----u"),
        "its definition in an epoch of ours": ({began, "usd:b", f"usd:b\ndefined {after}"}, after, "--wa-"),
        "taken over": (
            {"usd:b", f"usd:b\ndefined {after}", f"{BUCKET}\nwhole", f"{BUCKET}\nbase {after}"}, after + 1, "--w--",
        ),
    }  # fmt: skip
    for name, (marks, taken_at, expected) in table.items():
        seeding = seeding_of(budget, taken_at, NOW, marks, began_in(marks))
        flags = (seeding.is_done, seeding.is_counted, seeding.is_whole, seeding.adopts, seeding.is_unclear)
        assert "".join(letter if flag else "-" for letter, flag in zip("dcwau", flags, strict=True)) == expected, name


def test_an_epoch_counts_windows_from_their_beginning_that_begin_behind_it() -> None:
    assert began_in({began_mark(START + 0.5), "usd:b"}) == START + 1
    assert began_in({began_mark(START - 0.5), began_mark(START - 50)}) == START
    assert began_in({"usd:b"}) is None
