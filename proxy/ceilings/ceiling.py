"""The most that a call can use: a bound that holds for adversaries. Pure; what it costs is the price book's answer.

Input: the bytes that are forwarded (byte-level BPE never makes more tokens than bytes) and what templates add, at most
the model's context; closer bounds, where this one does not fit the money: `tighten.py`. Output: the largest cap that the
client sent, else the model's own, times the sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from pricing.media.bounds import most
from pricing.units import UNITS
from pricing.values import NOTHING, Constant, Value, frozen
from proxy.ceilings.betas import WIDER_CONTEXTS, knows_betas
from proxy.ceilings.costly import unbounded_by
from proxy.ceilings.habits import SOUND_BY_SECOND, Habits, habits_of, ignores_cap
from proxy.types import Call, Route

# Chat templates put a handful of tokens round each message (OpenAI: 3 or 4), and a hidden preamble before the first:
# measured 77 to 90 tokens for GPT-5 models, 24 for SmolLM2.
_TEMPLATE_TOKENS = 128
_TOKENS_PER_ITEM = 16
# What a translation may add: the hidden prompt that tools bring (Anthropic's: 264 to 804 tokens), a tool in place of a schema.
TRANSLATED_TOKENS = 2048
MEDIA_UNITS = frozenset(
    unit for unit in UNITS if unit.endswith(("audio_in", "image_in", "video_in", "_audio", "_image", "_video"))
)
_NO_KINDS: frozenset[str] = frozenset()
_SPOKEN = frozenset({"audio_out"})
SPOKEN = ("openai.realtime", "gemini.live")  # dialects of sessions, whose turns are calls with a body of our own
_KEPT_LONG = frozenset({"cache_write_1h"})  # OpenAI's: only by `prompt_cache_retention` or `prompt_cache_options`
# By the kind of a medium: what its tokens may be billed as, beside text.
_BILLED_AS = {
    "image": frozenset({"image_in", "cache_read_image"}),
    "pdf": frozenset({"image_in", "cache_read_image"}),
    "audio": frozenset({"audio_in", "cache_read_audio"}),
}
CACHE_WRITES = frozenset(unit for unit in UNITS if unit.startswith("cache_write"))
_LONG_WRITES = CACHE_WRITES - {"cache_write_5m"}


# What an answer may take where neither the client nor anybody else says: it is sent along as the cap.
_DEFAULT_OUTPUT_TOKENS = 16_384


# As JSON has them: names by which a cache is asked for, and the value of a long one.
_MARK, _POINT, _FOR_AN_HOUR = b'"cache_control"', b'"cachePoint"', b'"1h"'
_NOTHING: Mapping[str, int] = NOTHING
_FEES: Mapping[str, int] = Constant(request=1)  # some are billed for each call


@frozen
class Ceiling(Value):
    """Units that the call cannot exceed; `input_tokens` None where nothing bounds them, then `missing` says what to set.

    output_tokens: of one sequence, which a cap holds. aside: of one sequence, output that no cap holds. inject: the cap is
    ours, and has to be sent along to hold. extra: calls of the provider's tools. fees: what the call itself is billed.
    beyond: the part of the input that no count of the request shows, `a_pass` of it for each call of the provider's tools.
    media: tokens of the input that are billed as media, by unit. each: of every medium in turn, its tokens and the bytes
    that it takes of the body; empty where one of them has no bound. fetched: of those tokens, what a URL may have changed to
    since it was counted. countable: whether a count of the request says anything of what the call will read. text_bytes: of
    the body, all but media. kept_s: for so long the input is stored, and billed by token-hours.
    """

    input_tokens: int | None
    output_tokens: int
    sequences: int
    inject: bool = False
    missing: str = ""
    extra: Mapping[str, int] = _NOTHING
    beyond: int = 0
    a_pass: int = 0
    aside: int = 0
    fees: Mapping[str, int] = _FEES
    media: Mapping[str, int] = _NOTHING
    each: tuple[tuple[int, int], ...] = ()
    fetched: int = 0
    countable: bool = True
    text_bytes: int = 0
    kept_s: int = 0

    @property
    def usage(self) -> dict[str, int]:
        """The bound as usage; empty where there is none."""
        return self.with_output(self.output_tokens)

    @property
    def media_tokens(self) -> int:
        """What the media that are measured come to."""
        return sum(tokens for tokens, _ in self.each)

    def with_input(self, tokens: int) -> Ceiling:
        """The bound with a closer one on the tokens of the request itself."""
        assert self.input_tokens is not None
        return self._replace(input_tokens=min(self.input_tokens, tokens + self.fetched + self.beyond))

    def with_fewer_passes(self, fewer: int) -> Ceiling:
        """The bound with so many calls less of the provider's own tools, and of what they bill for themselves."""
        assert self.input_tokens is not None
        less = fewer * self.a_pass
        extra = {unit: max(0, count - fewer) for unit, count in self.extra.items()}
        return self._replace(input_tokens=self.input_tokens - less, beyond=self.beyond - less, extra=extra)

    def with_output(self, tokens: int) -> dict[str, int]:
        """The bound with another cap on each sequence."""
        if self.input_tokens is None:
            return {}
        usage = {"input": self.input_tokens, **self.fees}
        if self.extra:
            for unit, count in self.extra.items():
                usage[unit] = usage.get(unit, 0) + count
        if self.kept_s:
            usage["token_hour"] = -(-self.input_tokens * self.kept_s // 3600)
        if written := (tokens + self.aside) * self.sequences:
            usage["output"] = written
        return usage


class _UnboundedError(Exception):
    """Nothing bounds it; what to do then."""


def estimate(
    call: Call,
    route: Route,
    body_bytes: int,
    context_tokens: int | None,
    max_output_tokens: int | None,
    own_units: frozenset[str] = _NO_KINDS,
) -> Ceiling:
    """The ceiling of `call` at `route`, whichever of its models answers. Limits are the operator's, else the price book's, else
    None (unknown). own_units: what he has prices of his own for."""
    bounds = body_bytes, context_tokens, max_output_tokens, own_units
    bound = _estimate(call, route, *bounds)
    for model in route.answers or ():
        other = _estimate(call, replace(route, model=model), *bounds)
        bound = _wider(bound, other)
    return bound


def _estimate(
    call: Call,
    route: Route,
    body_bytes: int,
    context_tokens: int | None,
    max_output_tokens: int | None,
    own_units: frozenset[str],
) -> Ceiling:
    if call.free:
        return Ceiling(0, 0, 1, fees=_NOTHING)
    context = _context(call, route, context_tokens)
    model_output = route.max_output_tokens or max_output_tokens or context or context_tokens
    try:
        if reason := call.unbounded or unbounded_by(call, route, own_units):
            raise _UnboundedError(reason)
        habits = habits_of(call, route)
        inject = False
        if route.cap_trust == "ignored":
            most_output = _needed(context, call, route, "its output caps are not trusted")
        elif call.output_caps and not ignores_cap(call, route):
            most_output = max(call.output_caps)
        elif call.output_caps and call.dialect != "openai.completions":
            most_output = _needed(model_output, call, route, "a cap of 0 may be none where it goes")
        else:
            inject = model_output is None
            most_output = _DEFAULT_OUTPUT_TOKENS if model_output is None else model_output
        aside = call.beside_tokens + _thoughts(habits, route, model_output, context)
        return _bound(call, route, body_bytes, context, habits, most_output, aside, inject=inject)
    except _UnboundedError as unbounded:
        return Ceiling(None, 0, call.sequences, missing=str(unbounded))


def _wider(bound: Ceiling, other: Ceiling) -> Ceiling:
    """The bound that holds where either does."""
    if bound.input_tokens is None or other.input_tokens is None:
        return bound if bound.input_tokens is None else other
    larger = max(bound, other, key=lambda one: one.media_tokens)
    return bound._replace(
        input_tokens=max(bound.input_tokens, other.input_tokens),
        output_tokens=max(bound.output_tokens, other.output_tokens),
        inject=bound.inject or other.inject,
        extra=_most_of_each(bound.extra, other.extra),
        beyond=max(bound.beyond, other.beyond),
        a_pass=min(bound.a_pass, other.a_pass),
        aside=max(bound.aside, other.aside),
        fees=_most_of_each(bound.fees, other.fees),
        media=larger.media if bound.media and other.media else _NOTHING,
        each=larger.each if bound.each and other.each else (),
        fetched=max(bound.fetched, other.fetched),
        countable=bound.countable and other.countable,
    )


def _most_of_each(quantities: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    return {unit: max(quantities.get(unit, 0), other.get(unit, 0)) for unit in (*quantities, *other)}


def of_the_same_shape(bound: Ceiling, call: Call, body_bytes: int, context_tokens: int | None) -> Ceiling:
    """The ceiling of a call that differs from that of `bound` in its text only (`depends_on_text_only`)."""
    tokens = body_bytes + _TEMPLATE_TOKENS + _TOKENS_PER_ITEM * call.prompts
    if context_tokens is not None and tokens > context_tokens * bound.sequences:
        tokens = context_tokens * bound.sequences
    return Ceiling(
        tokens, bound.output_tokens, bound.sequences, bound.inject, aside=bound.aside, fees=bound.fees, text_bytes=body_bytes
    )  # fmt: skip


def depends_on_text_only(bound: Ceiling, call: Call) -> bool:
    """Whether of two calls of one shape the ceilings differ by their texts' sizes alone."""
    plain = not (bound.extra or bound.beyond or bound.media or bound.each or bound.fetched or bound.kept_s)
    return plain and bound.input_tokens is not None and not call.betas and not call.hidden_tokens


def _context(call: Call, route: Route, context_tokens: int | None) -> int | None:
    """The most that the model reads in one pass; None where a beta that we do not know may have changed that."""
    context = route.context_tokens or context_tokens
    if context is None or not call.betas:
        return context
    wider = [tokens for name, tokens in WIDER_CONTEXTS.items() if any(beta.startswith(name) for beta in call.betas)]
    return max(context, *wider) if wider else context if knows_betas(call.betas) else None


def _needed(context: int | None, call: Call, route: Route, why: str) -> int:
    if context is None and not knows_betas(call.betas):
        raise _UnboundedError(
            f"{why}, and one of the betas {', '.join(call.betas)[:200]} is not known here; leave it out"
        )
    if context is None:
        raise _UnboundedError(f"set models.{route.requested}.context_tokens: {why}")
    return context


def _thoughts(habits: Habits, route: Route, model_output: int | None, context: int | None) -> int:
    """Tokens that a model may think beside its output cap: as the operator limits answers, not as the book does."""
    if not habits.thinks_beside:
        return 0
    if habits.thinking_cap is not None:
        most = route.max_output_tokens or (None if context is None else max(context, model_output or 0))
        return habits.thinking_cap if most is None else min(habits.thinking_cap, most)
    if model_output is None:
        raise _UnboundedError(f"set models.{route.requested}.max_output_tokens: the model thinks beside its output cap")
    return model_output


def _bound(
    call: Call,
    route: Route,
    body_bytes: int,
    context: int | None,
    habits: Habits,
    most_output: int,
    aside: int,
    *,
    inject: bool,
) -> Ceiling:
    """The ceiling with the bound on what goes in."""
    tokens = body_bytes - call.opaque_bytes + overhead(call)
    media: dict[str, int] = dict(call.heard) if call.heard else {}
    each: list[tuple[int, int]] = []
    seconds = fetched = unknown = 0
    countable = True
    for medium in call.media:
        bound = most(medium, route.provider, route.model)
        if bound is None:
            unknown += 1
            countable = countable and bool(medium.data)
            continue
        tokens += bound.tokens - len(medium.data)
        each.append((bound.tokens, len(medium.data)))
        media[bound.unit] = media.get(bound.unit, 0) + bound.tokens
        seconds += bound.seconds
        fetched += 0 if medium.data else bound.tokens
    text_bytes = body_bytes - call.opaque_bytes
    if call.media:
        text_bytes -= sum([len(medium.data) for medium in call.media])
    tokens += call.stored_tokens
    if unknown or (call.media_items > len(call.media) and not call.stored_tokens):
        tokens = _needed(context, call, route, "the call has media or stored context of unknown size")
        media, each = {}, []
    elif context is not None:
        tokens = min(tokens, context * call.sequences)
    beyond = a_pass = 0
    if habits.searches:  # what it finds by itself is read with the call
        a_pass = _needed(context, call, route, "the model reads what it finds by itself")
        tokens, beyond = a_pass * habits.searches, a_pass * habits.searches
    if call.passes > 1:  # what tools on the provider's side bring in is not among our bytes
        a_pass = _needed(context, call, route, "the provider's own tools read more than was sent")
        beyond += a_pass * (call.passes - 1)
        tokens += a_pass * (call.passes - 1)
    extra = call.extra
    if seconds and route.provider in SOUND_BY_SECOND:
        extra = {**extra, "audio_second": extra.get("audio_second", 0) + seconds}
    return Ceiling(
        tokens, most_output, call.sequences, inject, extra=extra, beyond=beyond, a_pass=a_pass, aside=aside,
        fees={**_FEES, **habits.fees} if habits.fees else _FEES, media=media, each=tuple(each), fetched=fetched,
        countable=countable, text_bytes=text_bytes, kept_s=call.kept_s,
    )  # fmt: skip


def by_medium(usage: Mapping[str, int], media: Mapping[str, int]) -> Mapping[str, int]:
    """Usage whose input is told apart by what it is billed as, if all media are still in it."""
    if not media:
        return usage
    text = usage.get("input", 0) - sum(media.values())
    return {**usage, **media, "input": text} if text >= 0 else usage


def physical(
    call: Call, route: Route, bound: Ceiling, context_tokens: int | None, max_output_tokens: int | None
) -> dict[str, int]:
    """The most that the model reads and writes for such a call, whatever it says of itself; {} where that is not known."""
    context = route.context_tokens or context_tokens
    if context is None:
        return {}
    times = call.passes * call.sequences
    written = max(route.max_output_tokens or max_output_tokens or context, bound.output_tokens)
    return {**bound.extra, "input": max(context * times, bound.input_tokens or 0), "output": written * times}


def overhead(call: Call) -> int:
    """Tokens that stand in no text of the request: templates, and prompts that the provider adds."""
    return _TEMPLATE_TOKENS + _TOKENS_PER_ITEM * call.prompts + call.hidden_tokens


def impossible_units(call: Call, body: bytes, *, translated: bool = False) -> frozenset[str]:
    """Units that this request's input cannot turn into: other modalities without media, cache writes that nobody asks for.

    translated: the provider is asked in another dialect than the call's, so that its rules hold, and not the dialect's.
    """
    dialect = call.dialect
    any_medium = call.media_items > len(call.media) or call.form is not None or bool(call.heard)
    kinds = frozenset([medium.kind for medium in call.media]) if call.media else _NO_KINDS
    # API reference: sound comes out only where it is asked for.
    silent = dialect == "openai.chat" and call.body.get("modalities") is None and call.body.get("audio") is None
    silent = silent or (dialect in SPOKEN and call.body.get("silent") is True)
    # Of a shape all names are known.
    kept_shortly = dialect.startswith("openai.") and not translated
    kept_shortly = kept_shortly and (call.shape is not None or not _says(call, body, b'"prompt_cache'))
    writes = CACHE_WRITES
    if translated:
        writes = _NO_KINDS if _says(call, body, _FOR_AN_HOUR) else _LONG_WRITES - {"cache_write_30m"}
    elif (dialect.startswith("anthropic.") and _says(call, body, _MARK)) or (
        dialect.startswith("bedrock.") and (_says(call, body, _POINT) or _says(call, body, _MARK))
    ):
        writes = _NO_KINDS if _says(call, body, _FOR_AN_HOUR) else _LONG_WRITES
    elif not dialect.startswith(("anthropic.", "bedrock.")):
        writes = _NO_KINDS
    return _impossible(any_medium, kinds, silent, kept_shortly, writes)


def _says(call: Call, body: bytes, word: bytes) -> bool:
    """Whether a word that prices go by stands in the body, as written."""
    return body.find(word) >= 0 if call.words is None else word in call.words


# Made once for each kind of call: what prices are looked up by is then always the same object.
@lru_cache(maxsize=1024)
def _impossible(
    any_medium: bool, kinds: frozenset[str], silent: bool, kept_shortly: bool, writes: frozenset[str]
) -> frozenset[str]:
    units = frozenset() if any_medium else MEDIA_UNITS
    units = units | (_SPOKEN if silent else _NO_KINDS) | (_KEPT_LONG if kept_shortly else _NO_KINDS)
    for kind in kinds:
        units -= _BILLED_AS.get(kind, MEDIA_UNITS)
    return units | writes
