"""`taximeter prices`: which price holds and why, what the price book lacks, and how it is brought up to date."""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from pricing.catalog import Catalog, Model, plain
from pricing.load import load_book
from pricing.price import ALWAYS_S, NEVER_S, Price, Row
from pricing.report import Hole, holes, winners
from pricing.times import date_text, epoch_s
from proxy.ceilings.learned import Learned
from proxy.cli.options import ConfigOption, config_of, new_app
from proxy.cli.output import fail
from proxy.times import now_s

app = new_app(help="The price book: what it says, what it lacks, and refreshing it.")

_ProviderOption = Annotated[str | None, typer.Option("--provider", help="Only this provider.", show_default=False)]
_AtOption = Annotated[
    str | None, typer.Option("--at", help="A date or time (UTC); now by default.", show_default=False)
]
_LitellmOption = Annotated[
    Path | None,
    typer.Option(
        "--litellm",
        exists=True,
        dir_okay=False,
        show_default=False,
        help="LiteLLM's model_prices_and_context_window JSON, or a wheel of the package that holds it; by default the newest "
        "wheel is fetched with pip. It is read, never installed.",
    ),
]


@app.command()
def show(model: str, provider: _ProviderOption = None, at: _AtOption = None, config: ConfigOption = None) -> None:
    """Which rows price MODEL (or PROVIDER/MODEL), at each provider that has it: the winner for every unit, the others below."""
    at_s = _moment(at)
    catalog = load_book().catalog
    names = [catalog.canonical(provider)] if provider else sorted(catalog.lines, key=_makers_first)
    asked = [(name, model.lower()) for name in names]
    first, _, rest = model.lower().partition("/")
    if provider is None and rest and catalog.canonical(first) in catalog.lines:
        asked.insert(0, (catalog.canonical(first), rest))
    models = [(name, known) for name, its in asked if (known := catalog.find(name, its, at_s)) is not None]
    rows = config_of(config).prices
    own = [row for row in rows if _names(row, model.lower(), provider) or (rest and _names(row, rest, first))]
    for row in own:
        typer.echo(f"your own price, before all others: {json.dumps(row, default=str)}")
    if not models and own:
        return
    if not models:
        where = f" at {provider}" if provider else ""
        typer.echo(
            f"{model}{where}: the price book has no price for it; set one under `prices:` in the configuration"
            f"{_meant(catalog, names, model)}",
            err=True,
        )
        raise typer.Exit(1)
    for name, known in models:
        whole = f"{name}/{known.name}"
        typer.echo(whole + ("" if model.lower() in (known.name, whole) else f"  (for {model})") + _limits(known))
        for unit, (row, price) in winners((*known.rows, *catalog.common_rows(name)), at_s).items():
            typer.echo(f"  {unit:<16} {_price(price):<14} {_why(row)}")
        for line in _others(known, at_s):
            typer.echo(f"    {line}")


def _makers_first(provider: str) -> tuple[bool, str]:
    """Who makes models comes before who sells those of others."""
    return provider not in _MAKERS, provider


_MAKERS = frozenset(
    {"openai", "anthropic", "google", "mistral", "deepseek", "xai", "x-ai", "cohere", "moonshotai", "dashscope"}
)


def _meant(catalog: Catalog, providers: Sequence[str], model: str) -> str:
    """ "; did you mean x?", where a model of these providers has a name like it."""
    from proxy.config.wording import meant

    return meant(model, (name for provider in providers for name in catalog.provider(provider).models if name != "*"))


def _names(row: object, model: str, provider: str | None) -> bool:
    """Whether a row of the configuration's `prices` is about this model."""
    if not isinstance(row, Mapping):
        return False
    wanted = (("model", model), ("provider", provider))
    return all(name is None or fnmatch.fnmatchcase(name, str(row.get(field, "*")).lower()) for field, name in wanted)


@app.command()
def check() -> None:
    """Holes: models without a price, expired schedules, stale sources. Exit 1 where there are any."""
    problems: list[Hole] = holes(load_book().catalog, datetime.now(UTC).date())
    for hole in problems:
        typer.echo(f"{hole.kind}: {hole.what}")
    if problems:
        raise typer.Exit(1)
    typer.echo("The price book has no holes.")


@app.command()
def diff(litellm: _LitellmOption = None) -> None:
    """What a refresh from the newest sources would change, one row a line."""
    rebuilt = _rebuilt(litellm)
    _tell(rebuilt)
    if not rebuilt.changes:
        typer.echo("The price book is up to date.")


@app.command()
def refresh(
    litellm: _LitellmOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
) -> None:
    """Rebuild the price book from newer packages or dropped files: shows the difference and asks before it writes. A model of
    which the sources say different prices keeps what the book says."""
    rebuilt = _rebuilt(litellm)
    changes = rebuilt.changes
    _tell(rebuilt)
    if not changes:
        typer.echo("The price book is up to date.")
        return
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Write {len(changes)} changed rows?")):
        typer.echo("Nothing was written; --yes writes without asking.", err=True)
        raise typer.Exit(1)
    from pricing.load import DATA

    try:
        (DATA / "prices.jsonl").write_bytes(rebuilt.content)
    except OSError as error:
        raise fail(f"{DATA / 'prices.jsonl'} cannot be written ({error.strerror})") from None
    typer.echo(
        f"{len(changes)} rows changed; the book is now version {load_book().version}. A server takes it when it is restarted."
    )


class _Rebuilt(NamedTuple):
    """The rows that a rebuild would change (`+`, `-`), the new content, and what sources say differently."""

    changes: list[str]
    content: bytes
    unsettled: tuple[str, ...]


