"""What LiteLLM does beside translating, left out. Beside `adapter.py` the one place that knows LiteLLM, and the only one that
knows names of it which are not public.

Each of its calls prices the answer by a list of its own, builds records for loggers that nobody has, and looks up again what
depends on the model alone; that is more work than the translation. Here it gets nothing to do, or remembers. What is sent to a
provider, and what is answered, stays LiteLLM's own. tests/e2e/test_translation_unchanged.py says which of these names a new
version has no more, and compares requests and answers with the plain library's.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from copy import copy
from functools import lru_cache, wraps
from types import ModuleType
from typing import Any, NamedTuple

from proxy.translate import signing
from proxy.translate.hook import TAP
from proxy.translate.inline import HERE

_MANY_PIECES = 256  # of a stream, above which a thread is worth its while: the event loop has other calls
_REMEMBERED = 4096  # models times features; an installation has a few hundred

Function = Callable[..., Any]


class Replaced(NamedTuple):
    """A name of LiteLLM's, and what makes of it what stands there instead. owner: `module` or `module:Class`."""

    owner: str
    name: str
    by: Callable[[Function], Function]


def _nothing(_: Function) -> Function:
    return lambda *_, **__: None


def _nothing_later(_: Function) -> Function:
    async def nothing(*_: object, **__: object) -> None:
        return None

    return nothing


def _undecorated(plain: Function) -> Function:
    """Without the record of how long it took."""
    bare: Function = plain.__wrapped__  # type: ignore[attr-defined]  # of a decorated one
    return bare


def _remembered(plain: Function) -> Function:
    """The same answer for the same arguments, where these are all values; answers that are books are copied."""
    remembering = lru_cache(_REMEMBERED)(plain)

    @wraps(plain)
    def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            result = remembering(*args, **kwargs)
        except TypeError:  # something that cannot be remembered; or what the function itself says
            return plain(*args, **kwargs)
        return copy(result) if isinstance(result, dict | list) else result

    return answer


def _remembered_class(plain: Any) -> Any:
    """An enumeration whose members are gone through, and asked for their values, in C: LiteLLM does that with its 130 providers
    several times a call, which Python 3.11 needs a tenth of the call for."""
    members = tuple(plain)

    class Quick(type(plain)):  # type: ignore[misc]  # a base that is known when it runs
        def __iter__(cls) -> Iterator[Any]:
            return iter(members)

    for member in members:
        member.__dict__["value"] = member._value_
    plain.value = None  # each member's own comes before it
    plain.__class__ = Quick
    return plain


def _streaming_unless_known_not_to(plain: Function) -> Function:
    """LiteLLM asks a model that is not in its list, as a deployment with a name of its own is not, for a whole answer, and
    hands that out in pieces: late, and whoever hangs up pays for all of it. Here such a one streams, if the model does that it
    is a deployment of (o1-pro does not)."""

    def streams(model: str, custom_llm_provider: str | None = None) -> bool:
        tap = TAP.get()
        names = [(model, custom_llm_provider)]
        if tap is not None:
            names += [(tap.model, custom_llm_provider), (tap.model, "openai")]
        for name, provider in names:
            if _is_listed(name, provider):
                known: bool = plain(name, provider)
                return known
        return True

    return streams


def _is_listed(model: str, provider: str | None) -> bool:
    try:
        importlib.import_module("litellm").get_model_info(model=model, custom_llm_provider=provider)
    except Exception:  # noqa: BLE001 - it has one of no class of its own for a model that it does not know
        return False
    return True


def _speaking_lines(plain: Function) -> Function:
    """The lines of a stream that say something: LiteLLM makes an empty piece of the answer of each of the others, and works on
    it as on any piece."""

    async def lines(text: AsyncIterable[str]) -> AsyncIterator[str]:
        async for line in plain(text):
            if line and not line.startswith("event:"):
                yield line

    return lines


def _put_together_at_once(plain: Function) -> Function:
    """A stream's answer, whole, for its usage: LiteLLM has a thread put it together, for some hundred times what that takes. It
    needs one where the stream is long, and where words are counted: no usage was told, or thoughts have none of their own."""

    async def put_together(self: Any) -> Any:
        if len(self.chunks) > _MANY_PIECES or not _counts_no_words(self.chunks):
            whole = await plain(self)
        else:
            whole = self._build_complete_streaming_response()
        return None if whole is None else _Uncopied(whole)

    return put_together


def _counts_no_words(pieces: Iterable[Any]) -> bool:
    has_usage = False
    for piece in pieces:
        has_usage = has_usage or getattr(piece, "usage", None) is not None
        if any(getattr(getattr(choice, "delta", None), "reasoning_content", None) for choice in piece.choices):
            return False
    return has_usage


class _Uncopied:
    """A whole answer that is only read: LiteLLM would copy it, deeply, for a cache that nobody has."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def model_copy(self, **_: object) -> _Uncopied:
        return self


def _ended_once(plain: Function) -> Function:
    """The end of a stream whose usage has been handed out: LiteLLM puts the answer together once more, for its records."""

    async def finalize(self: Any, cache_hit: bool) -> Any:
        usage_sent = self.sent_stream_usage or not self.send_stream_usage
        if self.sent_last_chunk and usage_sent and self.stream_options is not None:
            await self.aclose()
            raise StopAsyncIteration
        return await plain(self, cache_hit=cache_hit)

    return finalize


def _signed_at_once(plain: Function) -> Function:
    """AWS's signatures are made in threads, for credentials may have to be fetched first; here they need not be."""

    async def signed(sign: Function, /, *args: Any, **kwargs: Any) -> Any:
        return sign(*args, **kwargs) if HERE.get() else await plain(sign, *args, **kwargs)

    return signed


