"""Part of a session's core: runs that sum the conversation up. Pure; rules in `sessions.state`.

1. Such a run is an ordinary one: it waits, is recovered, and ends like others. Its summary is put on record in the same
   write as its end.
2. A run that is to have the conversation summed up first finds so when it is made ready. It gives up its place, which
   the other run takes, and waits (HELD; pending, or running if it had been in line in an earlier process) for that
   one's end, however it ends. Its record names it, so that it waits on after a restart. Then it begins, before anybody
   who waits.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import Effect, Write
from asm_actors.runs.messages import CompactsFirst
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import RunStatus
from asm_actors.sessions.open_runs import MayStandStill, Phase, RunEntry
from asm_actors.sessions.pausing import stand_still
from asm_actors.sessions.run_ends import end_as_told
from asm_actors.sessions.state import Handler, SessionState

__all__ = ["HANDLERS"]


def _compacts_first(state: SessionState, message: CompactsFirst, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None or entry.phase is not Phase.STARTED:
        return []
    entry.phase = Phase.HELD
    state.n_started -= 1
    if entry.run.status is RunStatus.PENDING:
        entry.pausing = None  # that of its session, which starts none that has not begun
    else:
        entry.progress = Progress()
    if entry.stopping is not None:
        # It was told to end when its last word was on the way.
        return end_as_told(state, entry, now)
    if state.n_ending_many:
        return []  # it is about to be told to end, with many others
    run = message.compaction
    entry.run = entry.run.replace(details={**entry.run.details, "compaction": run.id})
    entry.is_recorded = True
    other = state.open[run.id] = RunEntry(run, Phase.CREATED)
    return [Write((), None, (entry.run, run)), *state.start_or_put_back(other)]


def _may_stand_still(state: SessionState, message: MayStandStill, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None or entry.phase is not Phase.HELD or entry.run.status is not RunStatus.RUNNING:
        return []
    if entry.pausing is None:
        return state.start_or_put_back(entry)  # the wish was withdrawn
    return stand_still(state, entry, (), entry.pausing, now)


HANDLERS: dict[type, Handler] = {CompactsFirst: _compacts_first, MayStandStill: _may_stand_still}
"""Message type -> its handler."""
