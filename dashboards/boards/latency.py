"""How fast it is: for whoever waits for an answer, and what of that is our own doing."""

from __future__ import annotations

from dashboards.board import Board
from dashboards.panels import AMBER, RED, Target, over_time, stat
from dashboards.queries import Queries

VARIABLES = ("model", "provider", "upstream")
q = Queries(VARIABLES)
WRITTEN = 'unit=~"output|reasoning"'
FIRST, WHOLE, OURS, BETWEEN = (
    "time_to_first_token_seconds",
    "request_duration_seconds",
    "overhead_seconds",
    "inter_token_latency_seconds",
)

BOARD = Board(
    uid="taximeter-latency",
    title="Taximeter: latency",
    description="Time to the first token, tokens per second, the whole call, and Taximeter's own part of it.",
    variables=VARIABLES,
    panels=[
        stat(
            "How long to the first token?",
            "The median of streamed calls in the chosen time range.",
            "s",
            q.quantile_in_range(0.5, FIRST),
        ),
        stat(
            "How long do 1 in 20 wait?",
            "What 1 in 20 streamed calls of the chosen time range wait longer than.",
            "s",
            q.quantile_in_range(0.95, FIRST),
        ),
        stat(
            "How long does a call take?",
            "The median of all calls in the chosen time range.",
            "s",
            q.quantile_in_range(0.5, WHOLE),
        ),
        stat(
            "How fast do tokens come?",
            "Output and reasoning tokens per second of a call's time, over all calls: what one caller sees, waiting included.",
            "short",
            f"{q.gained('tokens_total', matchers=WRITTEN)} / ({q.gained(WHOLE + '_sum')} > 0)",
            decimals=0,
        ),
        stat(
            "How much of it is ours?",
            "The median of Taximeter's own part of a call: from the call's arrival to sending it on, and from the last byte to the end. Waiting for a budget that other calls have reserved is not in it.",
            "s",
            q.quantile_in_range(0.5, OURS),
            levels=((0.005, AMBER), (0.05, RED)),
        ),
        stat(
            "How many are being served?",
            "Calls in flight now, on all data planes.",
            "short",
            f"sum({q.select('inflight_requests')})",
            decimals=0,
        ),
        over_time(
            "How long until the first token, over time?",
            "Streamed calls, from the call's arrival to the first event of the answer. The dots are calls: their ids are in the ledger.",
            "s",
            *(
                Target(q.quantile(share, FIRST), name, exemplar=share == 0.95)
                for share, name in ((0.5, "median"), (0.95, "1 in 20"), (0.99, "1 in 100"))
            ),
        ),
        over_time(
            "How long does a whole call take, over time?",
            "All calls, from arrival to the last byte. The dots are calls: their ids are in the ledger.",
            "s",
            *(
                Target(q.quantile(share, WHOLE), name, exemplar=share == 0.95)
                for share, name in ((0.5, "median"), (0.95, "1 in 20"), (0.99, "1 in 100"))
            ),
        ),
        over_time(
            "Which models let one wait longest for the first token?",
            "What 1 in 20 streamed calls wait longer than, by model.",
            "s",
            Target(q.quantile(0.95, FIRST, "model"), "{{model}}"),
        ),
        over_time(
            "How many tokens does each model write per second?",
            "Output and reasoning tokens per second of a call's time, by model: what one caller sees on average, waiting included.",
            "short",
            Target(
                f"{q.rate('tokens_total', 'model', WRITTEN)} / on (model) ({q.rate(WHOLE + '_sum', 'model')} > 0)",
                "{{model}}",
            ),
            decimals=1,
        ),
        over_time(
            "Is one upstream slower than the others?",
            "What 1 in 20 calls take longer than, by upstream.",
            "s",
            Target(q.quantile(0.95, WHOLE, "upstream"), "{{upstream}}"),
        ),
        over_time(
            "How much time does Taximeter add, over time?",
            "Its own part of a call, without waiting for the upstream, or for a budget that other calls have reserved.",
            "s",
            *(
                Target(q.quantile(share, OURS), name)
                for share, name in ((0.5, "median"), (0.95, "1 in 20"), (0.99, "1 in 100"))
            ),
        ),
        over_time(
            "How long is the pause between tokens?",
            "The mean time between the events of a stream, by model: the median of the streams.",
            "s",
            Target(q.quantile(0.5, BETWEEN, "model"), "{{model}}"),
        ),
        over_time(
            "How many calls are being served, over time?",
            "Calls in flight at each scrape, by instance; each may have several data planes. A spoken session is one as long as it is open.",
            "short",
            Target(f"sum by (instance) ({q.select('inflight_requests')})", "{{instance}}"),
            Target(f"sum({q.select('realtime_sessions')})", "spoken sessions"),
            decimals=0,
        ),
    ],
)
