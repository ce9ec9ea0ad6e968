"""Part of a session's core: a run that comes while the session's runs take all places that it has for them. Pure.

1. The session's option ``second_run`` says what becomes of it. ``enqueue``: it waits. ``reject``: it is refused with
   ``max_runs_exceeded``, as it would be if the queue were full. ``interrupt``: the others are cancelled, and it starts
   when they have stopped. ``rollback``: the same, and what they had been asked and had said is taken out of the
   conversation; files that they changed are put back, if they have a workspace.
2. Under way or in line are all runs that somebody asked to have executed: those that wait for a decision or are paused
   too, for they are what the conversation stands at. The places are the session's ``max_concurrent_runs``.
3. Which runs it takes the place of is on record with it, in one write, before any of them is told. So a later life of
   the session cancels them too, and exactly the newest goes on, whenever the process ends. If that one ends first, as
   when it is cancelled while it waits for the others, their own records say so in the write of its end: what was told
   to stop never goes on, though nobody takes its place any more.
4. What is told first stands: a run that completes before it hears of it has completed, and stays in the conversation.
5. A run that sums the conversation up is not what somebody says: it is neither refused nor takes anybody's place, and
   nobody takes its place but that of the run for which it is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asm_actors.effects import Effect
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.runs.messages import SupersedeRun
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.open_runs import SUPERSEDED, Phase, RunEntry
from asm_actors.sessions.run_ends import withdraw
from asm_actors.sessions.state import ROLLS_BACK, SUPERSEDES, SessionState

__all__ = ["marks", "supersede", "supersede_loaded", "superseded", "taken_places"]


def taken_places(state: SessionState, run: Run) -> tuple[str, ...]:
    """Tell whose place a run takes that is to be executed: ids, those in line first. Changes nothing.

    Raises:
        ConcurrencyError: ``max_runs_exceeded``: the session rejects a second run.
    """
    limit, others = state.max_concurrent, state.open.values()
    if state.second_run is None or limit is None or "purpose" in run.options:
        return ()
    busy = [entry for entry in others if entry.phase is not Phase.CREATED and entry.run.id != run.id]
    if len(busy) < limit:
        return ()
    if state.second_run == "reject":
        raise AsmError(
            ErrorCode.MAX_RUNS_EXCEEDED,
            f"{len(busy)} runs of session {state.session.id} are under way or in line, its max_concurrent_runs is "
            f"{limit}, and its second_run is reject; wait for one to end, cancel it, or raise max_concurrent_runs",
            details={"limit": "max_concurrent_runs", "value": limit, "in_use": len(busy)},
            context={"session_id": state.session.id},
        )
    summed_for = {entry.run.details.get("compaction") for entry in busy}
    meant = [entry for entry in busy if "purpose" not in entry.run.options or entry.run.id in summed_for]
    return tuple(entry.run.id for entry in sorted(meant, key=lambda entry: entry.phase is Phase.STARTED))


def marks(state: SessionState, others: tuple[str, ...]) -> dict[str, Any]:
    """Return what the options of a run say that takes the place of others."""
    if not others:
        return {}
    found: dict[str, Any] = {SUPERSEDES: list(others)}
    return {**found, ROLLS_BACK: True} if state.second_run == "rollback" else found


def supersede(state: SessionState, run: Run, others: Iterable[str], now: int) -> list[Effect]:
    """Have runs cancelled whose place another one takes; its record says so already."""
    effects: list[Effect] = []
    for other in others:
        entry = state.open.get(other)
        if entry is not None:
            effects += withdraw(state, entry, _told(other, run), now)
    return effects


# --- After a restart -----------------------------------------------------------------------------------------------


def superseded(runs: Iterable[Run]) -> dict[str, Run]:
    """Of a session's open runs, tell which are to end because another one takes their place, and which one."""
    found: dict[str, Run] = {}
    for run in runs:
        for other in run.options.get(SUPERSEDES, ()):
            found[other] = run  # the newest that names it
    return found


def supersede_loaded(state: SessionState, entry: RunEntry, by: Run | None, now: int) -> list[Effect]:
    """Have a run cancelled that the journal knows as open, and that was told so, or was about to be.

    Args:
        state: Changed in place.
        entry: The run's place in the session.
        by: The run that takes its place; None: it is over, and this one's record says which it was.
        now: Microseconds since the epoch.
    """
    if entry.run.status is RunStatus.RUNNING:
        entry.phase = Phase.QUEUED  # as if it were to go on: its stream may be open for a moment yet
    elif entry.run.status is not RunStatus.PENDING:
        entry.phase, entry.is_cut = Phase.HELD, entry.run.recoveries > 0
    if by is not None:
        return withdraw(state, entry, _told(entry.run.id, by), now)
    entry.superseded = mark = entry.run.details[SUPERSEDED]
    told = SupersedeRun(mark["by"], entry.run.id, rolls_back=mark["rolls_back"])
    return withdraw(state, entry, told, now)


def _told(run_id: str, by: Run) -> SupersedeRun:
    return SupersedeRun(by.id, run_id, rolls_back=bool(by.options.get(ROLLS_BACK)))
