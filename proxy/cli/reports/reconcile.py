"""`taximeter report reconcile`: ours against a provider's own export."""

from __future__ import annotations

import base64
import gzip
import zlib
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO
from zipfile import BadZipFile, ZipFile

import typer

from pricing.load import load_book
from proxy.cli.corrections import write_corrections
from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, answer, fail
from proxy.cli.reports.options import SinceOption, UntilOption, ZoneOption, exit_on_problem
from proxy.config.own_prices import priced_by
from proxy.ledger.notes.reconciliations import keep_reconciliation
from proxy.reports.answers import Answer
from proxy.reports.calendar import zone_named
from proxy.reports.reconcile.answer import ReconcileQuestion, ReconcileShown, printed, reconcile_answer, tolerance_of
from proxy.times import moment, now_s

if TYPE_CHECKING:
    from proxy.cli.remote import Server

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_MOST_BYTES = 256 * 2**20
"""Of a file's text. What is made of it takes up to ten times as much memory."""

app = new_app()


@app.command("reconcile")
def reconcile(
    *,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="As upstreams name it: openai, anthropic, …")],
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Its export.")],
    tolerance: Annotated[str, typer.Option(help="Exit 1 where more of the provider's sum is unexplained.")] = "0.5%",
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = "UTC",
    apply: Annotated[
        bool, typer.Option("--apply", help="Write corrections of unconfirmed entries that the file settles.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="FILE is filtered by nothing: calls that it has nothing of cost nothing.")
    ] = False,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """Compare with the provider's own figures, by day, model and line; name what makes the difference, and what nothing does.

    FILE is what the console or the cost API of OpenAI, Anthropic or OpenRouter exports (CSV, or JSON: several pages as a list),
    AWS's Cost and Usage Report or Cost Explorer's CSV, Google Cloud's billing export (JSON of BigQuery, or CSV), Azure's cost
    details (CSV), or any provider's FOCUS CSV; compressed by gzip or zip, too. --timezone: whose days the provider counts.
    --apply corrects calls that stand at their ceilings, where the file leaves no doubt what they cost: sums, budgets and
    metrics follow, in a server that runs too. A file may have been filtered by a project, key or model: what it has nothing of
    is settled with --whole alone.
    """
    with exit_on_problem(form):
        most, now = tolerance_of(tolerance), now_s()
        text = _text_of(file)
        if (remote := server_of(server)) is not None:
            report, share = _asked_there(
                remote,
                text,
                apply=apply,
                whole=whole,
                provider=provider,
                file=file.name,
                since=since,
                until=until,
                tz=zone,
            )
            answer(report, form)
            if share > most:
                raise fail(f"more than {tolerance} is unexplained")
            return
        settings = config_of(config)
        question = ReconcileQuestion(
            provider,
            text,
            moment(since, now, zone_named(zone)) if since else None,
            moment(until, now, zone_named(zone)) if until else None,
            zone_named(zone),
            apply,
            int(file.stat().st_mtime * 1e6),
            whole,
        )
        with opened(settings) as engine:
            reconciled = reconcile_answer(engine, priced_by(settings, load_book()), question, int(now * 1e6))
            keep_reconciliation(engine, reconciled.run._replace(file=file.name))
            if apply and reconciled.corrections:
                write_corrections(settings, engine, reconciled.corrections, "reconcile")
    answer(reconciled.answer, form)
    if reconciled.share > most:
        raise fail(f"more than {tolerance} is unexplained")


def _text_of(file: Path) -> str:
    """What stands in a file, which may be compressed by gzip or zip, as clouds deliver their reports. Exits where that is no
    text, or more than `_MOST_BYTES`."""
    try:
        with file.open("rb") as raw:
            head = raw.peek(len(_ZIP))[: len(_ZIP)]  # not read: a pipe has no way back
            if head.startswith(_GZIP):
                with gzip.open(raw) as unpacked:
                    content = unpacked.read(_MOST_BYTES + 1)
            elif head == _ZIP:
                content = _only_file_in(file, raw)
            else:
                content = raw.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            most = f"{_MOST_BYTES // 2**20} MiB"
            raise fail(
                f"{file} is more than {most} of text; export fewer days, or sums by day and model, and compare that", 2
            )
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, BadZipFile, RuntimeError) as error:
        raise fail(f"{file} cannot be read as UTF-8 text: {error}", 2) from None


def _only_file_in(file: Path, raw: BinaryIO) -> bytes:
    """Of a zip archive, as portals deliver exports, no more than tells that it is too much. Exits where it has several."""
    with ZipFile(raw if raw.seekable() else BytesIO(raw.read(_MOST_BYTES + 1))) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise fail(f"{file} has {len(names)} files ({', '.join(names[:5])}); unpack it and compare one of them", 2)
        with archive.open(names[0]) as unpacked:
            return unpacked.read(_MOST_BYTES + 1)


def _asked_there(
    server: Server, text: str, *, apply: bool, whole: bool, **question: str | None
) -> tuple[Answer, Fraction]:
    """The comparison as a server makes it, with the file compressed: an export repeats itself."""
    if apply:
        raise fail("--apply works beside the server, not through --server", 2)
    packed = base64.b64encode(gzip.compress(text.encode())).decode()
    # Servers of before 2026-12 know no `whole`.
    asked = question | {"whole": True} if whole else question
    content = server.post("/api/reports/reconcile", **asked, text_gzip=packed)
    try:
        return printed(ReconcileShown.model_validate(content))
    except ValueError:
        raise server.unexpected("it sent other JSON") from None
