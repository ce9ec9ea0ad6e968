"""Part of a session's core: runs that stand still because somebody wants them to. Pure; rules in `sessions.state`.

1. A pause is a wish until the run stands still, at its next turn boundary (`runs.control`). The wish for a run alone is
   on record before it is answered, in the run's details (`PAUSE`); that of a whole session is the session's status.
2. Whose wish it is, is its scope: ``run`` or ``session``. What a session's pause holds goes on when the session does;
   what is paused by itself goes on when it is resumed itself, and not while its session is paused.
3. A run that stands still is held: no actor, no slot, all of it in the journal. Its deadline goes on counting.
4. Who is asked about its calls meanwhile may decide; the run stands still all the same. One that waits for a decision
   when the pause is wished stands still when it would go on.
5. A run that is taken up again after a crash, and shall stand still, does so at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asm_actors.effects import Effect, Reply, Then, ToRun, Write
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.runs.messages import HoldRun, ReleaseRun, RunHolds, RunStandsBack
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.unfinished import ENDING
from asm_actors.sessions.open_runs import PAUSE, Phase, RunEntry, run_draft
from asm_actors.sessions.run_ends import end_as_told
from asm_actors.sessions.session import SessionStatus
from asm_actors.sessions.state import Handler, SessionState

__all__ = [
    "HANDLERS",
    "OF_RUN",
    "OF_SESSION",
    "answered_with",
    "hold_runs",
    "keeps_still",
    "release_runs",
    "scope_of",
    "session_wish",
    "stand_still",
    "stood_still",
    "wished",
    "without_pause",
]

OF_RUN: Final = "run"
OF_SESSION: Final = "session"


# --- Wishes ----------------------------------------------------------------------------------------------------


def session_wish(by: str | None = None) -> dict[str, Any]:
    """The wish that a session's pause is for its runs."""
    wish = {"scope": OF_SESSION, "reason": "session_paused"}
    return wish if by is None else {**wish, "by": by}


def scope_of(run: Run) -> str:
    """Whose wish it is that a run stands still."""
    pause = run.details.get(PAUSE)
    return OF_SESSION if isinstance(pause, dict) and pause.get("scope") == OF_SESSION else OF_RUN


def wished(state: SessionState, run: Run) -> dict[str, Any] | None:
    """Whether a run from the journal is to stand still: its own wish, else its session's; None if it is not."""
    if ENDING in run.details or run.status is RunStatus.PENDING:
        return None  # it is over but for its files; or it has not begun
    pause = run.details.get(PAUSE)
    if isinstance(pause, dict) and pause.get("scope") == OF_RUN:
        return pause
    return session_wish() if state.session.status is SessionStatus.PAUSED else None


def without_pause(run: Run) -> Run:
    """A record that says nothing of a pause any more."""
    if PAUSE not in run.details:
        return run
    return run.replace(details={key: value for key, value in run.details.items() if key != PAUSE})


# --- Standing still --------------------------------------------------------------------------------------------


def stand_still(
    state: SessionState,
    entry: RunEntry,
    drafts: Sequence[Draft],
    wish: dict[str, Any],
    now: int,
    then: Sequence[Then] = (),
) -> list[Effect]:
    """Have a run without an actor stand still.

    Args:
        state: Changed in place.
        entry: The run's place in the session; neither in the queue nor counted as started any more.
        drafts: Events before that which says so.
        wish: Whose wish it is, and why.
        now: Microseconds since the epoch.
        then: What follows when it is durable; answers with the run's record get the new one.
    """
    draft = _standing(state, entry, wish, now)
    return [Write((*drafts, draft), None, (entry.run,), answered_with(entry.run, then))]


def _standing(state: SessionState, entry: RunEntry, wish: dict[str, Any], now: int) -> Draft:
    entry.phase, entry.pausing, entry.is_recorded = Phase.HELD, None, True
    run = entry.run.with_status(RunStatus.RUNNING, now).with_status(RunStatus.PAUSED, now)
    entry.run = run.replace(details={**run.details, PAUSE: wish})
    return run_draft(state.session, entry.run, EventType.RUN_PAUSED, now, dict(wish))


def answered_with(run: Run, then: Sequence[Then]) -> list[Then]:
    """What follows a write, with the run's record as it is now in the answers."""
    return [Reply(one.to, run) if type(one) is Reply and type(one.value) is Run else one for one in then]


def stood_still(state: SessionState, entry: RunEntry, message: RunHolds, now: int) -> list[Effect]:
    """Take in the last word of a run's actor that stands still; what it was told meanwhile counts."""
    entry.run, entry.is_recorded = message.run.with_status(RunStatus.RUNNING, now), True
    entry.progress, entry.phase = message.progress, Phase.HELD
    state.n_started -= 1
    if entry.stopping is not None:
        return [Write(message.drafts, None, (entry.noted(entry.run),)), *end_as_told(state, entry, now)]
    if entry.pausing is not None:
        return [*stand_still(state, entry, message.drafts, entry.pausing, now), *state.start_next()]
    # The wish was withdrawn: the run goes on as if nothing had been.
    if message.progress.waits_only:
        entry.run = entry.run.with_status(RunStatus.AWAITING_APPROVAL, now)
        return [Write(message.drafts, None, (entry.run,)), *state.start_next()]
    entry.phase = Phase.QUEUED
    state.queue.put_back((entry.run.id,))
    return [Write(message.drafts, None, (entry.run,)), *state.start_next()]


