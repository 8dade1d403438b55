"""Where calls go: each upstream in each dialect that it speaks, with its connections and the fixed part of its heads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any
from urllib.parse import quote

from pricing.values import frozen
from proxy.ceilings.ceiling import TRANSLATED_TOKENS
from proxy.config.model import Config
from proxy.config.translation import translate_socket
from proxy.config.upstream import Upstream, is_aws, is_local
from proxy.upstream.aws.signer import Signer
from proxy.upstream.connect import Origin, origin_of
from proxy.upstream.pool import UpstreamClient

USER_AGENT = b"taximeter/0.1"
TRANSLATION = "translated:"
_MOST_BEGUN, _SHORT_PATH = 256, 200


@frozen
class Destination:
    """One upstream in one dialect family: the connection pool's name, where it is, and the fixed part of its heads.

    secrets: what its answers must not tell; shortest_secrets: one of these is in whatever holds any of them.
    translated: it is asked through the translator, which hands back what the provider's own bytes said of usage.
    root: what its paths begin with, where its base URL names that already. signer: what signs requests to it. names: by a
    model's name, the one that it has there. facts: what the price of a call depends on, and no answer states.
    """

    pool: str
    origin: Origin
    fixed: bytes
    bills_after_disconnect: bool
    first_byte_timeout_s: float
    base_url: str
    secrets: tuple[bytes, ...] = ()
    shortest_secrets: tuple[bytes, ...] = ()
    translated: bool = False
    root: str = ""
    signer: Signer | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    _begun: dict[tuple[bytes, str], bytes] = field(init=False, default_factory=dict, compare=False, repr=False)

    def path(self, path: str) -> str:
        """The whole path of one of its dialect's paths, wherever it is sent through."""
        return f"{self.origin.path}{path}"

    def target(self, path: str) -> str:
        """The request target of one of its dialect's paths."""
        return self.origin.target(path.removeprefix(self.root) if self.root else path)

    def begun(self, method: bytes, path: str) -> bytes:
        """A request's first line and this upstream's own headers, which nearly all of them have in common."""
        begun = self._begun.get((method, path))
        if begun is None:
            begun = b"%b %b HTTP/1.1\r\n%b" % (method, self.target(path).encode(), self.fixed)
            # A query may have a credential.
            if len(self._begun) < _MOST_BEGUN and len(path) <= _SHORT_PATH and "?" not in path:
                self._begun[method, path] = begun
        return begun

    @property
    def added_tokens(self) -> int:
        """Tokens that a translation may add to the input."""
        return TRANSLATED_TOKENS if self.translated else 0

    def for_client(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, failed: bool = False
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """An answer as clients get it: an error without our own credentials, for some upstreams repeat what they got.

        failed: it says that it is an error, whatever its status.
        """
        if status < 400 and not failed:
            return headers, body
        return [(name, self.redacted(value)) for name, value in headers], self.redacted(body)

    def redacted(self, data: bytes) -> bytes:
        """`data` without our own credentials."""
        for secret in self.secrets:
            data = data.replace(secret, b"[redacted]")
        return data


def destinations_of(
    config: Config, environ: Mapping[str, str], client: UpstreamClient
) -> dict[tuple[str, str], Destination]:
    """A destination for every upstream and dialect family that it speaks, and for every dialect that is translated for it
    (`TRANSLATION` and its name); opens their (empty) pools in `client`."""
    destinations = {}
    for name, row in config.upstreams.items():
        region = aws_region(row, name, environ)
        if row.translated():
            translation = _translation(config, name, row, region, client)
            destinations.update(
                dict.fromkeys([(name, TRANSLATION + dialect) for dialect in row.translated()], translation)
            )
        for family in row.spoken(name):
            if family == "bedrock" and not (region or row.base_url):
                continue  # of a row that is translated: nobody knows where it is
            base_url = row.address(name, family) or bedrock_url(region)
            origin = origin_of(base_url, environ)
            pool = f"{name}/{family}"
            _add_pool(client, pool, origin, name, row)
            destinations[name, family] = Destination(
                pool=pool,
                origin=origin,
                fixed=_fixed_headers(origin, family, row.api_key, row.headers, local=is_local(row.provider_name(name))),
                bills_after_disconnect=row.bills_hung_up(name),
                first_byte_timeout_s=row.first_byte_timeout_s,
                base_url=base_url,
                signer=Signer(region, row.params, environ) if family == "bedrock" and not row.api_key else None,
                names=row.params.get("deployments", {}) if family == "bedrock" else {},
                facts={"base_url": base_url, **_region_facts(region), **row.places()},
                secrets=(secrets := _secrets(row.api_key, row.headers)),
                shortest_secrets=_shortest(secrets),
                root=_root_of(origin, family),
            )
    return destinations


_BEDROCK_HOST = re.compile(r"//bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")


def aws_region(row: Upstream, name: str, environ: Mapping[str, str]) -> str:
    """An upstream's AWS region, by its row, its host's name or the environment; "" where none of these names one."""
    if not is_aws(row.provider_name(name)):
        return ""
    host = _BEDROCK_HOST.search(row.address(name, "bedrock"))
    return str(
        row.params.get("aws_region_name")
        or (host[1] if host else "")
        or environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or ""
    )


def bedrock_url(region: str) -> str:
    """Bedrock's host in a region."""
    ending = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://bedrock-runtime.{region}.{ending}"


def _region_facts(region: str) -> Mapping[str, str]:
    return {"bedrock_region": region} if region else {}


# With and without these, base URLs mean the same: the SDKs of these vendors disagree on whose part it is.
_ROOTS = {"replicate": "/v1", "luma": "/dream-machine/v1", "runway": "/v1"}


def _root_of(origin: Origin, family: str) -> str:
    root = _ROOTS.get(family, "")
    return root if root and origin.path.endswith(root) else ""


def _add_pool(client: UpstreamClient, pool: str, origin: Origin, name: str, row: Upstream) -> None:
    client.add(
        pool,
        origin,
        max_connections=row.max_connections,
        connect_timeout_s=row.connect_timeout_s,
        first_byte_timeout_s=row.first_byte_timeout_s,
        idle_timeout_s=row.idle_timeout_s,
        reuse_after_stream=row.bills_hung_up(name),
    )


def _translation(config: Config, name: str, row: Upstream, region: str, client: UpstreamClient) -> Destination:
    """The way to an upstream through the translator: its credentials stay there, but are looked for in what comes back."""
    origin = Origin(
        "translator", 80, tls=False, path=f"/{quote(name, safe='')}", socket=translate_socket(config.data_dir)
    )
    pool = f"{name}/{TRANSLATION}"
    _add_pool(client, pool, origin, name, row)
    hidden = {key: value for key, value in row.params.items() if isinstance(value, str) and _SECRET.search(key)}
    return Destination(
        pool=pool,
        origin=origin,
        fixed=_fixed_headers(origin, "", None, {}, local=False),
        bills_after_disconnect=row.bills_hung_up(name),
        first_byte_timeout_s=row.first_byte_timeout_s,
        base_url=row.base_url,
        facts={"base_url": row.base_url, **_region_facts(region), **row.places()},
        secrets=(secrets := _secrets(row.api_key, {**row.headers, **hidden})),
        shortest_secrets=_shortest(secrets),
        translated=True,
    )


_SECRET = re.compile("key|secret|token|password|credential", re.IGNORECASE)
_LEAST_SECRET = 8  # characters: shorter values are words


def _secrets(api_key: str | None, headers: Mapping[str, str]) -> tuple[bytes, ...]:
    """What an upstream's answers must not tell a client, the longest first: one may hold another."""
    values = [value for value in (api_key, *headers.values()) if value]
    words = [word for value in values for word in (value, value.rpartition(" ")[2]) if len(word) >= _LEAST_SECRET]
    spellings = {form for word in words for form in (word.encode("utf-8"), word.encode("latin-1", "replace"))}
    return tuple(sorted(spellings, key=len, reverse=True))


def _shortest(secrets: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(one for one in secrets if not any(other in one for other in secrets if other != one))


def _fixed_headers(origin: Origin, family: str, api_key: str | None, extra: Mapping[str, str], *, local: bool) -> bytes:
    """The headers that every request to this destination carries, encoded once: its own credential, never a client's.

    local: vLLM's `--api-key` is looked for in `Authorization` alone, whatever the dialect.
    """
    headers = {
        "host": origin.authority,
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": USER_AGENT.decode(),
    }
    if api_key:
        name, value = {
            "anthropic": ("x-api-key", api_key),
            "gemini": ("x-goog-api-key", api_key),
            "elevenlabs": ("xi-api-key", api_key),
            "fal": ("authorization", f"Key {api_key}"),
            "fal_run": ("authorization", f"Key {api_key}"),
        }.get(family, ("authorization", f"Bearer {api_key}"))
        headers[name] = value
        if local:
            headers["authorization"] = f"Bearer {api_key}"
    if origin.proxy and origin.proxy.authorization and not origin.tls:
        headers["proxy-authorization"] = origin.proxy.authorization
    headers |= {name.lower(): value for name, value in extra.items()}
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
