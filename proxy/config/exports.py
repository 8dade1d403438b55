"""`exports`: where the ledger's entries go besides, each place (a sink) a row."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pricing.values import frozen
from proxy.config.addresses import wrong_with_path, wrong_with_url
from proxy.config.fields import HEADER_NAME, Name, Text, fits_a_header
from proxy.config.problems import Problem
from proxy.config.rules import Section, before, within
from proxy.times import instant

Kind = Literal["otlp", "cloudevents", "stripe", "lago", "file"]
SUBJECTS = ("customer", "team", "user", "key")

# What each type of sink reads, besides `name`, `type` and `since`; what it cannot do without; and where it goes by default.
_HTTP = ("url", "api_key", "headers")
_SETTINGS: dict[str, tuple[str, ...]] = {
    "otlp": (*_HTTP, "metrics"),
    "cloudevents": (*_HTTP, "subject", "event", "source"),
    "stripe": (*_HTTP, "subject", "subjects", "measure", "event"),
    "lago": (*_HTTP, "subject", "subjects", "measure", "event"),
    "file": ("path", "format", "every_s"),
}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "otlp": ("url",), "cloudevents": ("url",), "stripe": ("api_key",), "lago": ("api_key",), "file": ("path",),
}  # fmt: skip
_MISSING = {
    "pyarrow": "Parquet needs pyarrow: pip install 'taximeter[parquet]', or write jsonl",
    "opentelemetry.proto": "otlp needs OpenTelemetry's messages: pip install 'taximeter[otlp]'",
}


@frozen
class Export(Section):
    name: Annotated[str, within(max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """The sink's identity: how far it is stays with the name. Letters, digits, `.`, `_` and `-`. Default: its type."""
    type: Kind = field(kw_only=True)
    """`otlp`: spans and metrics for OpenTelemetry (`pip install 'taximeter[otlp]'`). `cloudevents`: batches of CloudEvents over
    HTTP, as OpenMeter takes them. `stripe`: meter events. `lago`: usage events. `file`: a file a day.
    """
    since: Annotated[datetime, before(instant)] | None = None
    """A new sink also gets what is in the ledger of calls that began then or later. Default: only what comes after it."""
    url: str | None = None
    """Where it goes. `cloudevents`: the whole address, for OpenMeter `https://openmeter.cloud/api/v1/events`. `otlp`: the
    collector, to which `/v1/traces` and `/v1/metrics` are added. `stripe`, `lago`: default their clouds.
    """
    api_key: Text | None = field(default=None, repr=False)
    """Bearer token; `stripe` and `lago` need one."""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Headers added to every request."""
    subject: str = "customer"
    """Who pays for a call: `customer`, `team`, `user`, `key` or `label.NAME`. Calls without one go to `cloudevents` as
    `(none)`, and to `stripe` and `lago` not at all.
    """
    subjects: dict[str, str] = field(default_factory=dict)
    """What `stripe` calls them (`{acme: cus_…}`), and which subscription of `lago` theirs is (its external id). Default: the
    same name.
    """
    measure: Literal["tokens", "units", "cost"] = "tokens"
    """`tokens`: an event for each kind of token of a call. `units`: searches, seconds and the like, too. `cost`: one for what
    the call cost, for `stripe` in nano-USD.
    """
    event: Name | None = None
    """`cloudevents`: the events' `type`, default `taximeter.usage`. `stripe`: the meter's `event_name`, default
    `token-billing-tokens`, or `token-billing-cost`. `lago`: one code for all units; default `llm_input_tokens` and its like, or
    `llm_cost`.
    """
    metrics: bool = True
    """`otlp`: whether sums of tokens and cost go, too. `false` for receivers that take traces alone."""
    source: Name = "taximeter"
    """The events' `source`, which with their id tells repeated ones: the same for all that share a ledger."""
    path: str | None = None
    """Folder of the files, each named by the day (UTC) of the calls in it, such as 2026-11-29, with the format's ending. No
    two sinks of one format may have the same."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """`jsonl`: a JSON object a line. `parquet`: needs `pip install 'taximeter[parquet]'`."""
    every_s: Annotated[float, within(gt=0, le=86_400)] = 300
    """Pause between two times that files are written; each is written anew, whole, where its day has changed, and then
    takes its place."""

    @property
    def key(self) -> str:
        """Its name."""
        return self.name or self.type


def check_exports(rows: Sequence[Export], named: Mapping[int, Collection[str]]) -> list[Problem]:
    """What is wrong with each row, and with one beside another. named: by the rows' indices, which settings each names."""
    problems: list[Problem] = []
    names: set[str] = set()
    files: dict[tuple[Path, str], str] = {}
    for (index, settings), row in zip(named.items(), rows, strict=True):
        here = f"exports[{index}]"
        if row.key in names:
            problems.append(Problem(f"{here}.name", f"{row.key!r} is another sink's name; give this one its own"))
        names.add(row.key)
        if row.type == "file" and row.path and (file := (Path(row.path).resolve(), row.format)) in files:
            advice = "their files have the same names; give this one its own folder"
            problems.append(
                Problem(f"{here}.path", f"is where the sink {files[file]!r} writes its {row.format}, too: {advice}")
            )
        elif row.type == "file" and row.path:
            files[file] = row.key
        problems += [Problem(f"{here}.{setting}", what) for setting, what in _check_one(row, settings)]
    return problems


def _check_one(row: Export, named: Collection[str]) -> Iterator[tuple[str, str]]:
    reads = ("name", "type", "since", *_SETTINGS[row.type])
    for setting in sorted(named):
        if setting not in reads:
            types = [kind for kind, settings in _SETTINGS.items() if setting in settings]
            yield setting, f"goes with type {' or '.join(types)} only"
    for setting in _REQUIRED[row.type]:
        if not getattr(row, setting):
            yield setting, f"is required for type {row.type}"
    if row.url is not None and (what := wrong_with_url(row.url, with_query=True)):
        yield "url", what
    if row.path and (what := wrong_with_path(row.path)):
        yield "path", what
    if row.subject not in SUBJECTS and not (row.subject.startswith("label.") and len(row.subject) > len("label.")):
        yield "subject", f"{row.subject!r} is not one of {', '.join(SUBJECTS)} or label.NAME"
    if row.api_key is not None and not fits_a_header(row.api_key):
        yield "api_key", "has characters that no header takes (a line break, perhaps)"
    for name, value in row.headers.items():
        if not HEADER_NAME.match(name) or not fits_a_header(value):
            yield f"headers.{name}", "is not a valid header"
    if row.format == "parquet" and not _is_there("pyarrow"):
        yield "format", _MISSING["pyarrow"]
    if row.type == "otlp" and not _is_there("opentelemetry.proto"):
        yield "type", _MISSING["opentelemetry.proto"]


def _is_there(package: str) -> bool:
    """Whether it is installed; it is not imported for that, beyond the package it lies in."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False
