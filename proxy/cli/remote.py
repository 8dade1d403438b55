"""A server elsewhere, asked through its API. The admin key comes from the environment or a file, never from the command line,
where every process of the machine reads it."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import typer

from proxy.cli.output import fail

_KEY, _KEY_FILE = "TAXIMETER_ADMIN_KEY", "TAXIMETER_ADMIN_KEY_FILE"
_PAGES_PORT = "--server takes the address of the page (port 4101), not that of the calls"
_TIMEOUT_S = 60
PAGE = 1000
"""The most items of one answer."""
_MOST_BYTES = 256 * 1024 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key goes to the host that was named, and to no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _Answer(dict[str, Any]):
    """A JSON object of the API. To ask for what is not in it ends the command: another program answered."""

    def __init__(self, content: Mapping[str, Any], server: Server) -> None:
        super().__init__(content)
        self._server = server

    def __missing__(self, name: str) -> Any:
        raise self._server.unexpected(f"its answer has no `{name}`")


class Server:
    """`get` and its like give the answer's JSON; where there is none they end the command: 1, or 2 for a question that makes
    no sense, each with the server's own words."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.username
            or parts.query
            or parts.fragment
        ):
            raise fail("--server must be http(s)://host[:port], the address of the page", 2)
        self._url = url.rstrip("/")
        self._key = _admin_key(environ)
        if self._key and parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            print(f"warning: the admin key goes to {parts.hostname} unencrypted; use https", file=sys.stderr)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def get(self, path: str, **params: Any) -> Any:
        """`path` is made of names, each of them quoted: `/api/budgets`, `/api/sessions/…`."""
        query = urlencode({name: value for name, value in params.items() if value is not None})
        return self._ask("GET", f"{path}?{query}" if query else path)

    def text(self, path: str, **params: Any) -> str:
        """An answer that is no JSON."""
        query = urlencode({name: value for name, value in params.items() if value is not None})
        return self._content("GET", f"{path}?{query}", kinds=("text/plain", "text/csv")).decode("utf-8", "replace")

    def items(self, path: str, most: int | None = None, **params: Any) -> Iterator[Any]:
        """The items of all pages, or of so many as give `most`."""
        after, left = None, most
        while left is None or left > 0:
            page = self.get(path, **params, limit=min(left or PAGE, PAGE), next=after)
            yield from page["items"]
            after, left = page["next"], None if left is None else left - len(page["items"])
            if after is None:
                return

    def post(self, path: str, **body: Any) -> Any:
        return self._ask("POST", path, {name: value for name, value in body.items() if value is not None})

    def patch(self, path: str, **body: Any) -> Any:
        return self._ask("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        content = self._content(method, path, body)
        if not content:
            return None
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise self.unexpected(error) from None
        if not isinstance(answer, dict):
            raise self.unexpected("it sent other JSON")
        return _Answer(answer, self)

    def _content(self, method: str, path: str, body: Any = None, kinds: tuple[str, ...] = ()) -> bytes:
        """kinds: what an answer that nothing reads further may be; another server's page is none of them."""
        headers = {"accept": "application/json", "content-type": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 - http(s), checked above
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                if kinds and (kind := answer.headers.get_content_type()) not in kinds:
                    raise ValueError(f"it sent {kind}")
                return answer.read(_MOST_BYTES)  # type: ignore[no-any-return]  # bytes, says the library's text
        except urllib.error.HTTPError as error:
            with error:  # its connection is open while its answer is not read whole
                raise _refused(error) from None
        except (OSError, ValueError) as error:
            raise self.unexpected(error) from None

    def unexpected(self, error: Exception | str) -> typer.Exit:
        """Ends a command whose answer makes no sense: somebody else's server, most likely."""
        return fail(f"{self._url} does not answer as a Taximeter does ({getattr(error, 'reason', None) or error})")


def named(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def _admin_key(environ: Mapping[str, str]) -> str | None:
    path = environ.get(_KEY_FILE)
    if path:
        try:
            return Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise fail(f"{_KEY_FILE}: {path} cannot be read ({type(error).__name__})", 2) from None
    return environ.get(_KEY, "").strip() or None


def _refused(error: urllib.error.HTTPError) -> typer.Exit:
    try:
        message = str(json.loads(error.read(65_536))["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        message = f"it answered {error.code}; {_PAGES_PORT}"
    if error.code == 404 and message.startswith("There is nothing at this path"):
        message = f"it knows no such path; {_PAGES_PORT}"
    if error.code == 401:
        message += f" Put it into {_KEY}, or into a file that {_KEY_FILE} names."
    printable = "".join(character if character.isprintable() else " " for character in message[:2000])
    return fail(f"the server refused: {printable}", 2 if error.code == 400 else 1)
