"""Pictures by Bedrock's InvokeModel through the real boto3, under a budget that blocks: billed each, by size and quality."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support import bedrock
from tests.support.bedrock_client import bedrock_client
from tests.support.billed_rig import BilledRig, billed
from tests.support.gateway import server
from tests.support.waiting import eventually

KEY, POOR_KEY = "sk-pictures-000000000000001", "sk-pictures-poor-0000000001"
NOVA, TITAN = "amazon.nova-canvas-v1:0", "amazon.titan-image-generator-v2:0"
CORE, ULTRA = "stability.stable-image-core-v1:1", "stability.stable-image-ultra-v1:1"
SD35 = "arn:aws:bedrock:us-east-1::foundation-model/stability.sd3-5-large-v1:0"


def config(folder: Path, provider_url: str) -> dict[str, Any]:
    return {
        "server": server(),
        "upstreams": {
            "bedrock": {
                "provider": "aws", "base_url": provider_url, "api_key": bedrock.API_KEY,
                "params": {"aws_region_name": bedrock.REGION},
            },
        },
        "models": {"canvas": {"upstream": "bedrock", "model": NOVA}, "*": {"upstream": "bedrock"}},
        "keys": [{"name": "rich", "key": KEY}, {"name": "poor", "key": POOR_KEY, "team": "poor"}],
        "budgets": [
            {"name": "all", "limit_usd": "1000", "window": "day"},
            {"name": "small", "match": {"team": "poor"}, "limit_usd": "0.1", "window": "day"},
        ],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "d"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BilledRig]:
    folder = tmp_path_factory.mktemp("pictures")
    with billed(folder, "tests.support.bedrock", lambda url: config(folder, url)) as parts:
        yield BilledRig(*parts)


@pytest.fixture(scope="module")
def client(rig: BilledRig) -> Iterator[Any]:
    made = bedrock_client(rig, KEY)
    yield made
    made.close()


def drawn(**config: Any) -> dict[str, Any]:
    return {
        "taskType": "TEXT_IMAGE",
        "textToImageParams": {"text": "a zebra"},
        **({"imageGenerationConfig": config} if config else {}),
    }


PICTURES = [
    ("canvas", drawn(), 1),
    (NOVA, drawn(numberOfImages=3, quality="premium"), 3),
    (NOVA, drawn(width=2048, height=2048, quality="standard"), 1),
    (NOVA, drawn(width=4096, height=1024, quality="premium", numberOfImages=2), 2),
    (NOVA, drawn(numberOfImages=2) | {"textToImageParams": {"text": "PARTLY"}}, 1),
    (TITAN, drawn(width=512, height=512, numberOfImages=5), 5),
    (TITAN, drawn(width=1024, height=1024, quality="premium"), 1),
    (CORE, {"prompt": "a zebra"}, 1),
    (ULTRA, {"prompt": "a zebra", "aspect_ratio": "1:1", "output_format": "png"}, 1),
    (SD35, {"prompt": "a zebra", "mode": "text-to-image"}, 1),
    (CORE, {"prompt": "FILTERED"}, 0),
]


@pytest.mark.parametrize(("model", "body", "count"), PICTURES)
@pytest.mark.parametrize("stream", [False, True])
def test_pictures_cost_what_the_provider_bills(
    rig: BilledRig, client: Any, model: str, body: dict[str, Any], count: int, stream: bool
) -> None:
    before = rig.lines()

    if stream:
        answer = client.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
        (told,) = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    else:
        answer = client.invoke_model(modelId=model, body=json.dumps(body))
        told = json.loads(answer["body"].read())

    assert len(told.get("images", [])) == count
    request_id = answer["ResponseMetadata"]["HTTPHeaders"]["x-taximeter-request-id"]
    (entry,) = eventually(lambda: rig.get("/api/requests", request_id=request_id)["items"], bool)
    (bill,) = rig.lines()[len(before) :]
    assert round(float(entry["cost_usd"]) * 1e9) == bill["nanousd"]
    assert (entry["outcome"], entry["usage_source"], entry["flags"]) == ("ok", "provider", [])
    assert float(entry["reserved_usd"]) >= float(entry["cost_usd"])


def test_a_budget_holds_for_pictures(rig: BilledRig) -> None:
    poor = bedrock_client(rig, POOR_KEY)
    before = rig.lines()

    with pytest.raises(poor.exceptions.ServiceQuotaExceededException, match="budget_exceeded"):
        poor.invoke_model(modelId=NOVA, body=json.dumps(drawn(numberOfImages=2, quality="premium")))

    assert rig.lines() == before
    poor.close()


@pytest.mark.parametrize(
    ("model", "body", "named"),
    [
        (NOVA, drawn(numberOfImages=6), "numberOfImages"),
        (NOVA, drawn(numberOfImages="5"), "numberOfImages"),
        (NOVA, drawn(numberOfImages=1, NumberOfImages=5), "numberOfImages"),
        (NOVA, drawn(number_of_images=5), "numberOfImages"),
        (NOVA, drawn() | {"imageGenerationConfig": [{"numberOfImages": 5}]}, "imageGenerationConfig"),
        (NOVA, drawn() | {"ImageGenerationConfig": {"numberOfImages": 5}}, "imageGenerationConfig"),
        (CORE, {"prompt": "a zebra", "samples": 5}, "samples"),
        ("us.meta.llama3-3-70b-instruct-v1:0", drawn() | {"prompt": "x"}, "bounds"),
        ("us.meta.llama3-3-70b-instruct-v1:0", {"prompt": "a zebra", "aspect_ratio": "1:1"}, "caps"),
    ],
)
def test_what_would_make_more_than_is_reserved_is_refused_by_name(
    rig: BilledRig, client: Any, model: str, body: dict[str, Any], named: str
) -> None:
    before = rig.lines()

    with pytest.raises(ClientError, match=named) as refused:
        client.invoke_model(modelId=model, body=json.dumps(body))

    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert rig.lines() == before
