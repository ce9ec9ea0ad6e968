"""`asm run`: ask one question, print the answer as it arrives, keep it in the journal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from asm_actors.cli.common import (
    FAILED,
    INTERRUPTED,
    Failure,
    echo_json,
    failure_of,
    hint,
    journal_option,
    json_option,
)
from asm_actors.cli.text import printable
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.lmdb_presence import is_there
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.providers.anthropic import AnthropicProvider
from asm_actors.providers.base import Provider, TurnRequest, prompt_from_input
from asm_actors.providers.script import Script, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.run import Run
from asm_actors.sessions.manager import SessionManager
from asm_actors.system import ActorSystem

__all__ = ["run"]

_ENDS: Final = frozenset(
    {EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED, EventType.RUN_TIMEOUT}
)


@click.command(short_help="Ask a question; print and keep the answer.")
@click.argument("question")
@click.option(
    "--provider",
    type=click.Choice(["anthropic", "mock"]),
    default="anthropic",
    show_default=True,
    help="Who answers: Claude (needs ANTHROPIC_API_KEY), or a stand-in that needs nothing.",
)
@click.option("--model", help="The model; by default the provider's.")
@click.option("--system", "instructions", metavar="TEXT", help="Standing instructions for the model.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End the run as timeout after so long.",
)
@journal_option
@json_option
def run(
    *,
    question: str,
    provider: str,
    model: str | None,
    instructions: str | None,
    deadline: float | None,
    journal: Path,
    as_json: bool,
) -> None:
    """Ask QUESTION and print the answer as it arrives; "-" reads it from standard input.

    The answer and how it came about are kept in the journal. Ctrl-C cancels the run and keeps what had come.
    """
    if question == "-":
        question = sys.stdin.read().strip()
    if not question.strip():
        raise Failure("the question is empty")
    chosen = _provider(provider, model)
    _check_open_runs(journal, provider)
    context = {"system_prompt": instructions} if instructions else None
    with ActorSystem.start(journal, {provider: chosen}) as system:
        sessions = system.sessions
        session = sessions.start_session(agent_id="asm-run", context=context, tags=["asm-run"])
        sessions.activate_session(session.id)
        started = sessions.submit_run(
            session.id, {"messages": [{"role": "user", "content": question}]}, deadline=deadline
        )
        interrupted = _print_answer(sessions, started, as_json)
        _finish(sessions, started, journal, as_json, interrupted)


def _provider(name: str, model: str | None) -> Provider:
    if name == "mock":
        return ScriptedProvider(_stand_in, delay=0.02)
    chosen = AnthropicProvider(model) if model else AnthropicProvider()
    try:
        chosen.check()
    except AsmError as error:
        raise Failure(
            f"{error.message}; or try it without a key: {hint('run --provider mock QUESTION')}"
        ) from error
    return chosen


def _stand_in(request: TurnRequest) -> Script:
    asked = prompt_from_input(request.input)
    answer = (
        f"You asked: {asked}\n"
        "I am the stand-in: no model thought about this, but the run, its events and the journal are real."
    )
    return Script(text(answer, size=6))


def _check_open_runs(journal: Path, provider: str) -> None:
    """Refuse a journal whose open runs need a provider that this command does not have.

    Starting takes up what an earlier process left open: without their provider those runs would only be spoilt.
    """
    if not is_there(journal):
        return
    store = LmdbStore(journal, readonly=True)
    store.open()
    try:
        foreign = [run for run in store.open_runs() if _provider_of(store, run) != provider]
    finally:
        store.close()
    if foreign:
        raise Failure(
            f"the journal at {journal} has open runs of another program ({len(foreign)}, first {foreign[0].id}):"
            f" choose another --journal, start that program, or cancel them with:"
            f" {hint('cancel RUN', journal)}"
        )


def _provider_of(store: LmdbStore, run: Run) -> str | None:
    return run.provider or store.session(run.session_id).provider


def _print_answer(sessions: SessionManager, run: Run, as_json: bool) -> bool:
    """Print events as they become durable, up to the run's end.

    Returns:
        Whether the user broke it off.
    """
    interrupted = False
    cursor = 0
    while True:
        try:
            # A new one after Ctrl-C: what the old one was about to hand over may be lost with the call that waited.
            with sessions.subscribe(run.session_id, run_id=run.id, after=cursor) as subscription:
                for event in subscription:
                    cursor = event.sequence_number or cursor
                    _print_event(event, as_json)
                    if event.type in _ENDS:
                        return interrupted
        except KeyboardInterrupt:
            if interrupted:
                raise  # a second Ctrl-C does not wait; the next start finds the run and ends it
            interrupted = True
            sessions.cancel_run(run.id, reason="interrupted by the user")


def _print_event(event: Event, as_json: bool) -> None:
    if as_json:
        echo_json(event.to_map())
    elif event.type is EventType.MESSAGE_STREAMED:
        piece = str(event.data.get("content", ""))
        click.echo(printable(piece) if sys.stdout.isatty() else piece, nl=False)
    elif event.type is EventType.ERROR_OCCURRED and event.data.get("retry_in_s") is not None:
        message = printable(str(event.data.get("error_message", "")))
        click.echo(f"{message}; trying again in {event.data['retry_in_s']:.1f} s", err=True)


def _finish(sessions: SessionManager, run: Run, journal: Path, as_json: bool, interrupted: bool) -> None:
    """End the session like its run, and say how it went."""
    if not as_json:
        click.echo()
    final = sessions.get_run(run.id)
    try:
        result = sessions.await_run(run.id)
    except AsmError as error:
        if error.code is ErrorCode.CANCELLED:
            sessions.cancel_session(run.session_id, reason="run_cancelled")
        else:
            sessions.fail_session(run.session_id, error)
        _print_result(final, as_json)
        if interrupted:
            click.echo(f"cancelled; what had come is kept: {_show(run, journal)}", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from error
        failure = failure_of(error)
        raise Failure(
            f"{failure.message}; see: {_show(run, journal)}", failure.exit_code or FAILED
        ) from error
    sessions.complete_session(run.session_id)
    _print_result(final, as_json)
    if not as_json:
        used = result.token_usage
        tokens = f"{used.get('input_tokens', 0):,} tokens in, {used.get('output_tokens', 0):,} out"
        click.echo(click.style(f"{tokens}; see it again with: {_show(run, journal)}", dim=True), err=True)


def _print_result(run: Run, as_json: bool) -> None:
    if as_json:
        record: dict[str, Any] = run.to_map()
        echo_json({"type": "result", "run": record})


def _show(run: Run, journal: Path) -> str:
    return hint(f"show {run.id}", journal)
