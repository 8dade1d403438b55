"""What is taken to be in a provider's prompt cache: only what its documentation promises, and only while it keeps that."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.ceilings.learned import Learned
from proxy.ceilings.prefixes import CountedPrefixes
from proxy.ceilings.prompt_cache import cached_by, still_there
from proxy.dialects import find
from proxy.sessions.keyed_hash import KeyedHash
from proxy.types import Call

MARK = {"cache_control": {"type": "ephemeral"}}
USAGE = {"input": 5, "cache_read": 900, "cache_write_5m": 100, "output": 7}


def block(text: str, *, marked: bool = False) -> dict[str, Any]:
    return {"type": "text", "text": text} | (MARK if marked else {})


def call(*messages: list[dict[str, Any]] | str, **fields: Any) -> Call:
    endpoint = find("POST", "/v1/messages", b"")
    assert endpoint is not None
    told = [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(messages)]
    return endpoint.parse(orjson.dumps({"model": "m", "max_tokens": 9, "messages": told} | fields))


FIRST = call("long", [block("a"), block("b", marked=True)], [block("c")])


def later(mark_after: int) -> Call:
    """The first call's conversation, with a mark so many blocks after its last one."""
    blocks = [block("c"), *(block(f"new {n}") for n in range(40))]
    blocks[mark_after - 1] |= MARK
    return call("long", [block("a"), block("b")], blocks)


def test_what_a_call_read_and_wrote_is_in_the_cache() -> None:
    cached = cached_by(FIRST, "anthropic", "up", USAGE, 100.0)
    assert cached is not None
    assert (cached.tokens, cached.last_mark) == (1000, 2)


@pytest.mark.parametrize(
    ("made", "provider", "usage"),
    [
        (FIRST, "acme", USAGE),
        (FIRST, "anthropic", {"input": 1005, "output": 7}),
        (call("no marks"), "anthropic", USAGE),
        (call("t", [block("m", marked=True)], tools=[{"type": "web_search_20250305", "name": "web_search"}]), "anthropic", USAGE),
    ],
)  # fmt: skip
def test_of_others_nothing_is_known(made: Call, provider: str, usage: dict[str, int]) -> None:
    assert cached_by(made, provider, "up", usage, 100.0) is None


@pytest.mark.parametrize(
    ("next_call", "upstream", "at_s", "there"),
    [
        (later(1), "up", 101.0, True),
        (later(18), "up", 340.0, True),
        (later(19), "up", 101.0, False),  # a provider looks 20 blocks back
        (later(1), "up", 341.0, False),  # it is kept for five minutes
        (later(1), "up", 99.0, False),  # a clock that was set back
        (later(1), "other", 101.0, False),  # another account, perhaps
        (
            call("long", [block("a"), block("b")], [block("c")]),
            "up",
            101.0,
            False,
        ),  # without a mark nothing is looked for
        (call("long", [block("a", marked=True), block("b")], [block("c")]), "up", 101.0, False),  # nor behind it
    ],
)
def test_it_is_there_for_a_while_and_where_the_provider_looks(
    next_call: Call, upstream: str, at_s: float, there: bool
) -> None:
    cached = cached_by(FIRST, "anthropic", "up", USAGE, 100.0)
    assert cached is not None
    assert still_there(cached, next_call, upstream, at_s) is there


def test_only_the_same_beginning_reads_it() -> None:
    known = CountedPrefixes(KeyedHash(b"secret"))
    known.count(known.prefixes(FIRST, "k", "m"), FIRST, 1005, cached_by(FIRST, "anthropic", "up", USAGE, 100.0))
    marked = [block("d", marked=True)]
    for said, tokens in (("c", 1000), ("C", 0)):
        follows = call("long", [block("a"), block("b")], [block(said)], marked)
        assert known.cached(known.prefixes(follows, "k", "m"), follows, "up", 101.0) == tokens
    whole = [block("long")], [block("a"), block("b")], "c", marked  # strings are blocks in short
    follows = call(*whole)
    assert known.cached(known.prefixes(follows, "k", "m"), follows, "up", 101.0) == 1000


def test_trust_takes_twenty_reads_and_goes_with_one_miss(tmp_path: Any) -> None:
    learned = Learned(tmp_path / "learned.json")
    for _ in range(19):
        learned.cache_read("up", "m", kept=True)
    assert not learned.trusts_cache("up", "m")
    learned.cache_read("up", "m", kept=True)
    assert learned.trusts_cache("up", "m")
    assert not learned.trusts_cache("other", "m")
    learned.cache_read("up", "m", kept=False)
    again = Learned(tmp_path / "learned.json")
    for one in (learned, again):
        for _ in range(1000):
            one.cache_read("up", "m", kept=True)
        assert not one.trusts_cache("up", "m")
