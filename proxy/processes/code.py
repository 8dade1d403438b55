"""What code runs: whether the way of a call is machine code (`make compiled`), by which Python, and how that was built."""

from __future__ import annotations

import sys

from proxy import money

IS_MACHINE_CODE = money.__file__.endswith(".so")


def running_code() -> str:
    """What serves calls, for a line of the log."""
    version = sys.version.partition(" ")[0]
    return f"{'machine code' if IS_MACHINE_CODE else 'interpreted'}, Python {version}"


def python_build() -> str:
    """Whether Python itself was compiled by how its own code goes, as far as its build says. To ask that takes a third of a
    megabyte."""
    import sysconfig  # noqa: PLC0415 - who serves does without

    # Debian's and Ubuntu's are built so, and keep it out of what they say of their build; nobody else has this scheme.
    is_debian = "deb_system" in sysconfig.get_scheme_names()
    if is_debian or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return "built with optimisation"
    return "built without --enable-optimizations"
