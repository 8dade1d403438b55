"""The pages' files: open to everyone who reaches the port, because they say nothing; all else needs a signed-in viewer."""

from __future__ import annotations

import gzip

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from proxy.control.pages.view import FOLDER

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def add_files(router: APIRouter) -> None:
    """`/page/NAME`; compressed, which is done once, for whoever can read that."""
    files = {path.name: path.read_bytes() for path in (FOLDER / "static").iterdir() if path.suffix in _TYPES}
    compressed = {name: gzip.compress(content, mtime=0) for name, content in files.items()}

    @router.get("/page/{name}")
    async def file(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        media_type = _TYPES[name[name.rindex(".") :]]
        accepted = {word.strip() for word in request.headers.get("accept-encoding", "").split(",")}
        if "gzip" not in accepted:
            return Response(files[name], media_type=media_type, headers={"vary": "accept-encoding"})
        headers = {"vary": "accept-encoding", "content-encoding": "gzip"}
        return Response(compressed[name], media_type=media_type, headers=headers)
