"""`taximeter prices`: which price holds and why, what the price book lacks, and how it is brought up to date."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pricing.load import load_book
from pricing.report import Hole, holes
from proxy.ceilings.learned import Overrun, forget_in, overruns_in
from proxy.cli.options import ConfigOption, ServerOption, UnreadConfigOption, config_of, new_app, server_of
from proxy.cli.output import fail
from proxy.cli.remote import named
from proxy.times import BadQuestion, now_s

if TYPE_CHECKING:
    from proxy.cli.remote import Server
    from proxy.config.model import Config

app = new_app(help="The price book: what it says, what it lacks, and refreshing it.")

_VERSION, _CHECKED = re.compile(r'("source":"[a-z-]+) [\w.-]+'), re.compile(r'"checked":"[^"]*"')

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
def show(
    model: str,
    provider: _ProviderOption = None,
    at: _AtOption = None,
    config: ConfigOption = None,
    server: ServerOption = None,
) -> None:
    """Which rows price MODEL (or PROVIDER/MODEL), at each provider that has it: the winner for every unit, the others below."""
    from proxy.reports.price_rows import PricesShown, lines_of, prices_of

    if (remote := server_of(server)) is not None:
        content = remote.get("/api/prices", model=model, provider=provider, at=at)
        try:
            shown = PricesShown.model_validate(content)
        except ValueError:
            raise remote.unexpected("it sent other JSON") from None
    else:
        try:
            shown = prices_of(load_book().catalog, config_of(config).prices, model, provider, at, now_s())
        except BadQuestion as problem:
            raise fail(str(problem), 2) from None
    if shown.missing is not None:
        raise fail(shown.missing)
    for line in lines_of(shown):
        typer.echo(line)


@app.command()
def check(server: ServerOption = None, _config: UnreadConfigOption = None) -> None:
    """Holes: models without a price, expired schedules, stale sources. Exit 1 where there are any."""
    if (remote := server_of(server)) is not None:
        problems = [Hole(hole["kind"], hole["what"]) for hole in remote.items("/api/prices/holes")]
    else:
        problems = holes(load_book().catalog, datetime.now(UTC).date())
    for hole in problems:
        typer.echo(f"{hole.kind}: {hole.what}")
    if problems:
        raise typer.Exit(1)
    typer.echo("The price book has no holes.")


@app.command()
def diff(litellm: _LitellmOption = None, _config: UnreadConfigOption = None) -> None:
    """What a refresh from the newest sources would change, one row a line."""
    _tell(_rebuilt(litellm))


@app.command()
def refresh(
    litellm: _LitellmOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    _config: UnreadConfigOption = None,
) -> None:
    """Rebuild the price book from newer packages or dropped files: shows the difference and asks before it writes. A model of
    which the sources say different prices keeps what the book says."""
    rebuilt = _rebuilt(litellm)
    _tell(rebuilt)
    if rebuilt.is_old:
        return
    if not yes and not (sys.stdin.isatty() and typer.confirm("Write it?")):
        typer.echo("Nothing was written; --yes writes without asking.", err=True)
        raise typer.Exit(1)
    from pricing.load import DATA

    target, new = DATA / "prices.jsonl", DATA / "prices.jsonl.new"
    try:
        new.write_bytes(rebuilt.content)
        new.replace(target)  # whoever reads it now has the old one or the new one whole
    except OSError as error:
        raise fail(f"{target} cannot be written ({error.strerror})") from None
    finally:
        new.unlink(missing_ok=True)
    typer.echo(f"The book is now version {load_book().version}. A server takes it when it is restarted.")


class _Rebuilt(NamedTuple):
    """The rows that a rebuild would take out and put in, the new content, whether that is the old one, and what sources say
    differently."""

    removed: list[str]
    added: list[str]
    content: bytes
    is_old: bool
    unsettled: tuple[str, ...]

    def summary(self) -> str:
        if self.is_old:
            return "The price book is up to date."
        if not self.removed and not self.added:
            return "No price would change: only where rows come from, and when they were checked."
        before, after = _models(self.removed), _models(self.added)
        new, changed, gone = len(after - before), len(after & before), len(before - after)
        return f"In all: {new:,} models with more rows or new, {changed:,} with changed ones, {gone:,} with fewer."


def _tell(rebuilt: _Rebuilt) -> None:
    for line in (*(f"- {row}" for row in rebuilt.removed), *(f"+ {row}" for row in rebuilt.added)):
        typer.echo(line)
    typer.echo(rebuilt.summary())
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
    return _compared(old, with_old_rows(built, old), tuple(map(str, built.unsettled)))


def _compared(old: bytes, content: bytes, unsettled: tuple[str, ...]) -> _Rebuilt:
    before, after = _by_what_they_say(old), _by_what_they_say(content)
    removed, added = (
        sorted(rows[key] for key in rows.keys() - others) for rows, others in ((before, after), (after, before))
    )
    return _Rebuilt(removed, added, content, content == old, unsettled)


def _by_what_they_say(content: bytes) -> dict[str, str]:
    """Rows by what they say of prices and limits: a newer date, or a newer version of a source that says the same, is no
    change."""
    rows = content.decode().splitlines()
    return {_CHECKED.sub("", _VERSION.sub(r"\1", row)): row for row in rows}


def _models(rows: list[str]) -> set[tuple[str, str]]:
    return {(row["provider"], row["model"]) for row in map(json.loads, rows)}


def _litellm_file(file: Path | None, folder: Path) -> tuple[Path, str]:
    """LiteLLM's data file and its version: a JSON file, a wheel that holds it, that of the installed package, or the newest."""
    if file is None:
        from importlib.metadata import PackageNotFoundError, distribution

        try:
            package = distribution("litellm")
        except PackageNotFoundError:
            file = _fetched(folder)
        else:
            return Path(str(package.locate_file(f"litellm/{_DATA_FILE}"))), package.version
    if file.suffix != ".whl":
        return file, file.stem
    with zipfile.ZipFile(file) as wheel:
        wheel.extract(f"litellm/{_DATA_FILE}", folder)
    return folder / "litellm" / _DATA_FILE, file.name.split("-")[1]


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


@app.command()
def learned(
    config: ConfigOption = None,
    reset: Annotated[
        str | None, typer.Option("--reset", help="The model to take it back of.", show_default=False)
    ] = None,
    server: ServerOption = None,
) -> None:
    """By how much bills exceeded their ceilings, which raises each team's next ones. --reset takes it back, at a server that
    runs within a minute."""
    rows = (
        _learned(config_of(config), reset) if (remote := server_of(server)) is None else _learned_there(remote, reset)
    )
    for whose, provider, model, factor in rows:
        typer.echo(f"{whose} {provider}/{model}: {f'{factor:.2f}' if reset is None else 'taken back'}")
    if reset is None and not rows:
        typer.echo("Nothing has been learned: no bill has exceeded its ceiling lately.")
    if reset is not None and not rows:
        raise fail(f"nothing has been learned about {reset!r}: `taximeter prices learned` lists what is")


def _learned(settings: Config, reset: str | None) -> list[Overrun]:
    folder, now = Path(settings.data_dir), now_s()
    return overruns_in(folder, now) if reset is None else forget_in(folder, reset, now)


def _learned_there(server: Server, reset: str | None) -> list[Overrun]:
    if reset is None:
        return [Overrun(**row) for row in server.items("/api/prices/learned")]
    return [Overrun(**row) for row in server.delete(f"/api/prices/learned/{named(reset)}")["items"]]
