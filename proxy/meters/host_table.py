"""Every host that the price book knows: where its usage stands, what is part of what, and how its stream says what is final.

`hosts.py` makes readers from the rows, `charges.py` reads by them; a host that is missing reads as OpenAI does. To add one:
a row here. `tests/unit/meters/test_host_table.py` holds each row against an answer as the row describes it.
"""

from __future__ import annotations

from typing import Literal

from pricing.values import frozen
from proxy.meters.names import family_of

Shape = Literal["openai", "anthropic", "gemini", "bedrock", "cohere", "media", "own"]
Final = Literal[
    "usage chunk", "last choice", "x_groq", "message_delta", "last chunk", "metadata", "message-end", "whole"
]


@frozen
class Row:
    """One host.

    shape: whose usage object its main API has; `media`: it bills by the thing made, `own`: a format of its own.
    usage: where the usage stands in an answer, as a path (`[]`: in each of a list).
    cached: names beside the details under which cache reads may stand; always a part of the prompt in OpenAI's shape,
        always beside it in Anthropic's and Bedrock's.
    writes: the unit of cache writes whose time to live is not said.
    reasoning: where reasoning tokens stand if the total does not tell: `within` the output, or `beside` it.
    charge: the name of what the host says it charged, in USD; "" where it says nothing, "?" where nobody knows.
    final: what of a stream has the counts of the whole call. Counts before it are of what had come by then.
    source, checked: who says so, and when that was looked at.
    """

    shape: Shape
    source: str
    checked: str
    usage: str = "usage"
    cached: tuple[str, ...] = ("cached_tokens",)
    writes: str = "cache_write_5m"
    reasoning: Literal["within", "beside", "always beside"] = "within"
    charge: str = ""
    final: Final = "usage chunk"


_GENAI = "genai-prices 0.2.3, extractors of the provider"
_LITELLM = "litellm 1.109.1, an OpenAI-compatible provider without a transformation of its usage"
_DAY = "2026-11-28"


def _plain(source: str, *names: str) -> dict[str, Row]:
    return {name: Row("openai", source, _DAY) for name in names}


def _media(source: str, *names: str) -> dict[str, Row]:
    return {name: Row("media", source, _DAY, usage="", final="whole") for name in names}


_HUGGINGFACE = Row("openai", "genai-prices 0.2.3; Together and Hugging Face state cached tokens at the top", _DAY)
_ROUTER = "its `usage.cost` in USD: "

