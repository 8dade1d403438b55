"""All APIs of jobs, a file each, and which request is whose."""

from __future__ import annotations

from proxy.dialects import OPENAI, Family
from proxy.errors import Refusal, Refused, method_not_allowed
from proxy.jobs.api import JobApi, JobEndpoint, Matched
from proxy.jobs.apis import (
    anthropic_batches,
    anthropic_files,
    elevenlabs,
    elevenlabs_dubbing,
    fal,
    gemini_caches,
    gemini_files,
    gemini_operations,
    luma,
    luma_agents,
    openai_background,
    openai_batches,
    openai_files,
    openai_videos,
    replicate,
    runway,
    stability,
)

APIS: tuple[JobApi, ...] = (
    openai_videos.API,
    openai_files.API,
    openai_batches.API,
    openai_background.API,
    anthropic_batches.API,
    anthropic_files.API,
    gemini_operations.VIDEO,
    gemini_operations.BATCHES,
    gemini_files.API,
    gemini_caches.API,
    replicate.PREDICTIONS,
    replicate.FILES,
    fal.RUN,
    fal.QUEUE,
    luma.API,
    luma_agents.API,
    runway.API,
    stability.API,
    elevenlabs.SOUND,
    elevenlabs_dubbing.API,
)
BY_NAME: dict[str, JobApi] = {api.name: api for api in APIS}


def find(method: str, path: str, client: Family = OPENAI) -> JobEndpoint | Matched | None:
    """Where a request goes that is about jobs; None where it is about none. Raises `Refused` (405, or what the route says).

    client: whose SDK it comes from. `/v1/batches` is OpenAI's and Gemini's alike, `/v1/files` Anthropic's too.
    """
    allowed: list[str] = []
    for api in APIS if client is OPENAI else sorted(APIS, key=lambda api: api.family is not client):
        for route in api.routes:
            match = route.match(path)
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
