"""What is told of the code that runs."""

from __future__ import annotations

import sys
import sysconfig

import pytest

from proxy.control.banner import banner, running
from proxy.processes import code

_PYTHON = sys.version.split()[0]


@pytest.mark.parametrize(
    ("is_machine_code", "told"), [(True, f"machine code, Python {_PYTHON}"), (False, f"interpreted, Python {_PYTHON}")]
)
def test_the_start_says_whether_it_is_machine_code(
    is_machine_code: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "IS_MACHINE_CODE", is_machine_code)
    by_hand = banner(data_url="http://h:1", admin_url="http://h:2", model=None, key=None, ledger="l")

    assert f"   {told}\n" in by_hand
    assert running(data_url="http://h:1", admin_url="http://h:2", keys=1).endswith(f"   {told}")


@pytest.mark.parametrize(
    ("options", "schemes", "told"),
    [
        ("'--enable-shared' '--enable-optimizations'", ("posix_prefix",), "built with optimisation"),
        ("'--enable-shared' '--prefix=/usr'", ("deb_system", "posix_prefix"), "built with optimisation"),
        ("'--enable-shared'", ("posix_prefix",), "built without --enable-optimizations"),
        (None, ("posix_prefix",), "built without --enable-optimizations"),
    ],
)
def test_a_python_s_build_is_told_by_its_options_and_debian_s_by_its_own_scheme(
    options: str | None, schemes: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": options}.__getitem__)
    monkeypatch.setattr(sysconfig, "get_scheme_names", lambda: schemes)

    assert code.python_build() == told