def _none_without_tools(plain: Function) -> Function:
    """How many marks of a cache the tools have: LiteLLM prepares them for the count, and looks their model up for none too."""

    def count(self: Any, model: str, deployed: str, options: Mapping[str, Any], *more: Any) -> Any:
        return plain(self, model, deployed, options, *more) if options.get("tools") else 0

    return count


_AWS = "litellm.llms.bedrock.base_aws_llm"
_BEDROCK = "litellm.llms.bedrock.common_utils"
_OF_CLAUDE = "litellm.llms.anthropic.common_utils:AnthropicModelInfo"
_STREAM = "litellm.litellm_core_utils.streaming_handler:CustomStreamWrapper"
_LOGGING = "litellm.litellm_core_utils.litellm_logging:Logging"
REPLACED: tuple[Replaced, ...] = (
    # Records and prices of an answer, and of a request.
    *(
        Replaced(_LOGGING, name, _nothing)
        for name in (
            "pre_call",
            "post_call",
            "success_handler",
            "failure_handler",
            "response_cost_calculator",
            "handle_sync_success_callbacks_for_async_calls",
        )
    ),
    *(
        Replaced(_LOGGING, name, _nothing_later)
        for name in ("async_success_handler", "async_failure_handler", "dispatch_success_handlers")
    ),
    Replaced("litellm.utils", "dispatch_success_logging", _nothing),
    Replaced("litellm.litellm_core_utils.per_call_pricing", "per_call_model_info", _nothing),
    Replaced("litellm.llms.custom_httpx.http_handler:AsyncHTTPHandler", "post", _undecorated),
    Replaced("litellm.llms.openai.openai:OpenAIChatCompletion", "make_openai_chat_completion_request", _undecorated),
    Replaced("litellm.litellm_core_utils.llm_response_utils.response_metadata", "update_response_metadata", _nothing),
    # Of a stream: what it has said by now, kept for a second try that is never made; lines that say nothing.
    Replaced(_STREAM, "_accumulate_streamed_delta", _nothing),
    Replaced(_STREAM, "_async_build_complete_streaming_response", _put_together_at_once),
    Replaced(_STREAM, "_finalize_completed_stream", _ended_once),
    Replaced("litellm.llms.anthropic.chat.handler", "aiter_sse_lines", _speaking_lines),
    Replaced("litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini", "aiter_sse_lines", _speaking_lines),
    Replaced("litellm.utils", "supports_native_streaming", _streaming_unless_known_not_to),
    # Which provider a model's name says, and what the list of models says of it.
    Replaced("litellm.litellm_core_utils.get_llm_provider_logic", "_get_llm_provider", _remembered),
    Replaced("litellm.utils", "get_model_info_helper", _remembered),
    Replaced("litellm.utils", "supports_factory", _remembered),
    Replaced("litellm.utils", "get_potential_model_names", _remembered),
    Replaced("litellm.litellm_core_utils.get_supported_openai_params", "get_supported_openai_params", _remembered),
    Replaced("litellm.responses.utils", "get_type_hints", _remembered),
    Replaced(_OF_CLAUDE, "_get_model_capability", _remembered),
    Replaced(_OF_CLAUDE, "_get_provider_resolved_capability", _remembered),
    Replaced(_OF_CLAUDE, "_supports_model_capability", _remembered),
    Replaced("litellm.types.utils", "LlmProviders", _remembered_class),
    # The same of Bedrock's, whose names are taken apart some thirty times a call, and its signatures.
    *(
        Replaced(_BEDROCK, name, _remembered)
        for name in (
            "strip_bedrock_routing_prefix",
            "get_bedrock_base_model",
            "bedrock_model_is_unknown",
            "bedrock_declared_cache_point_support",
            "_declared_marker_support",
            "_bedrock_converse_model_flag",
            "_bedrock_runtime_chat_completions_default_family",
        )
    ),
    Replaced(f"{_BEDROCK}:BedrockModelInfo", "named_bedrock_route", _remembered),
    Replaced(f"{_AWS}:BaseAWSLLM", "get_bedrock_invoke_provider", _remembered),
    Replaced(f"{_AWS}:BaseAWSLLM", "encode_model_id", _remembered),
    Replaced(
        "litellm.llms.bedrock.chat.converse_transformation:AmazonConverseConfig",
        "_tool_cache_points_on_the_wire",
        _none_without_tools,
    ),
    Replaced(_AWS, "run_aws_signing", _signed_at_once),
    Replaced("botocore.auth:SigV4Auth", "add_auth", signing.quicker),
)


def install() -> None:
    """Once LiteLLM is imported, wherever it has them by now. Raises AttributeError where this version has a name no more."""
    # For the modules that have a function under a name of their own; with the function, so that no other gets its number.
    by_plain: dict[int, tuple[Any, Any]] = {}
    for owner, name, by in REPLACED:
        place = owner_of(owner)
        plain = getattr(place, name)
        replaced = by(plain)
        if isinstance(place, ModuleType):
            by_plain[id(plain)] = plain, replaced
        static = isinstance(inspect.getattr_static(place, name), staticmethod)
        setattr(place, name, staticmethod(replaced) if static else replaced)
    for module in [module for name, module in sys.modules.items() if name.startswith("litellm") and module]:
        for name, value in list(vars(module).items()):
            if id(value) in by_plain:
                setattr(module, name, by_plain[id(value)][1])


def owner_of(path: str) -> Any:
    """The module, or the class in it, that a row names."""
    module, _, member = path.partition(":")
    place = importlib.import_module(module)
    return getattr(place, member) if member else place
