"""What a page is: a function from a request to what stands on it. To add one: a module, a template, a row in `site.PAGES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from proxy.control.pages.address import Address
from proxy.control.pages.authentication import Viewer
from proxy.control.pages.tables import Table
from proxy.control.state import ControlState


class PageRequest(NamedTuple):
    """What a page is asked for.

    path_params: the variable parts of the path. form: the fields of a form that was sent, but for its token.
    """

    state: ControlState
    viewer: Viewer
    address: Address
    now_us: int
    path_params: Mapping[str, str]
    form: Mapping[str, str] = {}

    def moments(self) -> tuple[int | None, int | None]:
        return self.address.moments(self.now_us / 1e6)


class PageContent(NamedTuple):
    """What stands on a page.

    template: of `templates/`. tables: by their names, for the template and for `?csv=NAME`. crumbs: (word, link)s. api: where
    the API says the same, as `api_address` writes it.
    """

    template: str
    title: str
    values: Mapping[str, Any] = {}
    tables: Sequence[Table] = ()
    crumbs: Sequence[tuple[str, str]] = ()
    api: str = ""


class Page(NamedTuple):
    """A page and the function that shows it.

    path: as FastAPI has it. menu_title: in the navigation, "" for a page that others lead to. shortcut: its key after `g`.
    since: the default; "" is all time. ranged: it has a range of time. whole: what it shows without one. for_keys: the holder
    of a virtual key sees it, of his own calls.
    """

    path: str
    menu_title: str
    show: Callable[[PageRequest], PageContent]
    since: str = ""
    ranged: bool = True
    for_keys: bool = False
    shortcut: str = ""
    whole: str = "all"


class Action(NamedTuple):
    """A form's way: what it does, and where its sender is led then (or what is shown, where that is shown only once)."""

    path: str
    do: Callable[[PageRequest], str | PageContent]
