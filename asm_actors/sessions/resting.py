"""When a session may leave memory: what it would lose by that is nothing. Pure; rules in `sessions.lives`."""

from __future__ import annotations

from asm_actors.sessions.open_runs import Phase
from asm_actors.sessions.state import SessionState

__all__ = ["Rest", "Rested", "may_rest"]


class Rest:
    """From the sessions' supervisor: leave, if there is still nothing to do.

    Args:
        at_once: However short ago something was asked of it.
    """

    __slots__ = ("at_once",)

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once


class Rested:
    """Note of a session's shell to itself: all that it wrote before it was told to `Rest` is durable."""

    __slots__ = ()


def may_rest(state: SessionState) -> bool:
    """Whether the journal knows all that this state knows, once what was written is durable.

    So it is if nobody waits for anything, no change is half done, and the open runs, if there are any, only were
    created: these, the status and the slot of an active session are restored by the next life.
    """
    return (
        state.activating is None
        and state.once is None
        and state.closing is None
        and state.prelude is None
        and all(
            entry.phase is Phase.CREATED and entry.is_recorded and not entry.waiters and not entry.cancels
            for entry in state.open.values()
        )
    )
