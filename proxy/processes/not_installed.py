"""The message for a package that is not installed, mostly after an upgrade that needs one more: it says what to do."""

from __future__ import annotations

from importlib.util import find_spec

_OURS = ("proxy", "pricing", "taximeter")


def import_error_in(error: BaseException) -> ImportError | None:
    """The import that failed, be it one error of a group; None where none did."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(import_error_in, error.exceptions)), None)
    return error if isinstance(error, ImportError) else None


def what_to_install(error: ImportError, extra: str = "") -> str | None:
    """One sentence: which package, and what to run. None where it is a module of our own, of which a traceback says more.

    extra: the one of pyproject.toml that the package belongs to; the Makefile has a verb of its name.
    """
    package = (error.name or "").partition(".")[0]
    if package in _OURS:
        return None
    wrong = (
        f"the package {package} is not installed"
        if isinstance(error, ModuleNotFoundError) and package
        else f"a package is not the one that is needed here ({error})"
    )
    whole = f"'taximeter[{extra}]'" if extra else "taximeter"
    return (
        f"{wrong}: run `make {extra or 'install'}` in a clone, else pip install --upgrade {whole}, and start it again"
    )


def require(*packages: str) -> None:
    """Raises ImportError at once where what is imported later is not installed: not when somebody first needs it."""
    for name in packages:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
