"""Why a call is refused: one value for every reason, and its status. How it looks on the wire is the dialect's matter.

A refusal is final for the client that gets it: budgets and guards say `x-should-retry: false`; what a later try can mend
(a busy store, a full server) says `Retry-After`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from pricing.values import frozen

UPSTREAM_ERROR = "upstream_error"  # the kind of what is an upstream's fault and not ours or the client's


@frozen
class Refusal:
    """`code` is the name in proxy/CONTRACT.md#refusals; `kind` the OpenAI error type; `detail` joins the error object
    (`budget`: …); `headers` are those that HTTP wants of such an answer."""

    status: int
    code: str
    message: str
    kind: str = "invalid_request_error"
    param: str | None = None
    retry_after_s: int | None = None
    final: bool = False
    budget: str | None = None
    group: str = ""
    window_start: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Refused(Exception):  # noqa: N818 - what happened to the call
    """Raised by a step of the exchange to end it with `refusal`. recorded: it closed an INTENT, and is counted by that."""

    def __init__(self, refusal: Refusal, *, recorded: bool = False) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.recorded = recorded


def invalid_key() -> Refused:
    message = (
        "The key is missing, unknown, expired or revoked. Send a Taximeter key (`taximeter keys create NAME` makes one), not a "
        "provider's, as `Authorization: Bearer sk-…` or where your SDK has its API key; `x-goog-api-key` in place of `?key=`."
    )
    return Refused(Refusal(401, "invalid_api_key", message))


def invalid_request(message: str, param: str | None = None) -> Refused:
    return Refused(Refusal(400, "invalid_request_error", message, param=param))


def model_not_found(model: str, meant: str | None = None) -> Refused:
    shown = model if model.isprintable() and len(model) <= 200 else "that was asked for"
    advice = f"; did you mean {meant}?" if meant else "."
    message = (
        f"The model {shown} does not exist here, or this key may not use it{advice} `GET /v1/models` lists those that it may; "
        "`models` in the configuration adds others."
    )
    return Refused(Refusal(404, "model_not_found", message, param="model"))


def stored_not_found(param: str) -> Refused:
    message = "What this id stands for does not exist here, or another team made it."
    return Refused(Refusal(404, "not_found", message, param=param))


def dialect_not_supported(model: str, dialect: str) -> Refused:
    message = (
        f"The upstream of {model} does not speak the {dialect} dialect. Call the model by an SDK of a dialect that it does, "
        "or have it translated (`translate` or `via: litellm` on its upstream)."
    )
    return Refused(Refusal(400, "dialect_not_supported", message, param="model"))


def not_found(meant: str | None = None, advice: str | None = None) -> Refused:
    """meant: a path that is served. advice: what to do, where that is known."""
    near = f"; did you mean {meant}?" if meant else "."
    base = "The base URL of OpenAI's SDKs ends in /v1; Anthropic's, Google's and Azure's end with the port."
    listed = "All paths that are served are listed in proxy/CONTRACT.md."
    message = f"There is nothing at this path{near} {advice or base} {listed}"
    return Refused(Refusal(404, "not_found", message))


def no_page() -> Refused:
    message = (
        "Calls are taken on this port; the pages are on `server.admin_port` (4101, if nothing else is configured)."
    )
    return Refused(Refusal(404, "not_found", message))


def method_not_allowed(allowed: str) -> Refused:
    headers = ((b"allow", allowed.replace(" or ", ", ").encode()),)
    return Refused(Refusal(405, "method_not_allowed", f"This path takes {allowed} only.", headers=headers))


def upgrade_required() -> Refused:
    message = "This path is a WebSocket: ask to upgrade, by version 13 of the protocol."
    return Refused(Refusal(426, "upgrade_required", message, headers=((b"upgrade", b"websocket"),)))


def not_metered() -> Refused:
    message = (
        "Secrets and calls that a client takes to the provider itself are not given out here: what it did with them would go "
        "round this proxy, its budgets and its ledger. Open the session here, with a Taximeter key."
    )
    return Refused(Refusal(403, "route_refused", message))


def too_large(limit_bytes: int) -> Refused:
    message = f"The body is larger than {limit_bytes:,} bytes (server.max_body_mb)."
    return Refused(Refusal(413, "request_too_large", message))


def head_too_large(limit_bytes: int) -> Refused:
    message = f"The request's head (its URL and headers) is larger than {limit_bytes:,} bytes, or has too many headers."
    return Refused(Refusal(431, "request_head_too_large", message))


def request_timeout(part: str) -> Refused:
    message = f"The request's {part} took too long to arrive; send it whole and at once."
    return Refused(Refusal(408, "request_timeout", message))


def bad_http(message: str = "This is not an HTTP/1.1 request.") -> Refused:
    return Refused(Refusal(400, "invalid_http", message))


def unsupported_encoding() -> Refused:
    return Refused(Refusal(415, "unsupported_encoding", "Send the body as plain JSON, without Content-Encoding."))


def overloaded(what: str) -> Refused:
    message = f"Too many {what} are in flight here at the moment; try again shortly."
    return Refused(Refusal(503, "overloaded", message, kind="server_error", retry_after_s=1))


def too_many_in_flight(what: str) -> Refused:
    message = f"This key has too many {what} in flight; try again when some of its calls have ended."
    return Refused(Refusal(429, "too_many_in_flight", message, kind="rate_limit_error", retry_after_s=1))


def starting() -> Refused:
    """On a new connection, which may reach another instance."""
    message, headers = "The proxy is starting or stopping; try again shortly.", ((b"connection", b"close"),)
    return Refused(Refusal(503, "not_ready", message, kind="server_error", retry_after_s=1, headers=headers))


def ledger_unavailable() -> Refused:
    message = "The call cannot be recorded (the spool cannot be written), so it was not sent."
    return Refused(Refusal(503, "ledger_unavailable", message, kind="server_error", retry_after_s=5))


def budget_store_unavailable() -> Refused:
    message = "The budget store does not answer, and a budget of this call denies calls that it cannot count."
    return Refused(Refusal(503, "budget_store_unavailable", message, kind="server_error", retry_after_s=1))


def model_not_priced(model: str, status: int) -> Refused:
    message = f"The model {model} has no price here, so it is refused (on_unpriced). Give it one under `prices`."
    return Refused(Refusal(status, "model_not_priced", message, kind="insufficient_quota", final=True))


def unbounded_cost(message: str, param: str | None = None) -> Refused:
    return Refused(Refusal(400, "unbounded_cost", message, param=param))


def upstream_unreachable(message: str) -> Refused:
    return Refused(Refusal(502, "upstream_unreachable", message, kind=UPSTREAM_ERROR))


def upstream_timeout(message: str) -> Refused:
    return Refused(Refusal(504, "upstream_timeout", message, kind=UPSTREAM_ERROR))


def unanswered() -> Refused:
    return Refused(Refusal(500, "internal_error", "The proxy gave this request up.", kind="server_error"))


def internal(request_id: str) -> Refused:
    message = f"The proxy failed on this call. Its log has the reason under request {request_id}."
    return Refused(Refusal(500, "internal_error", message, kind="server_error"))
