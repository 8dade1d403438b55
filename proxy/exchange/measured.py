"""A reading for answers of the audio endpoints that state no usage: they are billed by their length.

A transcript is billed by the recording that was sent, speech by the text or by the sound that came back: whichever the model
has a price for is counted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from pricing.cost import Cost
from pricing.usage import Quantity, Reading
from proxy.meters.reader import Context, Reader
from proxy.meters.reading_builder import number
from proxy.meters.recordings import seconds_of
from proxy.types import Call
from proxy.wire.lenient import Answer

HEARD = ("audio.transcriptions", "audio.translations")
_SPOKEN = "audio.speech"
MEASURED = frozenset({*HEARD, _SPOKEN})
# OpenAI's speech models: $0.015 a minute at $12 for a million tokens (litellm 1.109.1, gpt-4o-mini-tts); Gemini's: 25 a second
# (ai.google.dev/gemini-api/docs/tokens).
_OPENAI_TOKENS_PER_S, _TOKENS_PER_S = Decimal(1250) / 60, Decimal(25)


async def measured(
    reported: Reading,
    body: bytes,
    call: Call,
    reader: Reader,
    context: Context,
    answer: Answer,
    price: Callable[[Reading], Cost],
) -> Reading:
    """`reported`, or what the length of the recording comes to where `reported` says nothing that has a price."""
    if call.operation in HEARD and reported.source == "none":
        return await _heard(call, reader, context, answer) or reported
    if (
        call.operation == _SPOKEN
        and reported.source == "provider"
        and not answer.values
        and price(reported).cost_nanousd is None
    ):
        seconds = await asyncio.to_thread(seconds_of, body, raw=call.body.get("response_format") == "pcm")
        if seconds is not None:
            spoken = (
                reported._replace(usage=usage, source="estimated") for usage in _spoken(call, seconds, context.model)
            )
            return next((one for one in spoken if price(one).cost_nanousd is not None), reported)
    return reported


async def _heard(call: Call, reader: Reader, context: Context, answer: Answer) -> Reading | None:
    files = [part.data for part in call.form.parts if part.name == "file"] if call.form is not None else []
    seconds = await asyncio.to_thread(seconds_of, files[0]) if files else None
    if seconds is None:
        return None
    reading = reader.answer(answer, context._replace(selector={**context.selector, "duration_seconds": seconds}))
    return reading._replace(source="estimated") if reading.usage else reading


def _spoken(call: Call, seconds: Decimal, model: str) -> Iterator[Mapping[str, Quantity]]:
    """What speech of that length may be billed as: tokens of text and sound, or its seconds."""
    from pricing.tokens import count_all  # noqa: PLC0415 - heavy

    rate = _OPENAI_TOKENS_PER_S if "gpt" in model else _TOKENS_PER_S
    texts = [text for name in ("input", "instructions") if isinstance(text := call.body.get(name), str)]
    yield {"input": count_all(texts, model), "audio_out": math.ceil(seconds * rate)}
    yield {"audio_second": number(seconds) or seconds}
