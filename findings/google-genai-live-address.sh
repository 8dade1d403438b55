#!/bin/sh
# google-genai 3.4.0: `client.aio.live.connect` asks for wss whatever the scheme of its base URL, and writes two slashes behind one
# that ends with a slash (as its own default does).
#
# `http_options.base_url="http://127.0.0.1:8080/"` works for every HTTP call of the client, and is followed to the letter. For Live the
# scheme is replaced (`url_parts._replace(scheme='wss')` in `_websocket_base_url`), so that a plain local server or proxy cannot be
# reached: TLS has to stand before it. The path is `//ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent`: a
# server that looks paths up as they come answers 404. The API's version there is v1, where documentation has v1beta.
# Seen: wss://127.0.0.1:8080//ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check google-genai==3.4.0 websockets==17.4
cat >"$folder/ask.py" <<'PYTHON'
import asyncio

from google import genai
from google.genai import live, types


class Asked(Exception):
    pass


def connect(uri, **_):
    raise Asked(uri)


async def main():
    live.ws_connect = connect
    client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url="http://127.0.0.1:8080/"))
    try:
        async with client.aio.live.connect(model="some-model"):
            pass
    except Asked as asked:
        print(asked)


asyncio.run(main())
PYTHON
asked=$("$folder/venv/bin/python" "$folder/ask.py")
echo "google-genai 3.4.0, base_url http://127.0.0.1:8080/: Live asks for $asked"
[ "$asked" = "wss://127.0.0.1:8080//ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent" ]
