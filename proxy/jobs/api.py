"""What an API of jobs says of itself: a table of its routes, and one function that reads an end. No I/O.

A new API is a file in `apis/` with one `JobApi`, and a line in `apis/__init__.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple

from pricing.usage import Reading
from pricing.values import frozen
from proxy import meters
from proxy.dialects import Endpoint
from proxy.dialects.family import Family
from proxy.jobs.job import Job
from proxy.meters.reader import Context
from proxy.types import Call

Does = Literal["create", "upload", "resumable", "read", "cancel", "list", "content", "forget", "open", "refused"]
"""create: billed, makes a job. upload: a file, free. resumable: one that comes in
parts. read: what a job says of itself (get, cancel): free, and its end is seen
in passing. cancel: as read, of a provider that may say nothing of it behind that. list: of which only the caller's own are
shown. content: what a job made, passed on as it is. forget: deletes it there. open: nobody's own, as a catalogue is; passed on
as it is. refused: with the reason."""

_NO_HEADERS: Mapping[str, str] = {}
_SECRET_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}\Z")


class Answer(NamedTuple):
    """What a provider said of a job. headers: names in lower case. path: what it was asked for, without the query."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = _NO_HEADERS
    path: str = ""


class Results(NamedTuple):
    """A file of results, line by line. path: below the upstream's base URL. line: what one says was used; None: not billed.
    at_least: how many lines there have to be."""

    path: str
    line: Callable[[Job, Mapping[str, Any]], Reading | None]
    at_least: int | None = None


class Ended(NamedTuple):
    """How a job ended. outcome: the entry's. reading: what was used; None: nobody can say, and its ceiling is charged.

    at_s: when the provider says that it ended (epoch seconds). results: files whose lines say what was used, in place of
    `reading`, which then stands in where they cannot be had. leaves: ids of what it left at its provider, its team's too.
    lines: what each line of a batch used, where its answer says so itself; in place of `reading`. ask: the path of what says
    what it came to, read by `JobApi.read_result`; in place of it all.
    """

    outcome: str
    reading: Reading | None
    at_s: int | None = None
    results: Sequence[Results] = ()
    leaves: Sequence[str] = ()
    lines: Sequence[Reading] = ()
    ask: str = ""


@frozen
class JobRoute:
    """One path of an API. pattern: a regular expression of the whole path; its group `id` is a job's. target: below the
    upstream's base URL, with `{id}` and other groups. endpoint: of one that creates, by the API and the pattern's groups.
    queries: names of what is passed on of the query string. has_body: the request's body is passed on. why: of a refusal."""

    method: str
    pattern: str
    does: Does
    target: str = ""
    endpoint: Callable[[JobApi, Mapping[str, str]], JobEndpoint] | None = None
    queries: frozenset[str] = frozenset()
    has_body: bool = False
    why: str = ""

    def match(self, path: str) -> re.Match[str] | None:
        """The path's, where it is this one. Nothing is compiled before a request asks for it: to many data planes none does."""
        return _compiled(self.pattern).match(path)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def after_last(page: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """OpenAI's paging: behind the last item, while `has_more`."""
    last = items[-1].get("id") if items else None
    return {"after": last} if page.get("has_more") and isinstance(last, str) else {}


@frozen
class JobApi:
    """One API.

    job_id: a new job's id, out of the answer to its creation. request_facts: what of a request its price depends on, never a
    prompt; kept in `Job.asked`.
    read_end: None while it runs. poll: the path of what it says of itself. changes_later: a refund may come after its end.
    list_of, id_of: the field of a list in which the jobs stand, and that of each which names it. next_page: what of the query
    asks for the page behind this one, out of a page and its items; {} behind the last. providers: whose API it is. owned:
    whose its objects are, jobs know or what is stored at providers does. of_file: the file that holds a batch's lines;
    None: its body does.
    shown: what a client is told of a job, where that would else lead it past this proxy; it gets what URLs that lead here
    begin with, and what else is known of the job. read_result: as `read_end`, of an answer to what `Ended.ask` named, whatever
    its status. envelope: the fields of a list that point at other pages, out of the last page that was read, what URLs that
    lead here begin with, and whether there is more; its pages are passed on whole. by_offset: lists count from their start.
    cursor: the field of a page that names the one behind it; its pages are passed on whole too.
    bounded: the call with what it comes to at most in the units that its model is priced in (`Call.quantities`, or why nothing
    bounds it).
    of_lines: a file of the purpose `batch` is one. of_shapes: a batch names its model, and not its file's lines do;
    files_at: before a file's id, the path of what says which it is.
    file_field: the field of an upload in which the file stands. first_field: that which has to stand before it.
    creation_facts: what the answer to its creation says that its price depends on; kept beside `request_facts`.
    gone: how one ended that is not there any more (404, 403), deleted by its owner or over, at which time (epoch microseconds);
    None: that says nothing.
    followed: how one ended that another of the same id follows; None: it does not. withdrawn: how one ended that its owner
    deleted, or cancelled, before its end, and that is not there any more; by default nobody can say what it came to.
    makes_bytes: what it says of a job that has ended may be what that made, and no JSON.
    """

    name: str
    family: Family
    operation: str
    routes: tuple[JobRoute, ...]
    poll: Callable[[Job], str]
    read_end: Callable[[Job, Answer], Ended | None]
    job_id: Callable[[Mapping[str, Any]], str | None] = lambda body: text_id(body.get("id"))
    request_facts: Callable[[Call], Mapping[str, Any]] = lambda call: {}
    creation_facts: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda body: {}
    gone: Callable[[Job, Answer, int], Ended | None] | None = None
    followed: Callable[[Job, Job], Ended | None] | None = None
    withdrawn: Callable[[Job], Ended] = lambda job: Ended("upstream_error", None)
    changes_later: bool = False
    providers: frozenset[str] = frozenset({"openai"})
    list_of: str = "data"
    id_of: str = "id"
    owned: Literal["job", "stored"] = "job"
    shown: Callable[[Mapping[str, Any], str, Mapping[str, Any]], Mapping[str, Any]] | None = None
    read_result: Callable[[Job, Answer], Ended | None] | None = None
    envelope: Callable[[Mapping[str, Any], str, bool], Mapping[str, Any]] | None = None
    by_offset: bool = False
    cursor: str = ""
    bounded: Callable[[Call, frozenset[str]], Call] | None = None
    makes_bytes: bool = False
    of_lines: bool = False
    file_field: str = "file"
    first_field: str = "purpose"
    of_file: Callable[[Call], str | None] | None = None
    of_shapes: bool = False
    files_at: str = ""
    next_page: Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], Mapping[str, str]] = after_last

    def listed_id(self, item: Mapping[str, Any]) -> str:
        """A job's id as an item of a list states it, in the form that `job_id` gives; "" where it states none."""
        return self.job_id({**item, "id": item.get(self.id_of)}) or ""


