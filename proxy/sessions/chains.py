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
from itertools import chain, islice
from typing import Protocol

from proxy.bounded_table import BoundedTable
from proxy.dialects import turns
from proxy.sessions.keyed_hash import KeyedHash, framed
from proxy.sessions.noted_turns import NO_TOOLS, REPLY, REPLYS, SYSTEM, SYSTEMS, NotedTurns
from proxy.types import Call

_MAX_NAMES = 300_000  # at most three for each call
_MAX_ASKED = 64
_MAX_BEGINNINGS = 1000
_LONG_TURNS, _MOST_TURNS = 16, 512  # of conversations whose chains are remembered
_MAX_CHAINS = 128
_LATEST_TURNS = 32
_LATEST_REPLIES = 8
_MAX_REPLIES = _MAX_CHAINS * _LATEST_REPLIES
_MAX_LINE = 200
_QUESTION = b'["user","'
_REPLY_BYTES = len(REPLY)
_OPENING = 48  # bytes of a turn that say how its text begins


def _behind(spoken: Sequence[bytes], known: int) -> Sequence[bytes]:
    return spoken[known:]


def _is_text(turn: bytes) -> bool:
    return turn.endswith(NO_TOOLS)


def _gone(_: int) -> bytes:
    raise LookupError("a conversation's turns are read only until its session is known")


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
    """A call's chain: the digests of its turns, each with all before it, and which of these are answers of a model.

    system: the digest of its system prompt. turn: gives one of its turns, until its session is known. asked: the turn that it
    ends with.
    """

    __slots__ = ("asked", "digests", "replies", "system", "turn")

    def __init__(
        self, digests: Sequence[bytes], replies: Sequence[int], system: bytes, turn: Callable[[int], bytes]
    ) -> None:
        self.digests = digests
        self.replies = replies
        self.system = system
        self.turn: Callable[[int], bytes] = turn
        # For as long as the call takes, without a spare buffer: see `wire/packed.py`.
        self.asked = b"%b" % turn(len(digests) - 1) if digests else b""

    def let_go(self) -> None:
        """Of its turns: its session is known."""
        self.turn = _gone


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
            conversation.let_go()
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
        # By an answer's digest, which hangs on all that they do: names that are made of answers, of which nobody knew any.
        self._in_other_words: BoundedTable[bytes, tuple[Sequence[bytes], Sequence[bytes]]] = BoundedTable(_MAX_REPLIES)
        self._kept = kept
        for name, session_id in kept.load(most) if kept is not None else ():
            self._sessions[hash(bytes.fromhex(name))] = session_id

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
        replies: list[int] = []
        first = 0
        for number, turn in enumerate(spoken):
            if number == first and turn.startswith(SYSTEM):
                first += 1
            elif turn[:_REPLY_BYTES] == REPLY:  # in half the time of `startswith`
                replies.append(number)
        return Conversation(digests, replies, digests[first - 1] if first else begun, spoken.__getitem__)

    def _of_noted(self, begun: bytes, spoken: NotedTurns) -> Conversation:
        """The same of turns that are made where they are read: the new ones, and the latest texts where no digest is known."""
        digests = self._chained(begun, spoken.hashes, spoken.behind)
        kinds = spoken.kinds
        first = next((number for number, kind in enumerate(kinds) if kind != SYSTEMS), len(kinds))
        replies = [number for number, kind in enumerate(kinds) if kind >= REPLYS]
        return Conversation(digests, replies, digests[first - 1] if first else begun, spoken.turn)

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
        known = self._sessions.get
        for names in self._names(conversation):
            for session_id in map(known, map(hash, names)):
                if session_id is not None:
                    return session_id
        return None

    def asked_elsewhere(self, conversation: Conversation) -> list[str]:
        """The likeliest names under which other processes may know it: none for what begins a conversation."""
        names = chain.from_iterable(self._names(conversation))
        return [name.hex() for name in islice(names, _MAX_ASKED)]

    def answered(self, conversation: Conversation | Beginning, answer: Sequence[bytes], session_id: str) -> list[str]:
        """Note a call that was answered: who extends it is of its session. The names that it is known by from now on."""
        if isinstance(conversation, Beginning):
            conversation = conversation.read(self)
        digests = conversation.digests
        if not digests or not answer:
            return []
        opening = answer[0][:_OPENING] if all(map(_is_text, answer)) else b""
        made = [self._without_answer(digests[-1], opening), self._turns.chain(digests[-1], answer)[-1]]
        if opening and conversation.asked.startswith(_QUESTION):
            made.append(self._pair(conversation.system, conversation.asked, answer[0]))
        self._sessions.put(map(hash, made), session_id)
        names = [name.hex() for name in made]
        if self._kept is not None:
            self._kept.add(names, session_id)
        return names

    def flush(self) -> None:
        """Write down what was noted since, for after a restart: called every now and then, and at the end."""
        if self._kept is not None:
            self._kept.flush()

    def _names(self, conversation: Conversation) -> Iterator[Sequence[bytes]]:
        """What an earlier call may be known by, the likeliest first: with its answer, then without."""
        digests, replies = conversation.digests, conversation.replies
        if not replies:
            return
        first = replies[0]
        latest = max(first, len(digests) - _LATEST_TURNS)
        yield digests[latest:][::-1]
        in_other_words = [
            self._of_reply(conversation, number) for number in replies[: -_LATEST_REPLIES - 1 : -1] if number
        ]
        for others, _ in in_other_words:
            yield others
        for _, pairs in in_other_words:
            yield pairs
        yield digests[first:latest][::-1]

    def _of_reply(self, conversation: Conversation, number: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """The names that its answer in this turn gives in other words, and where what is before it has moved."""
        digests, turn = conversation.digests, conversation.turn
        names = self._in_other_words.get(digests[number])
        if names is None:
            names = ((), ())
            answer, before = turn(number), digests[number - 1]
            if _is_text(answer):
                others = (self._without_answer(before, b""), self._without_answer(before, answer[:_OPENING]))
                asked = turn(number - 1)
                is_question = asked.startswith(_QUESTION)
                names = others, (self._pair(conversation.system, asked, answer),) if is_question else ()
            self._in_other_words[digests[number]] = names
        return names

    def _pair(self, system: bytes, asked: bytes, answer: bytes) -> bytes:
        """By the question's first line, as a reminder may stand behind it, and the answer without its last line's end."""
        line = asked[len(_QUESTION) :][:_MAX_LINE].partition(b"\\n")[0].partition(b'"')[0]
        text = answer.removesuffix(b'"' + NO_TOOLS).rstrip(b"\\n ")
        return self._pairs.digest(system + framed(line) + text)

    def _without_answer(self, digest: bytes, opening: bytes) -> bytes:
        return self._asked.digest(digest + opening)
