from __future__ import annotations

from proxy.sessions.keyed_hash import KeyedHash

KEYED = KeyedHash(b"k" * 32)


def test_rows_that_begin_alike_have_digests_that_begin_alike() -> None:
    begun = KEYED.row((b"key", b"client"))
    digests, others = KEYED.chain(begun, (b"a", b"b", b"c")), KEYED.chain(begun, (b"a", b"x", b"c"))
    assert [one == other for one, other in zip(digests, others, strict=True)] == [True, False, False]
    assert KEYED.chain(digests[0], (b"b", b"c")) == digests[1:]


def test_no_two_rows_are_taken_for_one() -> None:
    rows = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"a", b"b", b"c"), (b"abc", b""), (), (b"",)]
    assert len({KEYED.row(parts) for parts in rows}) == len(rows)
    begun = KEYED.row(())
    assert len({KEYED.chain(begun, parts)[-1] for parts in rows if parts}) == len(rows) - 1


def test_a_digest_says_nothing_of_another_secrets_or_another_kinds() -> None:
    keyed = [KEYED, KEYED.of(b"turns"), KEYED.of(b"pair"), KeyedHash(b"j" * 32), KeyedHash(b"j" * 32).of(b"turns")]
    assert len({one.digest(b"text") for one in keyed}) == len(keyed)
    assert KEYED.of(b"turns").of(b"pair").digest(b"text") == KEYED.of(b"pair").digest(b"text")
