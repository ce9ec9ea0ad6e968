"""`asm demo`: see the whole thing work, without a key and without the network."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from asm_actors.cli.common import echo_json, hint, json_option
from asm_actors.cli.demo_work import Demo, Progress, Report, percentile
from asm_actors.cli.text import printable
from asm_actors.errors import AsmError
from asm_actors.providers.anthropic import AnthropicProvider

__all__ = ["demo"]

_URN: Final = re.compile(r" \(urn:[^)]*\)")
_TICK_S: Final = 0.1
_LINE_EVERY_S: Final = 0.5
_QUESTION: Final = "In at most twenty words: why should an AI agent's events be durable?"
_ANSWER_TOKENS: Final = 100
_ANSWER_DEADLINE_S: Final = 20.0


@click.command(short_help="See it all work: no key, no network.")
@click.option(
    "--sessions", type=click.IntRange(10, 20_000), default=300, show_default=True, help="How many at once."
)
@click.option(
    "--journal",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ASM_JOURNAL",
    metavar="DIR",
    help="The journal's directory; by default a fresh one below var/demo.",
)
@click.option("--seed", type=int, help="Of everything that is left to chance.")
@json_option
@click.option("--no-progress", is_flag=True, help="Only the summary.")
def demo(sessions: int, journal: Path | None, seed: int | None, as_json: bool, no_progress: bool) -> None:
    """Run some hundreds of sessions at once, cancel a few, crash a provider, and count what came out.

    The sessions talk to a provider that plays scripts. With ANTHROPIC_API_KEY set, Claude gives one short answer too.
    """
    where = _fresh() if journal is None else journal
    claude = None
    if os.environ.get("ANTHROPIC_API_KEY"):
        claude = AnthropicProvider(max_tokens=_ANSWER_TOKENS, timeout=_ANSWER_DEADLINE_S)
    chosen = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    work = Demo(where, sessions, chosen, claude)
    display = _display(work.progress, quiet=no_progress or as_json)
    with _crashes_to(display):
        report, answer = asyncio.run(_run(work, display, asks=claude is not None, as_json=as_json))
    if as_json:
        echo_json({**report.to_map(), "seed": chosen, "real_answer": answer})
    else:
        _print_summary(report)


async def _run(work: Demo, display: _Display, *, asks: bool, as_json: bool) -> tuple[Report, Any]:
    async with work:
        showing = asyncio.create_task(_show(work.progress, display))
        try:
            with display:
                report = await work.work()
        finally:
            showing.cancel()
        answer = await _real_answer(work, as_json) if asks else None
    return report, answer


async def _show(progress: Progress, display: _Display) -> None:
    while True:
        display.show(progress)
        await asyncio.sleep(_TICK_S)


async def _real_answer(work: Demo, as_json: bool) -> Any:
    """One answer of the real model. That it does not come spoils nothing."""
    pieces: list[str] = []

    def say(piece: str) -> None:
        pieces.append(piece)
        if not as_json:
            click.echo(printable(piece), nl=False)

    if not as_json:
        click.echo("\nClaude, asked why an agent's events should be durable: ", nl=False)
    try:
        await work.ask_claude(_QUESTION, _ANSWER_DEADLINE_S, say)
    except AsmError as error:
        text = printable(" ".join(error.message.split()))
        if not as_json:
            click.echo(f"\n(no answer: {text} [{error.code}]; all the rest needs no model)")
        return {"error": error.to_map()}
    if not as_json:
        click.echo()
    return {"content": "".join(pieces)}


def _fresh() -> Path:
    """A directory that is not there yet, named by the time."""
    name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = Path("var") / "demo"
    found = folder / name
    number = 1
    while found.exists():
        number += 1
        found = folder / f"{name}-{number}"
    return found


# --- While it runs ---------------------------------------------------------------------------------------------


class _Display(Protocol):
    """Shows progress between `with` and the end of it."""

    def __enter__(self) -> object: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def show(self, progress: Progress) -> None:
        """Show how far it is."""

    def note(self, text: str) -> None:
        """Show a line that stays."""


class _Silent:
    """Shows nothing."""

    def __enter__(self) -> object:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def show(self, progress: Progress) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _Lines(_Silent):
    """A line now and then, for logs and pipes."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LINE_EVERY_S
            click.echo(
                f"{progress.ended:,} of {progress.total:,} sessions over, {progress.events:,} events,"
                f" {progress.active_runs:,} runs under way, {progress.waiting_runs:,} wait for a slot"
            )

    def note(self, text: str) -> None:
        click.echo(f"! {text}")


class _Bar:
    """A live bar on a terminal."""

    def __init__(self, console: Console, total: int) -> None:
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("sessions"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(
                "{task.fields[events]:,} events, {task.fields[active]:,} runs, {task.fields[waiting]:,} wait"
            ),
            console=console,
        )
        self._task = self._bar.add_task("sessions", total=total, events=0, active=0, waiting=0)
        self._progress: Progress | None = None

    def __enter__(self) -> object:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._progress is not None:
            self.show(self._progress)
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        self._progress = progress
        self._bar.update(
            self._task,
            completed=progress.ended,
            events=progress.events,
            active=progress.active_runs,
            waiting=progress.waiting_runs,
        )

    def note(self, text: str) -> None:
        self._bar.console.print(f"[yellow]![/] {text}", highlight=False)


def _display(progress: Progress, *, quiet: bool) -> _Display:
    if quiet:
        return _Silent()
    console = Console()
    return _Bar(console, progress.total) if console.is_terminal else _Lines()


class _Notes(logging.Handler):
    """Shows what the tree reports, without the stack traces: this crash is meant."""

    def __init__(self, display: _Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.note(_URN.sub("", record.getMessage().splitlines()[0]))


@contextmanager
def _crashes_to(display: _Display) -> Iterator[None]:
    handler = _Notes(display)
    loggers = [logging.getLogger(name) for name in ("supervisors", "asm_actors")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


# --- When it is over -------------------------------------------------------------------------------------------


def _print_summary(report: Report) -> None:
    runs = ", ".join(f"{count:,} {status}" for status, count in report.runs.items())
    rate = report.events / report.wall_s
    per_commit = report.events / max(1, report.commits)
    rows = {
        "sessions": f"{report.sessions:,} at once, over in {report.wall_s:.2f} s",
        "runs": runs,
        "run slots": f"{report.slots_peak:,} of {report.slots:,} in use at the peak; the others waited in line",
        "provider restarts": f"{report.provider_restarts}; {report.retried} runs had said nothing and were tried again",
        "events": f"{report.events:,} ({rate:,.0f} a second), each on the disk before anybody saw it",
        "live subscriber": f"{report.events_seen:,} events, in order, without a gap",
        "commits": f"{report.commits:,}, about {per_commit:,.0f} events each",
        "session": f"p50 {percentile(report.session_ms, 50):,.0f} ms, p99 {percentile(report.session_ms, 99):,.0f} ms",
        "cancel": f"p99 {percentile(report.cancel_ms, 99):,.1f} ms until stopped and durable",
    }
    click.echo()
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows.items():
            table.add_row(name, value)
        console.print(table)
    else:
        for name, value in rows.items():
            click.echo(f"{name:<17}  {value}")
    click.echo(f"\nThe journal is at {report.journal}. Look into it:")
    for command in (
        "sessions",
        f"events {report.a_session}",
        "runs --status failed",
        "journal verify",
    ):
        click.echo(f"  {hint(command, report.journal)}")
