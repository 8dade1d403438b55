"""Fields of a body that engines of one's own servers read: what would reach into a server that others use too.

A row for each field, with its reason. Sources: vLLM's and SGLang's `entrypoints/openai/protocol.py`, TensorRT-LLM's
`serve/openai_protocol.py`, llama.cpp's `tools/server/README.md`, Ollama's `openai/openai.go`, mlx-lm's SERVER.md, LM Studio's
REST docs. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_MOST_LOGPROBS = 20
_MOST_BIASES = 1024
_MOST_STOPS = 64
_MOST_GRAMMAR_CHARACTERS = 65_536

# What a template may be told; it may not be replaced, nor given messages, tools or documents past those of the call.
_TEMPLATE_IS_FINE = frozenset({
    "enable_thinking", "thinking", "thinking_mode", "thinking_budget", "preserve_thinking", "clear_thinking",
    "reasoning_effort", "reasoning_mode", "keep_past_thinking", "enable_reasoning", "model_identity", "date_string",
    "add_vision_id", "low_effort", "medium_effort",
})  # fmt: skip

Harmless = Callable[[Any], bool]


def is_off(value: Any) -> bool:
    return value in (None, False, 0, "", [], {})


def _is_one(value: Any) -> bool:
    return value is None or value in (0, 1)


def _is_few_logprobs(value: Any) -> bool:
    return value is None or isinstance(value, bool) or (type(value) is int and 0 <= value <= _MOST_LOGPROBS)


def _is_short_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= _MOST_GRAMMAR_CHARACTERS)


def _has_few(most: int) -> Harmless:
    return lambda value: not isinstance(value, list | dict) or len(value) <= most


def _is_template_setting(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    return all(
        name in _TEMPLATE_IS_FINE
        and (one is None or isinstance(one, bool | int | float | str))
        and len(str(one)) <= 256
        for name, one in value.items()
    )


def _never(value: Any) -> bool:
    return False


class Rule(NamedTuple):
    """why: the reason, for who sent the field. harmless: values that pass all the same. drop: left out, not refused. evades:
    what it gets past, "price" or "models", so that it passes where nothing of that kind stands; "": it never does."""

    why: str
    harmless: Harmless = is_off
    drop: bool = False
    evades: str = ""


_CODE = Rule("it makes the server load or run what the sender chooses")
_FETCHES = Rule("it makes the server read from a place that the sender chooses")
_STATE = Rule("it reaches into the server's memory, which all who call it share", _never, drop=True)
_QUEUE = Rule("it changes the order of the server's queue, which no caller may", _never, drop=True)
_ENGINE = Rule("it changes how the engine runs for all who call it", _never, drop=True)
_MORE_WORK = Rule("it adds work for the server that is not metered")

_VLLM, _SGLANG, _TRT, _LLAMA, _OLLAMA, _MLX, _LMSTUDIO, _WEBUI = range(8)
ENGINES_BY_PROVIDER: Mapping[str, int] = {
    "vllm": _VLLM, "aphrodite": _VLLM, "sglang": _SGLANG, "tensorrt": _TRT, "tensorrt-llm": _TRT, "trtllm": _TRT,
    "nim": _TRT, "llama.cpp": _LLAMA, "llamacpp": _LLAMA, "llama-cpp": _LLAMA, "local": _LLAMA, "llamafile": _LLAMA,
    "ollama": _OLLAMA, "mlx": _MLX, "mlx-lm": _MLX, "lmstudio": _LMSTUDIO, "lm-studio": _LMSTUDIO,
}  # fmt: skip

_ROWS: tuple[tuple[str, tuple[int, ...], Rule], ...] = (
    # name, engines that read it, what about it
    ("logits_processors", (_VLLM, _TRT), _CODE),
    ("logits_processor", (_VLLM, _TRT), _CODE),
    ("custom_logit_processor", (_SGLANG,), _CODE),  # pickled Python
    ("custom_params", (_SGLANG,), _CODE),
    ("vllm_xargs", (_VLLM,), _CODE),
    ("extra_args", (_VLLM,), _CODE),
    ("lora", (_LLAMA,), _CODE),
    ("lora_path", (_SGLANG,), _CODE),
    ("lora_request", (_VLLM, _TRT), _CODE),
    ("adapters", (_MLX,), _CODE),
    ("draft_model", (_MLX, _LMSTUDIO), _CODE),
    ("instruction_template_str", (_WEBUI,), _CODE),
    ("chat_template_str", (_WEBUI,), _CODE),
    ("backend", (_WEBUI,), _CODE),
    ("guided_decoding_backend", (_VLLM,), _CODE),
    ("chat_template_kwargs", (_VLLM, _SGLANG, _TRT, _LLAMA, _MLX), Rule(
        "a template is told how to think, not what else to read", _is_template_setting)),
    ("chat_template_args", (_VLLM, _SGLANG, _TRT, _LLAMA), Rule(
        "a template is told how to think, not what else to read", _is_template_setting)),
    ("documents", (_VLLM, _SGLANG, _TRT), Rule("a template may repeat them as often as it likes; put them into a message")),
    ("media_io_kwargs", (_VLLM,), Rule("it decides how much of a medium is read")),
    ("bootstrap_host", (_SGLANG,), _FETCHES),
    ("bootstrap_port", (_SGLANG,), _FETCHES),
    ("bootstrap_room", (_SGLANG,), _FETCHES),
    ("disaggregated_params", (_TRT,), _FETCHES),
    ("disagg_request_id", (_TRT,), _FETCHES),
    ("ec_transfer_params", (_VLLM,), _FETCHES),
    ("image_data", (_SGLANG, _LLAMA), _FETCHES),
    ("video_data", (_SGLANG,), _FETCHES),
    ("audio_data", (_SGLANG,), _FETCHES),
    ("multimodal_data", (_LLAMA,), _FETCHES),
    ("session_params", (_SGLANG,), _STATE),
    ("cache_salt", (_VLLM, _TRT, _SGLANG), _STATE),
    ("extra_key", (_SGLANG,), _STATE),
    ("id_slot", (_LLAMA,), _STATE),
    ("slot_id", (_LLAMA,), _STATE),
    ("rid", (_SGLANG,), _STATE),
    ("conversation_params", (_TRT,), _STATE),
    ("kv_cache_retention_config", (_TRT,), _STATE),
    ("context", (_OLLAMA,), _STATE),
    ("priority", (_VLLM, _SGLANG, _TRT), _QUEUE),
    ("scheduling_params", (_TRT,), _QUEUE),
    ("agent_hierarchy", (_TRT,), _QUEUE),
    ("data_parallel_rank", (_VLLM, _SGLANG), _QUEUE),
    ("routed_dp_rank", (_SGLANG,), _QUEUE),
    ("keep_alive", (_OLLAMA,), _ENGINE),
    ("options", (_OLLAMA,), _ENGINE),  # num_ctx, num_gpu …: the model is loaded anew for them
    ("ttl", (_LMSTUDIO,), _ENGINE),
    ("t_max_predict_ms", (_LLAMA,), _ENGINE),
    ("t_max_prompt_ms", (_LLAMA,), _ENGINE),
    ("backend_sampling", (_LLAMA,), _ENGINE),
    ("min_tokens", (_VLLM, _SGLANG, _TRT), Rule("it keeps the server busy after an answer's end", _never, drop=True)),
    ("lookahead_config", (_TRT,), _ENGINE),
    ("nvext", (_TRT,), Rule("it holds settings of the engine itself")),
    ("best_of", (_VLLM, _SGLANG, _TRT, _LLAMA), Rule("it makes answers that nobody sees or that nobody bills", _is_one)),
    ("use_beam_search", (_VLLM, _TRT), _MORE_WORK),
    ("beam_width", (_TRT,), _MORE_WORK),
    ("prompt_logprobs", (_VLLM, _TRT), Rule(f"at most {_MOST_LOGPROBS} are made for each token", _is_few_logprobs)),
    ("logprobs", (_VLLM, _SGLANG, _TRT, _LLAMA), Rule(
        f"at most {_MOST_LOGPROBS} are made for each token", _is_few_logprobs)),
    ("n_probs", (_LLAMA,), Rule(f"at most {_MOST_LOGPROBS} are made for each token", _is_few_logprobs)),
    ("return_hidden_states", (_SGLANG,), _MORE_WORK),
    ("return_routed_experts", (_SGLANG, _VLLM), _MORE_WORK),
    ("input_embeds", (_SGLANG,), _MORE_WORK),
    ("input_ids", (_SGLANG,), _MORE_WORK),
    ("response_fields", (_LLAMA,), Rule("it leaves the usage out of the answer")),
    ("logit_bias", (_VLLM, _SGLANG, _TRT, _LLAMA), Rule(f"at most {_MOST_BIASES} tokens", _has_few(_MOST_BIASES))),
    ("stop", (_VLLM, _SGLANG, _TRT, _LLAMA), Rule(f"at most {_MOST_STOPS} texts", _has_few(_MOST_STOPS))),
    ("bad_words", (_VLLM, _TRT), Rule(f"at most {_MOST_STOPS} texts", _has_few(_MOST_STOPS))),
    ("grammar", (_LLAMA,), Rule(f"at most {_MOST_GRAMMAR_CHARACTERS:,} characters", _is_short_text)),
    ("guided_grammar", (_VLLM,), Rule(f"at most {_MOST_GRAMMAR_CHARACTERS:,} characters", _is_short_text)),
    ("ebnf", (_SGLANG,), Rule(f"at most {_MOST_GRAMMAR_CHARACTERS:,} characters", _is_short_text)),
)  # fmt: skip
ENGINES: Mapping[int, Mapping[str, Rule]] = {
    engine: {name: rule for name, engines, rule in _ROWS if engine in engines} for engine in range(8)
}
ALL_ENGINES: Mapping[str, Rule] = {name: rule for name, _, rule in _ROWS}
