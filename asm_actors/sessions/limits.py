"""Part of a session's core: its own limits, and how it stands. Pure; rules in `sessions.state`."""

from __future__ import annotations

from typing import Any

from asm_actors.effects import Effect, Reply, Write
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import Phase
from asm_actors.sessions.options import session_options
from asm_actors.sessions.state import Handler, SessionState, check_not_deleted, refusal

__all__ = ["HANDLERS", "session_status"]


def session_status(state: SessionState) -> dict[str, Any]:
    """Return what runs and what waits in a session; see `SessionManager.status`."""
    in_flight = [
        run_id
        for run_id, entry in state.open.items()
        if entry.phase is Phase.STARTED or entry.phase is Phase.RECOVERING
    ]
    limit = state.max_concurrent
    return {
        "session_id": state.session.id,
        "status": state.session.status.value,
        "in_flight_runs": in_flight,
        "in_flight_count": len(in_flight),
        "queued_runs": list(state.queue),
        "queued_count": len(state.queue),
        "held_runs": [run_id for run_id, entry in state.open.items() if entry.phase is Phase.HELD],
        "created_runs": [run_id for run_id, entry in state.open.items() if entry.phase is Phase.CREATED],
        "max_concurrent_runs": limit,
        "max_queued_runs": state.queue.limit,
        "available_run_slots": None if limit is None else max(0, limit - state.n_started),
        "second_run": state.second_run or "enqueue",
        "priority": state.session.options.get("priority", 0),
        "holds_session_slot": state.holds_slot,
        "last_sequence": state.head,
    }


def _update(state: SessionState, message: m.UpdateSessionLimits, now: int, reply: Any) -> list[Effect]:
    given = {name: value for name, value in message._asdict().items() if value is not None}
    options = session_options(given)
    state.check_not_closing()
    check_not_deleted(state, "change its limits")
    session = state.session
    if session.is_terminal:
        raise refusal(state, "change its limits: it is over")
    changed = {**session.options, **options}
    if changed == session.options:
        return [Write((), then=(Reply(reply, session),))]
    # No event tells of it, so the time of its last change stays as the events have it.
    state.adopt(session.replace(options=changed))
    write = Write((), state.session, then=(Reply(reply, state.session),))
    return [write, *state.start_next()]


HANDLERS: dict[type, Handler] = {m.UpdateSessionLimits: _update}
"""Message type -> its handler."""
