"""What fal's own SDK gets, as a program: it takes its hosts from the environment when it is imported, and speaks TLS alone.

python -m tests.support.fal_sdk NONCE        prints one JSON object
"""

from __future__ import annotations

import json
import sys
from typing import Any

import fal_client


def main(nonce: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    handle = fal_client.submit("fal-ai/flux/schnell", {"prompt": f"nonce={nonce}-queue after=0.3", "num_images": 2})
    told["urls"] = [handle.response_url, handle.status_url, handle.cancel_url]
    told["first"] = type(handle.status()).__name__
    told["queue"] = handle.get()
    told["again"] = fal_client.result("fal-ai/flux/schnell", handle.request_id)
    told["subscribe"] = fal_client.subscribe(
        "acme/film/pro", {"prompt": f"nonce={nonce}-subscribe after=0.2", "duration": "5"}
    )
    told["run"] = fal_client.run("fal-ai/flux/schnell", {"prompt": f"nonce={nonce}-run"})
    running = fal_client.submit("fal-ai/flux/schnell", {"prompt": f"nonce={nonce}-cancel after=60"})
    running.cancel()
    told["cancelled"] = type(running.status()).__name__
    try:
        fal_client.run("fal-ai/flux/schnell", {"prompt": f"nonce={nonce}-rejected end=rejected units=1"})
    except fal_client.FalClientHTTPError as error:
        told["rejected"] = error.status_code
    return told


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
