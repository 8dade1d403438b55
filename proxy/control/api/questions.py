"""What every question of the API may say: a span of time, in a few words or exactly."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from proxy.times import moment, now_s

MAX_LIMIT = 1000


class Span(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: str | None = None
    until: str | None = None

    def moments(self) -> tuple[int | None, int | None]:
        now = now_s()
        return (
            moment(self.since, now) if self.since else None,
            moment(self.until, now) if self.until else None,
        )
