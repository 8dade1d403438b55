"""A file of Gemini requests, read line by line as it passes: what a batch of it may cost at any model.

Nothing of it is refused on its way, for nobody has said yet that it is a batch's: what cannot be read is the reason why none is
made of it later.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from proxy.access.provider_fields import screen
from proxy.ceilings.costly import unbounded_by
from proxy.ceilings.rendered import rendered_size
from proxy.dialects import fields, gemini
from proxy.errors import Refused, model_not_found
from proxy.exchange.plane import Plane
from proxy.exchange.references import recall_ids
from proxy.jobs.shapes import Shapes, shape_of
from proxy.types import Identity, Route

_LINES_AT_ONCE = 20
_SAYS_WHICH = ("createTime", "sizeBytes", "sha256Hash")  # of two files of the same name
_REFERENCE = "gemini-2.5-flash"  # for what depends on a provider alone


class _NotABatchError(ValueError):
    pass


class RequestLines:
    """The lines of one file by now."""

    def __init__(self, plane: Plane, identity: Identity, upstream: str) -> None:
        self._plane = plane
        self._identity = identity
        provider = plane.configured.config.upstreams[upstream].provider_name(upstream)
        known = plane.configured.book.catalog.canonical(provider)
        self._route = Route("", upstream, known, _REFERENCE)
        self._shapes = Shapes()
        self._rest: list[bytes] = []  # of a line that has not ended
        self._passed = hashlib.sha256()
        self._bytes = 0
        self._most_bytes = int(plane.configured.config.server.max_body_mb * 1_000_000)
        self.upstream = upstream

    @property
    def waiting_bytes(self) -> int:
        return sum(map(len, self._rest))

    def give_up(self, why: str) -> None:
        """It is no batch's."""
        self._shapes.missing = self._shapes.missing or why
        self._rest.clear()

    async def read(self, piece: bytes) -> None:
        if self._shapes.missing:
            return
        self._passed.update(piece)
        self._bytes += len(piece)
        *whole, last = piece.split(b"\n")
        if whole:
            whole[0] = b"".join([*self._rest, whole[0]])
            self._rest.clear()
        self._rest.append(last)
        if self.waiting_bytes > self._most_bytes:
            self.give_up(f"line {self._shapes.lines + 1} is too long (server.max_body_mb)")
            return
        for number, line in enumerate(whole, 1):
            await self._line(line)
            if number % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # other calls go on meanwhile

    async def finish(self) -> None:
        """There is no more of it."""
        rest, self._rest = b"".join(self._rest), []
        await self._line(rest)
        if not self._shapes.lines:
            self.give_up("it has no lines")

    def record(self, file: Mapping[str, Any]) -> dict[str, Any]:
        """What a batch of it may cost. file: what its provider says of it, which has to be what passed here."""
        size, stated = file.get("sizeBytes"), file.get("sha256Hash")
        if size is not None and str(size) != str(self._bytes):
            self.give_up("its provider has another size of it than what passed here")
        if stated is not None and not self._is_digest(stated):
            self.give_up("its provider has other bytes of it than what passed here")
        return {**self._shapes.record(), "file": {name: file[name] for name in _SAYS_WHICH if name in file}}

    def _is_digest(self, stated: object) -> bool:
        """Whether `stated` is this file's SHA-256: base64 of its bytes or, as Gemini sends it, of its hexadecimal digits."""
        try:
            digest = base64.b64decode(stated) if isinstance(stated, str) else b""
        except binascii.Error:
            return False
        return digest in (self._passed.digest(), self._passed.hexdigest().encode())

    async def _line(self, line: bytes) -> None:
        if not line.strip() or self._shapes.missing:
            return
        number = self._shapes.lines + 1
        try:
            await self._add(line)
        except Refused as refused:
            self.give_up(f"line {number}: {refused.refusal.message}")
        except _NotABatchError as error:
            self.give_up(f"line {number}: {error}")
        except RecursionError:
            self.give_up(f"line {number}: it is nested too deeply")

    async def _add(self, line: bytes) -> None:
        value = fields.parse_object(line)
        _refuse_twins(line)
        request = fields.mapping(value, "request")
        if request is None:
            raise _NotABatchError("it must be an object with a `request`")
        written = orjson.dumps(request)
        call = gemini.parse_generate(_REFERENCE, False, written)
        if call.body.get("model") is not None:
            raise _NotABatchError("its request names a model; name the model in the batch only")
        await recall_ids(self._plane, self._identity, call.held, patient=False)
        for stored_id in call.held:
            holder = self._plane.stored_owners.find(self._identity, stored_id)
            if holder.upstream != self.upstream:
                raise _NotABatchError("it refers to something of another upstream")
        if screen(call, self._route, _no_other, exact=False).body != call.body:
            raise _NotABatchError("it has a field that is not passed on")
        if reason := call.unbounded or unbounded_by(call, self._route):
            raise _NotABatchError(reason)
        self._shapes.add(shape_of(call, rendered_size(call, written, self._route.provider)))


def _refuse_twins(line: bytes) -> None:
    """A name that stands twice in an object is one thing here and may be another there."""

    def pairs(items: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            raise _NotABatchError("a name stands twice in one object")
        return value

    json.loads(line, object_pairs_hook=pairs)


def _no_other(model: str) -> str:
    raise model_not_found(model)
