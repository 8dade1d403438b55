"""What stops a runaway agent before its budget does: too many calls, too many dollars a minute, the same call again and again.

Pure but for what it remembers: the latest sessions, in this process. Where processes share a store, that counts for all of them
(`Store.guarded`), and this is asked only while it is away. Time is an argument. Nothing of a request is kept but hashes; what a
refusal says is how often, and of a repeated tool call its name.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from typing import Any

from proxy.bounded_table import BoundedTable
from proxy.budgets.store import GuardLimits, Seen
from proxy.config.model import Guards as Settings
from proxy.dialects import turns
from proxy.errors import Refusal
from proxy.money import NANO, usd_text
from proxy.types import Call

_MAX_SESSIONS = 100_000
_MAX_REPEATED = 64  # different requests of one session that are watched
_MINUTE_S = 60.0
_MAX_NAME = 80


class _Session:
    __slots__ = ("billed", "bills", "requests", "seen")

    def __init__(self) -> None:
        self.requests = 0
        self.billed = 0
        self.bills: deque[tuple[float, int]] = deque()
        self.seen: BoundedTable[bytes, deque[float]] = BoundedTable(_MAX_REPEATED)


class Guards:
    """The guards of every session. `idle`: nothing is guarded, and nothing needs to be asked."""

    def __init__(self, settings: Settings) -> None:
        self.follow(settings)
        self._sessions: BoundedTable[str, _Session] = BoundedTable(_MAX_SESSIONS)

    def follow(self, settings: Settings) -> None:
        """Guard by these settings from now on."""
        self.settings = settings
        self.idle = settings.max_requests is None and settings.max_usd_per_minute is None and settings.loop is None

    @property
    def limits(self) -> GuardLimits:
        """For a store that processes share."""
        settings, loop = self.settings, self.settings.loop
        most = None if settings.max_usd_per_minute is None else int(settings.max_usd_per_minute * NANO)
        repeats, within_s = (None, 0.0) if loop is None else (loop.repeats, loop.within_s)
        return GuardLimits(settings.max_requests, most, repeats, within_s)

    def refusal(self, session_id: str, call: Call, now_s: float) -> Refusal | None:
        """Why a call of this session must not be sent, or None; then it is counted."""
        session, loop = self._session(session_id), self.settings.loop
        self._forget(session, now_s)
        times: deque[float] | None = None
        if loop is not None:
            times = _times(session, request_digest(call), now_s - loop.within_s)
        refusal = self.judged(session_id, call, Seen(session.requests, session.billed, len(times or ())))
        if refusal is None:
            session.requests += 1
            if times is not None:
                times.append(now_s)
        return refusal

    def judged(self, session_id: str, call: Call, seen: Seen) -> Refusal | None:
        """Why a call must not be sent of a session that did this before; None where it may."""
        limits = self.limits
        if limits.requests is not None and seen.requests >= limits.requests:
            return _limit(f"Session {session_id} has made {seen.requests} calls, all that guards.max_requests allows.")
        if limits.nanousd is not None and seen.nanousd >= limits.nanousd:
            spent, limit = usd_text(seen.nanousd), usd_text(limits.nanousd)
            standing = f"Session {session_id} spent ${spent} in the last minute, of ${limit} allowed."
            return _limit(standing, retry_after_s=60)
        if limits.repeats is not None:
            told_loop = _loop(call, seen.repeats, limits.repeats, limits.within_s)
            if told_loop:
                return _refusal("loop_detected", f"Session {session_id} is in a loop: {told_loop}")
        return None

    def billed(self, session_id: str, nanousd: int, now_s: float) -> None:
        """A call of the session was settled with that."""
        if self.settings.max_usd_per_minute is not None and nanousd:
            session = self._session(session_id)
            session.bills.append((now_s, nanousd))
            session.billed += nanousd

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = _Session()
        else:
            self._sessions.touch(session_id)
        return session

    @staticmethod
    def _forget(session: _Session, now_s: float) -> None:
        while session.bills and session.bills[0][0] <= now_s - _MINUTE_S:
            session.billed -= session.bills.popleft()[1]


def _times(session: _Session, digest: bytes, since_s: float) -> deque[float]:
    """When the session made this very request after that."""
    times = session.seen.get(digest)
    if times is None:
        times = session.seen[digest] = deque()
    while times and times[0] <= since_s:
        times.popleft()
    return times


def _loop(call: Call, repeats: int, most: int, within_s: float) -> str | None:
    if repeats >= most:
        return f"the same {call.operation} request for {call.model} came {repeats + 1} times in {within_s:g} s."
    name, count = repeated_tool(call)
    if count > most:
        return f"the tool {name} was called {count} times in a row with the same arguments."
    return None


def request_digest(call: Call) -> bytes:
    """The same for the same request, whatever ids and caps come with it."""
    digest = hashlib.blake2b(f"{call.operation} {call.model}".encode(), digest_size=16)
    if turns.is_conversation(call):
        digest.update(turns.frame_of(call))
        for message in turns.messages_of(call):
            digest.update(turns.turn_of(message))
    else:
        rest = {name: one for name, one in call.body.items() if name not in turns.PASSING}
        # A list of its values, as of what is JSON still (`UnreadMessages`) no keys are sorted.
        digest.update(turns.plain_bytes({name: [*one] if isinstance(one, list) else one for name, one in rest.items()}))
    return digest.digest()


def repeated_tool(call: Call) -> tuple[str, int]:
    """The tool that the latest answers in a conversation called with the same arguments, and how often in a row."""
    if not turns.is_conversation(call):
        return "", 0
    last: tuple[str, bytes] | None = None
    count = 0
    for message in reversed(turns.messages_of(call)):
        called = _called(message)
        if called is None:
            continue
        if last is None:
            last = called
        if called != last:
            break
        count += 1
    return (last[0], count) if last else ("", 0)


def _called(message: Any) -> tuple[str, bytes] | None:
    """The name and the whole turn of a message that calls a tool; None for every other message."""
    if not isinstance(message, dict):
        return None
    content = message.get("content") or message.get("parts") or ()
    blocks = [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []
    tool_calls = message.get("tool_calls")
    calls: list[Any] = [
        one.get("function") for one in (tool_calls if isinstance(tool_calls, list) else ()) if isinstance(one, dict)
    ]
    calls += [one for one in blocks if one.get("type") == "tool_use"]
    calls += [one["functionCall"] for one in blocks if "functionCall" in one]
    calls += [message] if message.get("type") == "function_call" else []
    named = [one for one in calls if isinstance(one, Mapping)]
    return (_name(named[0].get("name")), turns.turn_of(_without_text(message))) if named else None


def _without_text(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """An agent in a loop may well comment on it in other words each time."""
    content = message.get("content")
    if isinstance(content, list):
        kept = [one for one in content if not (isinstance(one, dict) and one.get("type") == "text")]
        return {**message, "content": kept}
    return {**message, "content": ""} if isinstance(content, str) else message


def _name(value: Any) -> str:
    return value[:_MAX_NAME] if isinstance(value, str) and value.isprintable() else "(unnamed)"


def _limit(message: str, retry_after_s: int | None = None) -> Refusal:
    return _refusal("session_limit_reached", message, retry_after_s)


def _refusal(code: str, message: str, retry_after_s: int | None = None) -> Refusal:
    return Refusal(429, code, message, kind="insufficient_quota", retry_after_s=retry_after_s, final=True)
