#!/bin/sh
# litellm 1.110.2: its price list has Stability's edits, controls and upscales at a tenth of what they cost.
#
# Stability bills credits of a cent: 5 for an erase, 40 and 60 for its better upscales (stability.ai/api-pricing-update-25, in force
# since 2025-08-01; "Flat rate of 5 credits per successful generation", OpenAPI at api.stability.ai). In the same list the models that
# make images are right (Ultra's 8 credits are $0.08), so that one budget counts an image whole and its edit as a tenth.
# Seen: USD by the list, by the vendor, and how they compare, for each service.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps litellm==1.110.2
cat >"$folder/compare.py" <<'PYTHON'
import json
from decimal import Decimal
from importlib.metadata import distribution

CREDITS = {"stable-image-ultra": 8, "stable-image-core": 3, "erase": 5, "inpaint": 5, "outpaint": 4, "search-and-replace": 5,
           "remove-background": 5, "sketch": 5, "structure": 5, "fast": 2, "conservative": 40, "creative": 60}
litellm = distribution("litellm")
listed = json.loads(litellm.locate_file("litellm/model_prices_and_context_window_backup.json").read_text())
print("litellm", litellm.version)
right, tenth = [], []
for name, credits in CREDITS.items():
    said = Decimal(str(listed[f"stability/{name}"]["output_cost_per_image"]))
    paid = credits * Decimal("0.01")
    print(f"{name:20} listed {said:>6} paid {paid:>5} ratio {said / paid}")
    (right if said == paid else tenth if said * 10 == paid else []).append(name)
raise SystemExit(0 if len(right) == 2 and len(tenth) == len(CREDITS) - 2 else 1)
PYTHON
"$folder/venv/bin/python" "$folder/compare.py"
