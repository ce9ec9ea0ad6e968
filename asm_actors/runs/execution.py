"""The state of a run's core, and what its parts share: drafts, appends, the end. Pure; rules in `runs.state`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

from attrs import define, field

from asm_actors.cost.built_in import BUILT_IN_PRICES
from asm_actors.cost.pricing import PricingTable
from asm_actors.effects import Effect, Finish, Leave, Prepare, SetTimer, ToProvider, ToSession
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.normalization.provider_error import sign
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.policies.evaluator import Evaluator
from asm_actors.providers import messages as p
from asm_actors.providers.base import TurnRequest
from asm_actors.runs.calls import STEERED, Call
from asm_actors.runs.costs import added, cost_of_turn
from asm_actors.runs.messages import RunAppends, RunAsks, RunBarrier, RunEnded, RunWaits
from asm_actors.runs.notices import WorkOverdue
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.turn import Turn
from asm_actors.runs.unfinished import ENDING, WORKSPACE, must_finish, put_off
from asm_actors.tools.tool import Tool

__all__ = [
    "CALLED",
    "FINISH_PATIENCE_S",
    "MAX_TURNS",
    "WINDOW",
    "Ending",
    "Handler",
    "Phase",
    "RunState",
    "append",
    "barrier",
    "cost_so_far",
    "cut_short",
    "draft",
    "end",
    "fail",
    "finish",
    "leave",
    "must_prepare",
    "prepare",
    "refused_data",
    "start_turn",
    "started",
    "turn_cost",
    "usage_draft",
    "when_durable",
]

MAX_TURNS: Final = 50
"""Turns that a run may take unless it was told otherwise."""
WINDOW: Final = 256
"""Events of a run that may be under way to the disk before it stops reading its provider."""
CALLED: Final = "has_called_tools"
"""Key in a run's ``provider_metadata`` while its first turn goes on: the provider called tools of its own in it."""
FINISH_PATIENCE_S: Final = 600.0
"""How long what is to be done about a run's files after it may take."""
ACKNOWLEDGE_EVERY: Final = 64
"""After so many events a run asks to hear when they are durable."""

Ending: TypeAlias = tuple[RunStatus, EventType, ErrorCode, str | None]
"""How a run is to end that was told to stop: status, terminal event, error code, reason."""


class Phase(Enum):
    """Where a run's actor stands; see `runs.state`."""

    WAITING = "waiting"
    RECOVERING = "recovering"
    PREPARING = "preparing"
    STREAMING = "streaming"
    PARKED = "parked"
    CALLING = "calling"
    STOPPING = "stopping"
    STOPPING_CALLS = "stopping_calls"
    STOPPING_WORK = "stopping_work"
    FINISHING = "finishing"
    ENDED = "ended"


@define
class RunState:
    """All that a run's actor knows."""

    run: Run
    request: TurnRequest
    """The turn that is asked for, or the one that led to `calls`."""
    provider: str | None
    correlation_id: str | None
    resumable: bool = False
    """Whether the provider may repeat a turn that has already said something."""
    max_crashes: int = 3
    """Deaths of the provider that one run survives."""
    tools: Mapping[str, Tool] = EMPTY
    """Tools of the host which the model may call, by name."""
    head: int = 0
    """Sequence number of its session's last event when it was started."""
    calls: Mapping[str, Call] = EMPTY
    """Calls of the last completed turn, which the host answers before the next one."""
    phase: Phase = Phase.WAITING
    turn: Turn = field(factory=Turn)
    n_crashes: int = 0
    n_pending: int = 0
    """Events told to the session and not known to be durable."""
    n_unasked: int = 0
    """Of these, the newest ones for which no `Durable` was asked."""
    n_heard: int = 0
    """Batches heard for which no further ones were asked yet."""
    wants_more: bool = False
    """Items are there to be asked for, but the window is full."""
    ending: Ending | None = None
    to_call: Sequence[Call] = ()
    """Calls that begin as soon as their start is durable."""
    n_before_calls: int = 0
    """Events that must be durable before that."""
    past: tuple[dict[str, Any], ...] = ()
    """What its completed turns added to the conversation, answers of tools included, but for those to `calls`."""
    is_careful: bool = False
    """Whether it has been in line in an earlier process: it does nothing before its start is durable."""
    is_marked: bool = False
    """Whether its record says that the provider called tools of its own in the first turn."""
    is_settled: bool = False
    """Whether all is in the journal that came before it."""
    is_prepared: bool = False
    """Whether what it needs before its provider is asked is there."""
    n_barriers: int = 0
    """Barriers of which nothing was heard so far."""
    is_working: bool = False
    """While it is PREPARING or FINISHING: whether its shell is at work."""
    pricing: PricingTable = BUILT_IN_PRICES
    """What models cost."""
    faults: tuple[str, ...] = ()
    """What is wrong with the last answer."""
    n_corrections: int = 0
    """How often the model was told that its answer does not fit."""
    error: AsmError | None = None
    """While it is FINISHING: what those who wait for its result get raised."""
    evaluator: Evaluator | None = None
    """What looks at it for its policy (`runs.policing`); None: it has none."""
    book: ApprovalBook | None = None
    """What somebody was asked about its calls, and what was decided, also about such calls of its session."""
    verdict: AsmError | None = None
    """The error with which it ends by its policy, once it has to."""
    fault: AsmError | None = None
    """Why its policy cannot be read."""
    usage_heard: dict[str, int] | None = None
    """What the turn had used when its policy heard of it last."""
    is_timed: bool = False
    """Whether its policy's time is counted."""
    is_to_hold: bool = False
    """Whether it is to stand still at the next turn boundary."""
    told: Mapping[str, Any] = EMPTY
    """What its end tells of who ended it."""
    steering: dict[int, int] | None = None
    """Input into its turn of which nobody knows yet whether it is taken: the session's name for each, by number."""

    @property
    def max_turns(self) -> int:
        """Turns that it may take in all."""
        limit = self.run.options.get("max_turns")
        return limit if type(limit) is int else MAX_TURNS


