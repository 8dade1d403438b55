"""The files that pages load beside themselves, and the addresses by which they name them."""

from __future__ import annotations

import hashlib
from pathlib import Path

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {
    path.name: path.read_bytes()
    for path in sorted((Path(__file__).parent / "static").iterdir())
    if path.suffix in MEDIA_TYPES
}
DIGESTS = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in FILES.items()}


def file_url(name: str) -> str:
    """Where a file is: another address with other content, so that a browser asks once and never gets an old one."""
    return f"/page/{name}?v={DIGESTS[name]}"
