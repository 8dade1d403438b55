"""Pictures by Bedrock's InvokeModel: billed each, whatever was written for them, so that their number is the bound.

Which model makes pictures is known by its name, as nothing in a body is certain to tell. Shapes: AWS's user guides, Nova Canvas
("Request and response structure for image generation"), Titan Image Generator G1, Stability AI models; read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.dialects import fields
from proxy.errors import invalid_request
from proxy.types import Call

_CONFIG, _COUNT = "imageGenerationConfig", "numberOfImages"
_AMAZON = re.compile(r"(?:\A|\.)amazon\.(?:nova-canvas|titan-image-generator)")
_STABILITY = re.compile(r"(?:\A|\.)stability\.(?:sd|stable-)")
_MOST = 5  # pictures of one call (Nova Canvas, Titan)


def of_model(call: Call, model: str) -> Call:
    """The call with what `model` bills for it, where that makes pictures; any other call as it is.

    Raises `Refused` where it asks for more of them, or in other words, than the model's own format has.
    """
    bare = model.lower().rpartition("/")[2]
    if _AMAZON.search(bare):
        count = _of_amazon(call.body)
    elif _STABILITY.search(bare):
        count = fields.integer(call.body, "samples", 1, 1) or 1
    else:
        return call
    return call._replace(
        output_caps=(0,), sequences=1, media=(), media_items=0, hidden_tokens=0, quantities={"image": count}, unbounded="",
        least_output_tokens=fields.MAX_TOKENS,
    )  # fmt: skip


def _of_amazon(body: Mapping[str, Any]) -> int:
    _refuse_misspelt(body, _CONFIG)
    config = fields.mapping(body, _CONFIG) or {}
    _refuse_misspelt(config, _COUNT)
    return fields.integer(config, _COUNT, 1, _MOST) or 1


def _refuse_misspelt(body: Mapping[str, Any], name: str) -> None:
    """In other letters, which a host might read and we would not."""
    for field in body:
        if field != name and field.lower().replace("_", "") == name.lower():
            raise invalid_request(f"The field {field[:40]!r} is a misspelling of {name!r}.", name)
