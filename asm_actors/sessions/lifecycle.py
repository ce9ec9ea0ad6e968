"""Part of a session's core: its own status, from creation to its end. Pure; rules in `sessions.state`."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

from asm_actors.effects import AcquireSlot, Effect, Leave, Note, Refuse, Reply, Then, Write
from asm_actors.errors import AsmError
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY
from asm_actors.normalization.provider_error import sign
from asm_actors.runs.messages import CancelRun
from asm_actors.serialization import invalid
from asm_actors.sessions import messages as m
from asm_actors.sessions.admission import begin_once
from asm_actors.sessions.ending_many import end_many
from asm_actors.sessions.limits import session_status
from asm_actors.sessions.open_runs import Closing, Ended
from asm_actors.sessions.pausing import hold_runs, release_runs
from asm_actors.sessions.session import SESSION_TRANSITIONS, SessionStatus
from asm_actors.sessions.session_drafts import creation_data, reason_data, session_draft, told_data
from asm_actors.sessions.state import (
    SESSIONS_POOL,
    Handler,
    SessionState,
    check_not_deleted,
    check_unborn,
    refusal,
)
from asm_actors.slot_keys import sessions_exceeded
from asm_actors.transitions import advance

__all__ = ["HANDLERS", "go_on_closing"]


def _create(state: SessionState, message: m.CreateSession, now: int, reply: Any) -> list[Effect]:
    check_unborn(state)
    session = message.session
    state.adopt(session)
    kind = EventType.SESSION_CREATED
    if session.forked_at is not None:
        # What it shares with its parent counts as its own.
        kind, state.head = EventType.SESSION_FORKED, session.forked_at
    draft = session_draft(session, kind, now, creation_data(session))
    return [Write((draft,), session, then=(Reply(reply, session),))]


def _get(state: SessionState, message: Any, now: int, reply: Any) -> list[Effect]:
    return [Write((), then=(Reply(reply, state.session),))]


def _get_status(state: SessionState, message: m.GetStatus, now: int, reply: Any) -> list[Effect]:
    return [Reply(reply, {**session_status(state), "subscribers": message.subscribers})]


def _activate(state: SessionState, message: Any, now: int, reply: Any) -> list[Effect]:
    told = told_data(message.reason, message.by) if type(message) is m.ResumeSession else None
    state.check_not_closing()
    if state.session.status is SessionStatus.ACTIVE:
        return [Write((), then=(Reply(reply, state.session),))]
    check_not_deleted(state, "make it active")
    if type(message) is m.ResumeSession and state.session.status is SessionStatus.PENDING:
        raise refusal(state, "resume a session that never was active; activate it")
    advance(SESSION_TRANSITIONS, state.session.status, SessionStatus.ACTIVE, "session", state.session.id)
    if state.activating is not None:
        state.activating.append(reply)
        return []
    state.activating, state.resuming = [reply], told
    return [AcquireSlot(SESSIONS_POOL)]


def _slot_granted(state: SessionState, message: m.SlotGranted, now: int, reply: Any) -> list[Effect]:
    state.holds_slot = True
    if state.once is not None:
        return begin_once(state, now)
    askers = state.activating
    if askers is None:
        # A session from the journal that was active before; or one that was ended while it waited for the slot.
        return state.start_next() if state.session.status is SessionStatus.ACTIVE else state.release_slot()
    state.activating = None
    was = state.session.status
    state.session = state.session.with_status(SessionStatus.ACTIVE, now)
    kind = EventType.SESSION_RESUMED if was is SessionStatus.PAUSED else EventType.SESSION_STARTED
    then = tuple(Reply(asker, state.session) for asker in askers)
    told, state.resuming = state.resuming, None
    draft = session_draft(state.session, kind, now, told or EMPTY)
    if was is not SessionStatus.PAUSED:
        return [Write((draft,), state.session, then=then), *state.start_next()]
    drafts, runs, more = release_runs(state, told or {}, now)
    return [Write((draft, *drafts), state.session, runs, then), *more, *state.start_next()]


def _slot_refused(state: SessionState, message: m.SlotRefused, now: int, reply: Any) -> list[Effect]:
    error = sessions_exceeded(state.session.id, message.full, message.in_use, message.limit)
    if state.once is not None:
        _, _, asker = state.once
        state.once = None
        state.session = state.session.with_status(SessionStatus.FAILED, now)
        draft = session_draft(state.session, EventType.SESSION_FAILED, now, error.to_payload())
        created = session_draft(state.session, EventType.SESSION_CREATED, now, creation_data(state.session))
        return [Write((created, draft), state.session, then=(Refuse(asker, error), Note(Ended())))]
    askers, state.activating = state.activating or [], None
    return [Refuse(asker, error) for asker in askers]


def _pause(state: SessionState, message: m.PauseSession, now: int, reply: Any) -> list[Effect]:
    state.check_not_closing()
    data = told_data(message.reason, message.by)
    if state.session.status is SessionStatus.PAUSED:
        # Whoever wanted to resume it was overtaken.
        effects = _give_up_activating(state, "resume it: it is to stay paused")
        return [*effects, Write((), then=(Reply(reply, state.session),))]
    check_not_deleted(state, "pause it")
    state.session = state.session.with_status(SessionStatus.PAUSED, now)
    draft = session_draft(state.session, EventType.SESSION_PAUSED, now, data)
    drafts, runs, more = hold_runs(state, message.by, now)
    write = Write((draft, *drafts), state.session, runs, (Reply(reply, state.session),))
    return [write, *more, *state.release_slot()]


def _give_up_activating(state: SessionState, what: str) -> list[Effect]:
    """Refuse those who wait for the session slot; when it is granted all the same it is given back."""
    askers, state.activating = state.activating or [], None
    if not askers:
        return []
    error = refusal(state, what)
    return [Refuse(asker, error) for asker in askers]


def _complete(state: SessionState, message: m.CompleteSession, now: int, reply: Any) -> list[Effect]:
    status = SessionStatus.COMPLETED
    if (
        state.session.status is not status
        and state.open
        and not message.cancel_runs
        and state.closing is None
    ):
        advance(SESSION_TRANSITIONS, state.session.status, status, "session", state.session.id)
        raise refusal(
            state,
            f"complete it: {len(state.open)} of its runs are open; wait for them, cancel them, "
            "or pass cancel_runs=True",
        )
    return _close(state, status, EventType.SESSION_COMPLETED, EMPTY, now, reply)


def _fail(state: SessionState, message: m.FailSession, now: int, reply: Any) -> list[Effect]:
    if not isinstance(message.error, AsmError):
        raise invalid("error", "must be an AsmError", message.error)
    error = copy.copy(message.error)  # it is the caller's
    sign(error, state.session.provider)
    data = error.to_payload()
    return _close(state, SessionStatus.FAILED, EventType.SESSION_FAILED, data, now, reply)


def _cancel(state: SessionState, message: m.CancelSession, now: int, reply: Any) -> list[Effect]:
    data = told_data(message.reason, message.by)
    return _close(state, SessionStatus.CANCELLED, EventType.SESSION_CANCELLED, data, now, reply)


def _close(
    state: SessionState, status: SessionStatus, kind: EventType, data: dict[str, Any], now: int, reply: Any
) -> list[Effect]:
    session = state.session
    if session.status is status:
        return [Write((), then=(Reply(reply, session),))]
    check_not_deleted(state, f"end it as {status.value}")
    advance(SESSION_TRANSITIONS, session.status, status, "session", session.id)
    if state.closing is not None:
        if state.closing.status is not status:
            raise refusal(
                state, f"end it as {status.value}: it is about to end as {state.closing.status.value}"
            )
        state.closing.askers.append(reply)
        return []
    state.closing = Closing(status, kind, data, [reply])
    state.completes_after = None
    return _give_up_activating(state, f"activate it: it is about to end as {status.value}")


def go_on_closing(state: SessionState, closing: Closing, now: int) -> list[Effect]:
    """Have the runs end of a session that is about to; end it when none of them is open."""
    effects: list[Effect] = []
    if not closing.is_told:
        closing.is_told = True
        told = partial(CancelRun, f"session_{closing.status.value}")
        effects = end_many(state, state.open.values(), told, now)
    return effects if state.open else effects + _closed(state, closing, now)


def _closed(state: SessionState, closing: Closing, now: int) -> list[Effect]:
    state.closing = None
    state.session = state.session.with_status(closing.status, now)
    draft = session_draft(state.session, closing.draft_type, now, closing.data)
    then: list[Then] = [Reply(asker, state.session) for asker in closing.askers]
    then.append(Note(Ended()))
    return [Write((draft,), state.session, then=then), *state.release_slot()]


def _ended(state: SessionState, message: Ended, now: int, reply: Any) -> list[Effect]:
    return [Leave()]


def _delete(state: SessionState, message: m.DeleteSession, now: int, reply: Any) -> list[Effect]:
    """Hide the session. Its status stays, so that one can see how far it had come."""
    data = reason_data(message.reason)
    if state.session.deleted_us is not None:
        return [Write((), then=(Reply(reply, state.session),))]
    state.check_not_closing()
    if state.open or state.once is not None:
        raise refusal(
            state,
            f"delete it: {max(len(state.open), 1)} of its runs are open; wait for them, or cancel the session first",
        )
    effects = _give_up_activating(state, "activate it: it was deleted")
    state.session = state.session.replace(deleted_us=now, updated_us=now)
    draft = session_draft(state.session, EventType.SESSION_DELETED, now, data)
    then = (Reply(reply, state.session), Note(Ended()))
    return [*effects, Write((draft,), state.session, then=then), *state.release_slot()]


HANDLERS: dict[type, Handler] = {
    m.CreateSession: _create,
    m.GetSession: _get,
    m.GetStatus: _get_status,
    m.ActivateSession: _activate,
    m.ResumeSession: _activate,
    m.PauseSession: _pause,
    m.CompleteSession: _complete,
    m.FailSession: _fail,
    m.CancelSession: _cancel,
    m.DeleteSession: _delete,
    m.SlotGranted: _slot_granted,
    m.SlotRefused: _slot_refused,
    Ended: _ended,
}
"""Message type -> its handler."""
