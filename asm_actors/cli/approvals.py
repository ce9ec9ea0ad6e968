"""`asm approvals`: what somebody is asked about calls of tools, and to decide it from outside the process that asks.

A journal has one writer. While a process holds it, its questions are answered there, and this command says which
process it is. If nobody holds it, this command becomes the writer for a moment and puts the decision on record, with
the very code that a live session decides with; the run goes on by it at the next start.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from asm_actors.cli.common import (
    Failure,
    echo_json,
    failure_of,
    hint,
    json_option,
    open_for_reading,
)
from asm_actors.cli.locating import journal_option
from asm_actors.cli.text import printable, stamp
from asm_actors.effects import Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.ids import RandomIds
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.policies.approval import Approval, GrantScope
from asm_actors.redaction.making import redactor_of
from asm_actors.runs.messages import DenyApproval, GrantApproval
from asm_actors.runs.run import Run, RunStatus
from asm_actors.serialization import time_from_us
from asm_actors.sessions import core
from asm_actors.sessions.approval_operations import pending_of_runs
from asm_actors.sessions.loading import read_session
from asm_actors.sessions.queue import RunQueue
from asm_actors.sessions.recovery import interruptions
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import SessionState
from supervisors import Future

__all__ = ["approvals"]


@click.group(
    "approvals", short_help="List questions about calls of tools; grant or deny.", invoke_without_command=True
)
@journal_option
@json_option
@click.pass_context
def approvals(ctx: click.Context, journal: Path, as_json: bool) -> None:
    """List what somebody is asked about calls of tools, oldest first; grant or deny it.

    \b
        asm approvals
        asm approvals grant RUN --by alice --reason "looks right"
        asm approvals deny RUN CALL
    """  # noqa: D301 - click's mark before lines that are kept as they are
    if ctx.invoked_subcommand is not None:
        return
    with open_for_reading(journal) as store:
        found = pending_of_runs(store, store.open_runs())
    for asked in found:
        if as_json:
            echo_json(asked.to_map())
        else:
            _echo(asked)
    if not found and not as_json:
        click.echo("nobody is asked anything", err=True)


def _echo(asked: Approval) -> None:
    until = "" if asked.expires_us is None else f", denied at {stamp(time_from_us(asked.expires_us))}"
    head = f"{asked.run_id}  {asked.call_id}  {asked.tool_name}"
    click.echo(
        f"{printable(head)}  {click.style(f'asked {stamp(time_from_us(asked.asked_us))}{until}', dim=True)}"
    )
    click.echo(f"    {printable(asked.question or asked.violation_kind)}")
    click.echo(f"    {printable(json.dumps(asked.tool_input, ensure_ascii=False))}")


def _decision_options(command: Any) -> Any:
    for option in (
        json_option,
        click.option("--reason", metavar="TEXT", help="Why; it is kept with the decision."),
        click.option("--by", metavar="NAME", help="Who decides; by default the name of your account."),
        journal_option,
        click.argument("call", required=False),
        click.argument("run_id", metavar="RUN"),
    ):
        command = option(command)
    return command


@approvals.command("grant")
@_decision_options
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in GrantScope]),
    default=GrantScope.ONCE.value,
    show_default=True,
    help="This call, or all that are like it in the run or the session.",
)
@click.option(
    "--input", "edited", metavar="JSON", help="The arguments with which the call shall be made instead."
)
def grant(*, run_id: str, call: str | None, scope: str, edited: str | None, **given: Any) -> None:
    """Let a call be made about which RUN asks. CALL may be left out if it asks about one only."""
    tool_input = None if edited is None else _arguments(edited)
    _decide(
        run_id,
        call,
        lambda call_id, told: GrantApproval(run_id, call_id, scope=scope, tool_input=tool_input, **told),
        **given,
    )


@approvals.command("deny")
@_decision_options
def deny(*, run_id: str, call: str | None, **given: Any) -> None:
    """Have a call not made about which RUN asks: its model is told, and the run goes on."""
    _decide(run_id, call, lambda call_id, told: DenyApproval(run_id, call_id, **told), **given)


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(f"--input is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Failure("--input must be a JSON map of arguments")
    return found


def _decide(
    run_id: str,
    call: str | None,
    make: Any,
    *,
    journal: Path,
    by: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    with open_for_reading(journal) as store:
        run = store.run(run_id)
        asked = pending_of_runs(store, [run])
    call_id = _call_of(run, asked, call, journal)
    message = make(call_id, {"by": by or _account(), "reason": reason})
    store = LmdbStore(journal)
    try:
        store.open()
    except AsmError as error:
        if error.code is ErrorCode.JOURNAL_LOCKED:
            raise _held(error, journal, message) from error
        raise
    try:
        run = put_on_record(store, message, time.time_ns() // 1000)
    except AsmError as error:
        raise failure_of(error, journal) from error
    finally:
        store.close()
    if as_json:
        echo_json(run.to_map())
    else:
        done = "granted" if type(message) is GrantApproval else "denied"
        told = (
            "the run goes on when its program is started"
            if not run.is_terminal
            else f"the run is {run.status}"
        )
        click.echo(f"{done}: call {printable(call_id)} of run {run.id}; {told}")


def _call_of(run: Run, asked: list[Approval], call: str | None, journal: Path) -> str:
    ids = [one.call_id for one in asked]
    if call is not None and call in ids:
        return call
    if call is None and len(ids) == 1:
        return ids[0]
    if not ids:
        raise Failure(f"run {run.id} is {run.status} and asks nothing; see: {hint('approvals', journal)}")
    raise Failure(f"say about which call of run {run.id} you decide: {', '.join(ids)}")


def _account() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # there may be no account of that number
        return None


def _held(error: AsmError, journal: Path, message: GrantApproval | DenyApproval) -> Failure:
    pid = error.details.get("pid")
    who = "another process" if pid is None else f"the process with pid {pid}"
    name = "grant_approval" if type(message) is GrantApproval else "deny_approval"
    return Failure(
        f"run {message.run_id} belongs to {who}, which holds the journal at {journal}: decide there with"
        f' system.sessions.{name}("{message.run_id}", "{message.tool_call_id}"), or stop that process and repeat this'
        " command"
    )


def put_on_record(store: LmdbStore, message: GrantApproval | DenyApproval, now: int) -> Run:
    """Decide a question of a run in a journal that this process alone holds; durable when it returns.

    Args:
        store: Open for writing.
        message: The decision.
        now: Microseconds since the epoch.

    Returns:
        The run's record.

    Raises:
        AsmError: It is refused; nothing was changed.
    """
    assert message.run_id is not None
    run = store.run(message.run_id)
    if run.status is not RunStatus.AWAITING_APPROVAL:
        # What else it was doing when its process ended only its own program can look after.
        raise AsmError(
            ErrorCode.INVALID_OPERATION,
            f"run {run.id} was {run.status.value} when its process ended: start its program, which takes it up,"
            " and decide there",
        )
    loaded = read_session(store, run.session_id, None)
    loaded = loaded._replace(runs=(run,))
    state = SessionState(loaded.session, None, RunQueue(None))
    core.step(state, loaded, now)  # what follows from its being there is for the next start
    effects = core.step(state, _redacted(message), now, Future())
    # The next start takes it up, and shall not count that as a crash.
    writes = [effect for effect in (*effects, *interruptions(state, now)) if type(effect) is Write]
    drafts: list[Draft] = [draft for write in writes for draft in write.drafts]
    runs = {one.id: one for write in writes for one in write.runs}
    changed: Session | None = next((write.session for write in reversed(writes) if write.session), None)
    answer = store.commit(
        [Append(run.session_id, drafts, RandomIds().block(), changed, tuple(runs.values()), None)]
    )[0]
    if isinstance(answer, AsmError):
        raise answer
    return runs.get(run.id, run)


def _redacted(message: GrantApproval | DenyApproval) -> GrantApproval | DenyApproval:
    redactor = redactor_of(True, (), os.environ)
    if redactor is None:
        return message
    changes: dict[str, Any] = {}
    if message.reason is not None:
        changes["reason"] = redactor.text(message.reason)
    if message.by is not None:
        changes["by"] = redactor.text(message.by)
    if isinstance(message, GrantApproval) and isinstance(message.tool_input, Mapping):
        changes["tool_input"] = redactor.map(dict(message.tool_input))
    return message._replace(**changes)
