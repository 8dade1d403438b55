"""What several lines of one header say together."""

from __future__ import annotations

import pytest

from proxy.access.keys import _HEADERS
from proxy.errors import Refused
from proxy.wire.header_lines import by_name


def test_lines_of_a_list_are_joined_and_what_is_said_twice_is_said_once() -> None:
    for name in (
        b"anthropic-beta",
        b"openai-beta",
        b"accept",
        b"sec-websocket-protocol",
        b"x-taximeter-labels",
        b"x-any",
    ):
        assert by_name([(name, b"a"), (b"host", b"x"), (name, b"b,c"), (name, b"a")]) == {
            name: b"a, b,c",
            b"host": b"x",
        }
    for name in (b"authorization", b"x-taximeter-session-id", b"x-amzn-bedrock-service-tier", b"content-type"):
        assert by_name([(name, b"a"), (name, b"a")]) == {name: b"a"}


def test_what_may_be_said_once_is_never_chosen() -> None:
    for name in (
        *_HEADERS, b"host", b"content-length", b"anthropic-version", b"x-taximeter-session-id", b"x-taximeter-customer", b"x-taximeter-stream-cost",
        b"x-amzn-bedrock-service-tier", b"x-amzn-bedrock-performanceconfig-latency", b"x-goog-upload-offset",
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            by_name([(name, b"a"), (b"b", b"c"), (name, b""), (name, b"d")])
        assert name.decode() in refused.value.refusal.message


def test_a_line_without_a_value_says_nothing_beside_others() -> None:
    for name in (b"authorization", b"x-taximeter-user", b"anthropic-beta", b"cookie"):
        for values in ([b"", b"a"], [b"a", b""], [b"", b"a", b"", b"a"]):
            assert by_name([(name, value) for value in values]) == {name: b"a"}
        assert by_name([(name, b""), (name, b"")]) == {name: b""}
    assert by_name([(b"accept", b"a"), (b"accept", b""), (b"accept", b"b")]) == {b"accept": b"a, b"}


def test_what_hangs_on_no_header_is_not_refused_for_it() -> None:
    charset = b"application/json; charset=utf-8"
    assert b"content-type" in by_name([(b"content-type", b"application/json"), (b"content-type", charset)])
