"""AWS's own client of Bedrock, for tests that point it at the gateway."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from tests.support.billed_rig import BilledRig


def bedrock_client(rig: BilledRig, key: str) -> Any:
    """It asks once; whoever made it closes it."""
    options = Config(retries={"total_max_attempts": 1})
    session = boto3.Session(key, "anything", region_name="us-east-1")
    return session.client("bedrock-runtime", endpoint_url=rig.url, config=options)
