"""The system's Chromium, driven by playwright."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.support.programs import find_program

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, until the end of the block."""
    from playwright.sync_api import expect as expected  # noqa: PLC0415 - for the worker that runs its tests
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - as above

    expected.set_options(timeout=30_000)  # a busy machine takes longer than its 5 s
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(find_program("chromium")), args=[*_QUIET])
        try:
            yield browser
        finally:
            browser.close()


def expect(seen: Any) -> Any:
    """Playwright's own, of a page or of a part of one."""
    from playwright.sync_api import expect as expected  # noqa: PLC0415 - as above

    return expected(seen)
