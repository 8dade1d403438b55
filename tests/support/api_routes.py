"""The routes of the API that the contract promises, each as (method, path)."""

from __future__ import annotations

CONTRACT = {
    ("get", "/healthz"), ("get", "/readyz"), ("get", "/metrics"), ("get", "/api/spend"), ("get", "/api/reports/margin"), ("get", "/api/reports/explain"), ("get", "/api/reports/month"),
    ("get", "/api/reports/reprice"), ("get", "/api/reports/what-if"), ("get", "/api/reports/focus"), ("get", "/api/reports/reconcile"),
    ("get", "/api/requests"), ("get", "/api/capacity"), ("get", "/api/capacity/{name}"),
    ("get", "/api/requests/{entry_id}"), ("get", "/api/sessions"), ("get", "/api/sessions/{session_id}"),
    ("get", "/api/budgets"), ("get", "/api/budgets/{name}"), ("post", "/api/budgets/{name}/raises"), ("get", "/api/keys"),
    ("get", "/api/budgets/{name}/raises"), ("patch", "/api/budgets/{name}/raises/{raise_id}"),
    ("delete", "/api/budgets/{name}/raises/{raise_id}"), ("post", "/api/keys"), ("get", "/api/raises"), ("get", "/api/exports"), ("post", "/api/exports/{name}/retry"),
    ("get", "/api/prices"), ("get", "/api/prices/holes"), ("get", "/api/prices/learned"), ("delete", "/api/prices/learned/{model}"),
    ("post", "/api/verify"), ("get", "/api/verify"), ("post", "/api/keys/{key_id}/rotate"), ("delete", "/api/keys/{key_id}"),
}  # fmt: skip
