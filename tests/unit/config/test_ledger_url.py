"""`ledger`: a password may be any text, and no error shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from proxy.config.checks import build
from proxy.config.file import Expansion
from proxy.config.ledger_url import parse_postgres, without_password
from proxy.config.problems import ConfigError
from proxy.ledger.database import connect, open_ledger, why_not_opened
from tests.support.rows import each_row


@each_row(
    ("password", "read"),
    [
        ("plain", "plain"),
        ("p@ss:w#rd-1234567890", "p@ss:w#rd-1234567890"),
        ("a@b/c", "a@b/c"),
        ("x@host:5432/db", "x@host:5432/db"),
        ("q?r&s=t", "q?r&s=t"),
        ("p%40ss", "p@ss"),
        ("100%", "100%"),
        ("", ""),
    ],
)
@each_row("behind", ["db", "db.example:5433", "[::1]:5433"])
@each_row("query", ["", "?sslmode=require"])
def test_a_password_is_read_as_it_is_written(password: str, read: str, behind: str, query: str) -> None:
    url = f"postgresql://meter:{password}@{behind}/books{query}"
    address = parse_postgres(url)

    assert (address.user, address.password, address.database) == ("meter", read, "books")
    assert address.query == query.removeprefix("?")
    engine = connect(url)
    assert engine.url.password == read
    assert ((engine.url.host, engine.url.port),) == address.places
    assert dict(engine.url.query) == ({"sslmode": "require"} if query else {})


@pytest.mark.parametrize(
    "url", ["postgresql://db/books", "postgres://meter@db/books", "postgresql:///books?host=/run/pg"]
)
def test_there_may_be_no_password(url: str) -> None:
    assert parse_postgres(url).password is None
    assert connect(url).url.database == "books"


def test_options_may_have_an_at_sign() -> None:
    address = parse_postgres("postgresql://meter:secret@db/books?application_name=a@b")

    assert (address.password, address.places, address.query) == ("secret", (("db", None),), "application_name=a@b")


@each_row(
    ("behind", "places", "host", "port"),
    [
        ("a:5432,b:5433", (("a", 5432), ("b", 5433)), "a,b", "5432,5433"),
        ("a,b", (("a", None), ("b", None)), "a,b", ","),
        ("a,[::1]:5433", (("a", None), ("::1", 5433)), "a,::1", ",5433"),
    ],
)
@each_row("password", ["", "plain", "p@a,b:5432/x"])
def test_there_may_be_several_servers(
    password: str, behind: str, places: tuple[tuple[str, int | None], ...], host: str, port: str
) -> None:
    """A primary and its standbys, as libpq writes them."""
    url = f"postgresql://meter:{password}@{behind}/books?target_session_attrs=read-write"
    address = parse_postgres(url)

    assert (address.places, address.password, address.database) == (places, password, "books")
    engine = connect(url)
    _, told = engine.dialect.create_connect_args(engine.url)
    assert (told["host"], told["port"], told["dbname"]) == (host, port, "books")
    assert told["target_session_attrs"] == "read-write"


def test_a_server_that_says_nothing_any_more_is_given_up_unless_the_address_says_otherwise() -> None:
    options: list[dict[str, Any]] = []
    for url in ("postgresql://db/books", "postgresql://db/books?connect_timeout=3&keepalives_idle=60"):
        engine = connect(url)

        def note(dialect: object, record: object, cargs: object, cparams: dict[str, Any]) -> None:
            options.append(dict(cparams))
            raise ConnectionAbortedError

        sa.event.listen(engine, "do_connect", note)
        with pytest.raises(ConnectionAbortedError):
            engine.connect()
    ours, theirs = options
    assert (ours["connect_timeout"], ours["keepalives_idle"], ours["keepalives_count"]) == (10, 10, 3)
    assert (theirs["connect_timeout"], theirs["keepalives_idle"], theirs["keepalives_count"]) == ("3", "60", 3)


@pytest.mark.parametrize("url", ["postgresql://u:geheim-42@db:port/x", "postgresql://u:geheim-42@db:99999/x"])
def test_what_is_no_address_is_said_without_it(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(Expansion({"ledger": url}, [], []))

    assert str(refused.value).startswith("ledger: ")
    assert "geheim" not in str(refused.value)


def test_a_driver_s_words_come_without_the_password() -> None:
    assert (
        why_not_opened(ValueError("cannot reach ge@heim there\nmore"), "postgresql://u:ge@heim@db/x")
        == "cannot reach *** there"
    )


def test_a_file_that_cannot_be_made_is_named() -> None:
    url = "sqlite:////proc/no/ledger.db"
    with pytest.raises(OSError, match="No such file") as caught:
        connect(url)
    assert why_not_opened(caught.value, url) == "/proc/no/ledger.db: No such file or directory"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are no tables\n" * 100)
    url = f"sqlite:///{file}"
    with pytest.raises(DatabaseError) as caught:
        open_ledger(url)
    assert why_not_opened(caught.value, url) == f"{file}: file is not a database"


@pytest.mark.parametrize(
    ("password", "said", "shown"),
    [
        ("p", "connection to port 1 failed", "connection to port 1 failed"),
        ("p", "postgresql://u:p@host/db: port 1 failed", "postgresql://u:***@host/db: port 1 failed"),
        ("?", "u:?@host", "u:***@host"),
        ("secret1", 'user "xsecret1x"', 'user "x***x"'),
        ("", "port 1", "port 1"),
        (None, "port 1", "port 1"),
    ],
)
def test_a_short_password_is_hidden_where_it_stands_as_one(password: str | None, said: str, shown: str) -> None:
    assert without_password(said, password) == shown
