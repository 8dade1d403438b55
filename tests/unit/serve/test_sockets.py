"""Where nobody can listen: the setting that is at fault is named."""

from __future__ import annotations

import pytest

from proxy.config.problems import ConfigError
from proxy.serve.sockets import listen


@pytest.mark.parametrize("plane", ["", "admin_"])
@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "2001:db8::1"])
def test_a_host_that_is_none_of_this_machine_s_is_not_said_to_be_the_port_s_fault(host: str, plane: str) -> None:
    with pytest.raises(ConfigError) as refused:
        listen(host, 0, f"server.{plane}port")

    assert str(refused.value).startswith(f"server.{plane}host: cannot listen on {host}:0: ")


def test_a_port_that_is_taken_is() -> None:
    with listen("127.0.0.1", 0, "server.port") as taken, pytest.raises(ConfigError) as refused:
        listen("127.0.0.1", taken.getsockname()[1], "server.port")

    assert str(refused.value).startswith("server.port: cannot listen on 127.0.0.1:")
