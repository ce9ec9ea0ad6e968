"""What must hold of questions, decisions and pauses of a journal's runs, whatever was killed, and when.

1. A question is asked once at a time and has one decision, or its run ends, or begins again from its input. A decision
   follows a question. One that time took comes when the time is over, one that somebody took before that.
2. A call that needs a grant is begun after one: of its own question, or of a call that is like it. One that was denied,
   or that a policy forbids, is not begun.
3. What is begun has the arguments that somebody gave with the grant, else those that the model gave.
4. A run that stands still says nothing and begins nothing until it goes on.
5. Whoever takes the place of others starts when these are over; only what was cancelled is taken out of a conversation.

What holds of limits stands in `asm_actors.testing.limit_promises`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from asm_actors.events import Event, EventType
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session
from asm_actors.testing.limit_promises import limit_faults
from asm_actors.testing.promises import RUN_ENDS
from asm_actors.testing.written_policy import Gate, WrittenPolicy

__all__ = ["FlowRules", "flow_faults"]

E: Final = EventType
_WHILE_STILL: Final = frozenset(
    {
        E.RUN_PAUSED,
        E.RUN_RESUMED,
        E.RUN_RECOVERED,
        E.TOOL_APPROVAL_REQUESTED,
        E.TOOL_APPROVAL_GRANTED,
        E.TOOL_APPROVAL_DENIED,
        E.POLICY_VIOLATION,
        E.WORKSPACE_SNAPSHOT_TAKEN,
        E.WORKSPACE_DIFF_COMPUTED,
        *RUN_ENDS,
    }
)
_STANDING: Final = ("tool_denied", "approval_required")


@frozen
class FlowRules:
    """How the system was started whose journal is looked at.

    Attributes:
        policy: The map of the system's policy.
        gated: Tools that say themselves that somebody has to be asked.
        rates: What a token of a request and one of an answer cost, in US dollars; None: costs are not looked at.
        late_s: How much later than it should a timer may fire, in seconds; None: whenever it likes.
    """

    policy: Mapping[str, Any] | None = None
    gated: Collection[str] = ()
    rates: tuple[float, float] | None = None
    late_s: float | None = None


def flow_faults(store: Store, rules: FlowRules | None = None, now_us: int | None = None) -> list[str]:
    """Check a journal; return one sentence per fault.

    Args:
        store: Open.
        rules: How the system was started.
        now_us: The time at which all timers have fired that were to; None: nothing is said about that.
    """
    rules = rules or FlowRules()
    faults: list[str] = []
    for session in store.sessions(include_deleted=True):
        runs = {run.id: run for run in store.runs(session.id)}
        events = [event for event in store.read_session(session.id) if event.session_id == session.id]
        faults += _session_faults(session, runs, events, rules, now_us)
    return faults


def _session_faults(
    session: Session, runs: Mapping[str, Run], events: Sequence[Event], rules: FlowRules, now_us: int | None
) -> Iterator[str]:
    grants: list[_Grant] = []
    readers: dict[str, _Reader] = {}
    own: dict[str, list[Event]] = {run_id: [] for run_id in runs}
    for event in events:
        if event.run_id is None or event.run_id not in runs:
            continue
        own[event.run_id].append(event)
        reader = readers.get(event.run_id)
        if reader is None:
            policy = WrittenPolicy.of(session, runs[event.run_id], rules.policy, rules.gated)
            has_files = bool(runs[event.run_id].options.get("workspace"))
            reader = readers[event.run_id] = _Reader(event.run_id, policy, grants, rules, has_files)
        yield from reader.take(event)
    for run_id, reader in readers.items():
        yield from reader.left(now_us)
        yield from limit_faults(runs[run_id], own[run_id], reader.policy, rules.rates, rules.late_s)
    yield from _superseding_faults(runs, own)


def _superseding_faults(runs: Mapping[str, Run], own: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """Rule 5."""
    for run in runs.values():
        began = next((event for event in own[run.id] if event.type is E.RUN_STARTED), None)
        for other in run.options.get("supersedes", ()):
            if other not in runs or began is None:
                continue
            end = next((event for event in own[other] if event.type in RUN_ENDS), None)
            if end is None or (end.sequence_number or 0) > (began.sequence_number or 0):
                yield f"{run.id} started before {other} was over, whose place it takes"
        for event in own[run.id]:
            if event.data.get("rolled_back") and event.type is not E.RUN_CANCELLED:
                yield f"{event.type} of {run.id} says that it is rolled back"


@frozen
class _Grant:
    """A grant that stands for calls that are like its own."""

    run_id: str
    scope: str
    tool: str
    inputs: tuple[dict[str, Any], ...]
    edited: dict[str, Any] | None

    def covers(self, run_id: str, tool: str, given: dict[str, Any]) -> bool:
        is_meant = self.scope == "session" or self.run_id == run_id
        return is_meant and self.tool == tool and given in self.inputs


@define
class _Call:
    """A call that the host answers, and what was decided about it."""

    input: dict[str, Any]
    asked: Event | None = None
    decision: Event | None = None
    question: Event | None = None
    begun_with: list[dict[str, Any]] = field(factory=list)


@define
class _Reader:
    run_id: str
    policy: WrittenPolicy
    grants: list[_Grant]
    rules: FlowRules
    has_files: bool
    calls: dict[str, _Call] = field(factory=dict)
    is_still: bool = False
    is_over: bool = False

    def take(self, event: Event) -> Iterator[str]:
        # One with files that is cancelled sees to these first, and may be cut in that.
        is_finishing = self.has_files and event.type is E.RUN_INTERRUPTED
        if self.is_still and event.type not in _WHILE_STILL and not is_finishing:
            yield f"{event.type} ({event.sequence_number}) of {self.run_id}, which stands still"
        data = event.data
        match event.type:
            case E.TURN_COMPLETED:
                yield from self._no_questions(f"turn {data.get('turn')} was completed")
                self.calls = {call["id"]: _Call(call["input"]) for call in data.get("pending_tool_calls", ())}
            case E.RUN_RECOVERED if data.get("decision") == "retry":
                self.calls = {}
            case E.RUN_PAUSED:
                self.is_still = True
            case E.RUN_RESUMED:
                if not self.is_still:
                    yield f"{self.run_id} is resumed ({event.sequence_number}), and did not stand still"
                self.is_still = data.get("waits_for") == "session"
            case E.TOOL_APPROVAL_REQUESTED:
                yield from self._asked(event)
            case E.TOOL_APPROVAL_GRANTED | E.TOOL_APPROVAL_DENIED:
                yield from self._decided(event)
            case E.TOOL_CALL_STARTED if data.get("attempt"):
                yield from self._begun(event)
        self.is_over |= event.type in RUN_ENDS

    def left(self, now_us: int | None) -> Iterator[str]:
        """What is left open at the end of the journal."""
        if self.is_over or now_us is None or self.rules.late_s is None:
            return
        for call_id, call in self.calls.items():
            due = None if call.asked is None else _expiry(call.asked)
            if due is not None and due + self.rules.late_s * 1e6 < now_us:
                yield f"the question about {call_id} of {self.run_id} is open, and its time is long over"

    def _no_questions(self, when: str) -> Iterator[str]:
        for call_id, call in self.calls.items():
            if call.asked is not None:
                yield f"the question about {call_id} of {self.run_id} was open when {when}"

    # --- Questions -------------------------------------------------------------------------------------------------

    def _asked(self, event: Event) -> Iterator[str]:
        call_id = event.data["tool_call_id"]
        call = self.calls.get(call_id)
        if call is None:
            # Somebody had the run cancelled in order to ask: that is no question which the run waits for.
            return
        if call.asked is not None:
            yield f"{call_id} of {self.run_id} is asked about again ({event.sequence_number}), undecided"
        call.asked, call.decision = event, None

    def _decided(self, event: Event) -> Iterator[str]:
        call_id = event.data["tool_call_id"]
        named = f"{event.type} ({event.sequence_number}) of {call_id} of {self.run_id}"
        call = self.calls.get(call_id)
        if call is None or call.asked is None:
            yield f"{named} follows no question that is open"
            return
        due, now = _expiry(call.asked), event.timestamp_us
        if event.data.get("timed_out"):
            if due is None or now < due:
                yield f"{named} says that the time is over, which is over at {due}; it is {now}"
            elif self.rules.late_s is not None and now > due + self.rules.late_s * 1e6:
                yield f"{named} comes {(now - due) / 1e6:g} s late"
        elif due is not None and now >= due:
            yield f"{named} comes when the time was over"
        scope = event.data.get("scope")
        asked_input = call.asked.data["tool_input"]
        edited = event.data.get("tool_input")
        is_standing = call.asked.data["violation_kind"] in _STANDING
        if event.type is E.TOOL_APPROVAL_GRANTED and scope in ("run", "session") and is_standing:
            inputs = (asked_input,) if edited is None else (asked_input, edited)
            grant = _Grant(self.run_id, scope, call.asked.data["tool_name"], inputs, edited)
            self.grants.append(grant)
        call.decision, call.question, call.asked = event, call.asked, None

    # --- Calls -----------------------------------------------------------------------------------------------------

    def _begun(self, event: Event) -> Iterator[str]:
        data = event.data
        call_id, tool, given = data["tool_call_id"], data["tool_name"], data["tool_input"]
        named = f"{call_id} of {self.run_id}, begun by event {event.sequence_number},"
        call = self.calls.get(call_id)
        if call is None:
            return  # told by `call_promises`
        if call.asked is not None:
            yield f"{named} is being asked about"
        decision = call.decision
        if decision is not None and decision.type is E.TOOL_APPROVAL_DENIED:
            yield f"{named} was denied"
        standing = [grant for grant in self.grants if grant.covers(self.run_id, tool, call.input)]
        gate = self.policy.gate(tool)
        if gate is Gate.NEVER:
            yield f"{named} is a call of {tool}, which a policy forbids"
        if gate is Gate.ASK and decision is None and not standing:
            yield f"{named} is a call of {tool}, which nobody allowed"
        allowed = self._inputs(call, standing)
        if given not in allowed:
            yield f"{named} has the arguments {given} instead of {allowed}"
        call.begun_with.append(given)

    def _inputs(self, call: _Call, standing: Sequence[_Grant]) -> list[dict[str, Any]]:
        """The arguments that a call may have."""
        if call.decision is not None and call.question is not None:
            edited = call.decision.data.get("tool_input")
            return [call.question.data["tool_input"] if edited is None else edited]
        edits = [grant.edited for grant in standing if grant.edited is not None]
        return [call.input, *edits, *call.begun_with]


def _expiry(asked: Event) -> int | None:
    """When a question is denied, in microseconds since the epoch."""
    timeout = asked.data.get("approval_timeout")
    return None if timeout is None else asked.timestamp_us + round(timeout * 1_000_000)
