"""Part of a session's core: many of its runs are ended, some in a step. Pure; rules in `sessions.state`.

1. A session may have `state.MAX_OPEN_RUNS` runs. To end them all in one step would have all other sessions wait, so no
   step ends more than `SLICE`. The next step follows when what the one before wrote is durable.
2. Meanwhile no run of the session starts, whoever frees a place: one that is to be ended does not begin before it is
   told. What is submitted meanwhile waits in line behind those that leave it. Those under way are told first.
3. What is answered when all have ended is answered then. If the process ends before, those that were told have ended or
   end as told; the others go on, and so does a session that was about to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from asm_actors.effects import Effect, Note, Write
from asm_actors.runs.messages import CancelRun, InterruptRun
from asm_actors.sessions.open_runs import Phase, RunEntry
from asm_actors.sessions.run_ends import withdraw
from asm_actors.sessions.state import Handler, SessionState

__all__ = ["HANDLERS", "SLICE", "end_many"]

SLICE: Final = 200
"""Runs that one step ends."""


class _EndMore:
    """Note to itself: the next ones are to be ended.

    Args:
        run_ids: Those that are left, the next one last.
        told: What each is told.
    """

    __slots__ = ("run_ids", "told")

    def __init__(self, run_ids: list[str], told: Callable[[str], CancelRun | InterruptRun]) -> None:
        self.run_ids = run_ids
        self.told = told


def end_many(
    state: SessionState,
    entries: Iterable[RunEntry],
    told: Callable[[str], CancelRun | InterruptRun],
    now: int,
) -> list[Effect]:
    """End open runs: at once if they are few, else a part of them now and the others in steps to come.

    Args:
        state: Changed in place.
        entries: Which ones.
        told: What a run is told, by its id.
        now: Microseconds since the epoch.
    """
    in_order = sorted(entries, key=lambda entry: entry.phase is Phase.QUEUED or entry.phase is Phase.CREATED)
    state.n_ending_many += 1
    return _end_more(state, _EndMore([entry.run.id for entry in reversed(in_order)], told), now, None)


def _end_more(state: SessionState, message: _EndMore, now: int, reply: Any) -> list[Effect]:
    effects: list[Effect] = []
    left = message.run_ids
    for _ in range(min(SLICE, len(left))):
        run_id = left.pop()
        entry = state.open.get(run_id)
        if entry is not None:
            effects += withdraw(state, entry, message.told(run_id), now)
    if left:
        return [*effects, Write((), then=(Note(message),))]
    state.n_ending_many -= 1
    return effects + state.start_next()


HANDLERS: dict[type, Handler] = {_EndMore: _end_more}
"""Message type -> its handler."""
