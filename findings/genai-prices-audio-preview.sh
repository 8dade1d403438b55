#!/bin/sh
# genai-prices 0.2.3: the sound of `gpt-4o-audio-preview` (and of its `mini`) is priced as text: an eighth of its price and less.
#
# Both rows have a price for text only, and `calc_price` counts what has no rate of its own at the rate of all input or output: no
# warning, no error. The rows of the models that followed (gpt-audio, gpt-audio-mini, gpt-4o-realtime-preview) have rates for sound.
# OpenAI's price for gpt-4o-audio-preview: text $2.50 and $10, sound $40 and $80 a million; the mini $0.15, $0.60, $10, $20 (openai.com/api/pricing; the same in litellm's list).
# Seen for 1,000 tokens of sound in and 1,000 out: $0.0125 (the price of text), where gpt-4o-realtime-preview has $0.12.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check genai-prices==0.2.3
"$folder/venv/bin/python" - <<'PYTHON'
from decimal import Decimal

from genai_prices import Usage, calc_price


def price(model, **sound):
    return calc_price(Usage(input_tokens=1000, output_tokens=1000, **sound), model, provider_id="openai").total_price


seen = {}
for model in ("gpt-4o-audio-preview", "gpt-4o-mini-audio-preview", "gpt-audio", "gpt-4o-realtime-preview"):
    text, sound = price(model), price(model, input_audio_tokens=1000, output_audio_tokens=1000)
    print(f"{model}: text ${text}, sound ${sound}")
    seen[model] = text, sound
same = [model for model, (text, sound) in seen.items() if text == sound]
assert same == ["gpt-4o-audio-preview", "gpt-4o-mini-audio-preview"], same
assert seen["gpt-4o-audio-preview"][1] == Decimal("0.0125")
PYTHON
