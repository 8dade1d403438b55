"""What a media vendor's model makes, in the units it is priced in: the most, by its request; the truth, by its answer.

Each model has fields of its own; the names here are those by which most of them go (the schemas at replicate.com and fal.ai,
read 2026-11-29). What stands under none of them takes the most that is usual, so that a reservation is rather too large. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import ceil
from typing import Any

from pricing.units import is_token
from pricing.usage import Quantity, Reading
from proxy.meters.reading_builder import number
from proxy.types import Call

_COUNTS = ("num_images", "num_outputs", "number_of_images", "num_samples", "num_videos", "max_images", "n")
_SECONDS = ("duration", "duration_seconds", "seconds", "seconds_total", "video_length", "length", "audio_length_in_s")
CONDITIONS = ("resolution", "quality", "size", "mode", "hardware")
_AUDIO = ("generate_audio", "audio", "enable_audio", "with_audio")
SIZES = (*_COUNTS, *_SECONDS, *_AUDIO, "num_frames", "fps", "frames_per_second", "image_size", "megapixels", "width",
         "height", "aspect_ratio")  # fmt: skip
_PRICE_FIELDS = (*SIZES, *CONDITIONS)
_MOST_ITEMS = 1000
_LONGEST_WORD = 40

# Where the request does not say: longer than what any model does by itself; the longest that "auto" comes to.
_SECONDS_BY_DEFAULT, _SECONDS_AT_MOST, _AUDIO_SECONDS = 10, 20, 600
_MEGAPIXELS_BY_DEFAULT = 4
_MEGAPIXELS = {
    "0.25": 1,
    "512": 1,
    "0.5k": 1,
    "1k": 2,
    "1.5k": 3,
    "2k": 5,
    "3k": 10,
    "4k": 17,
    "hd": 2,
    "1080p": 3,
    "720p": 1,
}
# fal.ai/models/fal-ai/flux/dev/api: the presets of `image_size`.
_PRESETS = {
    "square": (512, 512), "square_hd": (1024, 1024), "portrait_4_3": (768, 1024), "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768), "landscape_16_9": (1024, 576),
}  # fmt: skip
_TIME = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)(?:s|sec|seconds)?\Z")


def with_max_usage(call: Call, fields: Mapping[str, Any], units: frozenset[str], *, gpu_seconds: int) -> Call:
    """The call with what it comes to at most in `units`. gpu_seconds: the longest that it may run."""
    quantities: dict[str, int] = {}
    why = ""
    count = _count(fields)
    each = {
        "image": 1, "video_second": _seconds_at_most(fields), "megapixel": _megapixels_at_most(fields),
        "audio_second": _seconds_at_most(fields, _AUDIO_SECONDS, _AUDIO_SECONDS),
    }  # fmt: skip
    once = {"request": 1, "gpu_second": gpu_seconds}
    if "character" in units:
        once["character"] = sum(map(len, texts(fields)))
    for unit in units:
        if unit in once:
            quantities[unit] = once[unit]
        elif unit in each and count is not None:
            quantities[unit] = count * each[unit]
        elif not is_token(unit):
            why = f"its model is priced by the {unit}, of which the request does not say how many it makes"
    return call._replace(
        units=units,
        quantities=quantities,
        unbounded=call.unbounded or why,
        fixed={**call.fixed, **conditions_of(fields)},
    )


def price_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a request's fields on which its price may depend; never a text of the client's own."""
    short: dict[str, Any] = {}
    for name in _PRICE_FIELDS:
        value = fields.get(name)
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _LONGEST_WORD):
            short[name] = value
        elif name == "image_size" and isinstance(value, dict):
            short[name] = {side: value[side] for side in ("width", "height") if number(value.get(side)) is not None}
    return short


def conditions_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """The conditions of a price that a model's fields order, in lower case."""
    conditions = {name: value.lower() for name in CONDITIONS if isinstance(value := fields.get(name), str) and value}
    for name in _AUDIO:
        if isinstance(value := fields.get(name), bool):
            conditions["audio"] = "on" if value else "off"
    if (seconds := _time(_first(fields, _SECONDS))) is not None:
        conditions["duration"] = str(seconds)
    return conditions


