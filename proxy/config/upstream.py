"""An upstream's row: where calls go, and which dialects are spoken there, by what is written or by its provider."""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from pricing.values import frozen
from proxy.config.fields import PositiveInt, TimeOut
from proxy.config.translation import TranslatedUpstream

LOCAL_PROVIDERS = frozenset({"local", "vllm", "llama.cpp", "llamacpp", "llama-cpp", "ollama", "sglang", "tensorrt-llm"})
_DIALECTS_BY_PROVIDER: dict[str, tuple[str, ...]] = {
    # A provider's other names are those of pricing/data/aliases.toml.
    **dict.fromkeys(("anthropic", "claude"), ("anthropic",)),
    **dict.fromkeys(
        ("google", "gemini", "google-gla", "google-ai-studio", "google-genai", "googleai", "google-ai"), ("gemini",)
    ),
    # vLLM 0.32, llama.cpp's server and Ollama 0.17 all answer `/v1/messages`.
    **dict.fromkeys(("local", "vllm", "llama.cpp", "llamacpp", "llama-cpp", "ollama"), ("openai", "anthropic")),
    "replicate": ("replicate",),
    **dict.fromkeys(("fal", "fal-ai"), ("fal", "fal_run")),
    **dict.fromkeys(("luma", "lumaai", "luma-ai"), ("luma",)),
    **dict.fromkeys(("runway", "runwayml"), ("runway",)),
    **dict.fromkeys(("stability", "stability-ai", "stabilityai"), ("stability",)),
    **dict.fromkeys(("elevenlabs", "eleven-labs"), ("elevenlabs",)),
}
# fal has two hosts; a configuration names one of them.
_FAL_HOSTS = {"fal": "https://queue.fal.run", "fal_run": "https://fal.run"}


@lru_cache(maxsize=1024)
def plain_name(provider: str) -> str:
    """A provider's name as tables have it: the price book reads `v_LLM` and `v-llm` as one, too."""
    return provider.lower().replace("_", "-")


@lru_cache(maxsize=1024)
def is_local(provider: str) -> bool:
    """Whether it is a server of one's own, however its name is spelt."""
    return plain_name(provider) in LOCAL_PROVIDERS


_AWS = frozenset({"aws", "bedrock", "amazon-bedrock", "aws-bedrock", "amazon", "bedrock-converse"})


@lru_cache(maxsize=1024)
def is_aws(provider: str) -> bool:
    """Whether it is Amazon Bedrock, by whichever name."""
    return plain_name(provider) in _AWS


Dialect = Literal[
    "openai",
    "anthropic",
    "gemini",
    "bedrock",
    "replicate",
    "fal",
    "fal_run",
    "luma",
    "runway",
    "stability",
    "elevenlabs",
]


@frozen
class Upstream(TranslatedUpstream):
    base_url: str = ""
    """What the provider's own SDK takes: `https://api.openai.com/v1`. Required, except with `via` and where `params` has an
    `aws_region_name`.
    """
    api_key: str | None = field(default=None, repr=False)
    """Credential sent to the upstream. Where it comes from an unset `${VAR}`, the upstream is left out with a warning."""
    provider: str | None = None
    """Whose prices hold and how usage is read. Default: the upstream's name."""
    dialects: tuple[Dialect, ...] | None = None
    """Wire formats that it speaks. Default: by provider, for vLLM, llama.cpp and Ollama `openai` and `anthropic`, for
    Replicate, fal, Luma,
    Runway, Stability and ElevenLabs their own (fal's queue is `fal`, its direct calls `fal_run`), for Amazon Bedrock `bedrock`
    unless its base URL has a path, else `openai`.
    """
    dialect: Dialect | None = None
    """Short for a list of one in `dialects`."""
    base_urls: dict[Dialect, str] = field(default_factory=dict)
    """Another base URL for some of its dialects."""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Headers added to every request."""
    max_connections: PositiveInt = 1000
    """Connections of one data plane to it; further calls wait for one."""
    connect_timeout_s: TimeOut = 5
    """Time for a connection, TLS included."""
    first_byte_timeout_s: TimeOut = 600
    """Time until the answer begins."""
    idle_timeout_s: TimeOut = 300
    """Time between two pieces of an answer."""
    bills_after_disconnect: bool | None = None
    """Whether the provider bills a call to its end when the client hangs up: then the answer is read to its end, else the
    upstream connection is closed. Default: true, but false for local servers (vLLM, llama.cpp, Ollama, SGLang, TensorRT-LLM).
    """
    service_tier: Literal["default", "flex", "priority"] | None = None
    """Tier that the account serves requests at which name none. Default: unknown, so that ceilings take the dearest."""

    def urls(self) -> list[tuple[str, str]]:
        """Those that the row has, with where each stands in it."""
        own = [("base_url", self.base_url)] if self.base_url else []
        return [*own, *((f"base_urls.{name}", url) for name, url in self.base_urls.items())]

    def provider_name(self, name: str) -> str:
        return self.provider or name

    def spoken(self, name: str) -> tuple[str, ...]:
        """The dialects that this host answers itself, by what is written here, else by its provider."""
        if self.via:
            return ("bedrock",) if is_aws(self.provider_name(name)) else ()
        if self.dialects:
            return self.dialects
        if self.dialect:
            return (self.dialect,)
        if is_aws(self.provider_name(name)) and not urlsplit(self.base_url).path.strip("/"):
            return tuple(dict.fromkeys(("bedrock", *self.base_urls)))  # of its other APIs each base URL has a path
        by_provider = _DIALECTS_BY_PROVIDER.get(plain_name(self.provider_name(name)), ("openai",))
        return tuple(dict.fromkeys((*by_provider, *self.base_urls)))

    def address(self, name: str, dialect: str) -> str:
        """The base URL of a dialect. A local server has all of them under one root, of which Anthropic's paths name `/v1`; of
        fal's two hosts either may be named."""
        for spoken, base_url in self.base_urls.items():
            if spoken == dialect:
                return base_url
        if dialect == "bedrock" and (endpoint := self.params.get("aws_bedrock_runtime_endpoint")):
            return str(endpoint)
        if dialect == "anthropic" and is_local(self.provider_name(name)):
            return self.base_url.rstrip("/").removesuffix("/v1")
        if dialect in _FAL_HOSTS and self.base_url.rstrip("/") in _FAL_HOSTS.values():
            return _FAL_HOSTS[dialect]
        return self.base_url

    def bills_hung_up(self, name: str) -> bool:
        """Whether a call is billed to its end when its client has hung up: hosted providers do, local servers stop."""
        if self.bills_after_disconnect is not None:
            return self.bills_after_disconnect
        return not is_local(self.provider_name(name))
