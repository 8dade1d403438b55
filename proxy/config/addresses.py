"""Hosts, URLs and paths as people write them: what is wrong with one, and what to write. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def wrong_with_host(host: str, port_setting: str) -> str | None:
    """Why nobody can listen at `host`, a name or an address; None where somebody may. port_setting: where its port stands."""
    if not host or host == "*":
        return 'is no address; all of this machine\'s are "0.0.0.0", with those of IPv6 "::"'
    if host.startswith("[") and _is_address(host[1:].partition("]")[0]):
        return f'is written without brackets: "{host[1:].partition("]")[0]}"'
    if _SCHEME.match(host):
        return "is the address alone, without a scheme and a path; TLS ends in front of Taximeter"
    name, _, port = host.rpartition(":")
    if name and port.isdecimal() and not _is_address(host):
        return f'is the address alone ("{name}"); its port stands in {port_setting}'
    if "/" in host:
        return f'is one address, not a network: "{host.partition("/")[0]}"'
    if _is_address(host):
        return None
    if re.fullmatch(r"[0-9.]+", host):
        return "is not an address: four numbers up to 255 with dots between them"
    return None if _HOST_NAME.match(host) else "is not the name of a host, nor an address"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def wrong_with_url(url: str, *, with_query: bool = False) -> str | None:
    """Why `url` is not one that is sent to over HTTP; None where it is. Never repeats it: there may be a secret in it.

    with_query: whether what stands behind a ? may belong to it, as in a webhook's.
    """
    if url != url.strip():
        return "has blanks before or behind it"
    if not url.isascii() or not url.isprintable() or " " in url or "<" in url:
        return "must be an http(s) URL, in ASCII and without blanks"
    if not _SCHEME.match(url):
        return "must begin with https:// or http://"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "cannot be read: a port is a number up to 65535, an IPv6 address stands in brackets"
    return _wrong_with_parts(parts, with_query=with_query)


def _wrong_with_parts(parts: SplitResult, *, with_query: bool) -> str | None:
    if parts.scheme not in ("http", "https"):
        return f"must begin with https:// or http://, not {parts.scheme}://"
    if not parts.hostname:
        return "names no host"
    if parts.username is not None:
        return (
            "has a user or a password in it, which is not sent; upstreams and exports have api_key and headers for that"
        )
    if parts.netloc.count(":") > 1 and "[" not in parts.netloc:
        return "cannot be read: an IPv6 address stands in brackets"
    if (parts.query or parts.fragment) and not with_query:
        return "must end before its ? or #"
    return None


def wrong_with_path(path: str) -> str | None:
    """Why `path` is not one of this machine's files or folders as it stands; None where it may be."""
    if not path.strip():
        return "is empty"
    if path.startswith("~"):
        return "begins with ~, which only a shell replaces; write ${HOME} in its place"
    scheme = _SCHEME.match(path)
    return f"is a path on this machine, and does not begin with {scheme[0]}" if scheme else None
