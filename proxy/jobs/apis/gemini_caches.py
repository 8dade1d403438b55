"""Gemini's explicit caches: tokens that are kept for a time, and billed by the hour.

Billed are the tokens that a cache is made of, once, as input, and their storage for as long as it exists: until it expires or
is deleted ("you're billed for the input tokens used to create the cache at the standard input token price. For explicit
caching, there are also storage costs based on how long caches are stored",
docs.cloud.google.com/gemini-enterprise-agent-platform/models/context-cache/context-cache-overview; of the Gemini API the same
was said in discuss.ai.google.dev/t/114069; read 2026-11-29). Nothing tells of its end: from the answers to its creation and
its updates it follows when it is. Each update begins a stretch of its own, with its own ceiling, reservation and entry, and
ends the one before.

Shapes: google-genai 3.4 `types.CachedContent`; an hour by default (ai.google.dev/gemini-api/docs/caching).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from pricing.usage import Quantity, Reading
from proxy.dialects import GEMINI, fields, gemini, openai
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.errors import invalid_request
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, read_by
from proxy.jobs.apis.gemini_files import next_page
from proxy.jobs.job import Job
from proxy.types import Call

DIALECT = "gemini.cachedContents"
_FIELDS = ("model", "contents", "systemInstruction", "tools", "toolConfig", "ttl", "expireTime", "displayName")
_CHANGED = ("ttl", "expireTime")
_TTL = re.compile(r"([0-9]{1,9})(?:\.[0-9]{1,9})?s\Z", re.ASCII)
_NAME = re.compile(r"cachedContents/[A-Za-z0-9_-]{1,200}\Z")
_DEFAULT_TTL = "3600s"
_MOST_S = 31 * 86_400  # for so long it is known whose what is stored is
_SECOND = 1_000_000


def parse(raw: bytes) -> Call:
    """The call that makes a new cache."""
    body = fields.parse_object(raw)
    held = gemini.read_input(body, _FIELDS)
    if any(not one.startswith("files/") for one in held):
        raise invalid_request("A cache cannot be made of another.", "cachedContent")
    _refuse_others(body, _FIELDS)
    model = (fields.text(body, "model") or "").removeprefix("models/")
    if not body.get("contents") and not body.get("systemInstruction"):
        raise invalid_request("`contents` or `systemInstruction` is missing.", "contents")
    for tool in fields.optional_objects(body, "tools"):
        if set(tool) - {"functionDeclarations", "function_declarations"}:
            raise invalid_request(
                "A cache may hold functions of your own; name Google's tools in the calls that use it, which pay for them.",
                "tools",
            )
    if body.get("ttl") is None and body.get("expireTime") is None:
        body["ttl"] = _DEFAULT_TTL
    media = gemini.media_of(body)
    return Call(
        dialect=DIALECT, operation="cache", model=fields.model_name({"model": model}), body=body, stream=False,
        size_bytes=len(raw), output_caps=(0,), least_output_tokens=fields.MAX_TOKENS,
        media_items=len(media) + len(held), media=media, prompts=len(body.get("contents") or ()), held=held,
    )  # fmt: skip


def parse_update(name: str, raw: bytes) -> Call:
    """The call that gives a cache a new end; nothing else of it can be changed."""
    body = fields.parse_object(raw)
    gemini.read_input(body, _CHANGED)
    _refuse_others(body, _CHANGED)
    return Call(
        dialect=DIALECT, operation="cache", model="", body=body, stream=False, size_bytes=len(raw), output_caps=(0,),
        least_output_tokens=fields.MAX_TOKENS, held=(name,),
    )  # fmt: skip


def _refuse_others(body: Mapping[str, Any], accepted: tuple[str, ...]) -> None:
    for name in body:
        if name not in accepted:
            raise invalid_request(f"The field {name[:40]!r} is not known here.", name[:40])


def placed(call: Call, job: Job | None, now_us: int) -> Call:
    """The call with what is kept, and for how long. job: the stretch that an update ends."""
    kept_s = _kept_s(call.body, now_us)
    if job is None:
        return call._replace(kept_s=kept_s)
    tokens = job.asked.get("tokens")
    model = str(job.intent["model_requested"])
    if type(tokens) is not int:
        return call._replace(model=model, unbounded="nobody knows how large this cache is")
    return call._replace(model=model, kept_s=kept_s, quantities={"token_hour": -(-tokens * kept_s // 3600)})


def _kept_s(body: Mapping[str, Any], now_us: int) -> int:
    """For how many seconds from now on, rounded up."""
    ttl, expires = fields.text(body, "ttl"), fields.text(body, "expireTime")
    if (ttl is None) == (expires is None):
        raise invalid_request("One of `ttl` and `expireTime` must say when the cache ends.", "ttl")
    if ttl is not None:
        match = _TTL.match(ttl)
        kept_s = None if match is None else int(match[1]) + (not ttl[:-1].isdigit())
    else:
        until = micros(expires)
        kept_s = None if until is None else max(-(-(until - now_us) // _SECOND), 0)
    if kept_s is None:
        raise invalid_request('`ttl` is written as "600s", `expireTime` in RFC 3339 with its zone.', "ttl")
    if kept_s > _MOST_S:
        raise invalid_request(f"A cache is kept for {_MOST_S // 86_400} days at most here; renew it later.", "ttl")
    return kept_s


def micros(value: object) -> int | None:
    """An RFC 3339 instant in epoch microseconds; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    since = instant - _EPOCH if instant.tzinfo else None
    return None if since is None else (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


def _renews(call: Call) -> bool:
    """Whether it goes on with a cache; one that is made may hold files."""
    return any(map(_NAME.match, call.held))


def request_facts(call: Call) -> Mapping[str, Any]:
    return {"made": not _renews(call)}


def creation_facts(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the answer to a creation or an update says of the stretch that begins with it. Instants in epoch microseconds."""
    usage = body.get("usageMetadata")
    tokens = usage.get("totalTokenCount") if isinstance(usage, dict) else None
    return {
        "tokens": tokens if type(tokens) is int and tokens >= 0 else None, "created": micros(body.get("createTime")),
        "updated": micros(body.get("updateTime")), "until": micros(body.get("expireTime")),
    }  # fmt: skip


def read_end(job: Job, answer: Answer) -> Ended | None:
    """It is there. An update that nobody told of (its answer was lost) ends the stretch all the same."""
    updated, since = micros(answer.body.get("updateTime")), _since(job)
    return _ended(job, updated) if updated is not None and since is not None and updated > since else None


def gone(job: Job, answer: Answer, now_us: int) -> Ended | None:
    """It is not there: deleted, or its time is over. Google says 403 of caches that do not exist, as of another project's."""
    until = job.asked.get("until")
    over = until is not None and until <= now_us
    if answer.status == 403 and not over and "not found" not in str(answer.body.get("error")).lower():
        return None  # of the account's key
    return _ended(job, now_us)


def followed(job: Job, by: Job) -> Ended | None:
    """An update has begun the stretch `by`; None where that came before this one, and only its answer later."""
    since, until = _since(job), _since(by)
    return None if since is not None and until is not None and until < since else _ended(job, until)


def _since(job: Job) -> int | None:
    since: int | None = job.asked.get("created") if job.asked.get("made") else job.asked.get("updated")
    updated: int | None = job.asked.get("updated")
    return since if since is None or updated is None else max(since, updated)


def _ended(job: Job, at_us: int | None) -> Ended:
    since: int | None = job.asked.get("created" if job.asked.get("made") else "updated")
    tokens, until = job.asked.get("tokens"), job.asked.get("until")
    if type(tokens) is not int or since is None or at_us is None:
        return Ended("ok", None)
    end = max(since, at_us if until is None else min(at_us, until))
    seconds = Decimal(end - since) / _SECOND
    body = {"usageMetadata": {"totalTokenCount": tokens}}
    reading = read_by(DIALECT, job, Answer(200, body), facts={"duration_seconds": seconds})
    usage: dict[str, Quantity] = dict(reading.usage)
    if job.asked.get("made") and tokens:
        usage["input"] = tokens
    return Ended("ok", Reading(usage=usage, source="provider"), end // _SECOND)


def _endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    return JobEndpoint(
        GEMINI, "cache", "/v1beta/cachedContents", parse, openai.cap_nothing, encode=_encode, holds=_everything,
        api=api, placed=placed,
    )  # fmt: skip


def _update_endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    name = groups["id"]
    return JobEndpoint(
        GEMINI, "cache", f"/v1beta/{name}", partial(parse_update, name), openai.cap_nothing, encode=_encode,
        method=b"PATCH", queries=_MASKS, holds=_everything, api=api, placed=placed, renews=True,
    )  # fmt: skip


def _everything(call: Call) -> bool:
    return True


def _encode(call: Call, model: str) -> Outgoing:
    return json_body(call.body if _renews(call) else {**call.body, "model": f"models/{model}"})


def _job_id(body: Mapping[str, Any]) -> str | None:
    name = body.get("name", body.get("id"))
    return name if isinstance(name, str) and _NAME.match(name) else None


_PATH = r"/(?:v1beta|v1)/cachedContents"
_ITEM = r"/(?:v1beta|v1)/(?P<id>cachedContents/[A-Za-z0-9_-]{1,200})"
_MASKS = frozenset({"updateMask=ttl", "updateMask=expireTime", "updateMask=expire_time"})

API = JobApi(
    name="gemini.caches",
    family=GEMINI,
    operation="cache",
    routes=(
        JobRoute("POST", _PATH + r"\Z", "create", endpoint=_endpoint),
        JobRoute("PATCH", _ITEM + r"\Z", "create", endpoint=_update_endpoint),
        JobRoute(
            "GET",
            _PATH + r"\Z",
            "list",
            "/v1beta/cachedContents",
            queries=frozenset({"pageSize", "pageToken"}),
        ),
        JobRoute("GET", _ITEM + r"\Z", "read", "/v1beta/{id}"),
        JobRoute("DELETE", _ITEM + r"\Z", "forget", "/v1beta/{id}"),
    ),
    poll=lambda job: f"/v1beta/{job.provider_id}",
    read_end=read_end,
    job_id=_job_id,
    request_facts=request_facts,
    creation_facts=creation_facts,
    gone=gone,
    followed=followed,
    providers=frozenset({"google"}),
    list_of="cachedContents",
    id_of="name",
    next_page=next_page,
    cursor="nextPageToken",
)
