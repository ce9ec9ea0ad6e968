"""Where the history of a fork is: its parent's events up to the fork, then its own. Pure.

A fork shares history by reference: nothing is copied, and the events of its parent stay as they were recorded. Since a
parent may be a fork itself, the history of a session is a chain of parts. Each part costs one look at a record, and
only as many are looked at as reach back to where a reader begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from attrs import evolve

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.query import EventFilter
from asm_actors.serialization import check_integer
from asm_actors.sessions.session import Session

__all__ = ["Origin", "Part", "check_place", "origin_of", "parts_of", "read_lineage"]


class Origin(NamedTuple):
    """What a fork was forked from."""

    parent: str
    """The session whose history it shares."""
    at: int
    """The last sequence number that it shares."""


class Part(NamedTuple):
    """A stretch of a history: events of one session."""

    session_id: str
    """Whose events these are."""
    after: int
    """The sequence number after which they begin."""
    last: int | None
    """The last of them; None for the session's own end, which may still move."""


OriginOf = Callable[[str], Origin | None]
"""Gives the origin of a session; None if it is no fork. Raises ``session_not_found``."""


def origin_of(session: Session) -> Origin | None:
    """Return what a session was forked from, or None."""
    if session.forked_at is None or session.parent_session_id is None:
        return None
    return Origin(session.parent_session_id, session.forked_at)


def parts_of(session_id: str, after: int, origin: OriginOf) -> list[Part]:
    """Return where the events of a session after a sequence number are, oldest first.

    Args:
        session_id: the session.
        after: the sequence number after which the reader begins.
        origin: gives the origin of a session.

    Raises:
        ResourceError: ``session_not_found``.
        StorageError: ``storage_read_failed``: a session whose history it shares is missing.
    """
    parts: list[Part] = []
    last: int | None = None
    current = session_id
    while True:
        try:
            came_from = origin(current)
        except AsmError as error:
            if current == session_id or error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise
            raise _missing(session_id, current) from error
        begin = 0 if came_from is None else came_from.at
        if last is None or last > begin:
            parts.append(Part(current, max(after, begin), last))
        if came_from is None or begin <= after:
            parts.reverse()
            return parts
        last = begin if last is None else min(last, begin)
        current = came_from.parent


def read_lineage(
    session_id: str,
    wanted: EventFilter,
    origin: OriginOf,
    read_own: Callable[[str, EventFilter], list[Event]],
) -> list[Event]:
    """Read the wanted events of a session that may be a fork, in the order of their sequence numbers.

    Args:
        session_id: the session.
        wanted: which events; its bounds are sequence numbers.
        origin: gives the origin of a session.
        read_own: reads the events which a session has itself.

    Raises:
        ResourceError: ``session_not_found``.
        StorageError: ``storage_read_failed``: a session whose history it shares is missing, or cannot be read.
    """
    events: list[Event] = []
    before = wanted.before
    for name, after, last in parts_of(session_id, wanted.after or 0, origin):
        if before is not None and after + 1 >= before:
            break
        end = before if last is None or (before is not None and before <= last) else last + 1
        left = None if wanted.limit is None else wanted.limit - len(events)
        if left == 0:
            break
        try:
            events += read_own(name, evolve(wanted, after=after, before=end, limit=left))
        except AsmError as error:
            if name == session_id or error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise
            raise _missing(session_id, name) from error
    return events


def check_place(session_id: str, at: int, last: int) -> int:
    """Return a sequence number as of which something is asked, if the session has got there.

    Args:
        session_id: the session.
        at: the sequence number.
        last: that of the session's last event.

    Raises:
        ValidationError: it lies outside of 1 to ``last``; the message names the range.
    """
    if check_integer(at, "at", least=0) < 1 or at > last:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR,
            f"at must be a sequence number of {session_id}, from 1 to {last}, not {at}",
            details={"field": "at", "first": 1, "last": last},
            context={"session_id": session_id},
        )
    return at


def _missing(session_id: str, ancestor: str) -> AsmError:
    return AsmError(
        ErrorCode.STORAGE_READ_FAILED,
        f"the history of {session_id} begins in {ancestor}, which is not in the journal any more",
        details={"session_id": session_id, "missing": ancestor},
    )
