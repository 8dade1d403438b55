"""What several lines of one header say together."""

from __future__ import annotations

import pytest

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
        b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"host", b"content-type", b"content-length",
        b"anthropic-version", b"x-taximeter-session-id", b"x-taximeter-customer", b"x-taximeter-stream-cost",
        b"x-amzn-bedrock-service-tier", b"x-amzn-bedrock-performanceconfig-latency", b"x-goog-upload-offset",
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            by_name([(name, b"a"), (b"b", b"c"), (name, b"d")])
        assert name.decode() in refused.value.refusal.message
