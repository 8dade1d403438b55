"""Redis as people run it: over TLS, behind a Sentinel, as a Cluster. Each a real server, on 127.0.0.1."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.ports import free_port
from tests.support.programs import find_program
from tests.support.redis import RedisServer

OPTIONS = ("--save", "", "--maxmemory-policy", "noeviction", "--bind", "127.0.0.1")


class PortServer(RedisServer):
    """A server on a port besides its socket. options: after those that every one has."""

    def __init__(self, folder: Path, *options: str, port: int | None = None, tls: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        self.port = port or free_port()
        super().__init__(folder, *OPTIONS, "--tls-port" if tls else "--port", str(self.port), *options)


class ValkeyServer(RedisServer):
    """Redis 7.2 as others went on with it."""

    program = "valkey-server"


class Sentinel(RedisServer):
    """Watches one server, alone; takes it for dead after `dead_after_ms`."""

    def __init__(self, folder: Path, service: str, watched: PortServer, *more: str, dead_after_ms: int = 200) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self._conf = folder / "sentinel.conf"
        lines = (
            f"sentinel monitor {service} 127.0.0.1 {watched.port} 1",
            f"sentinel down-after-milliseconds {service} {dead_after_ms}",
            f"sentinel failover-timeout {service} {5 * dead_after_ms}",
            *more,
        )
        self._conf.write_text("".join(f"{line}\n" for line in lines))
        super().__init__(folder, "--port", str(self.port), "--bind", "127.0.0.1")

    def command(self) -> list[str]:
        program, *rest = super().command()
        return [program, str(self._conf), "--sentinel", *rest]


class Certificates:
    """An authority, and what it signed for `127.0.0.1` and for a client. Made by openssl, valid for a day."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._openssl = str(find_program("openssl"))
        self.authority = folder / "ca.pem"
        subject = ("-subj", "/CN=authority", "-days", "1")
        self._run("req", "-x509", *self._new("ca"), "-out", str(self.authority), *subject)
        self.server = self._signed("server", "subjectAltName=IP:127.0.0.1")
        self.client = self._signed("client", "extendedKeyUsage=clientAuth")

    def key(self, certificate: Path) -> Path:
        return certificate.with_suffix(".key")

    def options(self) -> tuple[str, ...]:
        """Of a server that wants a certificate of every client, as is Redis's default."""
        files = ("--tls-cert-file", str(self.server), "--tls-key-file", str(self.key(self.server)))
        return (*files, "--tls-ca-cert-file", str(self.authority))

    def query(self) -> str:
        """Of an address, with the client's certificate."""
        return f"ssl_ca_certs={self.authority}&ssl_certfile={self.client}&ssl_keyfile={self.key(self.client)}"

    def _new(self, name: str) -> tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        return (*curve, "-keyout", str(self._folder / f"{name}.key"))

    def _signed(self, name: str, extension: str) -> Path:
        asked, made, extensions = (self._folder / f"{name}.{kind}" for kind in ("csr", "pem", "ext"))
        extensions.write_text(extension)
        self._run("req", *self._new(name), "-out", str(asked), "-subj", f"/CN={name}")
        by = ("-CA", str(self.authority), "-CAkey", str(self._folder / "ca.key"), "-CAcreateserial", "-days", "1")
        self._run("x509", "-req", "-in", str(asked), *by, "-out", str(made), "-extfile", str(extensions))
        return made

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)
