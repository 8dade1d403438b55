"""Vendors of media whose APIs stand under a prefix of their own, with the vendor's own paths behind it.

Headers: docs.fal.ai (queue, object lifecycle), replicate.com/docs (sync mode, deadlines of predictions), read 2026-11-29.
"""

from __future__ import annotations

import orjson

from proxy.dialects import openai
from proxy.dialects.family import Family
from proxy.errors import Refusal


def refusal_body(refusal: Refusal) -> bytes:
    """`detail` is what their SDKs show (Replicate: problem details); the error object is the one of all other paths."""
    error = openai.error_of(refusal)
    return orjson.dumps({"title": refusal.code, "detail": refusal.message, "status": refusal.status, "error": error})


REPLICATE = Family(
    "replicate", refusal_body, openai.stream_end, prefix="/replicate",
    request_headers=frozenset({b"prefer", b"cancel-after"}), answer_headers=frozenset({b"preference-applied"}),
)  # fmt: skip
_FAL_REQUEST = frozenset({
    b"x-fal-queue-priority", b"x-fal-request-timeout", b"x-fal-request-timeout-type", b"x-fal-runner-hint", b"x-fal-no-retry",
    b"x-fal-store-io", b"x-fal-object-lifecycle-preference",
})  # fmt: skip
_FAL_ANSWER = frozenset({
    b"x-fal-request-id", b"x-fal-billable-units", b"x-fal-retryable", b"x-fal-error-type", b"x-fal-request-timeout-type",
})  # fmt: skip
FAL = Family(
    "fal", refusal_body, openai.stream_end, prefix="/fal", request_headers=_FAL_REQUEST, answer_headers=_FAL_ANSWER
)
FAL_RUN = Family(
    "fal_run",
    refusal_body,
    openai.stream_end,
    prefix="/fal/fal.run",
    request_headers=_FAL_REQUEST,
    answer_headers=_FAL_ANSWER,
)
LUMA = Family("luma", refusal_body, openai.stream_end, prefix="/luma")
RUNWAY = Family(
    "runway", refusal_body, openai.stream_end, prefix="/runway",
    headers={b"x-runway-version": b"2024-11-06"}, request_headers=frozenset({b"x-runway-version"}),
)  # fmt: skip
STABILITY = Family(
    "stability", refusal_body, openai.stream_end, prefix="/stability",
    request_headers=frozenset({b"accept", b"stability-client-id", b"stability-client-user-id", b"stability-client-version"}),
    answer_headers=frozenset({b"finish-reason", b"seed"}),
)  # fmt: skip
ELEVENLABS = Family(
    "elevenlabs", refusal_body, openai.stream_end, prefix="/elevenlabs",
    answer_headers=frozenset({b"character-cost", b"history-item-id", b"song-id", b"content-disposition"}),
)  # fmt: skip

VENDORS = (REPLICATE, FAL_RUN, FAL, LUMA, RUNWAY, STABILITY, ELEVENLABS)
