"""All APIs of jobs, a file each, and which request is whose."""

from __future__ import annotations

from proxy.errors import Refusal, Refused, method_not_allowed
from proxy.jobs.api import JobApi, JobEndpoint, Matched
from proxy.jobs.apis import anthropic_batches, openai_batches, openai_files, openai_videos

APIS: tuple[JobApi, ...] = (openai_videos.API, openai_files.API, openai_batches.API, anthropic_batches.API)
BY_NAME: dict[str, JobApi] = {api.name: api for api in APIS}


def find(method: str, path: str) -> JobEndpoint | Matched | None:
    """Where a request goes that is about jobs; None where it is about none. Raises `Refused` (405, or what the route says)."""
    allowed: list[str] = []
    for api in APIS:
        for route in api.routes:
            match = route.pattern.match(path)
            if match is None:
                continue
            if route.method != method:
                allowed.append(route.method)
                continue
            if route.does == "refused":
                raise Refused(Refusal(403, "route_refused", route.why))
            if route.endpoint is None:
                return Matched(api, route, match.groupdict())
            return route.endpoint(api, match.groupdict())
    if allowed:
        raise method_not_allowed(" or ".join(dict.fromkeys(allowed)))
    return None
