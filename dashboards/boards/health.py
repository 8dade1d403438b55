"""Whether the books are being kept: ledger, spool, budget store, prices, and the metrics themselves."""

from __future__ import annotations

from dashboards.board import Board
from dashboards.panels import AMBER, GREEN, RED, Target, bars, over_time, stat
from dashboards.queries import SCRAPED, Queries

VARIABLES = ("provider", "upstream")
q = Queries(VARIABLES)
FAILED = 'outcome!="ok"'

JOB_STATES = 'state=~"running|overdue"'

BOARD = Board(
    uid="taximeter-health",
    title="Taximeter: pipeline health",
    description="Whether every call reaches the ledger, whether budgets can be asked, and how old the prices are.",
    variables=VARIABLES,
    panels=[
        stat(
            "How far behind is the ledger?",
            "The age of the oldest record that is in the spool and not in the ledger. Calls go on while it grows.",
            "s",
            f"max({q.select('ledger_lag_seconds')})",
            levels=((5, AMBER), (30, RED)),
        ),
        stat(
            "How much waits in the spool?",
            "Bytes that are not in the ledger yet. When it reaches spool.max_mb, calls are refused.",
            "bytes",
            f"sum({q.select('spool_bytes')})",
            levels=((16_000_000, AMBER), (64_000_000, RED)),
        ),
        stat(
            "Was any record lost?",
            "Records that could not be recorded, since the start. Must stay 0; they are kept beside the spool.",
            "short",
            f"max(max_over_time({q.select('ledger_dropped_total')}[$__range]))",
            levels=((1, RED),),
            decimals=0,
        ),
        stat(
            "Is an attempt without an end?",
            "Attempts whose deadline is over and that nothing has ended. Must stay 0: each keeps the spool from being deleted.",
            "short",
            f"max(max_over_time({q.select('intents_overdue')}[$__range]))",
            levels=((1, RED),),
            decimals=0,
        ),
        stat(
            "How many jobs run?",
            "Batches, videos and the like that have not ended, by state. Those that are overdue are charged at their ceilings.",
            "short",
            f"max by (state) ({q.select('jobs', JOB_STATES)})",
            legend="{{state}}",
            decimals=0,
        ),
        stat(
            "How far behind are exports?",
            "How long the oldest entry has waited that a sink has not got. Nothing is lost while it grows.",
            "s",
            f"max by (sink) ({q.select('export_lag_seconds')})",
            legend="{{sink}}",
            levels=((900, AMBER), (3600, RED)),
        ),
        stat(
            "What became of exports?",
            "Events of the chosen time for each sink: sent, set aside (refused for good, `taximeter exports retry`), skipped (nothing to tell), and tries that failed.",
            "short",
            q.gained("export_events_total", "sink, outcome"),
            legend="{{sink}} {{outcome}}",
            decimals=0,
        ),
        stat(
            "How far are ceilings raised?",
            "The most that bills have raised a model's ceilings by; 1 is not at all. At 100 it rises no further, and falls by half a day; then calls may overrun.",
            "short",
            f"max({q.select('ceiling_factor')}) or vector(1)",
            levels=((1.5, AMBER), (90, RED)),
            decimals=2,
        ),
        stat(
            "Did other models answer?",
            "Answers of the chosen time by models that `answers` of their row in `models` does not name: charged as they are, past what was reserved where they are dearer.",
            "short",
            q.gained("unexpected_models_total", "upstream, model"),
            legend="{{upstream}} {{model}}",
            levels=((1, AMBER),),
            decimals=0,
        ),
        stat(
            "Does the spool take records?",
            "1 while every data plane's spool takes records. Where it does not (its disk is full, or it has reached `spool.max_mb`), calls are refused.",
            "bool_yes_no",
            f"min({q.select('spool_writable')})",
            levels=((1, GREEN),),
            base=RED,
        ),
        stat(
            "Is the budget store there?",
            "1 while every data plane reaches the store of the budgets.",
            "bool_yes_no",
            f"min({q.select('budget_store_up')})",
            levels=((1, GREEN),),
            base=RED,
        ),
        stat(
            "Was the configuration taken?",
            "0 where an instance was told to reload a file that has a fault: an older one stays in force. Its log and `/health` name the fault.",
            "bool_yes_no",
            f"min({q.select('config_last_reload_successful')})",
            levels=((1, GREEN),),
            base=AMBER,
        ),
        stat(
            "How old are the prices?",
            "The newest check of a price in the installed price book. Providers change prices a few times a year.",
            "dateTimeFromNow",
            f"min({q.select('price_book_timestamp_seconds')}) * 1000",
        ),
        stat(
            "Which versions run?",
            "The number of instances by version.",
            "short",
            f"count by (version) ({q.select('build_info')})",
            legend="{{version}}",
            decimals=0,
        ),
        over_time(
            "How far behind is the ledger, over time?",
            "The age of the oldest record that is not in the ledger, by instance.",
            "s",
            Target(f"max by (instance) ({q.select('ledger_lag_seconds')})", "{{instance}}"),
            levels=((30, RED),),
        ),
        over_time(
            "How much waits in the spool, over time?",
            "Bytes that are not in the ledger yet, by instance.",
            "bytes",
            Target(f"max by (instance) ({q.select('spool_bytes')})", "{{instance}}"),
        ),
        over_time(
            "Who ends streams early?",
            "Streams that ended before their end, per second: the client hung up, the upstream broke off, or the proxy cut (a budget, a crash).",
            "reqps",
            Target(q.rate("stream_cuts_total", "by"), "{{by}}"),
        ),
        over_time(
            "Where do the token counts come from?",
            "Attempts per second by the source of their usage. All but `provider` are estimates or ceilings.",
            "reqps",
            Target(q.rate("usage_source_total", "source"), "{{source}}"),
            stacked=True,
        ),
        over_time(
            "Which upstreams fail?",
            "The share of attempts that did not end with an answer in full, by upstream.",
            "percentunit",
            Target(
                f"({q.rate('requests_total', 'upstream', FAILED)} or 0 * {q.rate('requests_total', 'upstream')}) / on (upstream) ({q.rate('requests_total', 'upstream')} > 0)",
                "{{upstream}}",
            ),
        ),
        over_time(
            "Who answers reservations?",
            "Reservations per second in a shared budget store: by Redis, one round trip each, or out of leases (store_lease_share), with none.",
            "reqps",
            Target(q.rate("budget_store_calls_total", "by"), "{{by}}"),
            stacked=True,
        ),
        over_time(
            "Which books of prices are in use?",
            "Instances by the version of the price book and of the operator's own prices. A new line is a change of prices.",
            "short",
            Target(f"count by (version, operator) ({q.select('price_book_info')})", "{{version}} {{operator}}"),
            decimals=0,
        ),
        over_time(
            "Is everything scraped?",
            "1 while Prometheus reaches an instance's metrics, and how long the scrape takes.",
            "short",
            Target(f"up{{{SCRAPED}}}", "{{instance}} up"),
            Target(f"scrape_duration_seconds{{{SCRAPED}}}", "{{instance}} seconds"),
        ),
        bars(
            "Which labels have too many values?",
            "Calls whose model or team did not become a label because there are too many: models count under `other`, teams under `__overflow__`.",
            "short",
            Target(f"{q.gained('label_overflow_total', 'label')}", "{{label}}"),
            levels=((1, AMBER),),
            decimals=0,
            width=12,
        ),
    ],
)