def _tell(rebuilt: _Rebuilt) -> None:
    for line in rebuilt.changes:
        typer.echo(line)
    for question in rebuilt.unsettled:
        typer.echo(f"unsettled, stays as it is: {question}", err=True)
    if rebuilt.unsettled:
        advice = "set a price of your own under `prices`, or settle it in pricing/data/corrections.toml"
        typer.echo(f"{len(rebuilt.unsettled)} prices on which the sources differ by more than 1 %: {advice}.", err=True)


def _rebuilt(litellm: Path | None) -> _Rebuilt:
    """What the sources make of the book today. Exits where one is missing."""
    from pricing.build import build, with_old_rows
    from pricing.load import DATA

    old = (DATA / "prices.jsonl").read_bytes()
    checked = datetime.now(UTC).date().isoformat()
    try:
        with tempfile.TemporaryDirectory() as folder:
            built = build(*_litellm_file(litellm, Path(folder)), checked, old)
    except ImportError as error:
        raise fail(f"the source {error.name} is not installed: pip install --upgrade 'taximeter[prices]'", 2) from None
    except (ValueError, OSError, zipfile.BadZipFile, KeyError) as error:
        raise fail(f"the price list cannot be read: {error}", 2) from None
    content = with_old_rows(built, old)
    before, after = _without_dates(old), _without_dates(content)
    changes = [f"- {line}" for line in sorted(before - after)] + [f"+ {line}" for line in sorted(after - before)]
    return _Rebuilt(changes, content, tuple(map(str, built.unsettled)))


def _without_dates(content: bytes) -> set[str]:
    """Rows without the date on which they were checked: a newer date alone is no change."""
    return {line.decode().split(',"checked":')[0] for line in content.splitlines()}


def _litellm_file(given: Path | None, folder: Path) -> tuple[Path, str]:
    """LiteLLM's data file and its version: a JSON file, a wheel that holds it, that of the installed package, or the newest."""
    if given is None:
        from importlib.metadata import PackageNotFoundError, distribution

        try:
            package = distribution("litellm")
        except PackageNotFoundError:
            given = _fetched(folder)
        else:
            return Path(str(package.locate_file(f"litellm/{_DATA_FILE}"))), package.version
    if given.suffix != ".whl":
        return given, given.stem
    with zipfile.ZipFile(given) as wheel:
        wheel.extract(f"litellm/{_DATA_FILE}", folder)
    return folder / "litellm" / _DATA_FILE, given.name.split("-")[1]


def _fetched(folder: Path) -> Path:
    """The newest wheel of LiteLLM, by this Python's own pip: looked into, not installed."""
    typer.echo("Fetching the newest wheel of litellm (some 45 MB) for its list of prices …", err=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
    ]
    done = subprocess.run([*command, "litellm"], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    wheels = sorted(folder.glob("litellm-*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ValueError(f"pip cannot fetch litellm ({last}); name its data file or a wheel of it with --litellm")
    return wheels[-1]


_DATA_FILE = "model_prices_and_context_window_backup.json"


def _moment(at: str | None) -> int:
    try:
        return epoch_s(at, int(datetime.now(UTC).timestamp()))
    except ValueError:
        typer.echo(f"--at {at}: is no time; write it as 2026-12-01 or 2026-12-01T08:00:00Z", err=True)
        raise typer.Exit(2) from None


def _limits(model: Model) -> str:
    context, most = model.limits
    parts = [f"{context:,} tokens of context" if context else "", f"{most:,} of output" if most else ""]
    return "  " + ", ".join(part for part in parts if part) if any(parts) else ""


def _price(price: Price) -> str:
    per = {1_000_000: "/M", 1: ""}.get(price.per, f"/{price.per}")
    return f"${plain(price.usd)}{per}"


def _why(row: Row) -> str:
    dates = _dates(row)
    return f"{row.source}, checked {row.checked}" + (f", {dates}" if dates else "")


def _dates(row: Row) -> str:
    start = f"from {date_text(row.from_s)}" if row.from_s != ALWAYS_S else ""
    end = f"until {date_text(row.to_s)}" if row.to_s != NEVER_S else ""
    return " ".join(part for part in (start, end) if part)


def _others(model: Model, at_s: int) -> Iterator[str]:
    """Rows that do not price a plain call now: tiers, conditions, other dates."""
    for row in model.rows:
        for tier in row.tiers if row.from_s <= at_s < row.to_s else ():
            conditions = "".join(f" {name}={'|'.join(values)}" for name, values in row.when.items())
            sign = ">=" if tier.inclusive else ">"
            yield f"input {sign} {tier.over:,}{conditions}: {_prices(tier.prices)}"
        if row.when and row.from_s <= at_s < row.to_s:
            conditions = " ".join(f"{name}={'|'.join(values)}" for name, values in row.when.items())
            yield f"{conditions}: {_prices(row.prices)}  ({_why(row)})"
        elif not row.from_s <= at_s < row.to_s and not row.when:
            yield f"{_dates(row)}: {_prices(row.prices)}  ({row.source})"


def _prices(prices: Mapping[str, Price]) -> str:
    return ", ".join(f"{unit} {_price(price)}" for unit, price in prices.items())


@app.command()
def learned(
    config: ConfigOption = None,
    reset: Annotated[
        str | None, typer.Option("--reset", help="The model to take it back of.", show_default=False)
    ] = None,
) -> None:
    """By how much bills exceeded their ceilings, which raises each team's next ones. --reset takes it back, at a server that
    runs within a minute."""
    now = now_s()
    for path in sorted(Path(config_of(config).data_dir).glob("learned-*.json")):
        known = Learned(path)
        if reset is None:
            for name, factor in known.factors(now).items():
                typer.echo(f"{name}: {factor:.2f}")
        else:
            for name in known.forget(reset):
                typer.echo(f"{name}: taken back")
