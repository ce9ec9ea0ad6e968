"""Part of a run's core: it waits for somebody outside, without actor and slot. Pure; rules in `runs.state`.

A run holds between two steps only: no stream is open, no tool runs. What it goes on from goes with its last word
(`RunHolds`), and stands in the journal too, so that it goes on the same way after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from asm_actors.effects import Effect, Leave, ToSession
from asm_actors.journal.append import Draft
from asm_actors.runs.execution import Phase, RunState
from asm_actors.runs.messages import RunHolds
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import RunStatus

__all__ = ["hold", "progress_of_state"]


def progress_of_state(state: RunState) -> Progress:
    """How far a run has come that is between two steps: what a rebuilt one would read from its events."""
    calls = tuple(evolve(call) for call in state.calls.values())
    turn = state.request.turn
    policed = None if state.evaluator is None else state.evaluator.state
    return Progress(
        turn if calls else turn - 1,
        state.past,
        calls,
        book=state.book,
        policed=policed,
        n_corrections=state.n_corrections,
    )


def hold(
    state: RunState, drafts: Sequence[Draft], status: RunStatus, now: int, **changes: object
) -> list[Effect]:
    """Have the run wait for somebody outside; its actor is over.

    Args:
        state: Changed in place.
        drafts: Events to be told with it, in order.
        status: ``paused`` or ``awaiting_approval``.
        now: Microseconds since the epoch.
        changes: Further fields of its record.
    """
    run = state.run.with_status(status, now)
    if state.evaluator is not None:
        run = run.replace(details={**run.details, **state.evaluator.details(now)})
    state.run = run.replace(**changes) if changes else run
    state.phase = Phase.ENDED
    return [ToSession(RunHolds(state.run.id, drafts, state.run, progress_of_state(state))), Leave()]
