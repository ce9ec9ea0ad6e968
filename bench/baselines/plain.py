"""What the baselines have in common: their event, and the check of what they left on the disk."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from bench.workload import Workload, expected_types

__all__ = ["Event", "VerificationError", "new_id", "new_session", "now_us", "verify"]


class Event(NamedTuple):
    """One event as an ordinary program would keep it."""

    id: str
    session_id: str
    sequence: int
    """Place in its session, from 1."""
    type: str
    timestamp: int
    """Microseconds since the epoch."""
    run_id: str | None
    data: dict[str, Any]


class VerificationError(Exception):
    """What is on the disk is not what the sessions wrote."""


def new_id() -> str:
    """Return a new id as most programs draw it."""
    return uuid.uuid4().hex


def now_us() -> int:
    """Return the present instant in microseconds since the epoch."""
    return time.time_ns() // 1000


def new_session(draw: Callable[[], str] = new_id) -> tuple[str, str]:
    """Return the ids of a new session and of its run."""
    return f"ses_{draw()}", f"run_{draw()}"


def verify(stored: Iterable[tuple[str, int, str]], work: Workload, sessions: int) -> None:
    """Check that each session's events are stored, whole and without a gap.

    Args:
        stored: Session id, sequence number and type of every stored event, by session and number.
        work: The work of one session.
        sessions: Sessions which were told that all is stored.

    Raises:
        VerificationError: An event is missing, doubled, out of place, or there are others.
    """
    expected = expected_types(work)
    last = len(expected)
    current, number, whole = "", last, 0
    for session_id, sequence, kind in stored:
        if session_id != current:
            if number != last:
                raise VerificationError(f"session {current} ends after {number} of {last} events")
            current, number = session_id, 0
        number += 1
        if sequence != number or number > last or kind != expected[number - 1]:
            raise VerificationError(f"session {session_id}: found {sequence} {kind} in place {number}")
        whole += number == last
    if number != last or whole != sessions:
        raise VerificationError(f"{whole} of {sessions} sessions are whole on the disk")
