"""`asm transcript` and `asm fork`: a session's conversation as of any event, and another one from there.

A fork is a write, and a journal has one writer. While a process holds it, that process makes the fork; if nobody does,
this command becomes the writer for a moment and leaves the same event and record that a live fork leaves.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

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
from asm_actors.cli.text import printable
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.ids import RandomIds
from asm_actors.journal.append import Append
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.sessions.forking import fork_of
from asm_actors.sessions.session import Session
from asm_actors.sessions.session_drafts import creation_data, session_draft
from asm_actors.transcripts.message import Message, MessageRole
from asm_actors.transcripts.reading import read_transcript
from asm_actors.transcripts.truncation import Truncation

__all__ = ["fork", "transcript"]

_AT = click.IntRange(min=1)


@click.command(short_help="Show a session as a conversation.")
@click.argument("session")
@journal_option
@click.option(
    "--at", type=_AT, metavar="N", help="As it was with event N of the session; by default as it is now."
)
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N messages.")
@json_option
def transcript(session: str, journal: Path, at: int | None, last: int | None, as_json: bool) -> None:
    """Show what was said in SESSION, as messages: one after the other, whatever they were streamed as.

    Works also while another process writes the journal.
    """
    with open_for_reading(journal) as store:
        found = read_transcript(store, session, at=at, truncation=Truncation(max_messages=last))
    for message in found.messages:
        if as_json:
            echo_json(message.to_map())
        else:
            click.echo(_message_text(message))
    if not found.messages and not as_json:
        click.echo("nothing was said", err=True)


def _message_text(message: Message) -> str:
    if message.tool_name is not None or message.tool_call_id is not None:
        is_call = message.role is MessageRole.ASSISTANT
        value = message.tool_input if is_call else message.tool_output
        told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        name = printable(message.tool_name or message.tool_call_id or "")
        text = f"{'calls' if is_call else 'answer of'} {name}: {printable(told)}"
    else:
        text = printable(message.content) + (" …" if message.is_partial else "")
    return f"{click.style(f'{message.role.value:>9}', bold=True)}  {text}"


@click.command(short_help="Make a session that begins with the history of another one.")
@click.argument("session")
@journal_option
@click.option(
    "--at", type=_AT, metavar="N", help="The last event they share; by default the session's last one."
)
@click.option("--id", "chosen", metavar="ID", help="The new session's id.")
@json_option
def fork(session: str, journal: Path, at: int | None, chosen: str | None, as_json: bool) -> None:
    """Make a session that begins with the history of SESSION up to one of its events.

    Nothing is copied, and SESSION stays as it is. A fork of a process that is alive is made there; this command then
    names that process.
    """
    with open_for_reading(journal) as store:
        store.head(session)  # refuses one that is not there, and makes no journal where there is none
    made = _fork(journal, session, at, chosen)
    if as_json:
        echo_json(made.to_map())
        return
    click.echo(
        f"{made.id} begins with events 1 to {made.forked_at} of {session}; "
        f"see it with: {hint(f'transcript {made.id}', journal)}"
    )


def _fork(journal: Path, session: str, at: int | None, chosen: str | None) -> Session:
    store = LmdbStore(journal)
    try:
        store.open()
    except AsmError as error:
        if error.code is ErrorCode.JOURNAL_LOCKED:
            raise _held(error, journal, session, at) from error
        raise
    try:
        return make_fork(store, session, at, chosen, time.time_ns() // 1000)
    except AsmError as error:
        raise failure_of(error, journal) from error
    finally:
        store.close()


def _held(error: AsmError, journal: Path, session: str, at: int | None) -> Failure:
    pid = error.details.get("pid")
    who = "another process" if pid is None else f"the process with pid {pid}"
    place = "" if at is None else f", at={at}"
    return Failure(
        f"the journal at {journal} is held by {who}: fork it there with"
        f' system.sessions.fork_session("{session}"{place}), or stop that process and repeat this command'
    )


def make_fork(store: LmdbStore, session_id: str, at: int | None, chosen: str | None, now: int) -> Session:
    """Fork a session of a journal that this process alone holds; durable when it returns.

    Args:
        store: open for writing.
        session_id: the parent.
        at: sequence number of the last event that is shared; None: the parent's last one.
        chosen: the fork's id, if the user chose it.
        now: microseconds since the epoch.

    Returns:
        The fork's record.

    Raises:
        AsmError: what cannot be forked so, or an id that is taken; nothing was changed.
    """
    ids = RandomIds()
    if chosen is not None and store.has_session(chosen):
        raise AsmError(ErrorCode.ALREADY_EXISTS, f"there is a session {chosen} already; choose another id")
    wanted = Session.new(
        id=ids.session() if chosen is None else chosen, now=now, agent_id="-", parent_session_id=session_id
    )
    made = fork_of(store, wanted, at, frozenset())
    draft = session_draft(made, EventType.SESSION_FORKED, now, creation_data(made))
    answer = store.commit([Append(made.id, [draft], ids.block(), made, (), made.forked_at)])[0]
    if isinstance(answer, AsmError):
        raise answer
    return made.replace(last_sequence=answer.first_sequence)
