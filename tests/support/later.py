"""Packages that are imported when something of them is asked for.

Every worker collects all tests, and runs some of them: what providers' SDKs have in 4,000 modules is imported, and in a new
environment compiled, by the workers whose tests call them. `import openai` stays as it is in a test's file; what
is taken out of it there (`openai.OpenAI`) must be taken in a function.
"""

from __future__ import annotations

import importlib
import sys
import threading
import types
from typing import Any

PACKAGES = {
    "anthropic": (),
    "google.genai": ("errors", "types"),
    "lumaai": (),
    "openai": (),
    "replicate": (),
    "runwayml": (),
    "schemathesis": (),
}
"""Package -> its modules that tests import for themselves."""

_importing = threading.RLock()


class Later(types.ModuleType):
    """Stands for a module until something of it is asked for, and hands on what is asked of it from then on."""

    def __init__(self, name: str, package: str) -> None:
        super().__init__(name)
        self._package = package
        if PACKAGES.get(name):
            self.__path__: list[str] = []  # it has modules

    def __getattr__(self, name: str) -> Any:
        # pytest and its plugins look for marks of their own at all that a test's file has.
        if name.startswith("_") and name != "__path__":
            raise AttributeError(name)
        if name in PACKAGES.get(self.__name__, ()) and sys.modules[self.__name__] is self:
            return sys.modules[f"{self.__name__}.{name}"]
        return getattr(self._imported(), name)

    def _imported(self) -> types.ModuleType:
        with _importing:
            if sys.modules.get(self._package).__class__ is Later:
                for module in _modules(self._package):
                    del sys.modules[module]
            return importlib.import_module(self.__name__)


def _modules(package: str) -> list[str]:
    return [package, *(f"{package}.{name}" for name in PACKAGES[package])]


def install() -> None:
    """Have them imported later, but for those that are imported by now."""
    for package in PACKAGES:
        if package not in sys.modules:
            sys.modules.update({module: Later(module, package) for module in _modules(package)})
