"""The running control plane against the schema that it publishes: questions made up from the schema, answers held to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.support.api_routes import CONTRACT
from tests.support.gateway import ADMIN_KEY
from tests.torture.harness import CALLERS, Rig

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
EXAMPLES = max(1, int(float(os.environ.get("EXAMPLES", "5"))))
"""Questions for each operation; they are always the same ones."""

BUDGETS: list[dict[str, Any]] = [
    {"name": "usd", "limit_usd": 5, "window": "day"},
    {"name": "tokens", "per": ["team"], "limit_tokens": 5000, "window": "total"},
    {"name": "requests", "limit_requests": 100, "window": "hour"},
]
# What only the server can know (`since=soon` is a text, too) it may answer with 400; and in an address whatever is wrong for
# a schema (`team` as an object) is sent as a text, and may be right.
LEFT_OUT = {
    "get": ["positive_data_acceptance", "negative_data_rejection"],
    "delete": ["positive_data_acceptance", "negative_data_rejection"],
    "post": ["positive_data_acceptance"],
    "patch": ["positive_data_acceptance", "negative_data_rejection"],
}


@pytest.fixture(scope="module")
def admin_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Rig(tmp_path_factory.mktemp("schema"), budgets=BUDGETS) as rig:
        chat = {"model": "tm-plain", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
        headers = {"authorization": f"Bearer {CALLERS[0].key}", "x-taximeter-session-id": "s"}
        for _ in range(3):
            httpx.post(f"{rig.gateway.url}/v1/chat/completions", headers=headers, json=chat).raise_for_status()
        rig.quiet()
        yield rig.gateway.admin_url


@pytest.fixture(scope="module")
def api(admin_url: str) -> Any:
    return schemathesis.openapi.from_dict(httpx.get(f"{admin_url}/api/openapi.json", headers=ADMIN).json())


ASKED_NOTHING = {
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/api/budgets"),
    ("get", "/api/keys"),
}
CASES = [(*operation, "positive") for operation in sorted(CONTRACT)]
CASES += [(*operation, "negative") for operation in sorted(CONTRACT - ASKED_NOTHING)]


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_the_server_answers_as_its_schema_says(admin_url: str, api: Any, method: str, path: str, mode: str) -> None:
    """Questions that the schema allows, and some that it does not. Each is asked without the key, too."""
    from schemathesis.specs.openapi import checks  # noqa: PLC0415 - for the worker that runs this, as `support/later.py` has it

    asked: list[int] = []
    left_out = [getattr(checks, name) for name in LEFT_OUT[method]]

    @given(case=api[path][method.upper()].as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def check(case: Any) -> None:
        asked.append(case.call_and_validate(admin_url, headers=ADMIN, excluded_checks=left_out, timeout=10).status_code)

    check()
    assert asked


@pytest.mark.parametrize(
    "path",
    ["spend?by=team,model,day", "requests", "requests/{entry}", "sessions", "sessions/s", "budgets", "budgets/usd", "budgets/tokens", "budgets/requests", "keys"],
)  # fmt: skip
def test_answers_with_something_in_them_are_as_the_schema_says(admin_url: str, api: Any, path: str) -> None:
    """Made-up ids are found nowhere; these are."""
    (entry, *_) = httpx.get(f"{admin_url}/api/requests", headers=ADMIN).json()["items"]
    address = f"/api/{path.format(entry=entry['id'])}"
    template = {"requests/{entry}": "/api/requests/{entry_id}", "sessions/s": "/api/sessions/{session_id}"}.get(
        path, "/api/budgets/{name}" if path.startswith("budgets/") else address.partition("?")[0]
    )

    answer = httpx.get(admin_url + address, headers=ADMIN)

    assert answer.status_code == 200
    api[template]["GET"].validate_response(answer)


def test_an_answer_that_is_not_as_the_schema_says_is_seen(admin_url: str, api: Any) -> None:
    """The check itself."""
    from schemathesis.core.failures import FailureGroup  # noqa: PLC0415 - as above

    keys = httpx.get(f"{admin_url}/api/keys", headers=ADMIN)

    with pytest.raises((AssertionError, FailureGroup)):
        api["/api/spend"]["GET"].validate_response(keys)
