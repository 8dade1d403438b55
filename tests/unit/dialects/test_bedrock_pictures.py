"""Which calls of Bedrock's are billed by the picture, and how many they are at most."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from pricing.load import load_book
from pricing.usage import Reading
from proxy.dialects import find
from proxy.errors import Refused
from proxy.meters import Context, reader
from proxy.types import Call
from tests.support.rows import each_row


def call_of(model: str, body: dict[str, Any]) -> Call:
    endpoint = find("POST", "/model/alias/invoke", b"")
    assert endpoint is not None
    assert endpoint.of_model is not None
    return endpoint.of_model(endpoint.parse(json.dumps(body).encode()), model)


@pytest.mark.parametrize(
    ("model", "body", "count"),
    [
        ("amazon.nova-canvas-v1:0", {"taskType": "BACKGROUND_REMOVAL", "backgroundRemovalParams": {"image": "x"}}, 1),
        ("us.amazon.nova-canvas-v1:0", {"taskType": "TEXT_IMAGE", "imageGenerationConfig": {"numberOfImages": 5}}, 5),
        ("amazon.titan-image-generator-v1", {"taskType": "OUTPAINTING", "imageGenerationConfig": {}}, 1),
        ("us.stability.stable-image-inpaint-v1:0", {"prompt": "x", "image": "eA==", "mask": "eA=="}, 1),
        ("stability.stable-diffusion-xl-v1", {"text_prompts": [{"text": "x"}], "steps": 150}, 1),
        (
            "arn:aws:bedrock:us-west-2::foundation-model/stability.sd3-5-large-v1:0",
            {"prompt": "x", "max_tokens": 1},
            1,
        ),
    ],
)
def test_a_model_that_makes_pictures_is_bounded_by_their_number(model: str, body: dict[str, Any], count: int) -> None:
    call = call_of(model, body)

    assert (dict(call.quantities), call.output_caps, call.unbounded) == ({"image": count}, (0,), "")


@each_row("model", ["meta.llama3-8b-instruct-v1:0", "alias", "amazon.nova-reel-v1:1", "astability.sd3"])
@each_row("body", [{"taskType": "TEXT_IMAGE"}, {"text_prompts": []}, {"prompt": "a zebra"}])
def test_what_looks_like_pictures_bounds_no_other_model(model: str, body: dict[str, Any]) -> None:
    call = call_of(model, body)

    assert call.unbounded
    assert not call.quantities


@pytest.mark.parametrize("count", [0, -1, 6, 2.0, "2", True, [2]])
def test_a_number_of_pictures_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(Refused) as refused:
        call_of("amazon.nova-canvas-v1:0", {"imageGenerationConfig": {"numberOfImages": count}})

    assert "numberOfImages" in refused.value.refusal.message


@pytest.mark.parametrize("model", ["amazon.nova-canvas-v1:0", "us.amazon.nova-canvas-v1:0"])
def test_a_large_picture_of_premium_quality_costs_as_much_by_an_inference_profile(model: str) -> None:
    reading = Reading(usage={"image": 1}, conditions={"quality": "premium", "size": "2048x2048"})
    assert load_book().cost(reading, provider="aws", model=model, at_s=1_796_000_000).cost_usd == Decimal("0.08")


@pytest.mark.parametrize("picture", ["!!!", "", {"base64": "eA=="}, None, 7])
@pytest.mark.parametrize(
    ("model", "usd"), [("amazon.nova-canvas-v1:0", "0.06"), ("amazon.titan-image-generator-v2:0", "0.01")]
)
def test_a_picture_whose_size_nobody_can_tell_costs_what_a_large_one_does(
    model: str, usd: str, picture: object
) -> None:
    context = Context(provider="aws", model=model, request={"taskType": "TEXT_IMAGE"}, from_client=True)
    reading = reader("bedrock.invoke", "aws").whole({"images": [picture]}, context)
    cost = load_book().cost(reading, provider="aws", model=model, at_s=1_796_000_000)
    assert (cost.cost_usd, dict(reading.usage)) == (Decimal(usd), {"image": 1})
