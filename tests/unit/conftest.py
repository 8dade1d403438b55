"""The ledger's tests run on both databases, SQLite's and PostgreSQL's: `database` is the URL of a ledger in which is nothing,
`empty_database` that of a database in which no table is. What takes long to fill is filled once in a module, in
`shared_database`, and where tests write into it, each has a copy (`copy_of`).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.ledger.database import open_ledger
from tests.support import compiled_sql
from tests.support.made_up import fill, made_up
from tests.support.postgres import PostgresServer

compiled_sql.install()

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite's file, to be copied: a fifth of what it costs to make one."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    open_ledger(f"sqlite:///{path}").dispose()
    return path


@pytest.fixture(scope="session")
def made_up_ledger(tmp_path_factory: pytest.TempPathFactory, empty_ledger: Path) -> Path:
    """SQLite's file of a ledger of 300 calls, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "made_up.db"
    shutil.copy(empty_ledger, path)
    engine = open_ledger(f"sqlite:///{path}")
    fill(engine, made_up(300))
    engine.dispose()
    return path


@pytest.fixture(params=BOTH)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("empty_ledger"), tmp_path / "ledger.db")
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.ledger() as url:
        yield url


@pytest.fixture(params=BOTH)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.emptied_database() as url:
        yield url


@pytest.fixture(scope="module", params=BOTH)
def shared_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, empty_ledger: Path
) -> Iterator[str]:
    """A ledger in which is nothing, the same for all of a module's tests."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("shared") / "ledger.db"
        shutil.copy(empty_ledger, path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.new_database() as url:
        yield url


@pytest.fixture
def copy_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes a copy of the ledger at a URL for one test; nobody may be connected to it."""
    with contextlib.ExitStack() as stack:

        def copied(url: str) -> str:
            if url.startswith("sqlite"):
                shutil.copy(url.removeprefix("sqlite:///"), tmp_path / "copy.db")
                return f"sqlite:///{tmp_path}/copy.db"
            server: PostgresServer = request.getfixturevalue("postgres")
            return stack.enter_context(server.new_database(like=url))

        yield copied
