"""Part of a run's core: what it needs before its provider is asked. Pure; rules in `runs.state`.

1. A run that goes on from the conversation before it, or that has files to look after, is PREPARING once it has its
   slot; no other run is. Its shell reads and looks (`runs.workspaces`), and what it finds comes as `Prepared`.
2. A new run is still pending then: `run_started` tells what it goes on from, and comes before the first call of the
   provider. If it cannot be made ready it fails, and the provider is never called.
3. A run that is taken up again prepares again. It gets the same conversation; the state in which it had found its files
   stands in its details, and is not taken anew.
4. The state of the files is on record before the provider is asked: what changes them comes after it.
5. A cancel or deadline stops the work, and the run ends when it has stopped.
6. One whose conversation is to be summed up first, by another run, gives up its place to that (`sessions.compacting`).
"""

from __future__ import annotations

from asm_actors.effects import Effect, Leave, ToSession
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.runs.execution import (
    Handler,
    Phase,
    RunState,
    append,
    draft,
    fail,
    started,
    when_durable,
)
from asm_actors.runs.messages import CompactsFirst
from asm_actors.runs.notices import Prepared
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.stops import finish_stop
from asm_actors.runs.turns import go_on
from asm_actors.runs.unfinished import WORKSPACE

__all__ = ["HANDLERS"]


def _prepared(state: RunState, message: Prepared, now: int) -> list[Effect]:
    if state.phase not in (Phase.PREPARING, Phase.STOPPING_WORK):
        return []
    state.is_working = False
    found = {"continuation": message.continuation, WORKSPACE: message.workspace}
    changed = {key: value for key, value in found.items() if value is not None}
    if changed:
        state.run = state.run.replace(details={**state.run.details, **changed})
    drafts: list[Draft] = []
    if message.taken is not None:
        drafts.append(draft(state, EventType.WORKSPACE_SNAPSHOT_TAKEN, now, message.taken))
    if state.phase is Phase.STOPPING_WORK:
        return finish_stop(state, drafts, now)
    if message.error is not None:
        return fail(state, drafts, message.error, now)
    if message.compaction is not None and not state.past and not state.calls:
        return _wait_for(state, message.compaction)
    request = state.request
    state.request = request._replace(
        messages=(*message.messages, *request.messages), provider_session_id=message.provider_session_id
    )
    state.is_prepared = True
    if state.run.status is RunStatus.PENDING:
        drafts += started(state, now, request.messages, message.continuation)
    if message.taken is not None:
        state.phase = Phase.RECOVERING
        return when_durable(state, drafts)
    effects = [append(state, drafts, state.run)] if drafts or changed else []
    return [*effects, *go_on(state, now)]


def _wait_for(state: RunState, compaction: Run) -> list[Effect]:
    """Let another run sum the conversation up first; this one, which has done nothing yet, begins after it."""
    state.phase = Phase.ENDED
    return [ToSession(CompactsFirst(state.run.id, compaction)), Leave()]


HANDLERS: dict[type, Handler] = {Prepared: _prepared}
"""Message type -> its handler."""
