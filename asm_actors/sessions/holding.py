"""Part of a session's core: runs that wait for somebody outside. Pure; rules in `sessions.state`.

1. A held run has no actor and no slot. Its entry keeps how far it has come; the journal tells the same, so it is
   recovered into the same place.
2. What was told to its actor while its last word was on the way is not lost: the session looks at what it had told, and
   acts at once.
3. It goes on by standing in line again. That it does is on record, with its event, before it does anything.
4. One that was told to end never goes on, though the record of one that stood still says so until it is over: an actor
   ends it, which closes the stream of its earlier life first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asm_actors.effects import Effect, Then, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import Draft
from asm_actors.runs.messages import RunHolds
from asm_actors.runs.run import RunStatus
from asm_actors.sessions.admission import enqueue_again
from asm_actors.sessions.open_runs import Phase, RunEntry
from asm_actors.sessions.pausing import answered_with, keeps_still, stood_still
from asm_actors.sessions.questions import merged, policy_timer, question_timer, take_questions
from asm_actors.sessions.run_ends import end_as_told
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import SessionState

__all__ = ["go_on", "run_holds"]


def run_holds(state: SessionState, message: RunHolds, now: int, reply: Any) -> list[Effect]:
    """Handle `RunHolds`."""
    entry = state.open.get(message.run_id)
    if entry is None or entry.phase is not Phase.STARTED:
        return []
    take_questions(entry, message.drafts)
    if entry.book is not None:
        # What was decided when its last word was on the way, it has not heard.
        message = message._replace(progress=merged(entry, message.progress))
    effects = _taken_in(state, entry, message, now)
    if not _is_held(state, entry):
        return effects
    effects += [*question_timer(entry, now), *policy_timer(state, entry, now)]
    if entry.run.status is RunStatus.AWAITING_APPROVAL:
        assert entry.progress is not None
        if not entry.progress.waits_only:
            effects += go_on(state, entry, (), now)
    return effects


def _is_held(state: SessionState, entry: RunEntry) -> bool:
    return state.open.get(entry.run.id) is entry and entry.phase is Phase.HELD


def _taken_in(state: SessionState, entry: RunEntry, message: RunHolds, now: int) -> list[Effect]:
    if message.run.status is RunStatus.PAUSED:
        return stood_still(state, entry, message, now)
    entry.run, entry.is_recorded = entry.noted(message.run), True
    entry.progress, entry.phase = message.progress, Phase.HELD
    state.n_started -= 1
    effects: list[Effect] = [Write(message.drafts, None, (entry.run,))]
    if entry.stopping is not None:
        # It was told to end when its last word was on the way: there is nothing to be stopped any more.
        return effects + end_as_told(state, entry, now)
    return effects + state.start_next()


def go_on(
    state: SessionState,
    entry: RunEntry,
    drafts: Sequence[Draft],
    now: int,
    then: Sequence[Then] = (),
    session: Session | None = None,
) -> list[Effect]:
    """Have a held run go on: it stands in line again, with how far it has come (`entry.progress`).

    It stays held if it is to stand still, or if all that is left are questions that nobody has decided.

    Args:
        state: Changed in place.
        entry: The run's place in the session; HELD.
        drafts: The event that says why it goes on, such as `run_resumed`.
        now: Microseconds since the epoch.
        then: What follows when that is durable; answers with the run's record get that as it is then.
        session: The session's new record, if it changed.

    Raises:
        ConcurrencyError: ``invalid_operation``: it is not held, or is about to end; nothing has changed.
    """
    if entry.phase is not Phase.HELD or entry.is_ending:
        raise _goes_nowhere(entry)
    kept = keeps_still(state, entry, drafts, now, then)
    if kept is not None:
        return _with_session(kept, session)
    entry.run = entry.run.with_status(RunStatus.RUNNING, now)
    waits = entry.progress is not None and entry.progress.waits_only
    if waits:
        entry.run = entry.run.with_status(RunStatus.AWAITING_APPROVAL, now)
    write = Write(drafts, session, (entry.run,), answered_with(entry.run, then))
    return [write] if waits else [write, *enqueue_again(state, entry, now)]


def _goes_nowhere(entry: RunEntry) -> AsmError:
    how = "about to end" if entry.is_ending else entry.phase.value
    context = {"session_id": entry.run.session_id, "run_id": entry.run.id}
    return AsmError(
        ErrorCode.INVALID_OPERATION, f"run {entry.run.id} is {how}: cannot have it go on", context=context
    )


def _with_session(effects: list[Effect], session: Session | None) -> list[Effect]:
    """Have the session's record written with the first write."""
    if session is None:
        return effects
    place = next(n for n, effect in enumerate(effects) if type(effect) is Write)
    effects[place] = effects[place]._replace(session=session)  # type: ignore[call-arg]
    return effects