def _stands_back(state: SessionState, message: RunStandsBack, now: int, reply: Any) -> list[Effect]:
    """A run that had not begun when its session was paused waits in its session again, before those behind it."""
    entry = state.open.get(message.run_id)
    if entry is None or entry.phase is not Phase.STARTED:
        return []
    state.n_started -= 1
    entry.phase, entry.pausing = Phase.QUEUED, None
    entry.progress = Progress()  # it does nothing before its start is on record
    state.queue.put_back((message.run_id,))
    effects: list[Effect] = []
    if not entry.is_recorded:
        entry.is_recorded = True
        effects.append(Write((), None, (entry.run,)))
    if entry.stopping is not None:
        return effects + end_as_told(state, entry, now)
    return effects + state.start_next()


def keeps_still(
    state: SessionState, entry: RunEntry, drafts: Sequence[Draft], now: int, then: Sequence[Then]
) -> list[Effect] | None:
    """What becomes of a held run that would go on, if it is to stand still; None if it may go on.

    Args:
        state: Changed in place.
        entry: The run's place in the session; HELD.
        drafts: Events that tell why it would go on.
        now: Microseconds since the epoch.
        then: What follows when these are durable.
    """
    if entry.pausing is not None:
        return stand_still(state, entry, drafts, entry.pausing, now, then)
    if PAUSE not in entry.run.details or entry.run.status is not RunStatus.PAUSED:
        return None
    if any(draft.type is EventType.RUN_RECOVERED for draft in drafts):
        # It begins again, later: that it stands still is told once more.
        return stand_still(state, entry, drafts, entry.run.details[PAUSE], now, then)
    return [Write(drafts, None, (entry.run,), answered_with(entry.run, then))]


# --- With their session ----------------------------------------------------------------------------------------


def hold_runs(state: SessionState, by: str | None, now: int) -> tuple[list[Draft], list[Run], list[Effect]]:
    """The session is paused: have its runs stand still that do not already.

    Returns:
        Events and records of those that stand still at once, to be written with the session's; and what else is to
        be done.
    """
    drafts: list[Draft] = []
    runs: list[Run] = []
    effects: list[Effect] = []
    for run_id, entry in state.open.items():
        if entry.pausing is not None or entry.is_ending:
            continue
        if entry.phase is Phase.STARTED:
            entry.pausing = session_wish(by)
            effects.append(ToRun(run_id, HoldRun()))
        elif entry.phase is Phase.RECOVERING or entry.run.status is RunStatus.AWAITING_APPROVAL:
            entry.pausing = session_wish(by)
        elif entry.phase is Phase.QUEUED and entry.run.status is RunStatus.RUNNING:
            state.queue.remove(run_id)
            drafts.append(_standing(state, entry, session_wish(by), now))
            runs.append(entry.run)
    return drafts, runs, effects


def release_runs(
    state: SessionState, told: dict[str, Any], now: int
) -> tuple[list[Draft], list[Run], list[Effect]]:
    """The session goes on: have those of its runs go on which its pause holds.

    They come before those that have not begun.

    Args:
        state: Changed in place; the session is active.
        told: Why, and who wants it.
        now: Microseconds since the epoch.

    Returns:
        Events and records to be written with the session's, and what else is to be done.
    """
    drafts: list[Draft] = []
    runs: list[Run] = []
    effects: list[Effect] = []
    going_on: list[str] = []
    data = {"reason": "session_resumed", **{key: value for key, value in told.items() if key == "by"}}
    for run_id, entry in state.open.items():
        if entry.pausing is not None and entry.pausing["scope"] == OF_SESSION:
            entry.pausing = None
            if entry.phase is Phase.STARTED:
                effects.append(ToRun(run_id, ReleaseRun()))
        elif entry.run.status is RunStatus.PAUSED and scope_of(entry.run) == OF_SESSION:
            entry.run = without_pause(entry.run).with_status(RunStatus.RUNNING, now)
            drafts.append(run_draft(state.session, entry.run, EventType.RUN_RESUMED, now, data))
            runs.append(entry.run)
            if entry.is_ending:
                continue  # on record it goes on, as it will if the process ends now; its actor ends it
            if entry.progress is not None and entry.progress.waits_only:
                entry.run = runs[-1] = entry.run.with_status(RunStatus.AWAITING_APPROVAL, now)
                continue
            entry.phase = Phase.QUEUED
            going_on.append(run_id)
    state.queue.put_back(going_on)
    return drafts, runs, effects


HANDLERS: dict[type, Handler] = {RunStandsBack: _stands_back}
"""Message type -> its handler."""
