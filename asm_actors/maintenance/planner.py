"""What follows from a retention policy: which sessions are due for what, and which of their events go. Pure.

1. The steps come in this order: soft deletion, deletion for good, pruning of single sessions, pruning for the sake
   of the whole. So no event is pruned of a session that goes anyway, and what is deleted softly by a step is not
   deleted for good by the next one.
2. A session with an exempt tag is never touched. One with open runs is not either; who carries this out sees to it.
3. Events go in two rounds: first those of the types that are named as expendable, oldest first; then, if that was
   not enough, others, oldest first; never the essential ones. So a session may keep more events than its bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from asm_actors.events import EventType
from asm_actors.maintenance.policy import ESSENTIAL, RetentionPolicy
from asm_actors.sessions.session import Session

__all__ = ["DAY_US", "Surplus", "due_for_hard_delete", "due_for_soft_delete", "is_exempt", "surplus_of"]

DAY_US: Final = 86_400_000_000
"""Microseconds of a day."""


def is_exempt(policy: RetentionPolicy, session: Session) -> bool:
    """Tell whether a session is not to be touched at all."""
    return not policy.exempt_tags.isdisjoint(session.tags)


def due_for_soft_delete(policy: RetentionPolicy, session: Session, now: int) -> bool:
    """Tell whether a session is old enough to be deleted softly.

    Args:
        policy: what is kept.
        session: its record.
        now: microseconds since the epoch.
    """
    if session.deleted_us is not None or session.status in policy.exempt_statuses:
        return False
    if is_exempt(policy, session):
        return False
    return _is_older(session.created_us, policy.max_session_age_days, now) or _is_older(
        session.updated_us, policy.max_completed_session_age_days, now
    )


def due_for_hard_delete(policy: RetentionPolicy, session: Session, now: int) -> bool:
    """Tell whether a session was deleted softly long enough ago to go for good."""
    if session.deleted_us is None or is_exempt(policy, session):
        return False
    return _is_older(session.deleted_us, policy.hard_delete_after_days, now)


def _is_older(since_us: int, days: int | None, now: int) -> bool:
    return days is not None and now - since_us > days * DAY_US


class Surplus(NamedTuple):
    """Events of one session that may go, as sequence numbers, the one to go first first."""

    expendable: list[int]
    """Of the types that go first."""
    other: list[int]
    """Of other types; to be taken only when no expendable one is left."""

    def after(self, sequence: int) -> Surplus:
        """Return those behind a sequence number."""
        return Surplus(
            [number for number in self.expendable if number > sequence],
            [number for number in self.other if number > sequence],
        )

    def first(self, count: int) -> list[int]:
        """Return those that go if `count` are to go, in order of their sequence numbers."""
        return sorted((self.expendable + self.other)[:count])


def surplus_of(policy: RetentionPolicy, events: Iterable[tuple[int, EventType]]) -> tuple[Surplus, int]:
    """Look at the events of a session and find those that may go.

    Args:
        policy: what is kept.
        events: sequence number and type of each, oldest first.

    Returns:
        What may go, and how many events there are.
    """
    first = frozenset(policy.prune_event_types_first)
    found = Surplus([], [])
    count = 0
    for sequence, kind in events:
        count += 1
        if kind in first:
            found.expendable.append(sequence)
        elif kind not in ESSENTIAL:
            found.other.append(sequence)
    return found, count
