"""What must hold of one run's turns, recoveries and calls of the host's tools, as its events tell them.

1. Turns count 1, 2, 3 ... from the run's start, and again from the place where it was begun anew from its input.
2. The host answers the calls that `turn_completed` names, and no others. Each is begun with the next attempt's number,
   has one end, and is not begun again after that. One that is not safe to repeat is begun a second time only if
   somebody granted that; nor is a run begun anew while such a call has no end. Before anything of the next turn is
   said, all have their ends.
3. The record counts the turns and the crashes that the run survived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import define, field

from asm_actors.events import Event, EventType
from asm_actors.runs.run import Run, RunStatus

__all__ = ["call_faults"]

_SAID: Final = frozenset({EventType.MESSAGE_STREAMED, EventType.MESSAGE_RECEIVED})
_CALLS: Final = frozenset(
    {EventType.TOOL_CALL_STARTED, EventType.TOOL_CALL_COMPLETED, EventType.TOOL_CALL_FAILED}
)


def call_faults(run: Run, events: Sequence[Event]) -> Iterator[str]:
    """Check the turns and calls of a run.

    Args:
        run: Its record.
        events: Its events, all of them, in order.
    """
    reader = _Reader(run.id)
    for event in events:
        yield from reader.take(event)
    if run.status is RunStatus.COMPLETED:
        yield from reader.unanswered("it was completed")
    if run.recoveries != reader.n_crashes:
        yield f"the record of {run.id} counts {run.recoveries} recoveries, its events {reader.n_crashes}"
    # The last turn is told by the run's end, but for a run with files.
    n_turns = reader.n_turns + (run.status is RunStatus.COMPLETED and not reader.is_over)
    if run.turn_count != n_turns:
        yield f"the record of {run.id} counts {run.turn_count} turns, its events {n_turns}"


@define
class _Call:
    attempt: int = 0
    is_open: bool = False
    has_ended: bool = False
    is_safe: bool = False
    is_granted: bool = False


@define
class _Reader:
    run_id: str
    turn: int = 0
    n_turns: int = 0
    n_crashes: int = 0
    is_over: bool = False
    calls: dict[str, _Call] = field(factory=dict)

    def take(self, event: Event) -> Iterator[str]:
        data = event.data
        if event.type in _SAID:
            yield from self.unanswered(f"the next turn said something ({event.sequence_number})")
        elif event.type in _CALLS:
            if "attempt" in data:  # else the provider's own
                yield from self._call(event.type, data, event.sequence_number)
        elif event.type is EventType.TURN_COMPLETED:
            yield from self.unanswered(f"turn {data.get('turn')} was completed")
            if data.get("turn") != self.turn + 1:
                yield f"turn {data.get('turn')} of {self.run_id} follows turn {self.turn}"
            self.turn += 1
            self.n_turns += 1
            self.is_over = bool(data.get("is_last"))
            self.calls = {call["id"]: _Call() for call in data.get("pending_tool_calls", ())}
        elif event.type is EventType.RUN_RECOVERED:
            self.n_crashes += data.get("interrupted_by") == "crash"
            if data.get("decision") == "retry":
                yield from self._begun_anew(event.sequence_number)
                self.turn, self.calls, self.is_over = 0, {}, False
        elif event.type is EventType.TOOL_APPROVAL_GRANTED:
            call = self.calls.get(data.get("tool_call_id", ""))
            if call is not None:
                call.is_granted = True

    def unanswered(self, when: str) -> Iterator[str]:
        """Calls without an end, at a moment when each must have one."""
        for call_id, call in self.calls.items():
            if not call.has_ended:
                yield f"{call_id} of {self.run_id} had no end when {when}"

    def _begun_anew(self, sequence: int | None) -> Iterator[str]:
        for call_id, call in self.calls.items():
            if call.is_open and not (call.is_safe or call.is_granted):
                yield f"{self.run_id} is begun anew ({sequence}), and {call_id} may have had its effect"

    def _call(self, kind: EventType, data: dict[str, Any], sequence: int | None) -> Iterator[str]:
        call_id = data["tool_call_id"]
        named = f"{call_id} of {self.run_id} (event {sequence})"
        call = self.calls.get(call_id)
        if call is None:
            yield f"{named} is a call that turn {self.turn} did not ask for"
            return
        if call.has_ended:
            yield f"{named} follows its end: {kind}"
        if data.get("turn") != self.turn:
            yield f"{named} says that it belongs to turn {data.get('turn')}, not {self.turn}"
        if kind is not EventType.TOOL_CALL_STARTED:
            if data["attempt"] != call.attempt or (
                kind is EventType.TOOL_CALL_COMPLETED and not call.is_open
            ):
                yield f"{named} is the end of attempt {data['attempt']}, and attempt {call.attempt} was begun"
            call.is_open, call.has_ended = False, True
            return
        if call.is_open and not (call.is_safe or call.is_granted):
            yield f"{named} is begun again, which nobody allowed"
        if data["attempt"] not in (0, call.attempt + 1):  # 0: it cannot be made, and is refused
            yield f"{named} is attempt {data['attempt']}, and attempt {call.attempt} was the last one"
        call.attempt, call.is_open, call.is_granted = data["attempt"], True, False
        call.is_safe = data["safe_to_repeat"]
