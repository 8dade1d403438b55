"""Providers' and clouds' own exports, a file each: by which columns one is told, and how its rows become lines (`Stated`).

Another one is a file with its `FORMATS` and a line below. Its columns have a source, which its docstring says.
"""

from __future__ import annotations

from proxy.reports.reconcile.bills import anthropic, aws, azure, focus, google, openai, openrouter

FORMATS = (
    *focus.FORMATS, *openai.FORMATS, *anthropic.FORMATS, *aws.FORMATS, *google.FORMATS, *azure.FORMATS, *openrouter.FORMATS,
    openrouter.DAYS,
)  # fmt: skip
"""The first whose columns a file has is what it is."""
BILLED = frozenset(provider for form in FORMATS for provider in form.of)
"""Providers that have bills of their own."""
