"""`/`, the overview: what this month comes to, what moved, which budgets are at risk; and what happens now, live."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from proxy.control.api.standings import budgets_as_they_stand
from proxy.control.pages import view, welcome
from proxy.control.pages.address import Address
from proxy.control.pages.calls import table_of
from proxy.control.pages.explain import explained_of, main_part
from proxy.control.pages.live import LiveQuery
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import nano
from proxy.control.state import ControlState
from proxy.money import NANO
from proxy.reports import calls as queries
from proxy.reports import overview
from proxy.reports.calendar import spend_by, total_of
from proxy.reports.explain.answer import ExplainQuestion, periods
from proxy.reports.known_cost import known_cost
from proxy.times import DAY_US, HOUR_US, MINUTE_US, now_s, now_us, rfc3339

_CALLS_SHOWN = 25
_ROWS_SHOWN = 8
_RATE_MINUTES = 5
_MOVERS = 5
_ALERTS_SHOWN = 5
_WEEK_US = 7 * DAY_US


def show(request: PageRequest) -> PageContent:
    """The overview; for the holder of a virtual key his own calls, for an empty ledger what to do first."""
    if request.viewer.role == "key":
        return _own(request)
    latest = queries.requests(request.state.engine, limit=1, before=None, filters={}, since=None, until=None)
    if not latest:
        return welcome.show(request)
    return PageContent("overview", "Overview", {"month": _month(request), "movers": _moved(request), "live": True})


def _own(request: PageRequest) -> PageContent:
    engine, address = request.state.engine, request.address
    tiles = []
    for title, since in {"Today": _local_midnight(request), "This month": _local_midnight(request, day=1)}.items():
        total = total_of(spend_by(engine, [], since, None, only=address.only))
        calls = str(address.at("/calls")._replace(since=rfc3339(since) or ""))
        tiles.append(
            {
                "title": title,
                "big": _big(known_cost(total.cost_nanousd, total.requests, total.unpriced_requests)),
                "small": f"{view.count(total.requests)} calls",
                "small_link": calls,
                "link": calls,
            }
        )
    latest = queries.requests(
        engine, limit=_CALLS_SHOWN, before=None, filters=dict(address.filters), since=None, until=None
    )
    return PageContent("own", "Your key", {"tiles": tiles}, (table_of(latest, address.at("/calls")),))


def _local_midnight(request: PageRequest, day: int | None = None) -> int:
    """Of today in the page's zone, or of another day of the month."""
    now = datetime.fromtimestamp(request.now_us / 1e6, request.address.zone)
    return (
        int(now.replace(day=day or now.day, hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()) * 1_000_000
    )


def _month(request: PageRequest) -> dict[str, Any]:
    """Spent since the month began, and where it ends if the rest goes on as the last seven days did."""
    now, start = request.now_us, _local_midnight(request, day=1)
    first = datetime.fromtimestamp(start / 1e6, request.address.zone)
    end = int((first + timedelta(days=32)).replace(day=1).timestamp()) * 1_000_000
    spent = total_of(spend_by(request.state.engine, [], start, None)).cost_nanousd
    week = total_of(spend_by(request.state.engine, [], now - _WEEK_US, None)).cost_nanousd
    forecast = spent + week * (end - now) // _WEEK_US
    _, against = periods(ExplainQuestion(zone=request.address.zone), now)
    change = view.change_of(spent, total_of(spend_by(request.state.engine, [], *against)).cost_nanousd)
    explained = Address("/explain", f"{first:%Y-%m-%d}", tz=request.address.tz)
    return {
        "name": f"{first:%B %Y}",
        "spent": _big(spent),
        "change": "" if change is None or change == inf else view.change(change),
        "explain": str(explained.having(against="..".join(rfc3339(at) or "" for at in against))),
        "forecast": _big(forecast),
        "link": str(Address("/spend", f"{first:%Y-%m-%d}", tz=request.address.tz, by=("model",))),
        "week": str(Address("/spend", "7d", tz=request.address.tz, by=("model",)).having(step="day")),
    }


def _moved(request: PageRequest) -> list[dict[str, Any]]:
    """What moved the bill of the last seven days against the seven before, each with the reason that weighs most."""
    now = request.now_us
    question = ExplainQuestion(("model",), now - _WEEK_US, now, None, request.address.zone)
    movers = explained_of(request, question).movers[:_MOVERS]
    changes = [nano(mover.difference_usd) or 0 for mover in movers]
    decimals = view.decimals_for(changes)
    moved = []
    for mover, change in zip(movers, changes, strict=True):
        name = (mover.__pydantic_extra__ or {}).get("model")
        moved.append(
            {
                "name": name or "no model",
                "change": view.difference(change, decimals),
                "up": change > 0,
                "reason": main_part(mover.parts.model_dump()),
                "link": f"/spend?by=key&since=7d&filter.model={view.part(name or '')}&compare=1",
            }
        )
    return moved


def live_queries(state: ControlState, zone: ZoneInfo) -> list[list[LiveQuery]]:
    """What the page shows: a lane of quick queries, and one of what takes the longer the more calls a day has.

    zone: whose today it is.
    """

    def today() -> _Today:
        return _Today(now_us(), zone)

    return [
        [
            LiveQuery("latest calls", lambda: _latest(state)),
            LiveQuery("last hour", lambda: _hour(state, now_us())),
            LiveQuery("budgets", lambda: _planes(state)),
        ],
        [
            LiveQuery("day", lambda: _day(state, today())),
            LiveQuery("models", lambda: {"models": _ranking(state, "model", "By model", "no model", today())}),
            LiveQuery("teams", lambda: {"teams": _ranking(state, "team", "By team", "no team", today())}),
            LiveQuery("sessions", lambda: {"sessions": _sessions(state, today())}),
            LiveQuery("how sure it is", lambda: {"trust": _trust(state, now_us())}),
        ],
    ]


def _latest(state: ControlState) -> dict[str, Any]:
    items = queries.requests(
        state.engine, limit=_CALLS_SHOWN, before=None, filters={}, since=None, until=None
    )  # by primary key, whatever the ledger's length
    decimals = view.decimals_for((item["cost_nanousd"] for item in items), least=4)
    return {"calls": view.render("calls", {"calls": [view.call(item, decimals) for item in items]})}


def _hour(state: ControlState, now_us: int) -> dict[str, Any]:
    minutes = overview.spent_by_time(state.engine, now_us, MINUTE_US, 60)
    costs = [spent.cost_nanousd for spent in minutes.values()]
    calls, cost = sum(spent.calls for spent in minutes.values()), sum(costs)
    rate = sum(costs[-_RATE_MINUTES:]) * 60 // _RATE_MINUTES
    values = {"rate": _big(rate), "cost": _big(cost), "calls": calls, "each": _big(cost // calls) if calls else ""}
    about = f"{_big(cost)} in the last 60 minutes, by minute"
    return {"hour": view.render("hour", values), "minutes": _series(minutes, MINUTE_US, about)}


class _Today(NamedTuple):
    """The day that is running in a zone."""

    now_us: int
    zone: ZoneInfo

    @property
    def since_us(self) -> int:
        return _midnight(self.now_us, self.zone)

    def at(self, path: str, by: tuple[str, ...] = ()) -> Address:
        """Another page, of today."""
        day = datetime.fromtimestamp(self.now_us / 1e6, self.zone)
        return Address(path, f"{day:%Y-%m-%d}", tz=self.zone.key, by=by)


def _day(state: ControlState, today: _Today) -> dict[str, Any]:
    hours = overview.spent_by_time(state.engine, today.now_us, HOUR_US, 24)
    total = total_of(spend_by(state.engine, [], today.since_us, None))
    values = {
        "cost": _big(known_cost(total.cost_nanousd, total.requests, total.unpriced_requests)),
        "calls": total.requests,
        "unpriced": total.unpriced_requests,
        "zone": today.zone.key,
        "link": str(today.at("/spend", by=("model",))),
        "calls_link": str(today.at("/calls")),
        "unpriced_link": str(today.at("/calls").filtered("priced", "no")),
    }
    about = f"{_big(sum(spent.cost_nanousd for spent in hours.values()))} in the last 24 hours, by hour"
    return {"day": view.render("day", values), "hours": _series(hours, HOUR_US, about)}


def _midnight(now_us: int, zone: ZoneInfo) -> int:
    midnight = datetime.fromtimestamp(now_us / 1e6, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(midnight.timestamp()) * 1_000_000


def _ranking(state: ControlState, by: str, title: str, nobody: str, today: _Today) -> str:
    rows = [(name, *spent) for name, spent in overview.dearest(state.engine, by, today.since_us, _ROWS_SHOWN)]
    return view.render("ranking", view.ranking(title, rows, nobody, today.at("/spend", by=("key",)), by))


def _sessions(state: ControlState, today: _Today) -> str:
    sessions = overview.dearest_sessions(state.engine, today.since_us, _ROWS_SHOWN)
    decimals = view.decimals_for(session.cost_nanousd for session in sessions)
    rows = [
        session._asdict()
        | {"cost": view.usd(known_cost(session.cost_nanousd, session.calls, session.unpriced), decimals)}
        for session in sessions
    ]
    return view.render("sessions", {"sessions": rows})


def _planes(state: ControlState) -> dict[str, Any]:
    answers = state.wait(state.link.ask("gauges"))
    values = {
        "calls": sum((answer or {}).get("inflight_requests", 0) for answer in answers.values()),
        "lag_s": state.recorder.lag_s,
        "down": state.recorder.database_down_since is not None,
    }
    rows, counts = state.fullest(view.GROUPS_SHOWN)
    items = budgets_as_they_stand(state.budgets(), rows, now_s())
    return {"flight": view.render("flight", values), "budgets": view.render("budgets", view.budgets(items, counts))}


def _trust(state: ControlState, now_us: int) -> str:
    """How sure the last day's costs are, and what operators were told in the last week."""
    rows = overview.cost_certainty(state.engine, now_us - DAY_US)
    calls = sum(row.calls for row in rows)
    said = sum(row.calls for row in rows if row.status == "settled" and row.source == "provider")
    unconfirmed = sum(row.calls for row in rows if row.status == "unconfirmed")
    shares = {
        "as providers said": (said, "/calls?since=24h&filter.status=settled&filter.usage_source=provider"),
        "counted here": (calls - said - unconfirmed, "/health#table-sources"),
        "unconfirmed, at their ceilings": (unconfirmed, "/calls?since=24h&filter.status=unconfirmed"),
    }
    alerts = overview.latest_alerts(state.engine, now_us - _WEEK_US, _ALERTS_SHOWN + 1)
    values = {
        "calls": calls,
        "shares": [(name, view.share(count, calls), count, link) for name, (count, link) in shares.items()],
        "unpriced": sum(row.unpriced for row in rows),
        "alerts": [
            {
                "at": datetime.fromtimestamp(row["created_at"] / 1e6, UTC).isoformat(timespec="seconds"),
                "text": row["text"],
                "link": view.alert_link(row) or "/health",
            }
            for row in alerts[:_ALERTS_SHOWN]
        ],
        "more": len(alerts) > _ALERTS_SHOWN,
    }
    return view.render("trust", values)


def _series(spent: Mapping[int, overview.Spent], step_us: int, about: str) -> dict[str, Any]:
    """For the chart: floats will do where nobody adds up."""
    return {
        "step_s": step_us // 1_000_000,
        "at": [at // 1_000_000 for at in spent],
        "usd": [stretch.cost_nanousd / NANO for stretch in spent.values()],
        "about": about,
    }


def _big(nanousd: int | None) -> str:
    return view.usd(nanousd, view.decimals_for([nanousd]))


PAGE = Page("/", "Overview", show, ranged=False, for_keys=True, shortcut="o")
