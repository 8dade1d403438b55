#!/bin/sh
# litellm 1.110.2: `vertex_location` is replaced by another place where its list of models says that the model is not served there.
#
# An operator who sets europe-west4, for where data may go, has the prompt of such a model sent to the United States; what is told is a
# warning in the log of the process. What decides is `supported_regions` of the price list that the library downloads when it is
# imported (here the copy that comes with it is used), so that the place can change without an upgrade.
# Seen, asked in europe-west4: deepseek-v3.1-maas goes to locations/us-central1, gemini-2.5-pro to locations/europe-west4.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2
cat >"$folder/ask.py" <<'PYTHON'
import re
from unittest import mock

import litellm
from litellm.llms.custom_httpx.http_handler import HTTPHandler
from litellm.llms.vertex_ai.vertex_llm_base import VertexBase


litellm.suppress_debug_info = True


def place(model):
    """Where a call is sent; nothing leaves this process."""
    client, sent = HTTPHandler(), []

    def post(*args, **kwargs):
        sent.append(kwargs.get("url") or args[0])
        raise ConnectionError("not sent")

    with mock.patch.object(client, "post", post), mock.patch.object(VertexBase, "_ensure_access_token", lambda *a, **k: ("token", "p")):
        try:
            litellm.completion(
                model=f"vertex_ai/{model}", messages=[{"role": "user", "content": "Hello"}], vertex_project="p",
                vertex_location="europe-west4", client=client, num_retries=0,
            )
        except Exception as error:
            if not sent:
                raise
    return re.search(r"/locations/([^/]+)/", sent[0])[1]


seen = {model: place(model) for model in ("deepseek-ai/deepseek-v3.1-maas", "gemini-2.5-pro")}
print(seen)
assert seen == {"deepseek-ai/deepseek-v3.1-maas": "us-central1", "gemini-2.5-pro": "europe-west4"}, seen
PYTHON
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" "$folder/ask.py"
