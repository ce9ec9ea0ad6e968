"""What was under way when a process was killed: from its claims, and from the journal that it left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from asm_actors.events import Event, EventType
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run, RunStatus
from asm_actors.testing.claims import Claim, ClaimKind

__all__ = ["open_states", "work_under_way"]

_MARKS = (
    EventType.RUN_STARTED,
    EventType.RUN_RECOVERED,
    EventType.TURN_COMPLETED,
    EventType.TOOL_CALL_STARTED,
    EventType.TOOL_CALL_COMPLETED,
    EventType.TOOL_CALL_FAILED,
    EventType.MESSAGE_STREAMED,
)


def work_under_way(claims: Sequence[Claim]) -> Counter[str]:
    """Count the pieces of work that one life had begun and not ended, by what they are."""
    found: Counter[str] = Counter()
    for claim in claims:
        if claim.kind is ClaimKind.DOING:
            found[claim.id] += 1 if claim.status == "begin" else -1
    return +found


def open_states(store: Store) -> Counter[str]:
    """Count the open runs of a journal by where they stand."""
    return Counter(_state_of(store, run) for run in store.open_runs())


def _state_of(store: Store, run: Run) -> str:
    if run.status is not RunStatus.RUNNING:
        return "queued" if run.status is RunStatus.PENDING else run.status.value
    wanted = EventFilter(after=run.from_sequence or 0, run_ids=run.id, types=_MARKS)
    return _place_of(store.read_session(run.session_id, wanted))


def _place_of(events: Sequence[Event]) -> str:
    last, is_open = EventType.RUN_STARTED, set[object]()
    for event in events:
        last = event.type
        call_id = event.data.get("tool_call_id")
        if last is EventType.TOOL_CALL_STARTED and event.data.get("attempt"):
            is_open.add(call_id)
        elif last is EventType.MESSAGE_STREAMED:
            is_open.clear()
        else:
            is_open.discard(call_id)
    if is_open:
        return "in a tool"
    if last in (EventType.TURN_COMPLETED, EventType.TOOL_CALL_COMPLETED, EventType.TOOL_CALL_FAILED):
        return "between turns"
    return "streaming" if last is EventType.MESSAGE_STREAMED else "begun"
