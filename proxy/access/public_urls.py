"""Whether a URL leads to the public internet, by what is written: no name is looked up. Pure.

A server of one's own fetches media from inside of one's network; what it may be sent to has to be recognisable. Spellings that
parsers read differently are taken for not public. A public name that leads to a private address is not seen here: servers
that must not be fooled by one take no URLs, or fetch through a proxy.
"""

from __future__ import annotations

import ipaddress
import re

_URL = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?(?:[/?#][^\x00-\x20\\]*)?\Z", re.IGNORECASE)
_INNER = (
    ".local", ".localhost", ".localdomain", ".internal", ".intranet", ".lan", ".home", ".corp", ".private", ".home.arpa",
    ".svc", ".cluster",
)  # fmt: skip
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE)


def is_public(url: str, *, bare_names: bool = False) -> bool:
    """True for http and https URLs with a plain public host or address. bare_names: a name without a dot passes too."""
    match = _URL.match(url)
    if match is None:
        return False
    host = match[1].lower().rstrip(".")
    if host.startswith("["):
        return _is_global(host[1:-1])
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # what ends in a number is an address (WHATWG URL, host parsing)
        return _is_global(host)
    return (bare_names or "." in host) and not f".{host}".endswith(_INNER)


def _is_global(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None or address in _NAT64:
            return False
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
