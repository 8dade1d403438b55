"""One POST, and what its answer means: taken, later, or never. Goes where the configuration says, and nowhere else."""

from __future__ import annotations

import email.utils
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import urllib3

from proxy.exports.sink import Later, Refusal
from proxy.times import now_s

_CONNECT_S, _READ_S = 5.0, 20.0
_MOST_BYTES = 256 * 1024
_LONGEST_WAIT_S = 3600.0
# What the operator has to mend, or what passes: nothing is wrong with the events.
_LATER = frozenset({401, 402, 403, 404, 405, 407, 408, 421, 423, 425, 429})
_ADVICE = {401: "look at api_key", 403: "look at api_key and its rights", 404: "look at url", 405: "look at url"}


def _proxy(url: str) -> tuple[str, Mapping[str, str]]:
    """Its address, and who we are to it; both as calls to upstreams have them (`proxy/upstream/connect.py`)."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    host = parts.hostname or ""
    address = f"http://[{host}]" if ":" in host else f"http://{host}"
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    return f"{address}:{parts.port or 80}", urllib3.make_headers(proxy_basic_auth=pair)


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Poster:
    """Connections to one host, kept open. For several threads."""

    def __init__(self, url: str, headers: Mapping[str, str], parallel: int = 1) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self._headers = {"user-agent": "taximeter", **headers}
        settings = {"maxsize": parallel, "timeout": urllib3.Timeout(connect=_CONNECT_S, read=_READ_S), "retries": False}
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy and not urllib.request.proxy_bypass(self.host):
            address, credentials = _proxy(proxy)
            self._pool: urllib3.PoolManager = urllib3.ProxyManager(address, proxy_headers=credentials, **settings)  # type: ignore[arg-type]  # what both take
        else:
            self._pool = urllib3.PoolManager(**settings)  # type: ignore[arg-type]  # as above

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Whatever it answers. Raises Later where nothing does."""
        try:
            answer = self._pool.request(
                "POST", url, body=body, headers={**self._headers, **headers}, redirect=False, preload_content=False
            )
            content = answer.read(_MOST_BYTES, decode_content=True)
            if len(content) < _MOST_BYTES:
                answer.release_conn()
            else:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Later(f"{self.host} cannot be reached ({_said(error)})") from None
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, content)

    def close(self) -> None:
        self._pool.clear()


def _said(error: Exception) -> str:
    """The kind of fault, without addresses: these may hold secrets."""
    reason = getattr(error, "reason", None)
    return type(reason if isinstance(reason, Exception) else error).__name__


def check(answer: Answer, host: str) -> None:
    """Nothing where it was taken. Raises Later, or Refusal where these events are what is wrong."""
    status = answer.status
    if 200 <= status < 300:
        return
    if status >= 500 or status < 400 or status in _LATER:
        advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
        raise Later(f"{host} answers {status}{advice}", _retry_after(answer.headers.get("retry-after")))
    raise Refusal(f"{host} answers {status}: {printable(answer.body)}")


def printable(body: bytes, most: int = 200) -> str:
    """The beginning of an answer, as a line."""
    text = " ".join(body[: most * 4].decode("utf-8", "replace").split())
    return "".join(character if character.isprintable() else "?" for character in text)[:most]


def _retry_after(value: str | None) -> float | None:
    """Seconds, of RFC 9110's two forms; None where it says none that makes sense."""
    if not value:
        return None
    if value.strip().isdigit():
        return min(float(value), _LONGEST_WAIT_S)
    moment = email.utils.parsedate_tz(value)
    return None if moment is None else min(max(0.0, email.utils.mktime_tz(moment) - now_s()), _LONGEST_WAIT_S)
