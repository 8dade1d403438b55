"""Machines of one's own: what they cost, how much of that was used, and whether a provider would be cheaper."""

from __future__ import annotations

from dashboards.board import Board
from dashboards.panels import AMBER, RED, Column, Target, bars, over_time, stat, table
from dashboards.queries import Queries

VARIABLES = ("capacity",)
q = Queries(VARIABLES)
IDLE, OUTSIDE = 'part="idle"', 'part="outside"'
CLOSING = (
    "3m"  # minutes are closed one by one, some seconds after their end: over less, a rate is nothing or twice as much
)
EACH_UNIT = 'basis="whole"'
WHOLE, USE = 'basis="whole", unit="all"', 'basis="use", unit="all"'


def _price(matchers: str) -> str:
    return f"max by (capacity) ({q.select('capacity_usd_per_million_tokens', matchers)})"


BOARD = Board(
    uid="taximeter-capacity",
    title="Taximeter: what do our own GPUs cost?",
    description="What machines of one's own cost by the hour, whose that was, what nobody used, and what the same tokens would have cost at a provider.",
    variables=VARIABLES,
    listed_by="capacity_cost_usd_total",
    panels=[
        stat(
            "What did our machines cost?",
            "All of it, in the chosen time range: what calls had, what was idle, what others used. Minutes are closed when all their calls have ended.",
            "currencyUSD",
            q.gained("capacity_cost_usd_total"),
        ),
        stat(
            "How idle was the last hour?",
            "The share of its time in which nothing ran, of the idlest capacity.",
            "percentunit",
            f"max(1 - {q.select('capacity_busy_ratio')})",
            levels=((0.5, AMBER), (0.8, RED)),
        ),
        stat(
            "What do 1M tokens cost?",
            "With the idle time, of the last hour, on the dearest capacity: what was really paid for a million tokens, cached ones included.",
            "currencyUSD",
            f"max({q.select('capacity_usd_per_million_tokens', WHOLE)})",
        ),
        stat(
            "What if they never idled?",
            "As beside it, with the calls' own time alone.",
            "currencyUSD",
            f"max({q.select('capacity_usd_per_million_tokens', USE)})",
        ),
        stat(
            "What did cached input save?",
            "What cached input would have cost to compute, in the chosen time range.",
            "currencyUSD",
            q.gained("capacity_saved_usd_total"),
        ),
        stat(
            "How much energy was that?",
            "In the chosen time range, of capacities whose energy is known.",
            "joule",
            q.gained("capacity_energy_joules_total"),
        ),
        over_time(
            "Whose was it, per hour?",
            "Dollars an hour at each moment: what calls had (busy), what nobody used (idle), what others did on the same servers (outside).",
            "currencyUSD",
            Target(f"{q.rate('capacity_cost_usd_total', 'part')} * 3600", "{{part}}"),
            stacked=True,
            step=CLOSING,
        ),
        over_time(
            "What would buying cost, per hour?",
            "What the machines cost, idle and all, beside what the tokens of the same time would have cost at the models of `compare`.",
            "currencyUSD",
            Target(f"{q.rate('capacity_cost_usd_total')} * 3600", "our machines"),
            Target(f"{q.rate('capacity_compared_usd_total', 'model')} * 3600", "{{model}}"),
            step=CLOSING,
        ),
        over_time(
            "How busy are they?",
            "Share of the hour before in which something ran.",
            "percentunit",
            Target(f"max by (capacity) ({q.select('capacity_busy_ratio')})", "{{capacity}}"),
        ),
        over_time(
            "What does a million tokens cost on each?",
            "Of the hour before: with the idle time, and with the calls' own time alone. Where the two are far apart, more calls would be cheap.",
            "currencyUSD",
            Target(_price(WHOLE), "{{capacity}}, idle included"),
            Target(_price(USE), "{{capacity}}, in use"),
        ),
        bars(
            "Which machines cost most?",
            "What each cost in the chosen time range, idle time and others' use included.",
            "currencyUSD",
            Target(f"sort_desc({q.gained('capacity_cost_usd_total', 'capacity')})", "{{capacity}}"),
        ),
        bars(
            "What would the tokens have cost elsewhere?",
            "The tokens of the chosen time range at the price book's prices of the models of `compare`.",
            "currencyUSD",
            Target(f"sort_desc({q.gained('capacity_compared_usd_total', 'model')})", "{{model}}"),
        ),
        bars(
            "What is it spent on?",
            "Input and output of the last hour, per million tokens, idle included.",
            "currencyUSD",
            Target(
                f"max by (unit) ({q.select('capacity_usd_per_million_tokens', EACH_UNIT)})",
                "{{unit}}",
            ),
        ),
        table(
            "What does each cost?",
            "One row for each capacity, in the chosen time range.",
            "currencyUSD",
            Column("Cost", "currencyUSD", q.gained("capacity_cost_usd_total", "capacity")),
            Column("Idle", "currencyUSD", q.gained("capacity_cost_usd_total", "capacity", IDLE)),
            Column("Outside", "currencyUSD", q.gained("capacity_cost_usd_total", "capacity", OUTSIDE)),
            Column("Busy in the last hour", "percentunit", f"max by (capacity) ({q.select('capacity_busy_ratio')})"),
            Column("Per million tokens", "currencyUSD", _price(WHOLE)),
            joined_by="capacity",
        ),
    ],
)
