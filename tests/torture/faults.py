"""What can go wrong at a provider, by name. `answers.py` performs them; `orders.py` lets a prompt ask for them.

Each row: what it does, whether it applies to streams (s), unary answers (u) or both, and an argument to try it with.
Positions (`@k`) count events in a stream and bytes in a unary body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import formats


@dataclass(frozen=True, slots=True)
class Fault:
    what: str
    applies: str = "su"
    sample: str = ""


FAULTS: dict[str, Fault] = {
    # refusals: nothing is generated, nothing is billed
    "status": Fault("an error status with the vendor's JSON body", sample="500"),
    "bare": Fault("an error status without a body", sample="503"),
    "html": Fault("200 with an HTML page"),
    "json_error": Fault("200 with a JSON error object"),
    "empty": Fault("200 with an empty body"),
    "redirect": Fault("307 to the canary"),
    "no_content": Fault("204 without a body"),
    "scalar": Fault("200 with JSON that is no object", sample="null"),
    "deep": Fault("200 with JSON of a hundred thousand brackets"),
    # no answer, though the model may have worked
    "drop": Fault("the connection ends before any byte"),
    "rst": Fault("the connection is reset before any byte"),
    "stall": Fault("silence instead of a head, until the caller leaves"),
    "headers_endless": Fault("header lines without end"),
    "head_stall": Fault("half of a head, then silence until the caller leaves"),
    "storm": Fault("1xx answers without end"),
    "garbage": Fault("bytes that are not HTTP"),
    "bad_status": Fault("a status that is no number"),
    "length_twice": Fault("two content-lengths that differ"),
    "length_negative": Fault("a negative content-length"),
    "length_huge": Fault("a content-length of 10^18, then a FIN"),
    "switch": Fault("101 to another protocol"),
    # a broken answer
    "cut": Fault("a FIN at a position", sample="5"),
    "cutrst": Fault("a RST at a position", sample="5"),
    "stall_mid": Fault("silence from a position on, until the caller leaves", sample="3"),
    "bad_chunk": Fault("an invalid chunk length at a position", "s", "4"),
    "half_frame": Fault("the stream ends properly in the middle of an event", "s", "4"),
    "error_event": Fault("an error event at a position, then a proper end", "s", "4"),
    "error_after_usage": Fault("an error event after the usage", "s"),
    "length_long": Fault("fewer bytes than content-length says, then a FIN", "u"),
    "drip": Fault("so many bytes each 30 ms", sample="400"),
    "json_cut": Fault("half of the JSON, with the right content-length", "u"),
    "gzip_cut": Fault("gzip that ends early"),
    # odd, but an answer
    "gzip": Fault("gzip, though nobody asked for it"),
    "length_short": Fault("more bytes than content-length says", "u"),
    "headers_many": Fault("very many header lines", sample="300"),
    "informational": Fault("many 1xx answers first", sample="5"),
    "slow_head": Fault("the head byte by byte"),
    "http10": Fault("HTTP/1.0: the end of the connection ends the answer"),
    "wrong_type": Fault("a stream called JSON, or JSON called a stream"),
    "trailers": Fault("trailers after the last chunk", "s"),
    "stall_end": Fault("all is said, but the answer never ends, until the caller leaves", "s"),
    "done_twice": Fault("[DONE] twice", "s"),
    "done_missing": Fault("no [DONE]", "s"),
    "done_spaced": Fault("[DONE] with spaces around", "s"),
    "done_then_more": Fault("an event after [DONE]", "s"),
    "crlf": Fault("CRLF as line end", "s"),
    "cr": Fault("CR as line end", "s"),
    "comments": Fault("comments and retry lines between events", "s"),
    "bom": Fault("a byte order mark first", "s"),
    "multiline": Fault("payloads over several data lines", "s"),
    "no_last_blank": Fault("no blank line after the last event", "s"),
    "split": Fault("so many bytes a time, each sent alone", sample="1"),
    "wide": Fault("text of several bytes a character"),
    "big_frame": Fault("one event of so many bytes", "s", "2000000"),
    "same_ids": Fault("the same reply id and request id as other answers"),
    # usage
    "no_usage": Fault("usage is never told"),
    "usage_twice": Fault("the last usage is sent twice", "s"),
    "usage_cumulative": Fault("usage so far in every event", "s"),
    "usage_early": Fault("usage before the last text", "s"),
    "usage_negative": Fault("a negative count"),
    "usage_huge": Fault("10^18 tokens"),
    "usage_string": Fault("a count as a string"),
    "usage_float": Fault("a count as a fraction"),
    "usage_null": Fault("a count that is null"),
    "usage_missing": Fault("no output count"),
    "usage_list": Fault("usage is a list"),
    "usage_mismatch": Fault("a total that is not the sum"),
}

TRUE_USAGE = ("usage_twice", "usage_cumulative", "usage_early")
LIES = tuple(name for name in FAULTS if name.startswith("usage_") and name not in TRUE_USAGE)

# Nothing of these may be retried by a caller that fears to pay twice, and nothing is billed for the first of them.
REFUSALS = ("status", "bare", "html", "json_error", "empty", "redirect", "no_content", "scalar", "deep")
# What comes in place of a head, and no answer after it.
NOT_HTTP: dict[str, bytes] = {
    "garbage": b"SSH-2.0-OpenSSH_9.9\r\n" + bytes(range(256)),
    "bad_status": b"HTTP/1.1 okay fine\r\ncontent-length: 2\r\n\r\n{}",
    "length_twice": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 200\r\n\r\n{}",
    "length_negative": b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
    "length_huge": b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000000000\r\n\r\n{}",
    "switch": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
}


def tells(fault: str) -> str:
    """What a false usage tells: `odd` (the truth, in an odd form), `lie` (something impossible) or `nothing` readable."""
    return {"usage_string": "odd", "usage_mismatch": "odd", "usage_huge": "lie"}.get(fault, "nothing")


def lie(dialect: str, counts: formats.Counts, fault: str) -> Any:
    """The usage object as a fault tells it."""
    output = "output" if dialect != "openai_embeddings" else "input"
    visible = "visible" if dialect == "gemini" else output
    if fault == "usage_list":
        return [1, 2, 3]
    lies: dict[str, dict[str, Any]] = {
        "usage_negative": {visible: -5},
        "usage_huge": {visible: 10**18},
        "usage_string": {visible: str(counts[visible])},
        "usage_float": {visible: counts[visible] + 0.5},
        "usage_null": {visible: None},
        "usage_missing": {visible: formats.MISSING},
        "usage_mismatch": {"total": counts["total"] + 17},
    }
    return formats.usage(dialect, counts | lies[fault])
