"""What templates ask of an address is there: no search through the code for who calls a method looks into them."""

from __future__ import annotations

import re

from proxy.control.pages.address import Address
from tests.house.source import ROOT

TEMPLATES = sorted((ROOT / "proxy" / "control" / "pages" / "templates").glob("*.html"))


def test_what_templates_ask_of_an_address_is_there() -> None:
    asked = {
        (template.name, name)
        for template in TEMPLATES
        for name in re.findall(r"\baddress\.(\w+)", template.read_text())
    }
    assert len(asked) > 10
    assert [(template, name) for template, name in sorted(asked) if not hasattr(Address, name)] == []
