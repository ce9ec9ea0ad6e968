"""Part of a run's core: what is to be done about its files when it is over but for that. Pure; rules in `runs.state`.

1. However a run ends that has files to look after, it is FINISHING first. How it ends is on record before anything is
   done (`details["ending"]`), so a crash meanwhile neither has the model asked again nor lets the run go on: whoever
   takes it up again does the rest, and a second time does no harm.
2. What was done is on record before any state of the files is given back (`releases`).
3. Its outcome stands: a cancel or deadline that comes now changes nothing. What has to be done is bounded in time.
4. What cannot be done is told. A run that had completed fails by it, and keeps its answer; one that ends otherwise
   keeps its error, and the details of that say what could not be done.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import Effect, StopWork
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.runs.execution import (
    FINISH_PATIENCE_S,
    Handler,
    Phase,
    RunState,
    draft,
    finish,
    leave,
    when_durable,
)
from asm_actors.runs.notices import Finished, WorkOverdue
from asm_actors.runs.result import error_of_run
from asm_actors.runs.run import RunStatus
from asm_actors.runs.unfinished import ENDING, WORKSPACE

__all__ = ["HANDLERS", "resume_finishing"]


def _finished(state: RunState, message: Finished, now: int) -> list[Effect]:
    if state.phase is not Phase.FINISHING or not state.is_working:
        return []  # it came too late
    state.is_working = False
    details = dict(state.run.details)
    is_release = bool(details[WORKSPACE].get("is_finished"))
    details[WORKSPACE] = {**message.workspace, "is_finished": True}
    if is_release:
        state.run = state.run.replace(details=details)
        return _conclude(state, now)
    if message.error is not None:
        details[ENDING], state.error = _worsened(details[ENDING], message.error)
    state.run = state.run.replace(details=details)
    drafts = []
    if message.taken is not None:
        drafts.append(draft(state, EventType.WORKSPACE_SNAPSHOT_TAKEN, now, message.taken))
    if message.diff is not None:
        drafts.append(draft(state, EventType.WORKSPACE_DIFF_COMPUTED, now, message.diff))
    return when_durable(state, drafts)


def _worsened(ending: dict[str, Any], error: AsmError) -> tuple[dict[str, Any], AsmError | None]:
    """How a run ends whose files could not be seen to."""
    if ending["status"] == RunStatus.COMPLETED:
        failed = {
            "status": RunStatus.FAILED.value,
            "event": EventType.RUN_FAILED.value,
            "data": error.to_payload(),
            "error": error.to_record(),
        }
        return failed, error
    told = {"workspace_error": error.to_record()}
    record, data = dict(ending["error"] or {}), dict(ending["data"])
    for one in (record, data):
        one["details"] = {**(one.get("details") or {}), **told}
    # The live error may be that of several runs: what is raised is made of the record.
    return {**ending, "data": data, "error": record}, None


def _overdue(state: RunState, message: WorkOverdue, now: int) -> list[Effect]:
    if state.phase is not Phase.FINISHING or not state.is_working:
        return []
    error = AsmError(
        ErrorCode.COMMAND_TIMEOUT,
        f"the files of run {state.run.id} were not seen to within {FINISH_PATIENCE_S:g} s",
        context={"run_id": state.run.id},
    )
    workspace = state.run.details[WORKSPACE]
    if workspace.get("is_finished"):
        return [StopWork(state.run.id), *_conclude(state, now)]
    return [StopWork(state.run.id), *_finished(state, Finished(workspace, error=error), now)]


def _conclude(state: RunState, now: int) -> list[Effect]:
    """End the run as it stands on record."""
    details = dict(state.run.details)
    ending = details.pop(ENDING)
    run = state.run.replace(details=details)
    status = RunStatus(ending["status"])
    if status is RunStatus.COMPLETED:
        run = run.with_status(status, now)
    else:
        run = run.with_error(ending["error"] or {}, now, status)
    last = draft(state, EventType(ending["event"]), now, ending["data"])
    error = state.error
    if error is None and status is not RunStatus.COMPLETED:
        error = error_of_run(run)
    return leave(state, [last], run, error)


def resume_finishing(state: RunState, now: int) -> list[Effect]:
    """What was put on record is durable, or a run is taken up again that was over: do what comes next."""
    workspace = state.run.details[WORKSPACE]
    if workspace.get("is_finished") and not workspace.get("to_release"):
        return _conclude(state, now)
    return finish(state)


HANDLERS: dict[type, Handler] = {Finished: _finished, WorkOverdue: _overdue}
"""Message type -> its handler."""
