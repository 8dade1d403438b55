"""Servers' own counters: every engine by its names, several engines behind one address, and counters that begin again."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from proxy.capacity.server_metrics import Reading, increase, reading

# As running servers wrote it (vLLM 0.32.0, xllamacpp 2026.10); SGLang's and TensorRT-LLM's by their documentation.
VLLM = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
vllm:num_requests_running{engine="1",model_name="tiny"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.5
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 1000.0
vllm:prompt_tokens_total{engine="1",model_name="tiny"} 500.0
vllm:prompt_tokens_created{engine="0",model_name="tiny"} 1.795e+09
vllm:prompt_tokens_by_source_total{engine="0",model_name="tiny",source="local_compute"} 360.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="tiny",source="local_cache_hit"} 640.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="tiny",source="external_kv_transfer"} 0.0
vllm:prompt_tokens_by_source_total{engine="1",model_name="tiny",source="local_compute"} 400.0
vllm:prompt_tokens_by_source_total{engine="1",model_name="tiny",source="local_cache_hit"} 0.0
vllm:prompt_tokens_by_source_total{engine="1",model_name="tiny",source="external_kv_transfer"} 100.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 250.0
vllm:generation_tokens_total{engine="1",model_name="tiny"} 50.0
vllm:request_prefill_time_seconds_sum{engine="0",model_name="tiny"} 6.21
vllm:request_decode_time_seconds_sum{engine="0",model_name="tiny"} 9.68
vllm:iteration_tokens_total_count{engine="0",model_name="tiny"} 41
vllm:spec_decode_num_drafts_total{engine="0",model_name="tiny"} 71
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="tiny"} 213
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="tiny"} 155
vllm:num_preemptions_total{engine="0",model_name="tiny"} 3
"""
LLAMA_CPP = """# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 300
llamacpp:prompt_tokens_cached_total 100
llamacpp:prompt_seconds_total 1.5
llamacpp:tokens_predicted_total 40
llamacpp:tokens_predicted_seconds_total 2.5
llamacpp:n_decode_total 44
llamacpp:requests_processing 1
"""
SGLANG = """sglang:prompt_tokens_total{model_name="m",is_streaming="true"} 8128000
sglang:prompt_tokens_total{model_name="m",is_streaming="false"} 902
sglang:generation_tokens_total{model_name="m",is_streaming="true"} 7557572
sglang:cached_tokens_total{model_name="m",cache_source="device"} 1000
sglang:cached_tokens_total{model_name="m",cache_source="host"} 10
sglang:num_running_reqs{model_name="m"} 7
sglang:num_queue_reqs{model_name="m"} 2
sglang:token_usage{model_name="m"} 0.28
sglang:num_retracted_requests_total{model_name="m"} 5
sglang:forward_execution_seconds_total{model_name="m",category="extend"} 1.5
sglang:forward_execution_seconds_total{model_name="m",category="target_verify"} 6
sglang:forward_execution_seconds_total{model_name="m",category="draft_extend_v2"} 0.5
sglang:spec_verify_calls_total{model_name="m"} 2500000
sglang:spec_accept_length{model_name="m"} 3.1
sglang:spec_accept_rate{model_name="m"} 0.7
"""
TENSORRT_LLM = """trtllm_prompt_tokens_total{model_name="m"} 100
trtllm_generation_tokens_total{model_name="m"} 30
trtllm_prompt_cached_tokens_total{model_name="m"} 64
trtllm_request_prefill_time_seconds_sum{model_name="m"} 0.25
trtllm_request_decode_time_seconds_sum{model_name="m"} 1.75
trtllm_spec_decode_drafted_tokens_total{model_name="m",token_position="0"} 10
trtllm_spec_decode_drafted_tokens_total{model_name="m",token_position="1"} 8
trtllm_spec_decode_accepted_tokens_total{model_name="m",token_position="0"} 9
trtllm_spec_decode_accepted_tokens_total{model_name="m",token_position="1"} 3
trtllm_spec_decode_num_draft_tokens_total{model_name="m"} 18
trtllm_spec_decode_num_accepted_tokens_total{model_name="m"} 12
trtllm_num_requests_running{model_name="m"} 3
trtllm_num_requests_waiting{model_name="m"} 1
trtllm_kv_cache_utilization{model_name="m"} 0.4
"""
DCGM = """# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="a"} 1000000
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1",UUID="b"} 2000000
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="a"} 593
"""
NOTHING = Reading(0, {}, {})


def read(text: str, at: int = 0) -> Reading:
    families = list(text_string_to_metric_families(text))
    samples = [(sample.name, sample.labels, float(sample.value)) for family in families for sample in family.samples]
    return reading(at, samples, [family.name for family in families])


def zeroed(made: Reading) -> Reading:
    return made._replace(counters=dict.fromkeys(made.counters, 0.0))


def test_vllm_with_two_engines() -> None:
    now = read(VLLM, 5)
    made = increase(zeroed(now), now)

    assert (made.prompt, made.cached, made.computed, made.output) == (1500, 740, 760, 300)
    assert (made.prefill_us, made.decode_us, made.steps) == (6_210_000, 9_680_000, 41)
    assert (made.drafts, made.drafted, made.accepted, made.preemptions) == (71, 213, 155, 3)
    assert (made.running, made.kv_used) == (3.0, 0.5)
    assert made.millijoules is None


def test_llama_cpp_states_what_it_computed_and_the_prompt_is_that_and_what_was_cached() -> None:
    now = read(LLAMA_CPP)
    made = increase(zeroed(now), now)

    assert (made.prompt, made.cached, made.computed, made.output) == (400, 100, 300, 40)
    assert (made.prefill_us, made.decode_us, made.running) == (1_500_000, 2_500_000, 1.0)


