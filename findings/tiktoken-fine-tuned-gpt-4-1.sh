#!/bin/sh
# tiktoken 0.14.0: a fine-tuned gpt-4.1 (and its mini and nano) gets the encoding of gpt-4, not that of the model it was made from.
#
# `encoding_for_model` looks a name up by its beginnings. `gpt-4.1-` stands there, `ft:gpt-4o` too, but no `ft:gpt-4.1`, so that
# `ft:gpt-4.1-mini:acme::id` is found under `ft:gpt-4`: cl100k_base where the base model has o200k_base. The name that fine-tuning
# gives (platform.openai.com/docs, fine-tuning: "ft:" before the dated base model) is counted with another vocabulary, without an error.
# Seen: base model o200k_base, fine-tuned cl100k_base; gpt-4o right in both forms.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tiktoken==0.14.0
"$folder/venv/bin/python" - <<'PYTHON'
from tiktoken import encoding_name_for_model

differ = []
for base in ("gpt-4o-2024-08-06", "gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14", "gpt-4.1-nano-2025-04-14"):
    names = encoding_name_for_model(base), encoding_name_for_model(f"ft:{base}:acme::AbC123")
    print(f"{base}: {names[0]}, fine-tuned {names[1]}")
    if names[0] != names[1]:
        differ.append(base)
assert differ == ["gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14", "gpt-4.1-nano-2025-04-14"], differ
PYTHON
