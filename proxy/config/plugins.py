"""pydantic without plugins. For its first model it would look through all installed packages for some, and import what
reads their metadata, a parser of e-mails among it: 20 ms of each start, and a megabyte and a half. Said before any
model is made.
"""

from __future__ import annotations

import sys
from types import ModuleType

_LOADER = "pydantic.plugin._loader"


def use_none() -> None:
    """Stand in for what looks for them. Where pydantic does not look there any more, it is as if nothing were done."""
    if _LOADER not in sys.modules:
        loader = ModuleType(_LOADER)
        loader.__dict__["get_plugins"] = tuple
        sys.modules[_LOADER] = loader