def test_sglang() -> None:
    now = read(SGLANG)
    made = increase(zeroed(now), now)
    assert (made.prompt, made.cached, made.computed, made.output) == (8_128_902, 1010, 8_127_892, 7_557_572)
    assert (made.prefill_us, made.decode_us, made.drafts, made.preemptions) == (1_500_000, 6_500_000, 2_500_000, 5)
    assert (made.running, made.waiting, made.kv_used) == (7.0, 2.0, 0.28)
    assert (made.accepted_ratio, made.tokens_per_step) == (0.7, 3.1)


def test_of_the_ranks_of_one_sglang_engine_one_is_taken_and_of_several_engines_all() -> None:
    ranks = ('tp_rank="0",dp_rank="0"', 'tp_rank="1",dp_rank="0"', 'tp_rank="2",dp_rank="1"', 'tp_rank="3",dp_rank="1"')
    lines = [f"sglang:num_running_reqs{{{rank}}} 4\nsglang:prompt_tokens_total{{{rank}}} 30" for rank in ranks]
    now = read("\n".join(lines) + "\n")
    made = increase(zeroed(now), now)
    assert (made.running, made.prompt) == (8.0, 60)


def test_a_server_that_has_just_started_says_that_there_is_nothing_yet() -> None:
    """SGLang and TensorRT-LLM show a counter's name before its first value."""
    started = read("# TYPE sglang:prompt_tokens_total counter\n# TYPE sglang:cached_tokens_total counter\n")
    made = increase(started, read(SGLANG))
    assert (made.prompt, made.cached, made.output) == (8_128_902, 1010, None)
    times = read("# TYPE trtllm_request_prefill_time_seconds histogram\n")
    assert (increase(times, read(TENSORRT_LLM)).prefill_us, times.counters) == (250_000, {})


def test_tensorrt_llm() -> None:
    now = read(TENSORRT_LLM)
    made = increase(zeroed(now), now)
    assert (made.prompt, made.cached, made.computed, made.output) == (100, 64, 36, 30)
    assert (made.prefill_us, made.decode_us) == (250_000, 1_750_000)
    assert (made.drafts, made.drafted, made.accepted) == (10, 18, 12)
    assert (made.running, made.waiting, made.kv_used) == (3.0, 1.0, 0.4)
    older = read("\n".join(line for line in TENSORRT_LLM.splitlines() if "token_position" not in line) + "\n")
    made = increase(zeroed(older), older)
    assert (made.drafts, made.drafted, made.accepted) == (None, 18, 12)


def test_a_vllm_that_does_not_say_from_where_it_had_what_was_cached() -> None:
    lines = [line for line in VLLM.splitlines() if "by_source" not in line]
    now = read("\n".join([*lines, 'vllm:prompt_tokens_cached_total{engine="0"} 640']) + "\n")
    assert increase(zeroed(now), now).cached == 640


def energy(*rows: tuple[str, int]) -> Reading:
    return read("".join(f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{labels}}} {count}\n" for labels, count in rows))


def test_a_meter_of_gpus() -> None:
    now = read(DCGM)
    assert increase(zeroed(now), now).millijoules == 3_000_000


def test_the_energy_of_a_gpu_is_its_own_whoever_works_on_it() -> None:
    """In Kubernetes the exporter names the pods on a GPU: others come, and several may share it."""
    first, second = 'gpu="0",UUID="a",Hostname="h"', 'gpu="1",UUID="b",Hostname="h"'
    before = energy((first + ',pod="vllm-0"', 10**9), (second + ',pod="vllm-1"', 2 * 10**9))
    moved = energy((first + ',pod="vllm-7",container="c"', 10**9 + 500), (second, 2 * 10**9 + 70))
    shared = energy(
        *[(f'{first},pod="{pod}",GPU_I_ID="{n}"', 10**9 + 500) for n, pod in enumerate("xy")], (second, 2 * 10**9)
    )
    assert increase(before, moved).millijoules == 570
    assert increase(before, shared).millijoules == 500


def test_a_gpu_that_is_new_has_not_had_all_of_its_life_since_the_last_reading() -> None:
    before, now = (
        energy(('gpu="0",Hostname="h"', 100)),
        energy(('gpu="0",Hostname="h"', 130), ('gpu="1",Hostname="h"', 10**9)),
    )
    assert increase(before, now).millijoules == 30
    restarted = energy(('gpu="0",Hostname="h"', 20))
    assert increase(before, restarted).millijoules == 20


def test_a_counter_that_fell_began_again_each_engine_by_itself() -> None:
    before = read(VLLM)
    restarted = VLLM.replace(
        'prompt_tokens_total{engine="1",model_name="tiny"} 500.0',
        'prompt_tokens_total{engine="1",model_name="tiny"} 20.0',
    )

    made = increase(before, read(restarted.replace("1000.0", "1007.0"), 5))

    assert made.prompt == 7 + 20
    assert made.output == 0


def test_an_engine_that_is_new_began_at_nothing_and_of_a_server_that_is_new_nothing_is_known() -> None:
    one = "\n".join(line for line in VLLM.splitlines() if 'engine="1"' not in line) + "\n"

    assert increase(read(one), read(VLLM)).prompt == 500
    assert increase(NOTHING, read(VLLM)).prompt is None


def test_what_is_no_count_is_not_taken() -> None:
    assert read('vllm:prompt_tokens_total{engine="0"} NaN\nvllm:generation_tokens_total -5\n').counters == {}
