"""What is said of a package that is missing: its name and what to run; nothing of our own modules."""

from __future__ import annotations

import importlib

import pytest

from proxy.processes.not_installed import import_error_in, what_to_install


def _error_of(module: str, name: str = "") -> ImportError:
    try:
        getattr(importlib.import_module(module), name) if not name else exec(f"from {module} import {name}")
    except ImportError as error:
        return error
    raise AssertionError(f"{module} can be imported")


@pytest.mark.parametrize("module", ["brand_new_package", "brand_new_package.below.it"])
def test_a_package_that_is_not_there_is_named_with_what_brings_it(module: str) -> None:
    assert what_to_install(_error_of(module)) == (
        "the package brand_new_package is not installed: run `make install` in a clone, "
        "else pip install --upgrade taximeter, and start it again"
    )


def test_an_older_package_is_named_by_what_it_lacks() -> None:
    said = what_to_install(_error_of("yaml", "brand_new_name"))
    assert said is not None
    assert "cannot import name 'brand_new_name' from 'yaml'" in said
    assert "run `make install`" in said


def test_what_belongs_to_an_extra_is_brought_by_its_verb() -> None:
    said = what_to_install(_error_of("brand_new_package"), "translate")
    assert said is not None
    assert "run `make translate` in a clone, else pip install --upgrade 'taximeter[translate]'" in said


def test_modules_of_our_own_are_no_packages() -> None:
    assert what_to_install(_error_of("proxy.brand_new_module")) is None
    assert what_to_install(_error_of("proxy.times", "brand_new_name")) is None


def test_an_import_is_found_in_a_group_of_errors() -> None:
    error = _error_of("brand_new_package")
    assert import_error_in(ExceptionGroup("tasks", [ValueError(), ExceptionGroup("below", [error])])) is error
    assert import_error_in(error) is error
    assert import_error_in(ExceptionGroup("tasks", [ValueError()])) is None
