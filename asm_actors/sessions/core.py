"""The core of a session as one function: a message in, effects out. Pure; rules in `sessions.state`."""

from __future__ import annotations

from typing import Any

from asm_actors.effects import Effect, Write
from asm_actors.sessions import (
    admission,
    approvals,
    asking,
    compacting,
    control,
    ending_many,
    lifecycle,
    limits,
    loaded_runs,
    pausing,
    recovery,
    run_ends,
)
from asm_actors.sessions.state import Handler, SessionState

__all__ = ["knows", "step"]

_HANDLERS: dict[type, Handler] = {
    **lifecycle.HANDLERS,
    **admission.HANDLERS,
    **run_ends.HANDLERS,
    **approvals.HANDLERS,
    **compacting.HANDLERS,
    **asking.HANDLERS,
    **control.HANDLERS,
    **ending_many.HANDLERS,
    **pausing.HANDLERS,
    **limits.HANDLERS,
    **loaded_runs.HANDLERS,
    **recovery.HANDLERS,
}


def step(state: SessionState, message: Any, now: int, reply: Any = None) -> list[Effect]:
    """Handle one message.

    Args:
        state: Changed in place.
        message: One of `sessions.messages`, or a notice of a run or of the shell.
        now: Microseconds since the epoch.
        reply: Token of the asker, or None.

    Returns:
        What is to be done, in order.

    Raises:
        AsmError: The message is refused; nothing has changed.
        KeyError: The message is of no known kind.
    """
    effects = _HANDLERS[type(message)](state, message, now, reply)
    if state.closing is not None:
        effects += lifecycle.go_on_closing(state, state.closing, now)
    return effects if state.prelude is None else _with_prelude(state, effects)


def _with_prelude(state: SessionState, effects: list[Effect]) -> list[Effect]:
    """Put what nobody waits for into the next write: the start of a `RunOnce` shares one with the start of its run."""
    prelude = state.prelude
    assert prelude is not None
    for place, effect in enumerate(effects):
        if type(effect) is Write:
            state.prelude = None
            effects[place] = effect._replace(
                drafts=(*prelude.drafts, *effect.drafts), session=effect.session or prelude.session
            )
            break
    return effects


def knows(message: Any) -> bool:
    """Whether `step` handles messages of this kind."""
    return type(message) in _HANDLERS
