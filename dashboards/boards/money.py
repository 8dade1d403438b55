"""Where the money goes: by team, model, client and unit, what a million tokens really cost, and what caching saved."""

from __future__ import annotations

from dashboards.board import Board
from dashboards.panels import AMBER, RED, Column, Target, bars, over_time, stat, table
from dashboards.queries import Queries

VARIABLES = ("team", "model", "provider")
q = Queries(VARIABLES)
FRESH, CACHED, FROM_CACHE = 'unit="input"', 'unit=~"cache_.+"', 'unit=~"cache_read.*"'
ALL_INPUT, REASONING = 'unit=~"input|cache_.+"', 'unit="reasoning"'
spent, tokens = q.gained("cost_usd_total"), q.gained("tokens_total")


def _saved() -> str:
    """What the tokens read from and written to caches would have cost as plain input, less what they did cost."""
    by = "provider, model"
    per_token = f"{q.gained('cost_usd_total', by, FRESH)} / ({q.gained('tokens_total', by, FRESH)} > 0)"
    return f"sum({q.gained('tokens_total', by, CACHED)} * on ({by}) ({per_token}) - on ({by}) {q.gained('cost_usd_total', by, CACHED)})"


BOARD = Board(
    uid="taximeter-money",
    title="Taximeter: where the money goes",
    description="Spend by team, model, client and unit; what a million tokens really cost; what caching saved.",
    variables=VARIABLES,
    panels=[
        stat(
            "What was spent in this time?",
            "The cost of all calls in the chosen time range. Equal to the ledger's sum of the same time, but for calls without a price and for corrections.",
            "currencyUSD",
            spent,
        ),
        stat(
            "What do 1M tokens cost?",
            "All cost over all tokens, of every unit: cheap cached input and dear reasoning together.",
            "currencyUSD",
            f"1e6 * {spent} / ({tokens} > 0)",
        ),
        stat(
            "How much is reasoning?",
            "The share of the cost. Hidden reasoning is billed as output, and the answer does not show it.",
            "percentunit",
            f"({q.gained('cost_usd_total', matchers=REASONING)} or vector(0)) / ({spent} > 0)",
            levels=((0.5, AMBER),),
        ),
        stat(
            "How much is from the cache?",
            "Input tokens that the provider read from its cache, of all input tokens.",
            "percentunit",
            f"({q.gained('tokens_total', matchers=FROM_CACHE)} or vector(0)) / ({q.gained('tokens_total', matchers=ALL_INPUT)} > 0)",
        ),
        stat(
            "What did caching save?",
            "What cached tokens would have cost as plain input, less what reading and writing the cache did cost. Models without plain input in this time are left out. Negative where writes cost more than reads saved.",
            "currencyUSD",
            _saved(),
        ),
        stat(
            "What did corrections add?",
            "What was found out after a call was charged: late answers, calls that had been charged at their ceilings. All of it since the ledger began.",
            "currencyUSD",
            f"sum({q.select('cost_corrections_usd')})",
        ),
        bars(
            "Which teams spend most?",
            "Cost in the chosen time range by the team of the key.",
            "currencyUSD",
            Target(f"sort_desc({q.gained('cost_usd_total', 'team')})", "{{team}}"),
        ),
        bars(
            "Which models cost most?",
            "Cost in the chosen time range by the model that answered, of the fifteen dearest.",
            "currencyUSD",
            Target(f"sort_desc(topk(15, {q.gained('cost_usd_total', 'model')}))", "{{model}}"),
        ),
        bars(
            "Which units are paid for?",
            "Cost in the chosen time range by unit: fresh input, cache reads and writes, output, reasoning, tools, media.",
            "currencyUSD",
            Target(f"sort_desc({q.gained('cost_usd_total', 'unit')})", "{{unit}}"),
        ),
        over_time(
            "Which units is the money spent on, per hour?",
            "Dollars per hour at each moment, by unit.",
            "currencyUSD",
            Target(f"{q.rate('cost_usd_total', 'unit')} * 3600", "{{unit}}"),
            stacked=True,
        ),
        over_time(
            "What does a million tokens cost, model by model?",
            "Cost over tokens at each moment. It rises with the share of output and reasoning, and falls with that of cached input.",
            "currencyUSD",
            Target(
                f"1e6 * {q.rate('cost_usd_total', 'model')} / on (model) ({q.rate('tokens_total', 'model')} > 0)",
                "{{model}}",
            ),
        ),
        over_time(
            "What does a call cost?",
            "The median, and what 1 in 20 and 1 in 100 calls exceed. The dots are calls: their ids are in the ledger.",
            "currencyUSD",
            *(
                Target(q.quantile(share, "request_cost_usd"), name, exemplar=share == 0.95)
                for share, name in ((0.5, "median"), (0.95, "1 in 20"), (0.99, "1 in 100"))
            ),
        ),
        over_time(
            "Which clients spend it, per hour?",
            "Dollars per hour at each moment, by the family of the client's user agent.",
            "currencyUSD",
            Target(f"{q.rate('cost_usd_total', 'client')} * 3600", "{{client}}"),
            stacked=True,
        ),
        table(
            "What does each model cost, and what for?",
            "One row for each model that answered in the chosen time range.",
            "currencyUSD",
            Column("Calls", "short", q.gained("requests_total", "model")),
            Column("Tokens", "short", q.gained("tokens_total", "model")),
            Column("Cost", "currencyUSD", q.gained("cost_usd_total", "model")),
            Column(
                "Per million tokens",
                "currencyUSD",
                f"1e6 * {q.gained('cost_usd_total', 'model')} / ({q.gained('tokens_total', 'model')} > 0)",
            ),
            Column("Without a price", "short", q.gained("unpriced_requests_total", "model")),
            joined_by="model",
            width=16,
        ),
        bars(
            "Which models have no price?",
            "Calls in the chosen time range whose cost is unknown, by model. Give the model a price in `prices`.",
            "short",
            Target(f"{q.gained('unpriced_requests_total', 'model')} > 0", "{{model}}"),
            levels=((1, AMBER), (100, RED)),
            decimals=0,
        ),
        bars(
            "Which plans have customers at a loss?",
            "Customers who cost more than they pay in the running month, by plan of the configuration. `taximeter report margin` names them.",
            "short",
            Target(f"max by (plan) ({q.select('plan_customers_at_loss')})", "{{plan}}"),
            levels=((1, AMBER),),
            decimals=0,
            width=24,
        ),
    ],
)
