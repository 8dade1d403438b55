"""What a server's own counters say, whichever engine it is: one table of names, and the difference between two readings.

Sources: vLLM 0.32 and llama.cpp's server, read from running ones (2026-11-28); SGLang 0.5.23: `srt/observability/` in its
wheel; TensorRT-LLM: `MetricsCollector` of its repository (2026-11-29), which `trtllm-serve` shows at `/prometheus/metrics`.
vLLM counts a waiting request again at each step in `prefix_cache_queries` and `…_hits`: not used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]

COUNTERS = (
    "prompt", "cached", "computed", "output", "prefill_us", "decode_us", "drafts", "drafted", "accepted", "preemptions",
    "steps", "millijoules",
)  # fmt: skip
# accepted_ratio, tokens_per_step: of speculative decoding, where a server states the means and not what they are of.
GAUGES = ("running", "waiting", "kv_used", "accepted_ratio", "tokens_per_step")
_LARGEST = frozenset(GAUGES) - {"running", "waiting"}  # of several engines; the others are added up


class Source(NamedTuple):
    """A series that adds to one of ours: `scale` of ours for one of its; only with `label`, where one is named."""

    name: str
    scale: int = 1
    label: tuple[str, str] | None = None


_Names = Mapping[str, str | Source]
_VLLM: _Names = {
    "prompt": "vllm:prompt_tokens_total",
    "output": "vllm:generation_tokens_total",
    "prefill_us": Source("vllm:request_prefill_time_seconds_sum", 1_000_000),
    "decode_us": Source("vllm:request_decode_time_seconds_sum", 1_000_000),
    "drafts": "vllm:spec_decode_num_drafts_total",
    "drafted": "vllm:spec_decode_num_draft_tokens_total",
    "accepted": "vllm:spec_decode_num_accepted_tokens_total",
    "preemptions": "vllm:num_preemptions_total",
    "steps": "vllm:iteration_tokens_total_count",
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
}
_LLAMA_CPP: _Names = {
    "computed": "llamacpp:prompt_tokens_total",  # without what was cached
    "cached": "llamacpp:prompt_tokens_cached_total",
    "output": "llamacpp:tokens_predicted_total",
    "prefill_us": Source("llamacpp:prompt_seconds_total", 1_000_000),
    "decode_us": Source("llamacpp:tokens_predicted_seconds_total", 1_000_000),
    "drafts": "llamacpp:spec_decode_num_drafts_total",
    "drafted": "llamacpp:spec_decode_num_draft_tokens_total",
    "accepted": "llamacpp:spec_decode_num_accepted_tokens_total",
    "steps": "llamacpp:n_decode_total",
    "running": "llamacpp:requests_processing",
    "waiting": "llamacpp:requests_deferred",
}
_SGLANG: _Names = {
    "prompt": "sglang:prompt_tokens_total",
    "cached": "sglang:cached_tokens_total",
    "output": "sglang:generation_tokens_total",
    "preemptions": "sglang:num_retracted_requests_total",
    # Of the GPU, where SGLANG_ENABLE_METRICS_DEVICE_TIMER is set. Its requests' times leave out how short answers are decoded.
    "prefill_us": Source("sglang:forward_execution_seconds_total", 1_000_000, ("category", "extend")),
    "drafts": "sglang:spec_verify_calls_total",
    "running": "sglang:num_running_reqs",
    "waiting": "sglang:num_queue_reqs",
    "kv_used": "sglang:token_usage",
    "accepted_ratio": "sglang:spec_accept_rate",
    "tokens_per_step": "sglang:spec_accept_length",
}
_TENSORRT_LLM: _Names = {
    "prompt": "trtllm_prompt_tokens_total",
    "cached": "trtllm_prompt_cached_tokens_total",
    "output": "trtllm_generation_tokens_total",
    "prefill_us": Source("trtllm_request_prefill_time_seconds_sum", 1_000_000),
    "decode_us": Source("trtllm_request_decode_time_seconds_sum", 1_000_000),
    "drafts": Source("trtllm_spec_decode_drafted_tokens_total", 1, ("token_position", "0")),
    "running": "trtllm_num_requests_running",
    "waiting": "trtllm_num_requests_waiting",
    "kv_used": "trtllm_kv_cache_utilization",
    "tokens_per_step": "trtllm_spec_decode_acceptance_length",
}
_SEVERAL: tuple[tuple[str, tuple[Source, ...]], ...] = (
    ("cached", (
        Source("vllm:prompt_tokens_by_source_total", 1, ("source", "local_cache_hit")),
        Source("vllm:prompt_tokens_by_source_total", 1, ("source", "external_kv_transfer")),
    )),
    ("cached", (Source("vllm:prompt_tokens_cached_total"),)),
    ("kv_used", (Source("vllm:kv_cache_usage_perc"), Source("vllm:gpu_cache_usage_perc"))),
    ("decode_us", tuple(
        Source("sglang:forward_execution_seconds_total", 1_000_000, ("category", category))
        for category in ("decode", "target_verify", "draft_extend_v2")
    )),
    ("drafted", (
        Source("trtllm_spec_decode_drafted_tokens_total"), Source("trtllm_spec_decode_num_draft_tokens_total"),
    )),
    ("accepted", (
        Source("trtllm_spec_decode_accepted_tokens_total"), Source("trtllm_spec_decode_num_accepted_tokens_total"),
    )),
)  # fmt: skip
# What says the same as another, which is taken where a server has both.
_SAME_AS = {
    "vllm:prompt_tokens_cached_total": "vllm:prompt_tokens_by_source_total",
    "trtllm_spec_decode_num_draft_tokens_total": "trtllm_spec_decode_drafted_tokens_total",
    "trtllm_spec_decode_num_accepted_tokens_total": "trtllm_spec_decode_accepted_tokens_total",
}
# Each rank of one SGLang engine may say the same (`--enable-metrics-for-all-schedulers`); those of `dp_rank` are engines.
_RANKS = ("tp_rank", "pp_rank", "moe_ep_rank")
# NVIDIA's DCGM exporter: the energy of each GPU since it was started, in millijoules.
_DCGM: _Names = {"millijoules": "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"}
# Which GPU that is. Its other labels name the pods and processes on it: they change, and several may share one.
_GPU = ("UUID", "Hostname", "gpu")


def _table() -> dict[str, list[tuple[str, Source]]]:
    table: dict[str, list[tuple[str, Source]]] = {}
    for engine in (_VLLM, _LLAMA_CPP, _SGLANG, _TENSORRT_LLM, _DCGM):
        for kind, theirs in engine.items():
            source = theirs if isinstance(theirs, Source) else Source(theirs)
            table.setdefault(source.name, []).append((kind, source))
    for kind, sources in _SEVERAL:
        for source in sources:
            table.setdefault(source.name, []).append((kind, source))
    return table


_TABLE = _table()
_Series = tuple[str, str, tuple[tuple[str, str], ...]]
_MOST = 1e18
_ENDS = ("", "_total", "_sum", "_count")  # of a family's samples


class Reading(NamedTuple):
    """All that one reading said, at a moment (epoch microseconds): counters by series (a server may have several engines, each
    with its own), gauges added up (of shares and means: the largest). kinds: of which counters it says anything, if only that
    there are none yet."""

    at: int
    counters: Mapping[_Series, float]
    gauges: Mapping[str, float]
    kinds: frozenset[str] = frozenset()


def reading(at: int, samples: Iterable[Sample], declared: Iterable[str] = ()) -> Reading:
    """What of an exposition we know. declared: its families, of which some may have no sample yet."""
    series: dict[_Series, float] = {}
    for name, labels, value in samples:
        for kind, source in _sources(name):
            if not 0 <= value < _MOST:
                continue
            if source.label is not None and labels.get(source.label[0]) != source.label[1]:
                continue
            key = (kind, name, tuple(sorted(_telling(kind, labels))))
            series[key] = max(series.get(key, 0.0), value * source.scale)
    names = {name for _, name, _ in series}
    counters: dict[_Series, float] = {}
    gauges: dict[str, float] = {}
    for key, value in series.items():
        kind, name, _ = key
        if _SAME_AS.get(name) in names:
            continue
        if kind not in GAUGES:
            counters[key] = value
        elif kind in _LARGEST:
            gauges[kind] = max(gauges.get(kind, 0.0), value)
        else:
            gauges[kind] = gauges.get(kind, 0.0) + value
    kinds = {kind for kind, _, _ in counters}
    kinds |= {kind for name in declared for end in _ENDS for kind, _ in _sources(name + end) if kind not in GAUGES}
    return Reading(at, counters, gauges, frozenset(kinds))


def _telling(kind: str, labels: Labels) -> Iterable[tuple[str, str]]:
    """The labels by which one series is told from another."""
    if kind != "millijoules":
        return (item for item in labels.items() if item[0] not in _RANKS)
    return ((name, labels[name]) for name in ((_GPU[0],) if labels.get(_GPU[0]) else _GPU[1:]) if name in labels)


def _sources(name: str) -> Iterable[tuple[str, Source]]:
    # The parser gives every counter the ending that OpenMetrics wants of it.
    return _TABLE.get(name) or _TABLE.get(name.removesuffix("_total")) or ()


class Increase(NamedTuple):
    """What happened between two readings. None: this server does not say. cached + computed = prompt."""

    start: int
    end: int
    prompt: int | None = None
    cached: int | None = None
    computed: int | None = None
    output: int | None = None
    prefill_us: int | None = None
    decode_us: int | None = None
    drafts: int | None = None
    drafted: int | None = None
    accepted: int | None = None
    preemptions: int | None = None
    steps: int | None = None
    millijoules: int | None = None
    running: float | None = None
    waiting: float | None = None
    kv_used: float | None = None
    accepted_ratio: float | None = None
    tokens_per_step: float | None = None


def increase(before: Reading, now: Reading) -> Increase:
    """The difference. A counter that fell was started again, and has counted what it says since then; one that was not there
    before has begun at 0 if its kind was there, else nothing is known of what it had. A GPU that was not there before has had
    what it says since it was switched on."""
    sums: dict[str, float] = {}
    for series, value in now.counters.items():
        kind = series[0]
        was = before.counters.get(series)
        if was is None and (kind not in before.kinds or kind == "millijoules"):
            continue
        sums[kind] = sums.get(kind, 0.0) + (value - was if was is not None and value >= was else value)
    whole = {name: round(amount) for name, amount in sums.items()}
    if "computed" in whole and "prompt" not in whole:
        whole["prompt"] = whole["computed"] + whole.get("cached", 0)
    elif "prompt" in whole and "computed" not in whole:
        whole["computed"] = max(0, whole["prompt"] - whole.get("cached", 0))
    gauges = {name: (before.gauges.get(name, value) + value) / 2 for name, value in now.gauges.items()}
    return Increase(before.at, now.at, *(whole.get(name) for name in COUNTERS), *(gauges.get(name) for name in GAUGES))