def reading_of(
    units: Sequence[str],
    ordered: Mapping[str, Any],
    made: Mapping[str, Quantity | None],
    *,
    conditions: Mapping[str, str] | None = None,
) -> Reading | None:
    """What a model used in the units of its price; None where nobody can say how much of one of them.

    made: what the answer says of it, by unit. Where it has no price all of that is told: it is not free for all that.
    """
    usage: dict[str, Quantity] = {}
    if not units:
        usage = {unit: count for unit, count in made.items() if count and count > 0 and unit != "gpu_second"}
        return Reading(usage=usage, source="provider", conditions=dict(conditions or {})) if usage else None
    for unit in units:
        quantity = made.get(unit)
        if quantity is None:
            quantity = _by_request(unit, ordered)
        if quantity is None or quantity < 0:
            return None
        if quantity > 0:
            usage[unit] = quantity
    return Reading(
        usage=usage, source="provider", conditions=conditions_of(ordered) if conditions is None else conditions
    )


def _by_request(unit: str, ordered: Mapping[str, Any]) -> Quantity | None:
    """What the request ordered is what was made, where its answer shows nothing of it."""
    if unit == "request":
        return 1
    seconds = _time(_first(ordered, _SECONDS))
    if unit in ("video_second", "audio_second") and seconds is not None:
        return seconds * (_count(ordered) or 1)
    return None


def megapixels(images: Sequence[Mapping[str, Any]]) -> int | None:
    """The megapixels of images, each rounded up; None where one does not say how large it is."""
    total = 0
    for image in images:
        width, height = number(image.get("width")), number(image.get("height"))
        if not width or not height or width < 0 or height < 0:
            return None
        total += _rounded_up(width, height)
    return total


def _rounded_up(width: Quantity, height: Quantity) -> int:
    return max(1, ceil(Decimal(width) * Decimal(height) / 1_000_000))


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _time(value: Any) -> Quantity | None:
    """Seconds: 5, 5.5, "5", "5s"."""
    if isinstance(value, str):
        match = _TIME.match(value.strip().lower())
        value = match[1] if match else None
    seconds = number(value)
    return seconds if seconds is not None and seconds > 0 else None


def _count(fields: Mapping[str, Any]) -> int | None:
    """How many items are ordered: the product of all fields that may say so; None where one cannot be read."""
    total = 1
    for name in _COUNTS:
        value = fields.get(name)
        if value is None:
            continue
        count = number(value)
        if count is None or not 0 < count <= _MOST_ITEMS:
            return None
        total *= ceil(count)
    return total if total <= _MOST_ITEMS else None


def _seconds_at_most(
    fields: Mapping[str, Any], default: int = _SECONDS_BY_DEFAULT, most: int = _SECONDS_AT_MOST
) -> int:
    """The longest of all fields that may say so."""
    stated = [fields[name] for name in _SECONDS if fields.get(name) is not None]
    times = [ceil(seconds) if (seconds := _time(value)) is not None else most for value in stated]
    frames, rate = number(fields.get("num_frames")), _rate(fields)
    if frames is not None and frames > 0:
        times.append(ceil(Decimal(frames) / rate))
    return max(times) if times else default


def _rate(fields: Mapping[str, Any]) -> Decimal:
    """Frames a second; the fewest that are usual where the request does not say."""
    rate = number(_first(fields, ("fps", "frames_per_second")))
    return Decimal(rate) if rate is not None and rate >= 1 else Decimal(16)


def _megapixels_at_most(fields: Mapping[str, Any]) -> int:
    size = fields.get("image_size")
    if isinstance(size, str) and size.lower() in _PRESETS:
        return _rounded_up(*_PRESETS[size.lower()])
    sides = size if isinstance(size, dict) else fields
    width, height = number(sides.get("width")), number(sides.get("height"))
    if width and height and width > 0 and height > 0:
        return _rounded_up(width, height)
    for name in ("megapixels", "resolution", "size"):
        value = fields.get(name)
        stated = number(value)
        if stated is not None and 0 < stated <= 100:
            return ceil(stated)
        if isinstance(value, str) and value.lower() in _MEGAPIXELS:
            return _MEGAPIXELS[value.lower()]
    return _MEGAPIXELS_BY_DEFAULT


def texts(value: Any) -> Iterable[str]:
    """All texts in a request, however deep."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str):
            yield part
