"""Budgets: how much is used, how long it lasts, what was refused, and how well reservations fit."""

from __future__ import annotations

from dashboards.board import Board
from dashboards.panels import AMBER, RED, Column, Target, bars, over_time, stat, table
from dashboards.queries import Queries

VARIABLES = ("budget",)
q = Queries(VARIABLES)
BY_BUDGETS = 'budget!=""'
RULE = "job_budget:taximeter_budget_"
BLOCKS = f"on (job, budget) max by (job, budget) ({q.select('budget_blocks')}) > 0"


def told_apart(series: str) -> tuple[Target, Target]:
    """A line a budget; one that only warns lets calls through beyond its limit, and its name says so."""
    return Target(f"{series} and {BLOCKS}", "{{budget}}"), Target(
        f"{series} unless {BLOCKS}", "{{budget}} (only warns)"
    )


BOARD = Board(
    uid="taximeter-budgets",
    title="Taximeter: budgets",
    description="How much of each budget is used, how long it lasts, what it refused, and how well reservations fit.",
    variables=VARIABLES,
    listed_by="budget_limit_usd",
    panels=[
        stat(
            "How full is the fullest now?",
            "Of budgets with one limit for all that block, the largest share of its limit that is settled in its window.",
            "percentunit",
            f"max({q.recorded(RULE + 'utilisation:ratio')} and {BLOCKS})",
            levels=((0.8, AMBER), (1, RED)),
        ),
        stat(
            "When is the first exhausted?",
            "Hours to the end of the money of the budget that ends first, at the pace of the last hour. No value while nothing is spent.",
            "h",
            f"min({q.recorded(RULE + 'exhausted_in:hours')})",
            levels=((24, "green"),),
            base=RED,
        ),
        stat(
            "How many were refused?",
            "Calls in the chosen time range that a blocking budget did not let through.",
            "short",
            f"{q.gained('refusals_total', matchers=BY_BUDGETS)} or vector(0)",
            levels=((1, RED),),
            decimals=0,
        ),
        stat(
            "How many would have been?",
            "Calls in the chosen time range that went through only because the budget's action is `warn`.",
            "short",
            f"{q.gained('would_refuse_total')} or vector(0)",
            levels=((1, AMBER),),
            decimals=0,
        ),
        stat(
            "How much is reserved?",
            "What calls that are being answered may still cost, summed over budgets: a call counts in each budget that it falls under.",
            "currencyUSD",
            f"sum({q.recorded(RULE + 'reserved_usd:max')})",
        ),
        stat(
            "What went beyond it?",
            "Bills above the ceiling computed before the call, in the chosen time range. Should be 0: see the playbook.",
            "currencyUSD",
            f"{q.gained('overrun_usd_total')}",
            levels=((0.000000001, RED),),
        ),
        table(
            "Where does each budget stand?",
            "Its limit, what is settled and what is reserved in the current window, what it comes to by the window's end at the present pace, when the window ends, and whether it blocks: 0 only warns, and lets calls through beyond its limit.",
            "currencyUSD",
            Column("Limit", "currencyUSD", f"max by (budget) ({q.recorded(RULE + 'limit_usd:max')})"),
            Column("Spent", "currencyUSD", f"max by (budget) ({q.recorded(RULE + 'spent_usd:max')})"),
            Column("Reserved", "currencyUSD", f"max by (budget) ({q.recorded(RULE + 'reserved_usd:max')})"),
            Column("Used", "percentunit", f"max by (budget) ({q.recorded(RULE + 'utilisation:ratio')})"),
            Column(
                "At the window's end",
                "currencyUSD",
                f"max by (budget) ({q.recorded(RULE + 'forecast_usd:window_end')})",
            ),
            Column(
                "Window ends",
                "dateTimeFromNow",
                f"max by (budget) ({q.select('budget_window_end_timestamp_seconds')}) * 1000",
            ),
            Column("Blocks", "short", f"max by (budget) ({q.select('budget_blocks')})"),
            joined_by="budget",
            width=24,
        ),
        bars(
            "How many groups are near their limits?",
            "Of budgets with a limit for each session, customer, user or key: the number of groups at or above each share of their limit.",
            "short",
            Target(
                f"max by (budget, threshold) ({q.select('budget_groups_over_threshold')})",
                "{{budget}} at {{threshold}}",
            ),
            levels=((1, AMBER),),
            decimals=0,
            width=12,
        ),
        bars(
            "What were operators told of?",
            "Events of the chosen time range that Taximeter itself told (in its log, and to the webhooks of the configuration): thresholds, exhausted budgets, loops.",
            "short",
            Target(
                f"{q.gained('alert_events_total', 'kind, budget')} > 0",
                "{{budget}} {{kind}}",
            ),
            decimals=0,
            width=12,
        ),
        over_time(
            "How are the budgets used up?",
            "What is settled as a share of the limit. It falls to 0 when a window ends.",
            "percentunit",
            *told_apart(q.recorded(RULE + "utilisation:ratio")),
            levels=((1, RED),),
        ),
        over_time(
            "Is any budget burning too fast (1: it just lasts)?",
            "The pace of the last hour over the pace at which the budget would just last to its window's end. At 1 it lasts; at 2 it ends half-way; the alert is at 6; drawn up to 12.",
            "short",
            *told_apart(f"clamp_max({q.recorded(RULE + 'burn:over1h')}, 12)"),
            levels=((1, AMBER), (6, RED)),
            decimals=1,
        ),
        over_time(
            "How long does each budget last?",
            "Hours to the end of its money at the pace of the last hour; drawn up to a week.",
            "h",
            Target(f"clamp_max({q.recorded(RULE + 'exhausted_in:hours')}, 168)", "{{budget}}"),
        ),
        over_time(
            "What do the budgets refuse, per hour?",
            "Refusals per hour at each moment by budget, and what warning budgets would have refused.",
            "short",
            Target(f"{q.rate('refusals_total', 'budget', BY_BUDGETS)} * 3600", "{{budget}}"),
            Target(f"{q.rate('would_refuse_total', 'budget')} * 3600", "{{budget}} (would have)"),
            decimals=1,
        ),
        over_time(
            "How much is spent, per hour and budget?",
            "Dollars in the last hour that counted in each budget.",
            "currencyUSD",
            Target(q.recorded(RULE + "usd_per_hour:over1h"), "{{budget}}"),
        ),
        over_time(
            "How much more is reserved than a call costs?",
            "Reserved minus settled, of each call. The smaller, the closer a budget can be used to its limit with many calls in flight.",
            "currencyUSD",
            Target(q.quantile(0.5, "reservation_error_usd"), "median"),
            Target(q.quantile(0.95, "reservation_error_usd"), "1 in 20"),
        ),
    ],
)
