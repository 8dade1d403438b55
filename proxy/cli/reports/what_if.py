"""`taximeter report what-if`: the period's calls at other prices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from pricing.book import Book
from pricing.load import load_book
from pricing.operator import parse_rows
from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, answer, fail
from proxy.cli.reports.options import SinceOption, UntilOption, answer_of, exit_on_problem
from proxy.config.own_prices import priced_by
from proxy.reports.what_if.alternatives import Change, swap_of
from proxy.reports.what_if.answer import cache_share, check_change, learned_ratios, what_if_answer
from proxy.times import moment, now_s, now_us

app = new_app()


@app.command("what-if")
def what_if(
    *,
    swap: Annotated[
        list[str] | None,
        typer.Option(metavar="FROM=TO", help="gpt-5=claude-haiku-4-5, or gpt-5=aws/…; as often as needed."),
    ] = None,
    tier: Annotated[str | None, typer.Option(help="batch, flex or priority.")] = None,
    cache: Annotated[str | None, typer.Option(help="The share of the input that is read from a cache: 0.8.")] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            show_default=False,
            help="Rows as under `prices:` (YAML or JSON).",
        ),
    ] = None,
    since: SinceOption = "30d",
    until: UntilOption = None,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """What the period's calls would have cost with other models, tiers, cache shares or price lists, and how sure that is."""
    with exit_on_problem(form):
        if (remote := server_of(server)) is not None:
            answer_of(
                remote,
                "what-if",
                form,
                {"--prices": prices},
                swap=",".join(swap or ()) or None,
                tier=tier,
                cache=cache,
                since=since,
                until=until,
            )
            return
        settings, now = config_of(config), now_s()
        begins, ends = moment(since or "30d", now), moment(until, now) if until else int(now * 1e6)
        book = priced_by(settings, load_book())
        at_s = int(min(ends / 1e6, now))
        change = Change(
            swaps=tuple(swap_of(text, book, at_s) for text in swap or ()),
            tier=tier,
            cache=cache_share(cache),
            file=_book_of(prices) if prices else None,
        )
        check_change(change)
        with opened(settings) as engine:
            learned = learned_ratios(Path(settings.data_dir))
            answer(what_if_answer(engine, book, change, begins, ends, learned, now_us()), form)


def _book_of(file: Path) -> Book:
    try:
        rows: Any = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise fail(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if isinstance(rows, dict):
        rows = rows.get("prices")
    if not isinstance(rows, list) or not rows:
        raise fail(f"{file}: must be a list of price rows, as under `prices:` in the configuration")
    parsed, problems = parse_rows(rows)
    if problems:
        raise fail("; ".join(f"{file}: {problem.path}: {problem.message}" for problem in problems))
    return load_book().with_operator(parsed)
