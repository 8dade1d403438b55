"""Which tests one worker of pytest-xdist runs together: a file's, so that what its tests stand on is started once.

pytest-xdist's own way (`--dist loadgroup` and its marker) does nothing with pytest 9.2, and says nothing either.
"""

from __future__ import annotations

import functools
from typing import Any

from xdist.scheduler import LoadScopeScheduling

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


class ByFile(LoadScopeScheduling):  # type: ignore[misc,unused-ignore]  # it is not typed
    """Scopes are handed out in the order of collection: the long ones are not the last.

    pytest-xdist goes through the whole collection for each test that it hands out, and through all that is done for each that ends:
    seconds of CPU, at 10,000 tests. So a test's place is looked up, and a scope that is done is forgotten.
    """

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {nodeid: place for place, nodeid in enumerate(self.collection)}

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        scope, unit = self.workqueue.popitem(last=False)
        self.assigned_work[node][scope] = unit
        node.send_runtest_some([self._places[nodeid] for nodeid, done in unit.items() if not done])

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        nodeid, work = self.collection[item_index], self.assigned_work[node]
        scope = scope_of(nodeid)
        work[scope][nodeid] = True
        if all(work[scope].values()):
            del work[scope]
        self._reschedule(node)