Handler: TypeAlias = Callable[[RunState, Any, int], list[Effect]]
"""Handles one kind of message: `(state, message, now) -> effects`."""


def draft(state: RunState, kind: EventType, now: int, data: dict[str, Any]) -> Draft:
    """An event of the run."""
    return Draft(kind, now, state.run.id, data, EMPTY, state.provider, state.correlation_id)


def append(
    state: RunState,
    drafts: Sequence[Draft],
    run: Run | None = None,
    *,
    is_awaited: bool = False,
    asks: bool = False,
) -> Effect:
    """Tell events to the session.

    Args:
        state: Changed in place.
        drafts: The events.
        run: The run's new record, if it changed.
        is_awaited: Whether the run goes on only when these are durable.
        asks: Whether somebody is asked something by one of them.
    """
    count = len(drafts)
    state.n_pending += count
    state.n_unasked += count
    asked = 0
    if is_awaited or state.n_unasked >= ACKNOWLEDGE_EVERY or state.n_pending >= WINDOW:
        asked, state.n_unasked = state.n_unasked, 0
    kind = RunAsks if asks else RunAppends
    return ToSession(kind(state.run.id, drafts, run, asked))


def start_turn(state: RunState) -> Effect:
    """Ask the provider for the turn of `state.request`: a new call with its own credit."""
    state.phase = Phase.STREAMING
    state.wants_more, state.n_heard = False, 0
    return ToProvider(p.StartTurn(None, state.request))


def usage_draft(state: RunState, now: int) -> list[Draft]:
    """What the turn used, if that is known."""
    usage = state.turn.usage
    return [draft(state, EventType.TOKEN_USAGE_UPDATED, now, usage)] if usage else []


def started(
    state: RunState,
    now: int,
    own: Sequence[Mapping[str, Any]],
    continuation: Mapping[str, Any] | None = None,
) -> list[Draft]:
    """Make the run a running one; return what tells of it.

    Args:
        state: Changed in place.
        now: Microseconds since the epoch.
        own: The messages of its own input.
        continuation: How it goes on from the conversation before it.
    """
    state.run = state.run.begun(now, state.head)
    drafts = [
        draft(state, EventType.MESSAGE_SENT, now, {"role": said["role"], "content": said["content"]})
        for said in own
        if said["role"] != "system"
    ]
    data: dict[str, Any] = {"provider": state.provider, "turn": state.request.turn}
    model = state.request.options.get("model")
    if model is not None:
        data["model"] = model
    if continuation is not None:
        data["continuation"] = continuation
    if "capabilities" in state.run.details:
        data["capabilities"] = state.run.details["capabilities"]
    if "purpose" in state.run.options:
        data["purpose"] = state.run.options["purpose"]
    drafts.append(draft(state, EventType.RUN_STARTED, now, data))
    return drafts


def cut_short(state: RunState) -> Run:
    """The run's record with what its unfinished turn had said and used."""
    turn, run = state.turn, state.run
    if turn.usage:
        run = run.with_token_usage(turn.usage)
    metadata = {**run.provider_metadata, **turn.provider_metadata(state.provider)}
    metadata.pop(CALLED, None)
    output = {"content": turn.content(), "partial": True} if turn.text else run.output
    return run.replace(output=output, provider_metadata=metadata, cost_usd=cost_so_far(state))


def turn_cost(state: RunState) -> float | None:
    """What the present turn cost, in US dollars; see `runs.costs`."""
    return cost_of_turn(state.turn, state.provider, state.request.options, state.pricing)


def cost_so_far(state: RunState) -> float | None:
    """What the run cost up to now, in US dollars; None if nothing of it is known."""
    return added(state.run.cost_usd, turn_cost(state))


