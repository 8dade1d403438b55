"""What a recording is billed is within its ceiling, whatever its first bytes say that it is."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from proxy.wire import multipart
from proxy.wire.multipart import Part
from tests.flow.house import Answer, House
from tests.support import media

SILENCE_S = 600
_OPUS = bytes(100_000)  # of which no decoder makes more than a second for 16 bytes
RECORDINGS = {
    "wav": (media.wav(SILENCE_S, 8000), SILENCE_S),
    "mp3": (media.mp3(2300), 61),
    "a tag before another format": (b"ID3\4" + bytes(6) + b"OggS" + _OPUS, 6250),
    "a head of a format that is none": (b"\xff\xf3\x00\x00" + _OPUS, 6250),
}


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_recordings_bill_is_within_its_ceiling(tmp_path: Path, name: str) -> None:
    data, seconds = RECORDINGS[name]
    house = House(
        tmp_path,
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": "openai", "dialect": "openai"}},
        models={"m": {"upstream": "up", "model": "whisper-1"}},
        prices=[],
        budgets=[{"name": "b", "limit_usd": 100_000, "window": "total", "clamp": False}],
    )  # fmt: skip
    parts = [Part("model", b"m"), Part("file", data, b"a.mp3", b"audio/mpeg")]
    answer = {"text": "x", "usage": {"type": "duration", "seconds": seconds}}
    told = await house.ask(
        Answer(orjson.dumps(answer)),
        path="/v1/audio/transcriptions",
        raw=multipart.encode(b"b0und", parts),
        headers={"content-type": "multipart/form-data; boundary=b0und"},
    )

    assert told.status == 200, told.body
    records = {record["t"]: record for record in house.records()}
    assert 0 < records["settle"]["cost_nanousd"] <= records["intent"]["reserved_nanousd"]
    if name in ("wav", "mp3"):  # and not far below
        assert records["intent"]["reserved_nanousd"] <= 1.2 * records["settle"]["cost_nanousd"]
