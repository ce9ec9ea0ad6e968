"""Whole trees of sessions: one message to a session and to all that belong to it, from the top down.

1. The root comes first; what it refuses is refused, and nothing below has changed. Each other refusal is an outcome of
   its own, and keeps nobody from the next.
2. The children of a session are read when its own turn is over: one that was made before that is not missed. One that
   is made later does not belong to it.
3. Those to which the message says nothing, since they are over or have not begun, are passed over; what is below them
   is not. Each session has its turn once, so a circle ends.
4. Each outcome is durable. A tree that is left half done, by a crash, is done by asking again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from asm_actors.errors import AsmError
from asm_actors.journal.store import Store
from asm_actors.services import Services
from asm_actors.sessions import messages as m
from asm_actors.sessions.delivery import deliver
from asm_actors.sessions.session import Session, SessionStatus
from supervisors import Actor

__all__ = ["Cascade", "carry_down", "children_of"]

T = TypeVar("T")
PAGE: Final = 100
"""Sessions that are read, and have their turns, at once."""

_OPEN: Final = frozenset({SessionStatus.PENDING, SessionStatus.ACTIVE, SessionStatus.PAUSED})
_BEGUN: Final = frozenset({SessionStatus.ACTIVE, SessionStatus.PAUSED})
_CONCERNED: Final[dict[type, frozenset[SessionStatus]]] = {
    m.CancelSession: _OPEN,
    m.FailSession: _OPEN,
    m.CompleteSession: _BEGUN,
    m.PauseSession: frozenset({SessionStatus.ACTIVE}),
    m.ResumeSession: frozenset({SessionStatus.PAUSED}),
    m.InterruptSession: _BEGUN,
}


class Cascade(NamedTuple):
    """Ask: tell a session and all below it.

    Answer: what became of each that was told, by id; of interrupted ones their runs, by id.
    """

    session_id: str
    """The root."""
    message: Any
    """What they are told: a message that ends, pauses, resumes or interrupts a session."""


def children_of(store: Store, session_id: str, after: str | None = None) -> list[Session]:
    """Read some of the sessions that name a session as the one they belong to, oldest first. Blocks.

    Args:
        store: The journal's.
        session_id: The session.
        after: Id of the child which those that are wanted follow.
    """
    return store.sessions(
        parent_session_id=session_id, include_deleted=True, limit=PAGE, after=after, newest_first=False
    )


def pages_of(store: Store, session_id: str) -> Iterator[list[Session]]:
    """Read all of them, some at a time. Blocks."""
    after: str | None = None
    while found := children_of(store, session_id, after):
        yield found
        after = found[-1].id


async def carry_down(actor: Actor, services: Services, request: Cascade, reply: Any) -> None:
    """Carry out a `Cascade`.

    Args:
        actor: Who does it, in a task of his.
        services: The system's.
        request: What is wanted.
        reply: The asker; None if nobody waits.
    """
    outcomes: dict[str, Any] = {}
    try:
        outcomes[request.session_id] = await deliver(services, request.session_id, request.message)
        await _carry_on(actor.blocking, services, request, outcomes)
    except AsmError as error:
        if reply is not None and not reply.is_done:
            reply.set_error(error)
        return
    if reply is not None and not reply.is_done:
        reply.set(_of_runs(outcomes) if type(request.message) is m.InterruptSession else outcomes)


def _of_runs(outcomes: dict[str, Any]) -> dict[str, Any]:
    """Put the runs of several sessions into one map, beside the refusals of sessions."""
    found: dict[str, Any] = {}
    for session_id, outcome in outcomes.items():
        found.update(outcome if isinstance(outcome, dict) else {session_id: outcome})
    return found


async def _carry_on(
    blocking: Callable[..., Any], services: Services, request: Cascade, outcomes: dict[str, Any]
) -> None:
    seen, level = {request.session_id}, [request.session_id]
    concerned = _CONCERNED[type(request.message)]
    while level:
        below: list[str] = []
        for parent in level:
            after: str | None = None
            while found := await blocking(children_of, services.store, parent, after):
                after = found[-1].id
                new = [child for child in found if child.id not in seen]
                seen.update(child.id for child in new)
                below += [child.id for child in new]
                told = {
                    child.id: deliver(services, child.id, request.message)
                    for child in new
                    if child.status in concerned and not child.is_deleted
                }
                for child_id, future in told.items():
                    try:
                        outcomes[child_id] = await future
                    except AsmError as error:
                        outcomes[child_id] = error
        level = below
