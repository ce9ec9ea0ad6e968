"""Repairing the records of sessions and runs: from their copies in the log, else from their events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from asm_actors.errors import AsmError
from asm_actors.events import Event, EventType
from asm_actors.journal.codec import (
    events_of,
    pack_run,
    pack_session,
    unpack_run,
    unpack_segment,
    unpack_session,
)
from asm_actors.journal.holes import NOBODY
from asm_actors.journal.lmdb_layout import (
    LOG,
    META,
    NAMES,
    RESUME_KEY,
    RUN_ID,
    RUNS,
    SESSION_ID,
    SESSIONS,
    name_key,
    number_key,
    number_of,
    pair_key,
)
from asm_actors.journal.lmdb_mending import Mending, readable
from asm_actors.journal.lmdb_rewrite import Contents
from asm_actors.journal.query import EventFilter
from asm_actors.journal.replay import fold_run, fold_session
from asm_actors.journal.replay_check import contradictions
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = [
    "mend_by_events",
    "mend_lost_runs",
    "mend_lost_sessions",
    "restore_records",
    "take_out_ownerless_runs",
]

_BEGINNINGS: Final = (EventType.SESSION_CREATED, EventType.SESSION_FORKED)
_EVERYTHING: Final = EventFilter()


def restore_records(mending: Mending) -> tuple[set[int], set[int]]:
    """Settle what was not, and take the newest copy in the log for records that are damaged or missing.

    Returns:
        The numbers of sessions and of runs that are known to have been there, and of which no copy is left.
    """
    bad = {
        SESSIONS: _damaged(mending, SESSIONS, unpack_session),
        RUNS: _damaged(mending, RUNS, unpack_run),
    }
    resume = mending.get(META, RESUME_KEY) or pair_key(0, 0)
    there = {table: {number_of(key) for key in mending.keys(table)} - bad[table] for table in bad}
    gone = mending.erased()
    newest: dict[tuple[str, int], tuple[bytes, bool]] = {}
    seen: dict[str, set[int]] = {SESSIONS: set(), RUNS: set()}
    for key in mending.keys(LOG):
        block = mending.get(LOG, key)
        assert block is not None
        contents = Contents.of(block, key)
        seen[SESSIONS].update(part.number for part in contents.segments if part.number != NOBODY)
        for table, parts in ((SESSIONS, contents.sessions), (RUNS, contents.runs)):
            for part in parts:
                if part.owner in gone:
                    continue
                seen[table].add(part.number)
                if part.number not in there[table] or key >= resume:
                    newest[table, part.number] = (part.blob, key >= resume)
    seen[SESSIONS] -= gone
    for (table, number), (blob, is_unsettled) in newest.items():
        mending.put(table, number_key(number), blob)
        if number in bad[table] or not (is_unsettled or number in there[table]):
            mending.tell(f"{table}: the record {number} was restored from its newest copy in {LOG}")
        there[table].add(number)
    return (
        (seen[SESSIONS] | bad[SESSIONS]) - there[SESSIONS],
        (seen[RUNS] | bad[RUNS]) - there[RUNS],
    )


def _damaged(mending: Mending, table: str, unpack: Callable[..., Any]) -> set[int]:
    """Set damaged records aside, and return their numbers."""
    bad: set[int] = set()
    for key in mending.keys(table):
        blob = mending.get(table, key)
        assert blob is not None
        try:
            readable(unpack, blob, table, number_of(key[:8]) if len(key) >= len(number_key(0)) else key)
        except AsmError as error:
            mending.set_aside(table, key, error.message, blob)
            mending.delete(table, key)
            if len(key) == len(number_key(0)):
                bad.add(number_of(key))
    return bad


# --- From events


def _events(mending: Mending, number: int, session_id: str) -> list[Event]:
    """Read what a session has itself."""
    events: list[Event] = []
    for locator in mending.tables.locators(number):
        block = mending.get(LOG, locator.block)
        assert block is not None
        blob = block[locator.offset : locator.offset + locator.length]
        segment = unpack_segment(blob, LOG, locator.block)
        events += events_of(segment, session_id, locator.first_position, (0, len(segment.codes)), _EVERYTHING)
    return events


def mend_lost_sessions(mending: Mending, lost: set[int]) -> None:
    """Make records of sessions that have events, and none any more; the locators must be right by now."""
    for number in sorted(lost):
        name = mending.named(SESSION_ID, number) or _name_by_runs(mending, number)
        session_id = name or f"recovered_session_{number}"
        events = _events(mending, number, session_id)
        if not events and name is None:
            mending.give_up(f"{SESSIONS}: the record {number} is lost with its name; it has no events")
            continue
        session = _session_from(session_id, events)
        mending.put(SESSIONS, number_key(number), pack_session(session))
        mending.put(NAMES, name_key(SESSION_ID, session_id), number_key(number))
        mending.tell(f"{SESSIONS}: the record {number} was rebuilt from {len(events)} events of {session_id}")
        mending.give_up(
            f"{SESSIONS}: what no event of {session_id} tells is lost: context, tags, metadata"
            + ("" if name else ", and its name")
        )


def _name_by_runs(mending: Mending, number: int) -> str | None:
    """Find a session's id in the copies of its runs."""
    for key in mending.keys(LOG):
        block = mending.get(LOG, key)
        assert block is not None
        for part in Contents.of(block, key).runs:
            if part.owner == number:
                name: str = readable(unpack_run, part.blob, LOG, key).session_id
                return name
    return None


