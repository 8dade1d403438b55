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
    if row.type == "cloudevents":
        from proxy.exports.cloudevents import CloudEvents  # noqa: PLC0415 - see above

        return CloudEvents(row)
    if row.type == "stripe":
        from proxy.exports.stripe import Stripe  # noqa: PLC0415 - see above

        return Stripe(row)
    if row.type == "lago":
        from proxy.exports.lago import Lago  # noqa: PLC0415 - see above

        return Lago(row)
    from proxy.exports.otlp import Otlp  # noqa: PLC0415 - see above

    return Otlp(row)
