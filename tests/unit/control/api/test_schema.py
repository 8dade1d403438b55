"""The published schema: every route of the contract is in it, described, with what it may answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api_routes import CONTRACT
from tests.unit.control.conftest import Control


def operations(control: Control) -> dict[tuple[str, str], dict[str, Any]]:
    paths = control.get("/api/openapi.json")["paths"]
    return {(method, path): operation for path, of in paths.items() for method, operation in of.items()}


@pytest.mark.long
def test_the_contracts_routes_are_published(control: Control) -> None:
    assert set(operations(control)) >= CONTRACT


def test_every_operation_says_what_it_does_and_answers(control: Control) -> None:
    """A success with a schema of its own; errors as they are, which is never FastAPI's 422."""
    for (method, path), operation in operations(control).items():
        assert operation["description"], path
        assert "422" not in operation["responses"], path
        success = next(code for code in operation["responses"] if code.startswith("2"))
        content = operation["responses"][success].get("content", {})
        assert content or success == "204", path
        assert content.get("application/json", {"schema": "text"}).get("schema"), (method, path)
        if path.startswith("/api/"):
            assert {"400", "401", "403", "503"} <= set(operation["responses"]), path
            assert operation["security"], path


def test_a_secret_is_in_one_answer_alone(control: Control) -> None:
    schemas = control.get("/api/openapi.json")["components"]["schemas"]

    assert [name for name, schema in schemas.items() if "key_id" in schema.get("properties", {})] == []
    assert "key" not in schemas["KeyInUse"]["properties"]
    assert "key" in schemas["NewlyMadeKey"]["properties"]
