"""What an operator looks at first: how much, how fast, and whether anything is wrong."""

from __future__ import annotations

from dashboards.board import Board
from dashboards.panels import AMBER, RED, Target, bars, over_time, stat
from dashboards.queries import Queries

VARIABLES = ("team", "model", "provider", "upstream")
q = Queries(VARIABLES)
refused = q.gained("refusals_total")
calls = q.gained("requests_total")
used = q.recorded("job_budget:taximeter_budget_utilisation:ratio")
blocks = f"max by (job, budget) ({q.select('budget_blocks')})"

BOARD = Board(
    uid="taximeter-overview",
    title="Taximeter: overview",
    description="Spend now against budget, how fast it grows, and whether anything is wrong.",
    variables=VARIABLES,
    panels=[
        stat(
            "What was spent in this time?",
            "The cost of all calls in the chosen time range, of the chosen teams, models and providers. Equal to the ledger's sum of the same time, but for calls without a price and for corrections.",
            "currencyUSD",
            q.gained("cost_usd_total"),
        ),
        stat(
            "What did the last hour cost?",
            "The cost of the last 60 minutes, of everything.",
            "currencyUSD",
            f"sum({q.recorded('job:taximeter_cost_usd:gained1h')})",
        ),
        stat(
            "What is a month at 24 h pace?",
            "The cost of the last 24 hours times the days of this month, of everything. With less than a day of data it is too low.",
            "currencyUSD",
            f"sum({q.recorded('job:taximeter_cost_usd:projected_month')})",
        ),
        stat(
            "How many have no price?",
            "Calls in the ledger without a cost, because neither the price book nor the configuration has a price. They are in no USD budget: add the price.",
            "percentunit",
            f"({q.gained('unpriced_requests_total')} or vector(0)) / ({calls} > 0)",
            levels=((0.0001, AMBER), (0.01, RED)),
        ),
        stat(
            "How many were refused?",
            "Calls in the chosen time range that were not sent: over a budget, stopped by a guard, malformed, or without a valid key.",
            "short",
            f"{refused} or vector(0)",
            decimals=0,
            levels=((1, AMBER),),
        ),
        stat(
            "Is any alert firing now?",
            "The number of Taximeter's alerts that fire now. The playbooks say what to do about each.",
            "short",
            'count(ALERTS{alertname=~"Taximeter.+", alertstate="firing", job=~"$job"}) or vector(0)',
            decimals=0,
            levels=((1, RED),),
        ),
        bars(
            "How much of each budget is used?",
            "What is settled in the current window as a share of the limit. One that only warns lets calls through beyond its limit. Budgets with a limit for each session, customer or key are on the board of budgets.",
            "percentunit",
            Target(f"{used} and on (job, budget) {blocks} > 0", "{{budget}}"),
            Target(f"{used} unless on (job, budget) {blocks} > 0", "{{budget}} (only warns)"),
            levels=((0.8, AMBER), (1, RED)),
            most=1,
        ),
        over_time(
            "Which teams is the money spent for, per hour?",
            "Dollars per hour at each moment, by the team of the key.",
            "currencyUSD",
            Target(f"{q.rate('cost_usd_total', 'team')} * 3600", "{{team}}"),
            stacked=True,
            width=16,
        ),
        over_time(
            "Which models cost most, per hour?",
            "Dollars per hour at each moment, of the ten dearest models.",
            "currencyUSD",
            Target(f"topk(10, {q.rate('cost_usd_total', 'model')}) * 3600", "{{model}}"),
            stacked=True,
        ),
        over_time(
            "How many calls are made, and how do they end?",
            "Attempts that reached an upstream, per second, by outcome. `ok` is an answer in full; all others may have cost money too.",
            "reqps",
            Target(q.rate("requests_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        over_time(
            "Why are calls refused, per hour?",
            "Refusals per hour at each moment by reason, the code that the client was told.",
            "short",
            Target(f"{q.rate('refusals_total', 'reason')} * 3600", "{{reason}}"),
            decimals=1,
        ),
        over_time(
            "Which upstreams serve the calls?",
            "Attempts per second by upstream.",
            "reqps",
            Target(q.rate("requests_total", "upstream"), "{{upstream}}"),
            stacked=True,
        ),
    ],
)