ROWS: dict[str, Row] = {
    # Who made the shapes
    "openai": Row("openai", "openai SDK 3.54 types/completion_usage.py", _DAY, writes="cache_write_30m"),
    "openai-decisions": Row("openai", _GENAI, _DAY, writes="cache_write_30m", final="whole"),
    "azure": Row("openai", "openai SDK 3.54; learn.microsoft.com/azure/ai-foundry/openai/reference", _DAY,
                 writes="cache_write_30m"),
    "anthropic": Row("anthropic", "anthropic SDK 2.12 types/usage.py, message_delta_usage.py", _DAY, cached=(),
                     final="message_delta"),
    "google": Row("gemini", "google-genai 3.4 types.GenerateContentResponseUsageMetadata", _DAY, usage="usageMetadata",
                  cached=(), final="last chunk"),
    "google-vertex": Row("gemini", "google-genai 3.4 types.GenerateContentResponseUsageMetadata", _DAY,
                         usage="usageMetadata", cached=(), final="last chunk"),
    "aws": Row("bedrock", "Bedrock Runtime API reference TokenUsage, ConverseStreamMetadataEvent", _DAY, cached=(),
               final="metadata"),
    "cohere": Row("cohere", "cohere-python Usage, ApiMetaBilledUnits", _DAY, usage="usage.billed_units", cached=(),
                  final="message-end"),
    # OpenAI's shape with fields of their own
    "groq": Row("openai", "groq-python types/chat/chat_completion_chunk.py (x_groq)", _DAY, final="x_groq"),
    "moonshot": Row("openai", "platform.moonshot.ai: usage in choices[0] of the last chunk; earendil-works/pi#2017", _DAY,
                    usage="choices[].usage", final="last choice"),
    "deepseek": Row("openai", "api-docs.deepseek.com/guides/kv_cache", _DAY,
                    cached=("cached_tokens", "prompt_cache_hit_tokens")),
    "mistral": Row("openai", "mistral client-python UsageInfo; 44 recorded answers with num_cached_tokens", _DAY,
                   cached=("cached_tokens", "num_cached_tokens"), final="last choice"),
    "databricks": Row("openai", "docs.databricks.com/machine-learning/foundation-model-apis/api-reference (Usage); "
                      "langchainjs PR 11194", _DAY, cached=("cached_tokens", "cache_read_input_tokens")),
    "xai": Row("openai", "docs.x.ai: reasoning is counted beside the completion; xai-sdk-python cost.py (ticks)", _DAY,
               cached=("cached_tokens", "cached_prompt_text_tokens"), reasoning="beside", charge="cost_in_usd_ticks"),
    "perplexity": Row("openai", "docs.perplexity.ai: reasoning beside the completion, cost.total_cost", _DAY,
                      reasoning="always beside", charge="cost", final="last choice"),
    "deepinfra": Row("openai", "deepinfra.com/docs: usage.estimated_cost", _DAY, charge="estimated_cost"),
    "dashscope": Row("openai", "help.aliyun.com/model-studio; genai-prices 0.2.3", _DAY),
    "fireworks": Row("openai", "docs.fireworks.ai: headers repeat the prompt's counts", _DAY, final="last choice"),
    "together": Row("openai", "docs.together.ai: usage.cached_tokens", _DAY, final="last choice"),
    "cloudflare": Row("openai", "developers.cloudflare.com/workers-ai: result.usage; genai-prices 0.2.3", _DAY,
                      usage="result.usage"),
    "minimax": Row("openai", "platform.minimax.io: usage, base_resp; genai-prices 0.2.3", _DAY, final="last choice"),
    "modal": Row("openai", _GENAI, _DAY),
    # Routers: they say what they charged
    "openrouter": Row("openai", "openrouter.ai/docs/use-cases/usage-accounting: usage.cost, is_byok", _DAY, charge="is_byok"),
    "vercel-ai-gateway": Row("openai", _ROUTER + "BerriAI/litellm#39088", _DAY, charge="cost"),
    **{name: Row("openai", _ROUTER + "not documented; taken where it is there and not 0", _DAY, charge="?") for name in (
        "aihubmix", "aiml", "clf-ai-gateway", "hostinger-router", "inferenceapis", "kyma", "llamagate", "opencode-go",
        "openinfer", "quicksilverpro", "refuseless", "tencent-tokenhub",
    )},
    # OpenAI's shape as it is
    **_plain(_GENAI, "arcee", "baseten", "cerebras", "doubleword", "github-copilot", "meta", "ovhcloud", "typesafe", "zai",
             "zhipuai"),
    **dict.fromkeys((
        "huggingface", "huggingface-cerebras", "huggingface-fireworks-ai", "huggingface-groq", "huggingface-hyperbolic",
        "huggingface-nebius", "huggingface-novita", "huggingface-nscale", "huggingface-ovhcloud", "huggingface-publicai",
        "huggingface-sambanova", "huggingface-together",
    ), _HUGGINGFACE),
    **_plain(_LITELLM, "abliteration", "ai21", "aiand", "anyscale", "avian", "bailing", "byteplus", "cognition", "coralbricks",
             "crusoe", "darkbloom", "eu-jev", "friendliai", "gmi", "gradient-ai", "hyperbolic", "inception", "lambda",
             "libertai", "longcat", "morph", "nace", "nebius", "novita", "nscale", "oci", "pinstripes", "prism", "publicai",
             "sail", "sakana", "sambanova", "scaledown", "scaleway", "scx-ai", "snowflake", "stepfun-ai", "streamlake",
             "tencent", "tensormesh", "text-completion-inception", "thinkingmachines", "upstage", "v0", "volcengine", "wandb",
             "watsonx", "xiaomi", "xiaomi-mimo"),
    **_plain("docs.voyageai.com, jina.ai: embeddings and rerankers state usage.total_tokens", "voyage", "jina-ai"),
    # Servers of one's own
    **_plain("vllm 0.32, sglang, TensorRT-LLM: run and read", "vllm", "sglang", "tensorrt"),
    "llamacpp": Row("openai", "llama.cpp tools/server README, PR 15827 (timings)", _DAY),
    "ollama": Row("own", "ollama api/types.go Metrics", _DAY, usage="", final="last chunk"),
    # Billed by the thing, or counted in a way of their own
    "cursor": Row("own", "cursor.com/docs/account/teams/admin-api: tokenUsage, totalCents", _DAY, usage="tokenUsage",
                  final="whole"),
    "replicate": Row("own", "replicate-python prediction.py: metrics", _DAY, usage="metrics", final="whole"),
    "nlp-cloud": Row("own", "docs.nlpcloud.com: nb_input_tokens, nb_generated_tokens", _DAY, usage="", final="whole"),
    **_media("audio by the second or the character: deepgram, assemblyai, elevenlabs, soniox docs", "deepgram", "assemblyai",
             "elevenlabs", "soniox"),
    **_media("images and videos by the thing: fal, Luma, Stability, Recraft, Black Forest Labs, Runway docs", "fal", "luma",
             "stability", "recraft", "black-forest-labs", "runway"),
    **_media("pages: docs.reducto.ai (usage.num_pages)", "reducto"),
}  # fmt: skip

UNKNOWN = Row("openai", "nobody: as OpenAI speaks, perhaps a router", _DAY, writes="cache_write_30m", charge="?")
_FAMILIES = {family_of(name): row for name, row in ROWS.items()}


def row_of(provider: str) -> Row:
    """The row of a host, by any of its names; that of a host that nobody knows where it has none."""
    return ROWS.get(provider) or _FAMILIES.get(family_of(provider), UNKNOWN)


def charge_of(provider: str) -> str:
    """The name under which a host states its charge: "" where it states none, "?" where nobody knows."""
    return row_of(provider).charge