class PassedLines(NamedTuple):
    """Of a batch that is passed on line by line: the field of its lines, the path that each calls, and the field of what it
    sends there."""

    list_of: str
    path: str
    body: str


@frozen
class JobEndpoint(Endpoint):
    """The path that creates a job of an API.

    facts: what its path says of the job, kept beside what `JobApi.request_facts` says. query_names: names of what is passed
    on of the query string. at_once: an answer that names no job may be what it made, as `read_end` reads it. passes: its
    answer goes on as it comes, and what it says of its price stands in its headers. recording: by the length of which it is
    billed, where nothing says what it came to. placed: the call, as the time (epoch microseconds) and the job that it goes on
    with make it. renews: there is such a job, the caller's own, that `held` names. passed_as: how a body is read that is
    larger than one that is held.
    """

    api: JobApi = field(kw_only=True)
    facts: Mapping[str, Any] = field(default_factory=dict)
    query_names: frozenset[str] = frozenset()
    at_once: bool = False
    placed: Callable[[Call, Job | None, int], Call] | None = None
    renews: bool = False
    passed_as: PassedLines | None = None
    passes: bool = False
    recording: Literal["", "sent", "made"] = ""
    lines: Callable[[Call], Iterable[tuple[str, dict[str, Any]]]] | None = None
    """Of a batch whose lines stand in its body: the path that each calls, and its own body, which may be changed."""

    def target_of(self, model: str, query: bytes) -> str:
        target = Endpoint.target_of(self, model, query)
        return with_query(target, query, self.query_names) if self.query_names else target


class Matched(NamedTuple):
    """A request that is about jobs, but creates none."""

    api: JobApi
    route: JobRoute
    groups: Mapping[str, str]

    @property
    def job_id(self) -> str | None:
        return self.groups.get("id")

    def target(self, query: bytes) -> str:
        """The path and query at the upstream; of the query only the parts that the route knows."""
        groups = {name: value or "" for name, value in self.groups.items()}
        return with_query(self.route.target.format(**groups), query, self.route.queries)


def with_query(path: str, query: bytes, names: frozenset[str]) -> str:
    """A path with those parts of a query string that have one of these names, as they came."""
    parts = [p for p in query.decode("latin-1").split("&") if p.partition("=")[0] in names]
    return f"{path}?{'&'.join(parts)}" if parts else path


def text_id(value: object) -> str | None:
    """An id as providers make them: what could be anything else in a path is none."""
    return value if isinstance(value, str) and _SECRET_SAFE.match(value) else None


def read_by(
    dialect: str, job: Job, answer: Answer, *, endpoint: str = "", facts: Mapping[str, Any] | None = None
) -> Reading:
    """What the meter of `dialect` reads out of an answer about `job`."""
    context = Context(
        provider=str(job.intent["provider"]),
        endpoint=endpoint,
        model=job.model,
        request=job.asked,
        response_headers=answer.headers,
        selector=facts or {},
        from_client=True,
    )
    return meters.reader(dialect, context.provider, endpoint).whole(answer.body, context)


def seconds(value: object) -> int | None:
    """An epoch time in seconds, as a number or as RFC 3339 text; None for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value)
        if isinstance(value, str):
            return int(datetime.fromisoformat(value).timestamp())
    except (ValueError, OverflowError):  # no number, no date, or one of another age of the world
        return None
    return None
