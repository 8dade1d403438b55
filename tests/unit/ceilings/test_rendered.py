"""The bound on what normalising makes of a text: never below it, and never by doing it."""

from __future__ import annotations

import sys
import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ceilings import rendered
from proxy.ceilings.rendered import growth_bytes, rendered_bytes, rendered_size
from proxy.dialects import media
from proxy.wire.multipart import Part, encode


def normalised_bytes(text: str) -> int:
    return max(len(unicodedata.normalize(form, text).encode()) for form in ("NFC", "NFKC"))


def bound(text: str) -> int:
    return len(text.encode()) + growth_bytes(text.encode())


def test_no_character_becomes_longer_than_its_bound() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    texts = ["".join(characters[at : at + 64]) for at in range(0, len(characters), 64)]
    # Where a text is what normalising makes of it, so is each of its characters.
    touched = [text for text in texts if not all(unicodedata.is_normalized(form, text) for form in ("NFC", "NFKC"))]
    assert 0 < len(touched) < len(texts) / 20
    assert [one for one in "".join(touched) if normalised_bytes(one) > bound(one)] == []
    assert all(growth_bytes(text.encode()) >= 0 for text in texts)


def test_a_composed_character_before_a_mark_is_counted_in_its_parts() -> None:
    """Acute, then a dot below: the dot comes first, and the e takes that."""
    assert normalised_bytes("\u00e9\u0323") == 5 > len("\u00e9\u0323".encode())
    for composed in rendered._known().apart:
        for mark in ("\u0323", "\u0301", "\u3099", "\U000110ba", "\u0f71", "\u0345"):
            assert normalised_bytes(composed + mark) <= bound(composed + mark), (composed, mark)


def test_what_is_got_ready_a_little_at_a_time_is_what_the_first_text_would_make() -> None:
    made = rendered._known()
    everything = (rendered._known, rendered._suspects, rendered._growing, rendered._coming_apart)
    for one in everything:
        one.cache_clear()
    steps = sum(1 for _ in rendered.getting_ready())
    known = rendered._known()
    assert steps > 100
    assert known is not made
    assert [one.cache_info().currsize for one in everything] == [1, 1, 1, 1]
    for name in ("grows", "apart", "marks", "most", "harmless"):
        assert getattr(known, name) == getattr(made, name)


_SOME = st.one_of(
    st.sampled_from(sorted(rendered._known().apart)),
    st.sampled_from(sorted(rendered._known().grows)),
    st.sampled_from(sorted(rendered._known().marks)),
    st.sampled_from("aé ½ﷺ한글각각やﾞカ゛क़़ॐ\U0001d15e\U0001f100"),
    st.characters(codec="utf-8"),
)


@given(st.lists(_SOME, max_size=12).map("".join))
def test_no_text_becomes_longer_than_its_bound(text: str) -> None:
    assert normalised_bytes(text) <= bound(text)


@pytest.mark.parametrize(
    "text", ["Voilà l’été", "Привет", "你好，世界。", "안녕하세요", "Tiếng Việt", "नमस्ते", "مَرْحَبًا", "👍🏽", "½ kg"]
)
def test_what_people_write_is_bounded_closely(text: str) -> None:
    assert bound(text) <= max(normalised_bytes(text), len(text.encode())) + 3


def test_beyond_many_that_grow_all_are_taken_for_the_worst() -> None:
    text = "½" * 60_000 + "a"
    assert normalised_bytes(text) <= bound(text) <= len(text.encode()) + 30 * len(text)


def test_nothing_is_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "unicodedata", SimpleNamespace())
    assert rendered_bytes("é\u0323ﷺ".encode(), "anthropic") == 7 + 30 + 1
    assert rendered_bytes("é\u0323ﷺ".encode(), "openai") == 7


def test_the_files_of_a_form_are_no_text() -> None:
    parts = [Part("model", b"m"), Part("prompt", "½".encode()), Part("file", "½".encode() * 9, b"a.mp3")]
    raw = encode(b"b0und", parts)
    call = media.parse_transcription("audio.transcriptions", raw)
    assert rendered_size(call, raw, "acme") == len(raw) + 3
