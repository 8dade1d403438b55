"""What holds for every test: a test that needs a server which is not installed is left out in sight of everyone, or fails;
and tests that share a server are run by one worker.

`@pytest.mark.needs("redis-server", …)` names programs (see `support/programs.py`). `make test` with `CI=true` or
`INSTALL=1` installs them, and then no test may be left out, for whatever reason.
"""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from pricing import tokens
from proxy.patterns import compiled_later
from tests.support import certificates, later, native, rows
from tests.support.examples import tried
from tests.support.forking import Dealer
from tests.support.hook import Hook, webhook
from tests.support.marks import WORKER
from tests.support.programs import NEEDED, find_program, must_run_everything
from tests.support.scheduling import scopes_of
from tests.support.spools import spools_closed
from tests.support.warm import WARM

with compiled_later():  # as `serve` imports it
    import proxy.dataplane.process  # noqa: F401

later.install()
certificates.install()
native.install()

# A machine that is busy is no fault of what is tested.
settings.register_profile("house", deadline=None, max_examples=tried(100))
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rows", action="store_true", help="make each row of a table a test of its own, to be chosen with -k"
    )
    # pytest leaves small letters to itself, and to who asks for one like this.
    parser.getgroup("several cores")._addoption(
        "-n",
        dest="workers",
        type=int,
        default=1,
        metavar="WORKERS",
        help="run files beside each other, in so many forks",
    )


def pytest_configure(config: pytest.Config) -> None:
    rows.apart = config.getoption("rows")
    config.addinivalue_line("markers", "needs(*programs): servers that the test starts; left out where one is missing")
    WARM.wanted = True
    mark_worker()


def mark_worker() -> None:
    """What is started from now on is this worker's."""
    os.environ[WORKER] = secrets.token_hex(8)


def pytest_unconfigure() -> None:
    WARM.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With several workers, each takes file after file; see `support/forking.py`."""
    workers = session.config.option.workers
    if workers < 2 or session.testsfailed or session.config.option.collectonly:
        return None
    tokens.load("o200k_base")  # takes half a second: once for all of them
    Dealer(session, scopes_of(session.items), mark_worker).run(workers)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """All tests together are a million objects that stay to the end: the garbage collector need not visit them each time,
    neither while they come to be nor later. And what tests make it looks through less often: that was 8 % of their CPU.
    """
    gc.disable()
    gc.set_threshold(10_000, 20, 20)
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        unknown = set(mark.args) - set(NEEDED)
        if unknown:
            pytest.fail(f"tests/support/programs.py does not know {', '.join(sorted(unknown))}: name it in NEEDED")
        missing = [name for name in mark.args if find_program(name) is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} not installed; to have it: sudo INSTALL=1 tests/support/install.sh")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = len(terminalreporter.stats.get("skipped", []))
    if left_out:
        terminalreporter.write_line(f"{left_out} tests were LEFT OUT (reasons below)", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything must run, a test that was left out makes the whole run fail, whatever becomes of the tests that failed
    (`make test` runs those again).
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    left_out = reporter.stats.get("skipped", []) if reporter else []
    if left_out and must_run_everything():
        session.exitstatus = pytest.ExitCode.INTERRUPTED


@pytest.fixture(autouse=True)
def close_spools() -> Iterator[None]:
    """A test need not close the spools that it opens; one that a fixture of a module's opens stays open."""
    with spools_closed():
        yield


@pytest.fixture
def hook() -> Iterator[tuple[str, type[Hook]]]:
    """A webhook's address, and what it was sent."""
    with webhook() as made:
        yield made
