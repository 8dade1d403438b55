"""Headers that are left aside because they say nothing of sessions (`says_nothing`) say nothing, whatever comes with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.sessions.attribution import named, says_nothing
from proxy.sessions.known_clients import FAMILIES, TABLE, client_of

ID = "0a1b2c3d-4e5f"
BODIES: tuple[dict[str, Any], ...] = (
    {}, {"prompt_cache_key": ID}, {"metadata": {"user_id": "u"}}, {"client_metadata": {}}, {"litellm_session_id": ""},
)  # fmt: skip


class Read(Mapping[bytes, bytes]):
    """Headers that have nothing of what is asked for, and its name is noted."""

    def __init__(self, names: set[bytes]) -> None:
        self.names = names

    def get(self, name: bytes, default: Any = None) -> Any:  # type: ignore[override]
        self.names.add(name)
        return default

    def __getitem__(self, name: bytes) -> bytes:
        raise KeyError(name)

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_no_header_that_an_entry_reads_is_left_aside() -> None:
    names: set[bytes] = set()
    kinds = [family.name for family in FAMILIES] + ["copilot", "other"]
    for kind in kinds:
        for body in BODIES:
            for look in TABLE:
                look(Read(names), body, kind)
    assert {b"session-id", b"x-client-request-id", b"x-codex-turn-metadata"} <= names
    for name in sorted(names):
        for family in FAMILIES:
            headers = {b"user-agent": family.mark, name: ID.encode()}
            kind = client_of(headers)
            for body in BODIES:
                if says_nothing(headers):
                    assert named(headers, body, kind, "own") == named({}, body, kind, "own"), (name, kind, body)
