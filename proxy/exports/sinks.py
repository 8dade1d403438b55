"""Which sink each type of row is. Each is imported when it is there: to speak HTTP and protobuf takes megabytes."""

from __future__ import annotations

from sqlalchemy.engine import Engine

from proxy.config.exports import Export
from proxy.exports.sink import Sink


def make_sink(row: Export, engine: Engine) -> Sink:
    """The sink of a row that was checked."""
    if row.type == "file":
        from proxy.exports.files import Files  # noqa: PLC0415 - see above

        return Files(row, engine)
    from proxy.exports.cloudevents import CloudEvents  # noqa: PLC0415 - see above

    return CloudEvents(row)
