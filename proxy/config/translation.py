"""What the configuration says of translation: of one upstream, and of the process that does it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pricing.values import frozen
from proxy.config.fields import OrText, PositiveInt
from proxy.config.rules import Section, within

Translated = Literal["openai", "responses", "anthropic"]
ALL_TRANSLATED: tuple[Translated, ...] = ("openai", "responses", "anthropic")
PLACES = ("deployment_type", "zone")  # of Azure's deployments: what prices depend on, and no answer states
_BY_LOGIN = ("aws_profile_name", "aws_role_name", "aws_web_identity_token")
_MISSING = "needs LiteLLM: pip install 'taximeter[translate]' (from a clone: make translate)"
# What is said of each call, and what would make more calls than one, or none, of it.
_NOT_PARAMS = frozenset(
    {"model", "messages", "input", "stream", "mock_response", "num_retries", "max_retries", "fallbacks"}
)


def installed() -> bool:
    """Whether the translator's package is there; it is not imported for that."""
    return _has("litellm")


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@frozen
class TranslatedUpstream(Section):
    """The part of an upstream's row that is about translation."""

    via: Literal["litellm"] | None = None
    """`litellm`: calls go through the translator, which speaks the provider's own API. Needs
    `pip install 'taximeter[translate]'`, from a clone `make translate`.
    """
    params: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the translator is told of this upstream, by LiteLLM's names: `aws_region_name`, `vertex_project`, `api_version`, …
    The dialect `bedrock` reads those that begin with `aws_`, too. Beside them `deployments`: the provider's own names of
    models, `{gpt-5-mini: my-deployment}`; `route`: `converse` or `invoke`, for Bedrock; `deployment_type` (`GlobalStandard`,
    `DataZoneStandard`) and `zone` (`us`, `eu`): what an Azure deployment is priced as, on any upstream.
    """
    translate: tuple[Translated, ...] = ()
    """Dialects that are translated for it, as it does not speak them itself: `openai` (chat completions, embeddings),
    `responses`, `anthropic`. Default: none; with `via` all of them.
    """

    def places(self) -> dict[str, str]:
        """What the price of a call depends on by where it is served."""
        return {name: self.params[name] for name in PLACES if name in self.params}

    def translated(self) -> tuple[Translated, ...]:
        """The dialects that the translator speaks for it."""
        return self.translate or (ALL_TRANSLATED if self.via else ())

    def problems(self, base_url: str, *, speaks_others: bool, signs: bool) -> Iterator[tuple[str, str]]:
        """What is wrong with the row, each as the setting below it and what to do. speaks_others: it names dialects or
        base URLs of them. signs: it speaks `bedrock`."""
        at_aws = signs and any(self.params.get(name) for name in ("aws_region_name", "aws_bedrock_runtime_endpoint"))
        if not self.via and not base_url and not at_aws:
            yield "base_url", "is required (or `params.aws_region_name`)" if signs else "is required"
        if not self.via and signs and any(self.params.get(name) for name in _BY_LOGIN) and not _has("botocore"):
            yield "params", "has a profile or a role, for which botocore is needed: pip install botocore"
        if self.via and speaks_others:
            yield "via", "goes without dialects and base_urls; `translate` says which dialects are translated"
        if self.params.keys() - set(PLACES) and not self.translated() and not signs:
            yield "params", "goes with `via`, `translate` or the dialect `bedrock`: nobody else reads it"
        for name in sorted(_NOT_PARAMS & self.params.keys()):
            yield f"params.{name}", "is not to be set here: it is each call's own"
        if self.params.get("route") not in (None, "converse", "invoke"):
            yield "params.route", "must be `converse` or `invoke`"
        for name in PLACES:
            if not isinstance(self.params.get(name, ""), str):
                yield f"params.{name}", "must be text"
        deployments = self.params.get("deployments", {})
        if not isinstance(deployments, dict) or not all(isinstance(name, str) for name in deployments.values()):
            yield "params.deployments", "must map models to the provider's own names of them"
        if self.translated() and not installed():
            yield "via" if self.via else "translate", _MISSING


@frozen
class Translator(Section):
    """The process that translates."""

    workers: Annotated[int, within(ge=1, le=64, strict=True), OrText] = 1
    """Processes that translate; each takes a core when it is busy and 300 MB of memory. Started only where an upstream has
    `via` or `translate`.
    """
    max_calls: PositiveInt = 500
    """Calls in flight of one of them; more get 503 with `Retry-After`."""


def translate_socket(data_dir: str) -> str:
    """Where the translator listens."""
    return str(Path(data_dir) / "translate.sock")
