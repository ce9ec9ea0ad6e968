"""`asm run`: ask one question, print the answer as it arrives, keep it in the journal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import click
from attrs import evolve

from asm_actors.cli.common import (
    FAILED,
    INTERRUPTED,
    Failure,
    PositiveNumber,
    echo_json,
    failure_of,
    hint,
    json_option,
    open_for_reading,
)
from asm_actors.cli.configured import configuration, read_map
from asm_actors.cli.locating import config_option, journal_alone_option
from asm_actors.cli.showing import Shower, format_option, shower
from asm_actors.cli.text import printable
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.lmdb_presence import is_there
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.policies.policy import Policy
from asm_actors.providers.anthropic import AnthropicProvider
from asm_actors.providers.base import Provider, TurnRequest, prompt_from_input
from asm_actors.providers.script import Script, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.options import RunOptions, run_options
from asm_actors.runs.run import Run
from asm_actors.sessions.manager import SessionManager
from asm_actors.sessions.session import Session
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
    type=PositiveNumber(),
    metavar="SECONDS",
    help="End the run as timeout after so long.",
)
@click.option(
    "--continue",
    "continued",
    metavar="SESSION",
    help="Go on with the conversation of SESSION; of one that is over a fork is made.",
)
@click.option(
    "--max-cost",
    type=PositiveNumber(),
    metavar="USD",
    help="Cancel the run when it has cost more; the model's price must be known.",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What the run may do and use: the fields of a policy, TOML or JSON.",
)
@config_option
@journal_alone_option
@format_option("answer", "by default the answer alone.")
@json_option
def run(
    *,
    question: str,
    provider: str,
    model: str | None,
    instructions: str | None,
    deadline: float | None,
    continued: str | None,
    max_cost: float | None,
    policy_file: Path | None,
    config_file: Path | None,
    journal: Path,
    style: str | None,
    as_json: bool,
) -> None:
    """Ask QUESTION and print the answer as it arrives; "-" reads it from standard input.

    The answer and how it came about are kept in the journal. Ctrl-C cancels the run and keeps what had come.
    """
    if question == "-":
        question = sys.stdin.read().strip()
    if not question.strip():
        raise Failure("the question is empty")
    if continued is not None and instructions is not None:
        raise Failure("--system is for a new session: the one of --continue has its own instructions")
    show = shower(style, _print_piece, as_json=as_json)
    config = evolve(configuration(config_file)[0], journal=str(journal))
    options = _options(policy_file, max_cost, continued)
    chosen = _provider(provider, model or config.claude_default_model)
    _check_open_runs(journal, provider)
    if continued is not None:
        _check_session(journal, continued)
    with ActorSystem.from_config(config, {provider: chosen}) as system:
        sessions = system.sessions
        session = _session(sessions, continued, instructions)
        given = {"messages": [{"role": "user", "content": question}]}
        with _withdrawn_if_refused(sessions, session, is_new=session.id != continued):
            sessions.activate_session(session.id)
            started = sessions.submit_run(session.id, given, provider=provider, deadline=deadline, **options)
        interrupted = _print_answer(sessions, started, show)
        _finish(sessions, started, journal, show, interrupted, is_own=continued is None)


def _options(policy_file: Path | None, max_cost: float | None, continued: str | None) -> RunOptions:
    """What the run is to be like, beside what the settings say; checked before anything is made."""
    policies: list[Policy] = []
    try:
        if policy_file is not None:
            policies.append(Policy.from_map(read_map(policy_file, "the policy")))
        if max_cost is not None:
            policies.append(Policy(name="max-cost", limits={"max_cost_usd": max_cost}))
        options: RunOptions = {"policies": policies or None}
        if continued is not None:
            options["continuation"] = "auto"
        run_options(options)
    except AsmError as error:
        raise failure_of(error) from error
    return options


def _check_session(journal: Path, session_id: str) -> None:
    """Refuse a session that is not there, or was deleted, before anything is written."""
    with open_for_reading(journal) as store:
        if store.session(session_id).deleted_us is not None:
            others = hint("sessions", journal)
            raise Failure(
                f"session {session_id} was deleted and does not go on; ask without --continue, "
                f"or choose another one: {others}"
            )


@contextmanager
def _withdrawn_if_refused(sessions: SessionManager, session: Session, *, is_new: bool) -> Iterator[None]:
    """End a session that was made for a run which is refused: nobody would ever use it."""
    try:
        yield
    except AsmError:
        if is_new:
            with suppress(AsmError):  # what was refused is told, and not this
                sessions.cancel_session(session.id, reason="run_refused")
        raise


def _session(sessions: SessionManager, continued: str | None, instructions: str | None) -> Session:
    """Make a session, or a fork of one that is over, or find the one to go on with."""
    if continued is None:
        context = {"system_prompt": instructions} if instructions else None
        return sessions.start_session(agent_id="asm-run", context=context, tags=["asm-run"])
    known = sessions.get_session(continued)
    if known.is_terminal:
        known = sessions.fork_session(continued)
        told = f"{continued} is over: this goes on in its fork {known.id}"
        click.echo(click.style(told, dim=True), err=True)
    return known


def _provider(name: str, model: str) -> Provider:
    if name == "mock":
        return ScriptedProvider(_stand_in, delay=0.02)
    chosen = AnthropicProvider(model)
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


def _print_answer(sessions: SessionManager, run: Run, show: Shower) -> bool:
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
                    show(event)
                    if event.type is EventType.TOOL_APPROVAL_REQUESTED:
                        _decide(sessions, event)
                    if event.type in _ENDS:
                        return interrupted
        except KeyboardInterrupt:
            if interrupted:
                raise  # a second Ctrl-C does not wait; the next start finds the run and ends it
            interrupted = True
            sessions.cancel_run(run.id, reason="interrupted by the user")


def _decide(sessions: SessionManager, event: Event) -> None:
    """Ask whoever sits there about a call of a tool; where nobody does, it is denied instead of waited for."""
    assert event.run_id is not None
    call_id = str(event.data.get("tool_call_id"))
    call = f"{event.data.get('tool_name')} {json.dumps(event.data.get('tool_input'), ensure_ascii=False)}"
    try:
        if not sys.stdin.isatty():
            sessions.deny_approval(event.run_id, call_id, by="asm run", reason="nobody is there to be asked")
        elif click.confirm(
            f"\n{printable(str(event.data.get('question') or ''))}\nallow {printable(call)}?", err=True
        ):
            sessions.grant_approval(event.run_id, call_id, by="asm run")
        else:
            sessions.deny_approval(event.run_id, call_id, by="asm run", reason="the user said no")
    except AsmError as error:
        if error.code is not ErrorCode.INVALID_OPERATION:  # decided meanwhile, or its time was over
            raise


def _print_piece(event: Event) -> None:
    if event.type is EventType.MESSAGE_STREAMED:
        piece = str(event.data.get("content", ""))
        click.echo(printable(piece) if sys.stdout.isatty() else piece, nl=False)
    elif event.type is EventType.ERROR_OCCURRED and event.data.get("retry_in_s") is not None:
        message = printable(str(event.data.get("error_message", "")))
        click.echo(f"{message}; trying again in {event.data['retry_in_s']:.1f} s", err=True)


def _finish(
    sessions: SessionManager, run: Run, journal: Path, show: Shower, interrupted: bool, *, is_own: bool
) -> None:
    """Say how it went, and end the session like its run if it was made for this run."""
    as_json = show.as_json
    show.end()
    if show.is_plain:
        click.echo()
    final = sessions.get_run(run.id)
    try:
        result = sessions.await_run(run.id)
    except AsmError as error:
        if is_own and error.code is ErrorCode.CANCELLED:
            sessions.cancel_session(run.session_id, reason="run_cancelled")
        elif is_own:
            sessions.fail_session(run.session_id, error)
        _print_result(final, as_json)
        if interrupted:
            click.echo(f"cancelled; what had come is kept: {_show(run, journal)}", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from error
        failure = failure_of(error)
        raise Failure(
            f"{failure.message}; see: {_show(run, journal)}", failure.exit_code or FAILED
        ) from error
    if is_own:
        sessions.complete_session(run.session_id)
    _print_result(final, as_json)
    if not as_json:
        used = result.token_usage
        tokens = f"{used.get('input_tokens', 0):,} tokens in, {used.get('output_tokens', 0):,} out"
        cost = "" if result.cost_usd is None else f", ${result.cost_usd:.4f}"
        _warn(final)
        click.echo(
            click.style(f"{tokens}{cost}; see it again with: {_show(run, journal)}", dim=True), err=True
        )


def _warn(run: Run) -> None:
    """Say what its policy could not do."""
    metadata = (run.details.get("policy") or {}).get("metadata") or {}
    for warning in metadata.get("warnings") or ():
        if warning.get("warning") == "missing_cost_rates":
            models = ", ".join(warning.get("unpriced") or ())
            text = f"nobody knows what {models} costs, so no limit of cost counted; set pricing_table"
            click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {printable(text)}", err=True)


def _print_result(run: Run, as_json: bool) -> None:
    if as_json:
        record: dict[str, Any] = run.to_map()
        echo_json({"type": "result", "run": record})


def _show(run: Run, journal: Path) -> str:
    return hint(f"show {run.id}", journal)
