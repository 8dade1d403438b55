"""What becomes here of every route that an SDK calls: a new version's show up as lines that nobody has looked at yet.

`sdk_routes.tsv` has a line for each: the package, the SDK's method, verb and path, and what becomes of it (metered, free,
refused with a reason, 404). `python -m tests.unit.jobs.test_sdk_routes` writes it anew: look at what changes before it is kept.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.dialects import ANTHROPIC, MODELS_PATHS, OPENAI, Family
from proxy.dialects import find as find_endpoint
from proxy.errors import Refused
from proxy.exchange.realtime.paths import REALTIME_PATHS, UNMETERED_PREFIXES
from proxy.jobs.api import Matched
from proxy.jobs.apis import find
from tests.support.sdk_routes import SdkRoute, routes_of

TABLE = Path(__file__).with_name("sdk_routes.tsv")
# Where each stands here, and what its base URL has of the path.
PACKAGES = {
    "anthropic": "", "elevenlabs": "/elevenlabs", "luma_agents": "/luma/v1", "lumaai": "/luma", "openai": "/v1", "replicate": "/replicate",
    "runwayml": "/runway",
}  # fmt: skip
_FREE_CALLS = frozenset({"count_tokens", "responses.get", "responses.cancel", "responses.delete", "moderations"})


def becomes(package: str, route: SdkRoute) -> str:
    path = PACKAGES[package] + route.path.replace("{}", "a1b2c3")
    try:
        endpoint = find_endpoint(route.verb, path, b"") or find(route.verb, path, _family(package))
    except Refused as refused:
        return "refused" if refused.refusal.code == "route_refused" else "404"
    if isinstance(endpoint, Matched):
        return "free"
    if endpoint is not None:
        return "free" if endpoint.operation in _FREE_CALLS else "metered"
    if path in REALTIME_PATHS:
        return "metered"
    if path in MODELS_PATHS and route.verb == "GET":
        return "free"
    return "refused" if path.startswith(UNMETERED_PREFIXES) else "404"


def _family(package: str) -> Family:
    return ANTHROPIC if package == "anthropic" else OPENAI


def lines(package: str) -> list[str]:
    return [
        "\t".join((package, route.call, route.verb, route.path, becomes(package, route)))
        for route in routes_of(package)
    ]


@pytest.mark.long
@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_route_of_an_sdk_has_been_looked_at(package: str) -> None:
    known = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith(f"{package}\t")]
    now = lines(package)
    assert len(now) > 5
    new, gone = sorted(set(now) - set(known)), sorted(set(known) - set(now))
    assert not new, f"python -m {__name__}; not in the table:\n" + "\n".join(new)
    assert not gone, f"python -m {__name__}; in the table alone:\n" + "\n".join(gone)


if __name__ == "__main__":
    TABLE.write_text("".join(f"{line}\n" for package in sorted(PACKAGES) for line in lines(package)), encoding="utf-8")
