"""The turns of a long call, of which most need not be made: what each is was noted when its message came first.

A conversation has to know of most of its turns no more than who speaks, and a hash. Both are remembered by the hash of the
message that the turn is of (`Call.marks`), which its parsing has made anyway. No text is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proxy.bounded_table import BoundedTable
from proxy.dialects import bedrock_turns, turns
from proxy.dialects.unread_messages import UnreadMessages
from proxy.types import Call

REPLY = b'["assistant"'  # as `turns` writes one, and one without tools
NO_TOOLS = b",[],[]]"
SYSTEM = (b'["system"', b'["developer"')
# Whose turn a message is; of a message that is none (a thought, a reminder), nobody's.
NOBODYS, ANYBODYS, SYSTEMS, REPLYS, REPLYS_TEXT = range(5)
# The lowest bits of a note: that kind, and whether the message says to be the system's, whatever its turn is.
_KIND, _OF_SYSTEM, _LOWEST, _BITS = 0b0111, 0b1000, 0b1111, 4
_SPOKEN = bytes([ANYBODYS, REPLYS, REPLYS_TEXT])
_MOST_NOTES = 65_536  # 9 MB


class _Notes:
    """By a message's hash: whose turn it is, in the lowest bits, and that turn's hash above. in_form: the message as `turns`
    reads it, where that is not as it stands."""

    __slots__ = ("in_form", "table")

    def __init__(self, in_form: Callable[[Any], Any] | None = None) -> None:
        self.in_form = in_form
        self.table: BoundedTable[int, int] = BoundedTable(_MOST_NOTES)

    def turn_in(self, message: Any) -> bytes | None:
        message = self.in_form(message) if self.in_form is not None else message
        return turns.turn_in(message, _role_of(message))


_plain, _bedrocks = _Notes(), _Notes(bedrock_turns.in_blocks)


class NotedTurns:
    """The turns of a call whose messages have marks. hashes, kinds: of each. A turn is made when somebody reads it."""

    __slots__ = ("_listed", "_notes", "_numbers", "_turns", "hashes", "kinds")

    def __init__(self, call: Call) -> None:
        notes = self._notes = _bedrocks if call.dialect in bedrock_turns.DIALECTS else _plain
        self._listed = call.body[turns.FIELDS[call.dialect]]
        made: dict[int, bytes | None] = {}  # by the message's number
        marks = call.marks or ()
        noted: list[Any] = [*map(notes.table.get, marks)]
        for number, note in enumerate(noted) if None in noted else ():
            if note is None:
                message = self._message(number)
                made[number] = turn = notes.turn_in(message)
                noted[number] = notes.table[marks[number]] = _note(_role_of(message), turn)
        lowest = bytes([note & _LOWEST for note in noted])
        self._numbers: Sequence[int] = range(len(noted))
        self.hashes: Sequence[int] = noted
        self.kinds: Sequence[int] = lowest  # of most conversations: who speaks asks or answers
        if lowest.translate(None, _SPOKEN):
            # Behind the system's first messages no other of its is a turn (`turns.turns_of`).
            begun = next((number for number, one in enumerate(lowest) if not one & _OF_SYSTEM), len(noted))
            self._numbers = [
                number
                for number, one in enumerate(lowest)
                if one & _KIND != NOBODYS and (number < begun or not one & _OF_SYSTEM)
            ]
            self.hashes = [noted[number] for number in self._numbers]
            self.kinds = [lowest[number] & _KIND for number in self._numbers]
        self._turns = (
            {place: made[number] for place, number in enumerate(self._numbers) if number in made} if made else {}
        )

    def __len__(self) -> int:
        return len(self.kinds)

    def turn(self, number: int) -> bytes:
        """One of them, as `turns.turns_of` has it."""
        turn = self._turns.get(number)
        if turn is None:
            turn = self._turns[number] = self._notes.turn_in(self._message(self._numbers[number])) or b""
        return turn

    def _message(self, number: int) -> Any:
        listed = self._listed
        return listed.message(number) if type(listed) is UnreadMessages else listed[number]

    def behind(self, number: int) -> Sequence[bytes]:
        """All but the first so many."""
        return [self.turn(one) for one in range(number, len(self.kinds))]


def _role_of(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _note(role: Any, turn: bytes | None) -> int:
    said_by = _OF_SYSTEM if role in turns.SYSTEM_ROLES else 0
    if turn is None:
        return said_by | NOBODYS
    kind = ANYBODYS
    if turn.startswith(SYSTEM):
        kind = SYSTEMS
    elif turn.startswith(REPLY):
        kind = REPLYS_TEXT if turn.endswith(NO_TOOLS) else REPLYS
    return hash(turn) << _BITS | said_by | kind
