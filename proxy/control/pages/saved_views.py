"""`/views`: pages that somebody saved under a name. All state of a page is in its address, so that a view is a link."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import HTTPException

from proxy.control.pages.address import read
from proxy.control.pages.clock import in_zone
from proxy.control.pages.page import Action, Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table
from proxy.ledger.notes.views import SavedView, forget_view, save_view, views
from proxy.times import BadQuestion

_MOST_FIELDS = 100


def show(request: PageRequest) -> PageContent:
    """By name. A view's days are those of the zone that it was saved in, UTC too."""
    saved = views(request.state.engine)
    columns = [
        Column("name", "View", "name"),
        Column("address", "Address", "mono"),
        Column("saved", "Saved", "moment"),
    ]
    rows = [
        Row(
            {"name": view.name, "address": view.address, "saved": view.saved_at}, {"name": in_zone(view.address, "UTC")}
        )
        for view in saved
    ]
    empty = "None yet. `Save this view`, at the end of a page, keeps what it shows under a name."
    return PageContent(
        "views", "Saved views", {"saved": saved}, (Table("views", "Saved views", columns, rows, empty=empty),)
    )


def _save(request: PageRequest) -> str:
    """An address of ours, as the page itself would write it. Raises `BadQuestion`."""
    path, _, query = request.form.get("address", "").partition("?")
    if not path.startswith("/") or path.startswith(("//", "/\\")) or not path.isprintable():
        raise BadQuestion("address: must be one of these pages")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadQuestion(f"address: has more than {_MOST_FIELDS} fields") from None
    address = read(path, pairs).without("csv", "next")
    save_view(request.state.engine, SavedView(request.form.get("name", ""), str(address), request.now_us))
    return "/views"


def _forget(request: PageRequest) -> str:
    if not forget_view(request.state.engine, request.form.get("name", "")):
        raise HTTPException(404, "There is no view of this name.")
    return "/views"


PAGE = Page("/views", "Views", show, ranged=False, shortcut="v")
ACTIONS = (Action("/views/save", _save), Action("/views/forget", _forget))
