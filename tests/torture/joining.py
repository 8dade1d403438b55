"""Which ledger entry is which request on the invoice, and what is left over on both sides. Pure.

They are joined three ways: by the attempt id that the provider saw as a remark, by the request id that the client was
told for its nonce, and by the reply id that the provider gave. Where two ways disagree, `crossed` counts it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from .evidence import Entry
from .figures import Verdict
from .invoice import Line


def join(
    verdict: Verdict, invoice: list[Line], attempts: list[Entry], client: Mapping[str, Mapping[str, Any]]
) -> dict[str, Entry]:
    """Invoice line -> entry; counts what is left over on both sides."""
    verdict.start("missing", "double", "phantom", "crossed", "unsent", "guessed")
    joiner = _Joiner(attempts)
    pairs: dict[str, Entry] = {}
    rest = []
    for line in invoice:
        entry = joiner.take_id(line.attempt_id)
        if entry is None:
            rest.append(line)
        else:
            pairs[line.line] = entry
    by_nonce = [(line, _told_request(client, line)) for line in rest]
    rest = []
    for line, request_id in by_nonce:
        entry = joiner.take_request(request_id) or joiner.take_reply(line.reply_id)
        if entry is None:
            rest.append(line)
        else:
            pairs[line.line] = entry
    for line in rest:
        entry = joiner.take_alike(line) if line.attempt_id is None else None
        if entry is None:
            verdict.add("missing", f"{line.line} nonce {line.nonce} {line.end} {line.billed_nano} n$")
        else:
            verdict.add("guessed", f"{line.line} nonce {line.nonce} -> {entry.id}")
            pairs[line.line] = entry
    _crossed(verdict, invoice, pairs, client)
    taken = {(entry.request_id, entry.attempt) for entry in pairs.values()}
    replies = {entry.upstream_request_id for entry in pairs.values()} - {None}
    for entry in joiner.left():
        if entry.status == "void":
            continue
        if (entry.request_id, entry.attempt) in taken or entry.upstream_request_id in replies:
            verdict.add("double", f"{entry.id} request {entry.request_id}")
        elif entry.status == "unconfirmed":
            verdict.add("unsent", f"{entry.id} {entry.outcome}")
        else:
            verdict.add("phantom", f"{entry.id} {entry.outcome} {entry.cost_nano} n$")
    return pairs


class _Joiner:
    """Hands out every entry once."""

    def __init__(self, attempts: list[Entry]) -> None:
        self._free = {entry.id: entry for entry in attempts}
        self._by_request: dict[str, list[Entry]] = defaultdict(list)
        self._by_reply: dict[str, list[Entry]] = defaultdict(list)
        self._alike: dict[str, list[Entry]] = defaultdict(list)
        for entry in sorted(attempts, key=lambda entry: (entry.attempt, entry.started_us)):
            self._by_request[entry.request_id].append(entry)
            if entry.upstream_request_id:
                self._by_reply[entry.upstream_request_id].append(entry)
            if entry.status == "unconfirmed":
                self._alike[entry.model].append(entry)

    def take_id(self, attempt_id: str | None) -> Entry | None:
        return self._free.pop(attempt_id, None) if attempt_id else None

    def take_request(self, request_id: str | None) -> Entry | None:
        return self._first(entry for entry in self._by_request.get(request_id or "", ()) if entry.status != "void")

    def take_reply(self, reply_id: str | None) -> Entry | None:
        found = self._by_reply.get(reply_id or "", [])
        return self._first(found) if len(found) == 1 else None

    def take_alike(self, line: Line) -> Entry | None:
        """An unconfirmed entry of that model, begun in the 10 s before the request came."""
        near = (e for e in self._alike.get(line.model, ()) if 0 <= line.at_us - e.started_us < 10_000_000)
        return self._first(near)

    def _first(self, entries: Iterable[Entry]) -> Entry | None:
        for entry in entries:
            if entry.id in self._free:
                return self._free.pop(entry.id)
        return None

    def left(self) -> list[Entry]:
        return list(self._free.values())


def _told_request(client: Mapping[str, Mapping[str, Any]], line: Line) -> str | None:
    row = client.get(line.nonce)
    return row["headers"].get("x-taximeter-request-id") if row else None


def _crossed(
    verdict: Verdict, invoice: list[Line], pairs: Mapping[str, Entry], client: Mapping[str, Mapping[str, Any]]
) -> None:
    replies = Counter(line.reply_id for line in invoice)
    for line in invoice:
        entry = pairs.get(line.line)
        if entry is None:
            continue
        told = _told_request(client, line)
        reply = entry.upstream_request_id
        if told is not None and told != entry.request_id:
            verdict.add(
                "crossed", f"{line.line} nonce {line.nonce}: client was told {told}, entry has {entry.request_id}"
            )
        elif reply in replies and reply != line.reply_id:
            verdict.add("crossed", f"{line.line} nonce {line.nonce}: replied {line.reply_id}, entry has {reply}")
