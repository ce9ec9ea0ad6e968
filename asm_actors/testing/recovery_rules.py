"""What must become of a run that was open when its process was killed: read from its record and its events.

This repeats nothing of the runtime: it is the rule in other words, against which the runtime is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from attrs import field, frozen

from asm_actors.config import MAX_RECOVERIES
from asm_actors.errors import ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.runs.run import Run, RunStatus

__all__ = ["Fate", "Outlook", "RecoveryRules", "outlook_of", "recovery_faults"]


class Fate(StrEnum):
    """What becomes of an open run at the next start."""

    WAITS = "waits"
    """It had not begun, or stood still: it goes on as if nothing had happened."""
    GOES_ON = "goes_on"
    """It is taken up again."""
    IS_DECIDED = "is_decided"
    """It waits for somebody who decides about calls of unknown outcome, then goes on."""
    INTERRUPTED = "interrupted"
    """It fails: by its policy, or since it was recovered often enough."""
    UNKNOWN = "outcome_unknown"
    """It fails: a call may have had its effect, and must not be repeated."""


@frozen
class RecoveryRules:
    """How a system was started.

    Attributes:
        on_restart: What becomes of a run that does not say so itself.
        max_recoveries: How many crashes a run survives.
        resumable: Providers that may repeat a turn in which they called tools of their own.
    """

    on_restart: str = "resume"
    max_recoveries: int = MAX_RECOVERIES
    resumable: frozenset[str] = field(default=frozenset())


@frozen
class Outlook:
    """What is to be expected of a run.

    Attributes:
        fate: What becomes of it.
        is_crash: Whether its last process was killed; else it had been stopped in order.
        unknown: Calls of unknown outcome about which somebody has to decide.
        ends_if_denied: Whether a single denial ends the run as ``outcome_unknown``, since it would begin again.
    """

    fate: Fate
    is_crash: bool = True
    unknown: tuple[str, ...] = ()
    ends_if_denied: bool = False


def outlook_of(run: Run, events: Sequence[Event], rules: RecoveryRules) -> Outlook:
    """Tell what must become of an open run.

    Args:
        run: Its record, as it was found.
        events: Its events, all of them, in order.
        rules: How the next system is started.
    """
    if run.status in (RunStatus.PENDING, RunStatus.PAUSED):
        return Outlook(Fate.WAITS)
    is_crash = run.options.get("interrupted_by") != "stop"
    on_restart = run.options.get("on_restart") or rules.on_restart
    if run.status is RunStatus.AWAITING_APPROVAL:
        return Outlook(Fate.IS_DECIDED, is_crash, _unknown(events), _asks_to_begin_again(events))
    if on_restart == "fail" or (is_crash and run.recoveries >= rules.max_recoveries):
        return Outlook(Fate.INTERRUPTED, is_crash)
    begins_again = on_restart == "retry" and not _was_told(events)
    unknown = _unknown(events)
    if begins_again and not unknown:
        return Outlook(Fate.GOES_ON, is_crash)
    if _has_called(events) and run.provider_metadata.get("provider", run.provider) not in rules.resumable:
        return Outlook(Fate.INTERRUPTED, is_crash)
    policy = run.options.get("on_unknown_outcome")
    if not unknown or policy == "report":
        return Outlook(Fate.GOES_ON, is_crash)
    if policy == "ask":
        return Outlook(Fate.IS_DECIDED, is_crash, unknown, begins_again)
    return Outlook(Fate.UNKNOWN, is_crash, unknown)


def recovery_faults(old: Run, new: Run, outlook: Outlook) -> list[str]:
    """Compare what became of a run with what must.

    Args:
        old: Its record as it was found.
        new: Its record when it had ended.
        outlook: What was to be expected.
    """
    code = (new.error or {}).get("code")
    expected = {Fate.INTERRUPTED: ErrorCode.INTERRUPTED, Fate.UNKNOWN: ErrorCode.OUTCOME_UNKNOWN}.get(
        outlook.fate
    )
    faults = []
    if expected is not None and code != expected:
        faults.append(
            f"{old.id} was {old.status} and had to end as {expected}: it is {new.status}, {new.error}"
        )
    allowed = ErrorCode.OUTCOME_UNKNOWN if outlook.ends_if_denied and len(outlook.unknown) > 1 else None
    if expected is None and code != allowed and code in (ErrorCode.INTERRUPTED, ErrorCode.OUTCOME_UNKNOWN):
        faults.append(f"{old.id} was {old.status}, had to go on ({outlook}), and ended as {new.error}")
    is_counted = outlook.is_crash and old.status is RunStatus.RUNNING and expected is None
    if new.recoveries != old.recoveries + is_counted:
        faults.append(f"{old.id} was recovered {old.recoveries} times, and now {new.recoveries}: {outlook}")
    if outlook.fate is Fate.INTERRUPTED and "recoveries" not in (new.error or {}).get("details", {}):
        faults.append(f"{old.id} is interrupted and does not tell how often it was recovered: {new.error}")
    return faults


def _has_called(events: Sequence[Event]) -> bool:
    """Whether the provider called tools of its own in the turn that was cut."""
    found = False
    for event in events:
        if event.type in (EventType.RUN_STARTED, EventType.RUN_RECOVERED, EventType.TURN_COMPLETED):
            found = False
        elif event.type is EventType.TOOL_CALL_STARTED and "attempt" not in event.data:
            found = True
        elif event.type is EventType.ERROR_OCCURRED and not event.data.keys().isdisjoint(
            ("retry_in_s", "will_retry")
        ):
            found = False  # the turn began again
    return found


def _asks_to_begin_again(events: Sequence[Event]) -> bool:
    """Whether what was asked last is whether the run may begin again from its input."""
    found = False
    for number, event in enumerate(events):
        if event.type is EventType.RUN_RECOVERED:
            asks = (event.data.get("decision"), event.data.get("on_restart")) == ("ask", "retry")
            found = asks and not _was_told(events[:number])
    return found


def _was_told(events: Sequence[Event]) -> bool:
    """Whether the model was told of an unknown outcome, or somebody denied a call, since the run began."""
    found = False
    for event in events:
        match event.type:
            case EventType.RUN_RECOVERED if event.data.get("decision") == "retry":
                found = False
            case EventType.TOOL_CALL_FAILED if "attempt" in event.data:
                found |= (event.data.get("error") or {}).get("code") == ErrorCode.OUTCOME_UNKNOWN
            case EventType.TOOL_APPROVAL_DENIED:
                found = True
    return found


def _unknown(events: Sequence[Event]) -> tuple[str, ...]:
    """Calls that were begun, have no end, must not simply be repeated, and were not decided about."""
    begun: dict[str, bool] = {}
    for event in events:
        call_id = str(event.data.get("tool_call_id"))
        match event.type:
            case EventType.TURN_COMPLETED:
                begun = {}
            case EventType.RUN_RECOVERED if event.data.get("decision") == "retry":
                begun = {}
            case EventType.TOOL_CALL_STARTED if event.data.get("attempt"):
                begun[call_id] = not event.data["safe_to_repeat"]
            case EventType.TOOL_CALL_COMPLETED | EventType.TOOL_CALL_FAILED:
                begun.pop(call_id, None)
            case EventType.TOOL_APPROVAL_GRANTED | EventType.TOOL_APPROVAL_DENIED:
                begun[call_id] = False
    return tuple(call_id for call_id, must_ask in begun.items() if must_ask)
