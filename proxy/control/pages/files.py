"""The pages' files: open to everyone who reaches the port, because they say nothing; all else needs a signed-in viewer."""

from __future__ import annotations

import gzip

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from proxy.control.pages.static_files import DIGESTS, FILES, MEDIA_TYPES

_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


def add_files(router: APIRouter) -> None:
    """`/page/NAME`; compressed, which is done once, for whoever can read that. Under the address that pages name (`?v=` and its
    digest) a browser keeps it for ever; under another one it asks each time whether it is still the same."""
    compressed = {name: gzip.compress(content, mtime=0) for name, content in FILES.items()}

    @router.get("/page/{name}")
    async def file(request: Request, name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "There is no such file.")
        is_current = request.query_params.get("v") == DIGESTS[name]
        tag = f'W/"{DIGESTS[name]}"'  # weak: the same for both encodings
        headers = {"vary": "accept-encoding", "etag": tag, "cache-control": _FOR_EVER if is_current else _ASK_AGAIN}
        if tag in _words(request, "if-none-match"):
            return Response(status_code=304, headers=headers)
        media_type = MEDIA_TYPES[name[name.rindex(".") :]]
        if "gzip" not in _words(request, "accept-encoding"):
            return Response(FILES[name], media_type=media_type, headers=headers)
        return Response(compressed[name], media_type=media_type, headers=headers | {"content-encoding": "gzip"})


def _words(request: Request, header: str) -> set[str]:
    return {word.strip() for word in request.headers.get(header, "").split(",")}
