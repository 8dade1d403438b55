"""The ledger's database while it does not take what is written: said once with the reason, and waited for.

Nothing is lost meanwhile: the spool keeps what is to be written. So whoever is told to end does not wait for the database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from proxy.config.ledger_url import without_password
from proxy.times import now_s

log = logging.getLogger("taximeter.recorder")
T = TypeVar("T")

_RETRY_S = 0.5
_MOST_REASONS = 10  # of one outage that are said
_MOST_CHARACTERS = 300


class GivenUpError(Exception):
    """The database is still away, and whoever waited for it is to end."""


class Outage:
    """Whether the database at `url` is away, since when (epoch seconds) and why. Not for several threads."""

    def __init__(self, url: URL) -> None:
        self.since: float | None = None
        self.reason = ""
        self.is_stopping: Callable[[], bool] = bool
        """Whether nobody may wait any longer; asked after each try that failed."""
        self._url = url
        self._said: set[str] = set()

    def insist(self, ask: Callable[[], T]) -> T:
        """Ask the database, however long it is away. Raises GivenUpError."""
        while True:
            try:
                answer = ask()
            except SQLAlchemyError as error:
                self._begin(error)
                if self.is_stopping():
                    raise GivenUpError from None
                time.sleep(_RETRY_S)
            else:
                self._end()
                return answer

    def _begin(self, error: SQLAlchemyError) -> None:
        self.reason = why_not_written(error, self._url)
        if self.since is None:
            self.since = now_s()
        if self.reason not in self._said and len(self._said) < _MOST_REASONS:
            self._said.add(self.reason)
            log.error("the ledger database cannot be written: %s; the spool keeps everything", self.reason)

    def _end(self) -> None:
        if self.since is not None:
            log.warning("the ledger database is back after %.0f s", now_s() - self.since)
            self.since, self.reason = None, ""
            self._said.clear()


def why_not_written(error: SQLAlchemyError, url: URL) -> str:
    """What the driver says, in a line, without the password. Of a value that is not taken only the kind: it is in the text."""
    error = first_error(error)
    original = getattr(error, "orig", None)
    text = str(original or error).strip().partition("\n")[0][:_MOST_CHARACTERS]
    if isinstance(error, DataError | IntegrityError) or not text:
        return type(original or error).__name__
    if url.get_backend_name() == "sqlite":
        return f"{url.database}: {text}"
    return without_password(text, url.password)


def first_error(error: SQLAlchemyError) -> SQLAlchemyError:
    """What went wrong first. A full disk ends SQLite's transaction, and with it the savepoint that is to be rolled back then; a
    connection that broke takes no rollback either."""
    first, before = error, error.__context__
    while before is not None:
        if isinstance(before, SQLAlchemyError):
            first = before
        before = before.__context__
    return first