def fail(state: RunState, drafts: list[Draft], error: AsmError, now: int) -> list[Effect]:
    """End the run as failed; what its turn had said is kept."""
    sign(error, state.provider)
    run = cut_short(state).with_error(error, now)
    drafts += usage_draft(state, now)
    drafts.append(draft(state, EventType.RUN_FAILED, now, error.to_payload()))
    return end(state, drafts, run, error)


def end(state: RunState, drafts: list[Draft], run: Run, error: AsmError | None) -> list[Effect]:
    """End the run: tell the session, once, and leave; if it has files, see to these first.

    Args:
        state: Changed in place.
        drafts: The last events; the last of them is the terminal one.
        run: The final record.
        error: What those who wait for the result get raised; None if it completed.
    """
    if state.evaluator is not None:
        run = run.replace(details={**run.details, **state.evaluator.details(run.ended_us or 0)})
    if state.steering:
        drafts[-1:-1] = _not_taken(state, drafts[-1].timestamp_us)
    if run.cost_usd is not None:
        drafts[-1].data.setdefault("total_cost_usd", run.cost_usd)
    if must_finish(run):
        return _finish_first(state, drafts, run, error)
    return leave(state, drafts, run, error)


def _not_taken(state: RunState, now: int) -> list[Draft]:
    """What tells of input into its last turn that the provider has not taken."""
    steering, state.steering = state.steering, None
    error = AsmError(
        ErrorCode.INVALID_OPERATION, f"run {state.run.id} ended before its provider took the input"
    )
    return [
        draft(state, EventType.ERROR_OCCURRED, now, refused_data(number, error)) for number in steering or ()
    ]


def refused_data(number: int, error: AsmError) -> dict[str, Any]:
    """Payload of the event which says that input into a turn was not taken."""
    return {**error.to_payload(), "source": STEERED, "number": number}


def leave(state: RunState, drafts: Sequence[Draft], run: Run, error: AsmError | None) -> list[Effect]:
    """Tell the session that the run is over, and end the actor; nothing is left to be done."""
    state.phase = Phase.ENDED
    state.run = run
    facts = {"provider_session_id": state.turn.provider_session_id, "model": state.turn.model}
    if state.turn.provider_session_id is None and (state.request.turn > 1 or WORKSPACE in run.details):
        facts = {name: run.provider_metadata.get(name) for name in facts}
    return [ToSession(RunEnded(run.id, drafts, run, error, facts)), Leave()]


# --- What comes before the first turn, and after the last one ----------------------------------------------------


def must_prepare(state: RunState) -> bool:
    """Whether something has to be made ready before the provider is asked."""
    options = state.run.options
    if not options or state.is_prepared:
        return False
    workspace = options.get(WORKSPACE)
    has_files = workspace is not None and bool(workspace.get("enabled"))
    return has_files or bool(options.get("continuation")) or options.get("purpose") is not None


def prepare(state: RunState, mode: str | None = None, reason: str | None = None) -> list[Effect]:
    """Have what the run needs made ready; see `effects.Prepare`."""
    state.phase = Phase.PREPARING
    run = state.run
    if run.status is RunStatus.PENDING and not state.is_settled:
        # It may take its time: that the run is to be executed must be on record meanwhile. And what it goes on from
        # must be in the journal, to be read there.
        return [ToSession(RunWaits(run.id)), barrier(state)]
    state.is_working = True
    upto = state.head if run.from_sequence is None else run.from_sequence
    return [Prepare(run, upto, mode, reason)]


def _finish_first(state: RunState, drafts: list[Draft], run: Run, error: AsmError | None) -> list[Effect]:
    """Put on record how the run ends; when that is durable its files are seen to, and then it ends.

    So a crash meanwhile neither has the model asked again, nor a run go on whose files were put back.
    """
    state.run = put_off(run, drafts[-1])
    state.phase, state.error = Phase.FINISHING, error
    return when_durable(state, drafts[:-1])


def when_durable(state: RunState, drafts: Sequence[Draft]) -> list[Effect]:
    """Tell events and the run's record; a `Durable` follows when they are on the disk, which the phase waits for."""
    return [append(state, drafts, state.run), barrier(state)]


def barrier(state: RunState) -> Effect:
    """Have a `Durable` of nothing sent when all is durable that was told so far."""
    state.n_barriers += 1
    return ToSession(RunBarrier(state.run.id))


def finish(state: RunState) -> list[Effect]:
    """Have the run's files seen to, or, if that is done, what is not needed any more given back."""
    state.phase, state.is_working = Phase.FINISHING, True
    details = state.run.details
    releases = bool(details[WORKSPACE].get("is_finished"))
    is_completed = details[ENDING]["status"] == RunStatus.COMPLETED
    return [
        Finish(state.run, is_completed, releases),
        SetTimer("finish", FINISH_PATIENCE_S, WorkOverdue()),
    ]
