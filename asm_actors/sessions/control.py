"""Part of a session's core: its runs are paused, resumed, interrupted, given input. Pure; rules in `sessions.state`.

What standing still means is told in `sessions.pausing`, what becomes of input into a turn in `runs.control`. What is
refused changes nothing and leaves no trace.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import Effect, LoadRun, Note, Refuse, Reply, ToRun, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.providers.base import messages_from_input
from asm_actors.runs.messages import (
    HoldRun,
    InterruptRun,
    PauseRun,
    ReleaseRun,
    ResumeRun,
    RunSteered,
    RunSteers,
    Steering,
    SteeringDurable,
    SteerRun,
)
from asm_actors.runs.run import RUN_TRANSITIONS, Run, RunStatus
from asm_actors.serialization import check_optional_id, invalid, json_value
from asm_actors.sessions.ending_many import end_many
from asm_actors.sessions.holding import go_on
from asm_actors.sessions.messages import InterruptSession
from asm_actors.sessions.open_runs import PAUSE, Phase, RunEntry, run_draft
from asm_actors.sessions.pausing import OF_RUN, OF_SESSION, scope_of, session_wish, stand_still, without_pause
from asm_actors.sessions.session import SessionStatus
from asm_actors.sessions.session_drafts import told_data
from asm_actors.sessions.state import Handler, SessionState
from asm_actors.transitions import advance

__all__ = ["HANDLERS", "Gathered", "input_message", "pause_run", "resume_run", "steer_run"]


# --- Paused, resumed -------------------------------------------------------------------------------------------


def pause_run(state: SessionState, message: PauseRun, now: int, reply: Any) -> list[Effect]:
    """Handle `PauseRun`."""
    told = told_data(message.reason, message.by)
    entry = state.open.get(message.run_id or "")
    if entry is None:
        return [LoadRun(message.run_id or "", message, reply)]
    run = entry.run
    if run.status is RunStatus.PENDING:
        advance(RUN_TRANSITIONS, run.status, RunStatus.PAUSED, "run", run.id)
    if entry.is_ending:
        raise _senseless(run, "pause it: it is about to end")
    wish = {"scope": OF_RUN, **told}
    if _is_paused_itself(entry):
        return [Write((), then=(Reply(reply, run),))]
    if run.status is RunStatus.PAUSED or entry.phase is Phase.QUEUED:
        # Its session's pause holds it, which may end before this one; or it waits to go on, and so stands still.
        state.queue.remove(run.id)
        return stand_still(state, entry, (), wish, now, (Reply(reply, run),))
    effects: list[Effect] = []
    if entry.phase is Phase.STARTED and entry.pausing is None:
        effects.append(ToRun(run.id, HoldRun()))
    entry.pausing = wish
    entry.run = entry.noted(run)
    return [Write((), None, (entry.run,), (Reply(reply, entry.run),)), *effects]


def resume_run(state: SessionState, message: ResumeRun, now: int, reply: Any) -> list[Effect]:
    """Handle `ResumeRun`."""
    told = told_data(message.reason, message.by)
    entry = state.open.get(message.run_id or "")
    if entry is None:
        return [LoadRun(message.run_id or "", message, reply)]
    run = entry.run
    if run.status is RunStatus.PENDING:
        raise _senseless(run, "resume it: it has not begun")
    if entry.is_ending:
        raise _senseless(run, "resume it: it is about to end")
    if not _is_paused_itself(entry) and (run.status is not RunStatus.PAUSED or _is_session_paused(state)):
        # It goes on already, or waits for its session alone.
        return [Write((), then=(Reply(reply, run),))]
    entry.run = without_pause(run)
    if run.status is not RunStatus.PAUSED:
        return _withdraw_wish(state, entry, reply)
    if _is_session_paused(state):
        data = {**told, "waits_for": OF_SESSION}
        entry.run = run.replace(details={**run.details, PAUSE: session_wish()})
        draft = run_draft(state.session, entry.run, EventType.RUN_RESUMED, now, data)
        return [Write((draft,), None, (entry.run,), (Reply(reply, entry.run),))]
    draft = run_draft(state.session, entry.run, EventType.RUN_RESUMED, now, told)
    running = entry.run.with_status(RunStatus.RUNNING, now)
    return go_on(state, entry, [draft], now, (Reply(reply, running),))


def _withdraw_wish(state: SessionState, entry: RunEntry, reply: Any) -> list[Effect]:
    """The pause that is wished for a run alone does not happen; that of its session may."""
    effects: list[Effect] = [Write((), None, (entry.run,), (Reply(reply, entry.run),))]
    if _is_session_paused(state):
        entry.pausing = session_wish()
        return effects
    entry.pausing = None
    if entry.phase is Phase.STARTED:
        effects.append(ToRun(entry.run.id, ReleaseRun()))
    return effects


def _is_paused_itself(entry: RunEntry) -> bool:
    """Whether a pause of this run alone holds it, or is wished."""
    if entry.run.status is RunStatus.PAUSED:
        return scope_of(entry.run) == OF_RUN
    return entry.pausing is not None and entry.pausing["scope"] == OF_RUN


def _is_session_paused(state: SessionState) -> bool:
    return state.session.status is SessionStatus.PAUSED


def _senseless(run: Run, what: str) -> AsmError:
    return AsmError(
        ErrorCode.INVALID_OPERATION,
        f"run {run.id} is {run.status.value}: cannot {what}",
        context={"session_id": run.session_id, "run_id": run.id, "status": run.status.value},
    )


# --- Interrupted with all others ---------------------------------------------------------------------------------


class Gathered:
    """Takes the place of an asker for several answers, and gives him one: a map of them by id.

    Args:
        to: The asker; None if nobody waits.
        ids: What is to be answered.
    """

    __slots__ = ("_found", "_left", "_to")

    def __init__(self, to: Any, ids: list[str]) -> None:
        self._to = to
        self._found: dict[str, Any] = dict.fromkeys(ids)
        self._left = len(ids)

    def of(self, key: str) -> _Part:
        """Takes the place of the asker for one of the answers."""
        return _Part(self, key)

    def take(self, key: str, value: Any) -> None:
        """Take one answer."""
        self._found[key] = value
        self._left -= 1
        if not self._left and self._to is not None and not self._to.is_done:
            self._to.set(self._found)


class _Part:
    """An asker as effects know it: `set` and `set_error`, once."""

    __slots__ = ("_all", "_key", "is_done")

    def __init__(self, gathered: Gathered, key: str) -> None:
        self._all = gathered
        self._key = key
        self.is_done = False

    def set(self, value: Any) -> None:
        self.is_done = True
        self._all.take(self._key, value)

    def set_error(self, error: BaseException) -> None:
        self.set(error)


def _interrupt_session(state: SessionState, message: InterruptSession, now: int, reply: Any) -> list[Effect]:
    told_data(message.reason, message.by)
    entries = [entry for entry in state.open.values() if entry.phase is not Phase.CREATED]
    if not entries:
        return [Write((), then=(Reply(reply, {}),))]
    answers = Gathered(reply, [entry.run.id for entry in entries])
    for entry in entries:
        entry.wait_for_end(answers.of(entry.run.id))
    return end_many(state, entries, lambda run_id: InterruptRun(message.reason, run_id, message.by), now)


# --- Given input -------------------------------------------------------------------------------------------------


def input_message(given: Any) -> dict[str, Any]:
    """Return the one message of the user that an input into a turn is, in the form of a request.

    Raises:
        ValidationError: It is none, several, or somebody else's.
    """
    messages = messages_from_input(json_value(given, "input"))
    if len(messages) != 1 or messages[0]["role"] != "user":
        raise invalid("input", "must be one message of the user", given)
    message = messages[0]
    return {"role": "user", "content": message["content"]}


def steer_run(state: SessionState, message: SteerRun, now: int, reply: Any) -> list[Effect]:
    """Handle `SteerRun`."""
    given = input_message(message.input)
    by = check_optional_id(message.by, "by")
    entry = state.open.get(message.run_id or "")
    if entry is None:
        return [LoadRun(message.run_id or "", message, reply)]
    if entry.phase is not Phase.STARTED or entry.stopping is not None:
        raise _senseless(entry.run, "give it input: it has no turn that is being answered")
    if entry.steering is None:
        entry.steering = {}
    key = max(entry.steering, default=0) + 1
    entry.steering[key] = reply
    return [ToRun(entry.run.id, Steering(key, given, by))]


def _steers(state: SessionState, message: RunSteers, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    entry.run = entry.noted(message.run)
    note = Note(_OnRecord(message.run_id, message.number, entry.life))
    return [Write(message.drafts, None, (entry.run,), (note,))]


class _OnRecord:
    """Note to itself: input into a run's turn is durable; passed on to the actor (`life`) that wrote it."""

    __slots__ = ("life", "number", "run_id")

    def __init__(self, run_id: str, number: int, life: int) -> None:
        self.run_id = run_id
        self.number = number
        self.life = life


def _on_record(state: SessionState, message: _OnRecord, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None or entry.life != message.life or entry.phase is not Phase.STARTED:
        return []
    return [ToRun(message.run_id, SteeringDurable(message.number))]


def _steered(state: SessionState, message: RunSteered, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None or message.key not in (entry.steering or {}):
        return []
    assert entry.steering is not None
    asker = entry.steering.pop(message.key)
    if not entry.steering:
        entry.steering = None
    if message.error is not None:
        return [Write(message.drafts, then=(Refuse(asker, message.error),))]
    return [Write((), then=(Reply(asker, entry.run),))]


HANDLERS: dict[type, Handler] = {
    PauseRun: pause_run,
    ResumeRun: resume_run,
    InterruptSession: _interrupt_session,
    SteerRun: steer_run,
    RunSteers: _steers,
    RunSteered: _steered,
    _OnRecord: _on_record,
}
"""Message type -> its handler."""
