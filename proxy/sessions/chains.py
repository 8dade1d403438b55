"""Sessions guessed from conversations, for clients that name none. No text.

A *chain* has the turns of a conversation, as they read however a client writes them down again. A call is of an earlier
call's session if it carries that call's messages and its answer on. Or, where the answer comes back in other words, if it
carries the messages on and an answer behind them: a text where tools were called (smolagents writes them so), else one that
begins alike (it was broken off, or got an end). Or, where what stands before it has moved (aider puts files and reminders
elsewhere in each call), if a question that begins with the same line has the same answer, under the same system prompt. It is
a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Protocol

from proxy.bounded_table import BoundedTable
from proxy.dialects import turns
from proxy.sessions.keyed_hash import KeyedHash, framed
from proxy.sessions.noted_turns import NO_TOOLS, REPLY, REPLYS, REPLYS_TEXT, SYSTEM, SYSTEMS, NotedTurns
from proxy.types import Call

_MAX_NAMES = 300_000  # at most three for each call
_MAX_ASKED = 64
_MAX_BEGINNINGS = 1000
_LONG_TURNS, _MOST_TURNS = 16, 512  # of conversations whose chains are remembered
_MAX_CHAINS = 128
_LATEST_TURNS = 32
_LATEST_REPLIES = 8
_LATEST_PAIRS = 8
_MAX_LINE = 200
_QUESTION = b'["user","'
_REPLY_BYTES = len(REPLY)
_OPENING = 48  # bytes of a turn that say how its text begins


def _latest_pairs(spoken: Sequence[bytes], replies: Sequence[tuple[int, bytes]]) -> Sequence[tuple[bytes, bytes]]:
    return [(spoken[number - 1], spoken[number]) for number, text in replies[-_LATEST_PAIRS:] if number and text]


def _behind(spoken: Sequence[bytes], known: int) -> Sequence[bytes]:
    return spoken[known:]


def _is_text(turn: bytes) -> bool:
    return turn.endswith(NO_TOOLS)


class Kept(Protocol):
    """Where sessions by name outlive the process."""

    def load(self, most: int) -> Sequence[tuple[str, str]]:
        """The latest `most` pairs of name and session, in the order in which they were added."""
        ...

    def add(self, names: Sequence[str], session_id: str) -> None: ...

    def flush(self) -> None:
        """Write down what was added since."""
        ...


class Conversation:
    """A call's chain: the digests of its turns, each with all before it. Which of these are answers of a model, and how they
    begin where they are text only.

    system: the digest of its system prompt. asked: the turn that it ends with. pairs: its latest questions and answers in text.
    """

    __slots__ = ("asked", "digests", "pairs", "replies", "system")

    def __init__(
        self,
        digests: Sequence[bytes],
        replies: Sequence[tuple[int, bytes]],
        system: bytes,
        asked: bytes,
        pairs: Sequence[tuple[bytes, bytes]],
    ) -> None:
        self.digests = digests
        self.replies = replies
        self.system = system
        self.asked = b"%b" % asked  # for as long as the call takes, without a spare buffer: see `wire/packed.py`
        self.pairs = [(b"%b" % question, b"%b" % reply) for question, reply in pairs] if pairs else pairs


class Beginning:
    """A conversation in which nothing was answered yet: it extends none, so that its digests can wait until its call is on its
    way."""

    __slots__ = ("_call", "_conversation", "_whose")

    def __init__(self, call: Call, whose: str) -> None:
        self._call, self._whose = call, whose
        self._conversation: Conversation | None = None

    def read(self, chains: Chains) -> Conversation:
        conversation = self._conversation
        if conversation is None:
            conversation = self._conversation = chains.conversation(self._call, self._whose)
        return conversation


class Chains:
    """The latest conversations, and the session of each, by names that say nothing: keyed digests.

    kept: where they outlive the process; None: nowhere.
    """

    def __init__(self, keyed: KeyedHash, most: int = _MAX_NAMES, kept: Kept | None = None) -> None:
        self._turns, self._asked, self._pairs = keyed.of(b"turns"), keyed.of(b"asked"), keyed.of(b"pair")
        # Digests of each key, client and dialect: before anything is said, and where there is no system prompt, as with most.
        self._begun: BoundedTable[tuple[str, str], tuple[bytes, bytes]] = BoundedTable(_MAX_BEGINNINGS)
        self._sessions: BoundedTable[int, str] = BoundedTable(most)  # by a name's hash: half of the memory of the name
        self._known: BoundedTable[int, list[bytes]] = BoundedTable(_MAX_CHAINS)
        self._kept = kept
        for name, session_id in kept.load(most) if kept is not None else ():
            self._sessions[hash(name)] = session_id

    def conversation(self, call: Call, whose: str) -> Conversation:
        """whose: the key and the kind of client, so that no two of them ever share a conversation."""
        begun = self._begun_of(whose, call.dialect, turns.system_of(call))
        if call.marks is not None:
            return self._of_noted(begun, NotedTurns(call))
        spoken = turns.turns_of(call)
        if _LONG_TURNS <= len(spoken) <= _MOST_TURNS:
            digests = self._chained(begun, [*map(hash, spoken)], partial(_behind, spoken))
        else:
            digests = self._turns.chain(begun, spoken)
        replies: list[tuple[int, bytes]] = []
        pairs: Sequence[tuple[bytes, bytes]] = ()
        first = 0
        for number, turn in enumerate(spoken):
            if number == first and turn.startswith(SYSTEM):
                first += 1
            elif turn[:_REPLY_BYTES] == REPLY:  # in half the time of `startswith`
                replies.append((number, turn[:_OPENING] if turn.endswith(NO_TOOLS) else b""))
        system = digests[first - 1] if first else begun
        if replies:
            pairs = _latest_pairs(spoken, replies)
        return Conversation(digests, replies, system, spoken[-1] if spoken else b"", pairs)

    def _of_noted(self, begun: bytes, spoken: NotedTurns) -> Conversation:
        """The same of turns that are made where they are read: the new ones, and the latest texts."""
        digests = self._chained(begun, spoken.hashes, spoken.behind)
        kinds = spoken.kinds
        first = next((number for number, kind in enumerate(kinds) if kind != SYSTEMS), len(kinds))
        numbers = [number for number, kind in enumerate(kinds) if kind >= REPLYS]
        replies = [(number, b"") for number in numbers[:-_LATEST_REPLIES]]
        replies += [
            (number, spoken.turn(number)[:_OPENING] if kinds[number] == REPLYS_TEXT else b"")
            for number in numbers[-_LATEST_REPLIES:]
        ]
        pairs = [
            (spoken.turn(number - 1), spoken.turn(number))
            for number, text in replies[-_LATEST_PAIRS:]
            if number and text
        ]
        system = digests[first - 1] if first else begun
        return Conversation(digests, replies, system, spoken.turn(len(kinds) - 1) if kinds else b"", pairs)

    def _chained(
        self, begun: bytes, hashes: Sequence[int], behind: Callable[[int], Sequence[bytes]]
    ) -> Sequence[bytes]:
        """The chain of a conversation by its turns' hashes. What of a long one was there in an earlier call is not hashed
        again, but recognised by Python's own hash, which takes a quarter of the time: enough for a guess, and it is never
        stored. behind: the turns themselves, but for the first so many."""
        if not _LONG_TURNS <= len(hashes) <= _MOST_TURNS:
            return self._turns.chain(begun, behind(0))
        mark = hash(begun)
        marks = [mark := hash((mark, one)) for one in hashes]
        known = next(filter(None, map(self._known.get, reversed(marks))), [])
        new = self._turns.chain(known[-1] if known else begun, behind(len(known)))
        digests = self._known[mark] = [*known, *new]
        return digests

    def _begun_of(self, whose: str, dialect: str, system: bytes) -> bytes:
        """A conversation before its first turn. What is remembered of it has no text."""
        known = self._begun.get((whose, dialect))
        if known is None:
            begun = self._turns.row((whose.encode(), dialect.encode()))
            known = self._begun[whose, dialect] = (begun, self._turns.digest(begun))
        return self._turns.digest(known[0] + system) if system else known[1]

    def session(self, conversation: Conversation) -> str | None:
        """The session of the latest call that this one extends."""
        if not conversation.replies or not len(self._sessions):
            return None  # what begins a conversation extends none
        for name in self._names(conversation):
            session_id = self._sessions.get(hash(name))
            if session_id is not None:
                return session_id
        return None

    def asked_elsewhere(self, conversation: Conversation) -> list[str]:
        """The likeliest names under which other processes may know it: none for what begins a conversation."""
        return list(islice(self._names(conversation), _MAX_ASKED))

    def answered(self, conversation: Conversation | Beginning, answer: Sequence[bytes], session_id: str) -> list[str]:
        """Note a call that was answered: who extends it is of its session. The names that it is known by from now on."""
        if isinstance(conversation, Beginning):
            conversation = conversation.read(self)
        digests = conversation.digests
        if not digests or not answer:
            return []
        opening = answer[0][:_OPENING] if all(map(_is_text, answer)) else b""
        names = [self._without_answer(digests[-1], opening), self._turns.chain(digests[-1], answer)[-1].hex()]
        if opening and conversation.asked.startswith(_QUESTION):
            names.append(self._pair(conversation.system, conversation.asked, answer[0]))
        self._sessions.put(map(hash, names), session_id)
        if self._kept is not None:
            self._kept.add(names, session_id)
        return names

    def flush(self) -> None:
        """Write down what was noted since, for after a restart: called every now and then, and at the end."""
        if self._kept is not None:
            self._kept.flush()

    def _names(self, conversation: Conversation) -> Iterator[str]:
        """What an earlier call may be known by, the likeliest first: with its answer, then without."""
        digests, replies = conversation.digests, conversation.replies
        if not replies:
            return
        for number in range(len(digests) - 1, max(replies[0][0], len(digests) - _LATEST_TURNS) - 1, -1):
            yield digests[number].hex()
        for number, opening in reversed(replies[-_LATEST_REPLIES:]):
            if number and opening:
                yield self._without_answer(digests[number - 1], b"")
                yield self._without_answer(digests[number - 1], opening)
        for asked, answer in reversed(conversation.pairs):
            if asked.startswith(_QUESTION):
                yield self._pair(conversation.system, asked, answer)
        for number in range(len(digests) - _LATEST_TURNS - 1, replies[0][0] - 1, -1):
            yield digests[number].hex()

    def _pair(self, system: bytes, asked: bytes, answer: bytes) -> str:
        """By the question's first line, as a reminder may stand behind it, and the answer without its last line's end."""
        line = asked[len(_QUESTION) :][:_MAX_LINE].partition(b"\\n")[0].partition(b'"')[0]
        text = answer.removesuffix(b'"' + NO_TOOLS).rstrip(b"\\n ")
        return self._pairs.digest(system + framed(line) + text).hex()

    def _without_answer(self, digest: bytes, opening: bytes) -> str:
        return self._asked.digest(digest + opening).hex()
