"""Which tests one worker runs together: a file's, so that what its tests stand on is started once."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

# Files that share what only one can have at a time (the default ports, and all cores for the local model), or what is dear:
# LiteLLM is compiled by the first that imports it, and by all who do so at that time. Or what is of a folder: one Chromium and one
# gateway for all that looks at pages.
TOGETHER = {
    "tests/e2e/test_translation_unchanged.py": "translation",
    "tests/e2e/translation/test_translation.py": "translation",
    "tests/e2e/translation/test_translation_semantics.py": "translation",
    "tests/e2e/pages/test_every_page.py": "pages",
    "tests/e2e/pages/test_overview.py": "pages",
    "tests/e2e/pages/test_use.py": "pages",
    "tests/e2e/test_make_run.py": "local-model",
    "tests/e2e/test_local_model.py": "local-model",
}
# Each of these files' tests starts servers of its own, or works for long: any worker takes the next.
APART = frozenset({
    "tests/e2e/test_sessions_live.py",
    "tests/observability/test_rules.py",
    "tests/torture/test_fuzz_sse.py",
    "tests/torture/test_networks.py",
    "tests/torture/test_power_loss.py",
    "tests/torture/test_seeded.py",
    "tests/torture/test_torture.py",
})  # fmt: skip


def scope_of(nodeid: str) -> str:
    """Tests of one scope are run by one worker, in their order."""
    file = nodeid.partition("::")[0]
    return nodeid if file in APART else TOGETHER.get(file, file)


def scopes_of(items: Iterable[pytest.Item]) -> list[list[pytest.Item]]:
    """In the order of collection."""
    scopes: dict[str, list[pytest.Item]] = {}
    for item in items:
        scopes.setdefault(scope_of(item.nodeid), []).append(item)
    return list(scopes.values())
