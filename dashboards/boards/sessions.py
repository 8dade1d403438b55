"""Agent sessions: what one costs, how many calls it makes, and which run away."""

from __future__ import annotations

from dashboards.board import Board
from dashboards.panels import AMBER, RED, Target, bars, over_time, stat
from dashboards.queries import Queries

VARIABLES = ("team",)
q = Queries(VARIABLES)
GUARDS = 'reason=~"loop_detected|session_limit_reached"'

BOARD = Board(
    uid="taximeter-sessions",
    title="Taximeter: agent sessions",
    description="What a session costs, how many calls it makes, and which run away. Sessions are measured when they have gone quiet.",
    variables=VARIABLES,
    listed_by="session_requests_count",
    panels=[
        stat(
            "How many are going on?",
            "Sessions with a call in the last 15 minutes (server.session_quiet_s). A call that belongs to no session is not counted.",
            "short",
            f"sum({q.select('sessions_active')})",
            decimals=0,
        ),
        stat(
            "How many have ended?",
            "Sessions that went quiet in the chosen time range. One that goes on later is counted again.",
            "short",
            q.gained("session_cost_usd_count"),
            decimals=0,
        ),
        stat(
            "What does one cost?",
            "The mean of all sessions that ended in the chosen time range, sub-agents included.",
            "currencyUSD",
            f"{q.gained('session_cost_usd_sum')} / ({q.gained('session_cost_usd_count')} > 0)",
        ),
        stat(
            "What do 1 in 20 exceed?",
            "1 in 20 of the sessions that ended in the chosen time range cost more.",
            "currencyUSD",
            q.quantile_in_range(0.95, "session_cost_usd"),
        ),
        stat(
            "How many calls is one?",
            "The mean of the sessions that ended in the chosen time range.",
            "short",
            f"{q.gained('session_requests_sum')} / ({q.gained('session_requests_count')} > 0)",
            decimals=1,
        ),
        stat(
            "How many were stopped?",
            "Calls in the chosen time range that a guard refused: a loop, too many calls, too much money a minute.",
            "short",
            f"{q.gained('refusals_total', matchers=GUARDS)} or vector(0)",
            levels=((1, RED),),
            decimals=0,
        ),
        over_time(
            "What do sessions cost?",
            "The median, and what 1 in 20 and 1 in 100 sessions exceed. The dots are sessions: a click leads to all calls of one.",
            "currencyUSD",
            *(
                Target(q.quantile(share, "session_cost_usd"), name, exemplar=share == 0.99)
                for share, name in ((0.5, "median"), (0.95, "1 in 20"), (0.99, "1 in 100"))
            ),
        ),
        over_time(
            "How many calls do sessions make?",
            "The median, and what 1 in 20 and 1 in 100 sessions exceed. The dots are sessions: a click leads to all calls of one.",
            "short",
            *(
                Target(q.quantile(share, "session_requests"), name, exemplar=share == 0.99)
                for share, name in ((0.5, "median"), (0.95, "1 in 20"), (0.99, "1 in 100"))
            ),
        ),
        bars(
            "How are the sessions' costs spread?",
            "What so many of the sessions that ended in the chosen time range cost at most.",
            "currencyUSD",
            *(
                Target(q.quantile_in_range(share, "session_cost_usd"), name)
                for share, name in (
                    (0.25, "1 in 4"),
                    (0.5, "half"),
                    (0.75, "3 in 4"),
                    (0.9, "9 in 10"),
                    (0.99, "99 in 100"),
                )
            ),
        ),
        bars(
            "Whose sessions are dearest?",
            "The mean cost of a session by client, of those that ended in the chosen time range.",
            "currencyUSD",
            Target(
                f"{q.gained('session_cost_usd_sum', 'client')} / ({q.gained('session_cost_usd_count', 'client')} > 0)",
                "{{client}}",
            ),
        ),
        bars(
            "Which teams' sessions cost most?",
            "The cost of all sessions that ended in the chosen time range.",
            "currencyUSD",
            Target(f"sort_desc({q.gained('session_cost_usd_sum', 'team')})", "{{team}}"),
        ),
        over_time(
            "Which runaways are stopped?",
            "Refusals of the guards per second: `loop_detected` is the same call again and again, `session_limit_reached` too many calls or dollars.",
            "reqps",
            Target(q.rate("refusals_total", "reason", GUARDS), "{{reason}}"),
        ),
        bars(
            "How many sessions reach their budgets?",
            "Groups of budgets with `per` (a limit for each session, say) at or above each share of the limit.",
            "short",
            Target(
                f"max by (budget, threshold) ({q.select('budget_groups_over_threshold')})",
                "{{budget}} at {{threshold}}",
            ),
            levels=((1, AMBER),),
            decimals=0,
            width=12,
        ),
    ],
)
