"""Messages of AWS's event streams, as a fake sends them.

docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html. Standard library only: it shares no code with the product.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any


def frame(event: str, value: Any, kind: str = "event") -> bytes:
    """kind: `event` or `exception`. value: bytes are sent as they are, anything else as JSON."""
    heads = b""
    for name, text in ((f":{kind}-type", event), (":content-type", "application/json"), (":message-type", kind)):
        heads += struct.pack("B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(text)) + text.encode()
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    prelude = struct.pack(">II", 16 + len(heads) + len(payload), len(heads))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + heads + payload
    return whole + struct.pack(">I", zlib.crc32(whole))
