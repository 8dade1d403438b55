"""LiteLLM's configuration and database rows as one of ours. Pure: values in, a configuration and what was not taken out.

Its YAML as the proxy of litellm 1.110 reads it (`model_list`, `litellm_settings`, `router_settings`, `general_settings`); its
rows as that wheel's schema.prisma has them. A virtual key is stored as the SHA-256 of its secret, which is our `key_sha256`:
clients keep their keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from proxy.config.from_litellm.models import add_models, add_settings
from proxy.config.from_litellm.owners import WHOLE_PROXY, add_owners
from proxy.config.from_litellm.values import Conversion, Rows

TABLES = {
    "budgets": "LiteLLM_BudgetTable",
    "organizations": "LiteLLM_OrganizationTable",
    "projects": "LiteLLM_ProjectTable",
    "teams": "LiteLLM_TeamTable",
    "users": "LiteLLM_UserTable",
    "customers": "LiteLLM_EndUserTable",
    "keys": "LiteLLM_VerificationToken",
    "old_keys": "LiteLLM_DeprecatedVerificationToken",
    "team_members": "LiteLLM_TeamMembership",
    "organization_members": "LiteLLM_OrganizationMembership",
    "tags": "LiteLLM_TagTable",
    "access_groups": "LiteLLM_ModelAccessGroupBudgetTable",
    "windows": "LiteLLM_BudgetWindowSpend",
    "models": "LiteLLM_ProxyModelTable",
}
"""What is read of its database, whole."""
SPEND_LOG = "LiteLLM_SpendLogs"


class Converted(NamedTuple):
    """config: as YAML. left: what has no counterpart, a line each."""

    config: dict[str, Any]
    left: Sequence[str]


def convert(config: Mapping[str, Any], tables: Mapping[str, Rows], at: datetime) -> Converted:
    """config: LiteLLM's YAML, opened. tables: by the names of `TABLES`, as they were at `at`."""
    made = Conversion(at)
    add_models(made, config)
    everybody = next((row for row in tables.get("users", ()) if row.get("user_id") == WHOLE_PROXY), {})
    add_settings(made, config, {name: everybody.get(name) for name in ("spend", "budget_reset_at")})
    add_owners(made, tables)
    made.left += [
        f"model {row.get('model_name')}: is in the database, its parameters encrypted; write it into model_list"
        for row in tables.get("models", ())
    ]
    return Converted({name: value for name, value in made.config.items() if value}, made.left)
