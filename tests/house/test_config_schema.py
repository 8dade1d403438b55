"""The JSON Schema that editors use is the configuration's own. To make it anew: `python -m tests.house.test_config_schema`."""

from __future__ import annotations

import json
from pathlib import Path

from proxy.config.model import Config

FILE = Path(__file__).parents[2] / "proxy" / "config" / "config.schema.json"


def made() -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def test_the_shipped_schema_is_the_configurations_own() -> None:
    assert FILE.read_text(encoding="utf-8") == made()


if __name__ == "__main__":
    FILE.write_text(made(), encoding="utf-8")
