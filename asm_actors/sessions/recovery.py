"""What a session's core does with what the journal holds of it, and with runs whose actors crash. Pure.

What becomes of a run that was under way is decided in `sessions.verdicts`; here it is done, after a restart of the
process, of the session's actor or of the run's:

1. A run that was created waits to be executed; one that was submitted is in line again, in order, with what is left
   of its time; one that waited for a decision, or for the conversation to be summed up, or stood still, waits on.
2. One that was under way is taken up again, or ended. That it is taken up stands in the journal, with its record,
   before anything is done (`runs.state`); it comes before those that had not started.
3. A run whose actor crashes is rebuilt from the journal like one whose process ended. It keeps its place, and those
   who wait for its result go on waiting. One that was told to end ends.
4. A session that was about to end has told nobody yet: it goes on, and so do its runs.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from asm_actors.config import APPROVAL_TIMEOUT
from asm_actors.effects import AcquireSlot, Effect, LoadRun, StartRun, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.policies.approval import ApprovalRequest
from asm_actors.runs.asking import ASKED, expiry_of
from asm_actors.runs.calls import Call
from asm_actors.runs.policing import has_policy, policed_by
from asm_actors.runs.resumption import Progress, must_be_read
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.unfinished import ENDING
from asm_actors.sessions.admission import enqueue_again, keep_deadline
from asm_actors.sessions.messages import ProgressLoaded, RecoverRun, SessionLoaded
from asm_actors.sessions.open_runs import SUPERSEDED, Phase, RunCrashed, RunEntry, run_draft
from asm_actors.sessions.pausing import stand_still, wished
from asm_actors.sessions.questions import (
    book_from,
    merged,
    policy_timer,
    question_timer,
    take_questions,
)
from asm_actors.sessions.run_ends import end_crashed, end_run, refuse_input
from asm_actors.sessions.second_run import supersede_loaded, superseded
from asm_actors.sessions.session import SessionStatus
from asm_actors.sessions.state import SESSIONS_POOL, Handler, SessionState
from asm_actors.sessions.verdicts import INTERRUPTED_BY, Verdict, is_final, naming, verdict_on

__all__ = ["HANDLERS", "interruptions"]

_ASKED = "outcome_unknown"
_BEGUN = "the system stopped after the call had begun and before its end was recorded"
_BEGINS_AGAIN = "; a grant has the run begun again from its input, a denial ends it"


def _restore(state: SessionState, loaded: SessionLoaded, now: int, reply: Any) -> list[Effect]:
    """Take the records into a state that was just made."""
    state.head = loaded.session.last_sequence
    session = loaded.session
    state.adopt(session)
    effects: list[Effect] = []
    if session.status is SessionStatus.ACTIVE and session.deleted_us is None:
        # It waits for its slot if the system has fewer now; its runs wait with it.
        effects.append(AcquireSlot(SESSIONS_POOL, wait=True))
    ended: list[tuple[Run, AsmError]] = []
    waiting: list[RunEntry] = []
    replaced: list[tuple[RunEntry, Run | None]] = []
    places = superseded(loaded.runs) if session.options else {}
    for run in loaded.runs:
        if run.options.get("once") and not session.is_terminal:
            state.completes_after = run.id
        entry = state.open[run.id] = RunEntry(run, Phase.CREATED)
        if session.is_terminal:
            error = loaded.cause or _left_open(run)
            ended.append((run, naming(error, loaded.progress.get(run.id))))
        elif (run.id in places or SUPERSEDED in run.details) and ENDING not in run.details:
            replaced.append((entry, places.get(run.id)))
        elif run.status is RunStatus.PENDING:
            if run.options.get("submitted"):
                # It may have ended its process before its start was on record: this time that comes first.
                entry.progress = Progress()
                waiting.append(entry)
        else:
            progress = loaded.progress.get(run.id)
            if run.status is not RunStatus.RUNNING and _holds(entry, progress):
                entry.pausing = None if run.status is RunStatus.PAUSED else wished(state, run)
                effects += keep_deadline(entry, now)
                effects += [*question_timer(entry, now), *policy_timer(state, entry, now)]
                continue
            book_from(entry, progress)
            verdict = verdict_on(state, run, progress, loaded.cause)
            if verdict.error is None:
                effects += _goes_on(state, entry, verdict, now)
                if entry.phase is Phase.CREATED:
                    effects += _in_line(state, entry, now, loaded)
                else:
                    entry.pausing = wished(state, entry.run)
            else:
                ended.append((run, verdict.error))
    for entry in waiting:
        effects += _in_line(state, entry, now, loaded)
    for entry, by in replaced:
        effects += supersede_loaded(state, entry, by, now)
    # A session that was made for one run ends with it, and takes the others along: that one comes last.
    for run, error in sorted(ended, key=lambda one: one[0].id == state.completes_after):
        effects += _fail(state, state.open[run.id], error, now)
    return effects


def _in_line(state: SessionState, entry: RunEntry, now: int, loaded: SessionLoaded) -> list[Effect]:
    """Put a run in line that goes on, unless it is to stand still, or waits for the conversation to be summed up."""
    wish = wished(state, entry.run)
    if wish is None:
        other = entry.run.details.get("compaction")
        if other is not None and any(run.id == other for run in loaded.runs):
            entry.phase = Phase.HELD
            return keep_deadline(entry, now)
        return enqueue_again(state, entry, now)
    return [*stand_still(state, entry, (), wish, now), *keep_deadline(entry, now)]


def _holds(entry: RunEntry, progress: Progress | None) -> bool:
    """Keep a run waiting that waited for a decision; return whether there is one to wait for."""
    entry.progress = progress
    book_from(entry, progress)
    entry.is_cut = entry.run.recoveries > 0
    if entry.run.status is RunStatus.PAUSED or (progress is not None and progress.undecided):
        entry.phase = Phase.HELD
        return True
    return False


def _left_open(run: Run) -> AsmError:
    return AsmError(
        ErrorCode.INTERRUPTED,
        f"run {run.id} was {run.status.value} when its session ended",
        context={"session_id": run.session_id, "run_id": run.id},
    )


def _fail(state: SessionState, entry: RunEntry, error: AsmError, now: int) -> list[Effect]:
    ended = entry.run.with_error(error, now)
    draft = run_draft(state.session, ended, EventType.RUN_FAILED, now, error.to_payload())
    return end_run(state, entry, ended, (draft,), error, now)


def _goes_on(state: SessionState, entry: RunEntry, verdict: Verdict, now: int) -> list[Effect]:
    """Put on record that a run is taken up again; leave it held if somebody has to be asked first."""
    run, progress = verdict.run, verdict.progress
    drafts: list[Draft] = [run_draft(state.session, run, EventType.RUN_RECOVERED, now, verdict.data)]
    effects: list[Effect] = []
    entry.progress, entry.is_cut = progress, True
    if verdict.data["decision"] == "retry" and entry.book is not None:
        entry.book = evolve(entry.book, approvals={})  # its calls will be others
    if verdict.must_ask:
        assert progress is not None
        asked = [_question(state, run, progress, call, now) for call in progress.undecided if not call.waits]
        take_questions(entry, asked)
        drafts += asked
        run = run.with_status(RunStatus.AWAITING_APPROVAL, now)
        run = run.replace(details={**run.details, ASKED: True})
        for call in progress.undecided:
            progress = progress.with_decision(call.id, "requested")
        entry.progress, entry.phase = merged(entry, progress), Phase.HELD
        if not entry.has_deadline:
            effects = keep_deadline(entry, now)
    elif run.status is not RunStatus.PENDING:
        run = run.with_status(RunStatus.RUNNING, now)
    entry.run, entry.is_recorded = run, True
    effects = [Write(drafts, None, (run,)), *effects]
    if entry.book is not None:
        effects += question_timer(entry, now)
    return effects + policy_timer(state, entry, now) if entry.phase is Phase.HELD else effects


def _question(state: SessionState, run: Run, progress: Progress, call: Call, now: int) -> Draft:
    """Ask whether a call may be made again whose outcome is unknown."""
    evaluator = policed_by(state.rules, state.session, run)
    timeout = APPROVAL_TIMEOUT if evaluator is None else evaluator.policy.approval_timeout
    why = _BEGUN + _BEGINS_AGAIN if progress.begins_again else _BEGUN
    request = ApprovalRequest(call.id, call.name, call.input, _ASKED, _ASKED, why, (), timeout)
    data: dict[str, Any] = {
        **request.to_map(),
        "expires_at": expiry_of(timeout, now),
        "agent_id": state.session.agent_id,
        "turn": progress.turn,
    }
    return run_draft(state.session, run, EventType.TOOL_APPROVAL_REQUESTED, now, data)


# --- In a living process ---------------------------------------------------------------------------------------


def _run_crashed(state: SessionState, message: RunCrashed, now: int, reply: Any) -> list[Effect]:
    """A run whose actor died without a word is taken up again, or fails here: none is left open by a crash."""
    entry = state.open.get(message.run_id)
    if entry is None or entry.phase is not Phase.STARTED:
        return []  # over, or held: its last word came before its end
    if entry.stopping is not None:
        return end_crashed(state, entry, now)
    entry.phase = Phase.RECOVERING
    why = "the run's actor crashed before it could answer; what became of the input is in the journal"
    refused: list[Effect] = [*refuse_input(entry, why, ErrorCode.INTERRUPTED)] if entry.steering else []
    is_read = must_be_read(entry.run) or has_policy(state.rules, state.session, entry.run)
    if is_read and not is_final(message.error):
        return [*refused, LoadRun(message.run_id, RecoverRun(message.run_id, message.error), None)]
    return refused + _take_up(state, entry, None, message.error, now)


def _progress_loaded(state: SessionState, message: ProgressLoaded, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None or entry.phase is not Phase.RECOVERING:
        return []
    if message.progress is None:
        return _fail(state, entry, message.cause, now)
    return _take_up(state, entry, message.progress, message.cause, now)


def _take_up(
    state: SessionState, entry: RunEntry, progress: Progress | None, cause: AsmError, now: int
) -> list[Effect]:
    if entry.book is not None and progress is not None:
        progress = merged(entry, progress)  # what was decided since that was read
    verdict = verdict_on(state, entry.run, progress, cause)
    if verdict.error is not None:
        return _fail(state, entry, verdict.error, now)
    effects = _goes_on(state, entry, verdict, now)
    if entry.phase is Phase.HELD:
        state.n_started -= 1
        return effects + state.start_next()
    if entry.pausing is not None:
        state.n_started -= 1
        if entry.run.status is RunStatus.PENDING:
            # It had not begun: it waits in its session, like others that have not.
            entry.progress = Progress() if entry.progress is None else entry.progress
            entry.phase, entry.pausing = Phase.QUEUED, None
            state.queue.put_back((entry.run.id,))
            return [*effects, *state.start_next()]
        return [*effects, *stand_still(state, entry, (), entry.pausing, now), *state.start_next()]
    entry.phase = Phase.STARTED
    entry.life += 1
    kept, entry.progress = entry.progress, None
    return [*effects, StartRun(entry.run, kept, state.head)]


def interruptions(state: SessionState, now: int) -> list[Effect]:
    """Put on record which runs are under way when the system is stopped in order.

    For the shell, to be performed when its actor ends because the system stops, after its runs' actors have ended, and
    before the journal does. The runs stay open. The next start takes them up by their policies and does not count this
    as a crash. Nothing is returned if nothing is under way.

    Args:
        state: The session's; its entries are changed.
        now: Microseconds since the epoch.
    """
    drafts: list[Draft] = []
    runs: list[Run] = []
    for entry in state.open.values():
        if entry.run.status is not RunStatus.RUNNING:
            continue
        entry.run = entry.run.replace(options={**entry.run.options, INTERRUPTED_BY: "stop"})
        runs.append(entry.run)
        data = {"reason": "stop"}
        drafts.append(run_draft(state.session, entry.run, EventType.RUN_INTERRUPTED, now, data))
    return [Write(drafts, None, runs)] if runs else []


HANDLERS: dict[type, Handler] = {
    SessionLoaded: _restore,
    RunCrashed: _run_crashed,
    ProgressLoaded: _progress_loaded,
}
"""Message type -> its handler."""