def take_out_ownerless_runs(mending: Mending) -> None:
    """Set runs aside whose session is not there; the sessions' names must be right by now."""
    for key in mending.keys(RUNS):
        blob = mending.get(RUNS, key)
        assert blob is not None
        run: Run = readable(unpack_run, blob, RUNS, number_of(key))
        if mending.get(NAMES, name_key(SESSION_ID, run.session_id)) is None:
            mending.set_aside(RUNS, key, f"its session {run.session_id} is not there", blob)
            mending.delete(RUNS, key)
            mending.give_up(
                f"{RUNS}: the run {run.id} was taken out: its session {run.session_id} is not there"
            )


def _session_from(session_id: str, events: list[Event]) -> Session:
    if events and events[0].type in _BEGINNINGS:
        return fold_session(events)
    first = events[0].timestamp_us if events else 0
    known = Session(session_id, "unknown", created_us=first, updated_us=first)
    return fold_session(events, known) if events else known


def mend_lost_runs(mending: Mending, lost: set[int]) -> None:
    """Make records of runs whose name is left, from their events."""
    for number in sorted(lost):
        run = _run_from(mending, number)
        if run is None:
            mending.give_up(f"{RUNS}: the record {number} is lost, and nothing tells what it was")
            continue
        mending.put(RUNS, number_key(number), pack_run(run))
        mending.tell(f"{RUNS}: the record {number} was rebuilt from the events of {run.id}")
        mending.give_up(f"{RUNS}: what no event of {run.id} tells is lost: its input, options and metadata")


def _run_from(mending: Mending, number: int) -> Run | None:
    name = mending.named(RUN_ID, number)
    if name is None:
        return None
    named = mending.get(NAMES, name_key(RUN_ID, name))
    if named is None or len(named) != len(pair_key(0, 0)):
        return None
    owner = number_of(named[8:16])
    if mending.get(SESSIONS, number_key(owner)) is None:
        return None
    session_id = mending.name_of(owner)
    events = [event for event in _events(mending, owner, session_id) if event.run_id == name]
    known = Run(id=name, session_id=session_id, created_us=events[0].timestamp_us if events else 0)
    return fold_run(events, known)


def mend_by_events(mending: Mending) -> None:
    """Rebuild records that their events contradict; locators, names and members must be right by now."""
    for key in mending.keys(SESSIONS):
        number = number_of(key)
        blob = mending.get(SESSIONS, key)
        assert blob is not None
        session: Session = unpack_session(blob, SESSIONS, number)
        events = _events(mending, number, session.id)
        if not events or events[0].type not in _BEGINNINGS:
            continue
        session = session.replace(last_sequence=mending.tables.head(number))
        if len(events) != session.last_sequence - (session.forked_at or 0):
            continue
        runs = dict(_runs_of(mending, number))
        if contradictions(session, runs.values(), events):
            _rebuild(mending, number, session, runs, events)


def _runs_of(mending: Mending, owner: int) -> Iterator[tuple[int, Run]]:
    for number in list(mending.tables.members(owner)):
        blob = mending.get(RUNS, number_key(number))
        if blob is not None:
            yield number, unpack_run(blob, RUNS, number)


def _rebuild(
    mending: Mending, number: int, session: Session, runs: dict[int, Run], events: list[Event]
) -> None:
    told = fold_session(events, session)
    changed = {
        run_number: fold_run([event for event in events if event.run_id == run.id], run)
        for run_number, run in runs.items()
        if contradictions(session, [run], [event for event in events if event.run_id in (None, run.id)])
    }
    left = contradictions(told, [changed.get(n, run) for n, run in runs.items()], events)
    if told.replace(last_sequence=session.last_sequence) != session:
        _put(mending, SESSIONS, number, pack_session, told)
    for run_number, run in changed.items():
        if run != runs[run_number]:
            _put(mending, RUNS, run_number, pack_run, run)
    for problem in left:
        mending.give_up(f"records: {problem}; the record was left as its events tell it")


def _put(mending: Mending, table: str, number: int, pack: Callable[..., bytes], told: Any) -> None:
    """Write a record as its events tell it."""
    blob = mending.get(table, number_key(number))
    assert blob is not None
    mending.set_aside(table, number_key(number), "its events contradict it", blob)
    mending.put(table, number_key(number), pack(told))
    mending.tell(f"{table}: the record {number} of {told.id} was rebuilt from its events")
