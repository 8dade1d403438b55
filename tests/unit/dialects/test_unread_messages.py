"""A list of messages that are read when somebody looks: whatever is done with it, it is the list of their values."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from proxy.dialects.unread_messages import Run, UnreadMessages
from tests.support.rows import each_row

VALUES: list[Any] = [{"n": 0}, {"n": 1, "text": "é\n"}, {"n": 2}, {"n": 3}, {"n": 4}]


def _unread() -> UnreadMessages:
    def run(values: list[Any], first_mark: int) -> Run:
        written = [orjson.dumps(one) for one in values]
        ends = [sum(map(len, written[: number + 1])) + number for number in range(len(written))]
        return Run(b",".join(written), range(first_mark, first_mark + len(values)), ends)

    return UnreadMessages([run(VALUES[:2], 10), VALUES[2], run(VALUES[3:4], 13), VALUES[4]])


@each_row(
    "do",
    [
        list, tuple, str, repr, lambda one: sorted(one, key=str), lambda one: [*one], lambda one: one[0],
        lambda one: one[-1], lambda one: one[1:3], lambda one: one.__add__([1]), lambda one: [1, *one], lambda one: one * 2,
        lambda one: [1] * 2 + one, lambda one: one + one, lambda one: "{} {}".format(*one),
        lambda one: 2 * one, lambda one: VALUES[3] in one, lambda one: one.index(VALUES[1]), lambda one: one.count(VALUES[0]),
        lambda one: one == VALUES, lambda one: one.__eq__(VALUES), lambda one: one != VALUES, lambda one: [*reversed(one)],
        lambda one: [*map(type, one)], lambda one: [*zip(one, one, strict=True)], lambda one: one.copy(), bool, len,
        copy.copy, copy.deepcopy, lambda one: {"messages": one, "n": 1} == {"messages": VALUES, "n": 1}, orjson.dumps,
        lambda one: orjson.dumps({"a": {"b": one}}), lambda one: isinstance(one, list),
    ],
)  # fmt: skip
def test_it_is_the_list_of_its_values(do: Callable[[list[Any]], Any]) -> None:
    assert do(_unread()) == do(copy.deepcopy(VALUES))


@each_row(
    "change",
    [
        lambda one: one.append(1), lambda one: one.extend([1]), lambda one: one.insert(1, 5), lambda one: one.pop(),
        lambda one: one.pop(0), lambda one: one.remove(VALUES[0]), lambda one: one.reverse(), lambda one: one.clear(),
        lambda one: one.sort(key=str), lambda one: one.__setitem__(0, 7), lambda one: one.__delitem__(1),
        lambda one: one.__iadd__([1]), lambda one: one.__imul__(2), lambda one: one[0].update(x=1),
        lambda one: [message.update(x=1) for message in one],
    ],
)  # fmt: skip
def test_what_is_changed_in_it_is_changed(change: Callable[[list[Any]], Any]) -> None:
    unread, values = _unread(), copy.deepcopy(VALUES)
    change(unread)
    change(values)
    assert unread == values
    assert len(unread) == len(values)
    assert orjson.dumps(unread) == orjson.dumps(values)


def test_nothing_is_read_for_its_length_its_json_and_a_single_message() -> None:
    unread = _unread()
    assert len(unread) == 5
    assert orjson.dumps(unread) == orjson.dumps(VALUES)
    assert [unread.message(number) for number in range(5)] == VALUES
    assert unread.values() == [VALUES[2], VALUES[4]]
    assert unread.with_runs([b"two", b"four"], [12, 14]) == (
        [orjson.dumps(VALUES[:2])[1:-1], b"two", orjson.dumps(VALUES[3]), b"four"],
        [10, 11, 12, 13, 14],
    )
    assert any(type(piece) is Run for piece in unread.pieces())
    with pytest.raises(IndexError):
        unread.message(5)


def test_single_messages_of_many_are_found_without_passing_all_before_them() -> None:
    class Pieces(list[Any]):
        passed = 0

        def __iter__(self) -> Iterator[Any]:
            for piece in super().__iter__():
                self.passed += 1
                yield piece

    pieces = Pieces({"n": number} for number in range(500))
    unread = UnreadMessages(pieces)
    assert [unread.message(number)["n"] for number in range(500)] == [*range(500)]
    assert pieces.passed <= 5 * 500
    assert [*unread] == pieces
    passed = pieces.passed
    assert [unread.message(number)["n"] for number in range(500)] == [*range(500)]
    assert pieces.passed == passed, "once read"


def test_once_read_it_is_read() -> None:
    unread = _unread()
    first = unread[0]
    assert unread[0] is first
    assert unread.values() == VALUES
    assert unread.message(0) is first
    assert json.dumps(unread) == json.dumps(VALUES)
