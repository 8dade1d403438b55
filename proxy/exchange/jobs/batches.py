"""What a batch may cost at most, before it is made: of the file that it names, or of the lines in its own body."""

from __future__ import annotations

import asyncio

from proxy.access.stored_owners import Holder
from proxy.errors import (
    dialect_not_supported,
    invalid_request,
    stored_not_found,
    unbounded_cost,
    upstream_timeout,
    upstream_unreachable,
)
from proxy.exchange.configured import Configured
from proxy.exchange.jobs.asking import destination_of, find_job, send, whole
from proxy.exchange.jobs.lines import Lines, priced_line
from proxy.exchange.plane import Plane
from proxy.jobs.api import JobApi, JobEndpoint
from proxy.jobs.bounds import Bounds, bounds_of
from proxy.jobs.shapes import shapes_of
from proxy.times import now_us
from proxy.types import Call, Identity
from proxy.upstream.response import UpstreamError

_LINES_AT_ONCE = 20


async def bounded(plane: Plane, configured: Configured, identity: Identity, endpoint: JobEndpoint, call: Call) -> Call:
    """The call with what its lines come to, or what it goes on with. Raises `Refused` where one of them may not be."""
    if endpoint.placed is not None:
        job = await find_job(plane, identity, endpoint.api, call.held[0]) if endpoint.renews else None
        return endpoint.placed(call, job, now_us())
    file_id = endpoint.api.of_file(call) if endpoint.api.of_file is not None else None
    if file_id is None:
        return call if endpoint.lines is None else await _of_its_body(plane, configured, identity, endpoint, call)
    holder = plane.stored_owners.find(identity, file_id)
    if endpoint.api.of_shapes:
        await _is_what_was_uploaded(plane, identity, endpoint.api, file_id, holder)
        return call._replace(bounds=_of_its_shapes(configured, identity, endpoint, call, holder).record())
    bounds = bounds_of(holder.facts)
    if bounds is None:
        raise unbounded_cost(
            "This file was not uploaded for a batch, or before its lines were read here; upload it again.",
            "input_file_id",
        )
    endpoint_asked = call.body.get("endpoint")
    if not isinstance(endpoint_asked, str) or endpoint_asked.rstrip("/").removeprefix("/v1/").replace("/", ".") not in (
        bounds.path, f"{bounds.path}.completions",
    ):  # fmt: skip
        raise invalid_request("`endpoint` must be the path that the file's lines call.", "endpoint")
    return call._replace(bounds=bounds.record(), model=bounds.models[0])


async def _is_what_was_uploaded(plane: Plane, identity: Identity, api: JobApi, file_id: str, holder: Holder) -> None:
    """A client may name its files, so that one of the same name may have taken its place, by way of another process. Raises
    `Refused`."""
    known = (holder.facts or {}).get("file")
    destination = destination_of(plane, holder.upstream, api)
    if not known or destination is None:
        return
    path, attempt_id = f"{api.files_at}{file_id}", plane.ids.new(now_us())
    try:
        response = await send(plane, destination, api, "GET", path, attempt_id=attempt_id, holder=identity.key_id)
        answer = await whole(response)
    except UpstreamError as error:
        raise (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.") from None
    if answer is None or answer.status >= 300:
        raise stored_not_found("batch")
    if any(answer.body.get(name) != value for name, value in known.items()):
        raise unbounded_cost("Another file has taken this file's name since. Upload it again.", "batch")


def _of_its_shapes(
    configured: Configured, identity: Identity, endpoint: JobEndpoint, call: Call, holder: Holder
) -> Bounds:
    """The bounds of a file whose lines were counted when it was uploaded, and whose model is known only now."""
    shapes, why = shapes_of(holder.facts), (holder.facts or {}).get("missing")
    if shapes is None or why:
        why = why or "its lines were not read when it was uploaded: say mime_type='application/jsonl' then"
        raise unbounded_cost(f"A batch cannot be made of this file: {why}. Upload it again.", "batch")
    route = configured.router.route(call.model, identity)
    if configured.destination(route, endpoint).translated:
        raise dialect_not_supported(route.requested, endpoint.family.name)
    bounds = Bounds(path="generate", models=(route.requested,))
    for count, shape in shapes:
        line = priced_line(configured, identity, shape.call(call.model), route, b"", 0)
        if line.bound.inject:  # which nobody can, in a file that is there already
            missing = f"set models.{route.requested}.max_output_tokens: a line of the file has no output cap"
            line = line._replace(nanousd=None, missing=missing)
        bounds = bounds.with_lines(count, line.nanousd, line.bound.usage, line.missing, route.requested)
    return bounds


async def _of_its_body(
    plane: Plane, configured: Configured, identity: Identity, endpoint: JobEndpoint, call: Call
) -> Call:
    assert endpoint.lines is not None
    lines = Lines(plane, configured, identity)
    for number, (path, body) in enumerate(endpoint.lines(call), 1):
        sent = lines.add(path, body)
        body.clear()
        body.update(sent)
        if number % _LINES_AT_ONCE == 0:
            await asyncio.sleep(0)  # other calls go on meanwhile
    return call._replace(bounds=lines.bounds.record(), model=lines.bounds.models[0])
