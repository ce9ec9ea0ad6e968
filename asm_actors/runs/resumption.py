"""How far a run had come, read from its own events: what a run that is taken up again goes on from. Pure.

1. Only what is complete counts: turns up to the last `turn_completed`, and the answers of the calls after it. The
   pieces of a turn that was cut are left where they are and not used.
2. What is rebuilt is what a live run has: the same messages, in the same order (`runs.calls`).
3. A run that was begun again from its input starts from nothing but what it was given: its input, and what came while
   it was answered. What was decided about its calls is still known.
4. Input that came into a turn is part of the conversation where it came, also if that turn was cut (`runs.control`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from asm_actors.errors import ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.policies.state import PolicyState
from asm_actors.runs.calls import STEERED, Call, answers_of, messages_of_turn
from asm_actors.runs.execution import CALLED
from asm_actors.runs.run import Run, RunStatus

__all__ = ["READ", "Progress", "must_be_read", "progress_of"]

READ = frozenset(
    {
        EventType.RUN_STARTED,
        EventType.RUN_RECOVERED,
        EventType.RUN_PAUSED,
        EventType.RUN_RESUMED,
        EventType.MESSAGE_SENT,
        EventType.MESSAGE_RECEIVED,
        EventType.TOOL_CALL_STARTED,
        EventType.TOOL_CALL_COMPLETED,
        EventType.TOOL_CALL_FAILED,
        EventType.TURN_COMPLETED,
        EventType.ERROR_OCCURRED,
        EventType.TOOL_APPROVAL_REQUESTED,
        EventType.TOOL_APPROVAL_GRANTED,
        EventType.TOOL_APPROVAL_DENIED,
    }
)
"""Types of the events that tell how far a run had come. The pieces of a text do not, and are most of them."""


@frozen
class Progress:
    """How far a run had come.

    Attributes:
        turn: The last completed turn, 0 before the first.
        messages: What the completed turns added to the conversation, without the answers to `calls`.
        calls: Calls of the last completed turn which the host answers, answered ones too; empty if the next turn had
            been asked for.
        has_called: Whether the provider called tools of its own in the turn that was cut.
        after: Sequence number of the last event that counts.
        n_discarded: Events of the turn that was cut, which do not count; None: nobody has looked.
        decided: By id of a call whose outcome was unknown: ``requested``, ``granted`` or ``denied``, the last decision.
        lost: Calls of unknown outcome which were not repeated, and the model was told so.
        begins_again: Whether the calls that somebody is asked about have the run begun again from its input if they
            are granted, and failed if one is denied.
        book: What people were asked about its calls, and what they decided; None: nobody was asked.
        policed: What it had used and done by the count of its policy; None: nobody has counted.
        given: All input that came while it was answered.
        n_corrections: How often the model was told that its answer does not fit.
    """

    turn: int = 0
    messages: tuple[dict[str, Any], ...] = ()
    calls: tuple[Call, ...] = ()
    has_called: bool = False
    after: int = 0
    n_discarded: int | None = None
    decided: Mapping[str, str] = field(factory=dict)
    lost: tuple[Call, ...] = ()
    begins_again: bool = False
    book: ApprovalBook | None = None
    policed: PolicyState | None = None
    given: tuple[dict[str, Any], ...] = ()
    n_corrections: int = 0

    @property
    def anew(self) -> Progress | None:
        """Where a run stands that begins again from its input; None if nothing else was given to it, or is known."""
        standing = () if self.book is None else self.book.standing
        if not self.given and not standing and self.policed is None:
            return None
        book = ApprovalBook(standing=standing) if standing else None
        return Progress(messages=self.given, given=self.given, book=book, policed=self.policed)

    @property
    def waits_only(self) -> bool:
        """Whether nothing can go on until somebody has decided about a call."""
        open_calls = [call for call in self.calls if call.answer is None]
        return bool(open_calls) and all(call.waits for call in open_calls)

    @property
    def next_turn(self) -> int:
        """The turn at which it goes on: that of the calls which are not answered, else the one after."""
        return self.turn if any(call.answer is None for call in self.calls) else self.turn + 1

    @property
    def begun(self) -> list[Call]:
        """Calls that began and have no recorded end."""
        return [call for call in self.calls if call.is_started and call.answer is None]

    @property
    def unknown(self) -> list[Call]:
        """Calls that began, have no recorded end, and must not simply be repeated."""
        return [call for call in self.calls if call.is_unknown]

    @property
    def undecided(self) -> list[Call]:
        """Calls about which somebody has to decide before the run can go on."""
        return [call for call in self.calls if call.is_undecided]

    def with_decision(self, call_id: str, decision: str) -> Progress:
        """Return this with a decision about one of the unknown calls."""
        calls = tuple(evolve(call, decision=decision) if call.id == call_id else call for call in self.calls)
        return evolve(self, calls=calls, decided={**self.decided, call_id: decision})

    def own_calls(self) -> dict[str, Call]:
        """The calls by id, as copies that the run may change."""
        return {call.id: evolve(call) for call in self.calls}


def must_be_read(run: Run) -> bool:
    """Whether the events of an open run tell more than its record.

    So they do if a turn was completed, a tool called, or input into a turn given.
    """
    if run.status is RunStatus.PENDING:
        return False
    return run.status is not RunStatus.RUNNING or bool(
        run.turn_count or run.provider_metadata.get(CALLED) or run.details.get(STEERED)
    )


def progress_of(run: Run, events: Iterable[Event], n_pieces: int | None = None) -> Progress:
    """Rebuild how far a run had come.

    Args:
        run: Its record.
        events: Its events of the types in `READ`, in order.
        n_pieces: How many further events the turn that was cut has.
    """
    reader = _Reader(after=run.from_sequence or 0)
    for event in events:
        reader.take(event)
    return reader.progress(n_pieces)


@define
class _Reader:
    after: int
    turn: int = 0
    messages: tuple[dict[str, Any], ...] = ()
    calls: dict[str, Call] = field(factory=dict)
    decided: dict[str, str] = field(factory=dict)
    lost: tuple[Call, ...] = ()
    begins_again: bool = False
    book: ApprovalBook | None = None
    given: list[Mapping[str, Any]] = field(factory=list)
    n_corrections: int = 0
    # Of the turn that has not been completed so far.
    said: list[Mapping[str, Any]] = field(factory=list)
    announced: set[str] = field(factory=set)
    n_of_turn: int = 0

    def progress(self, n_pieces: int | None) -> Progress:
        return Progress(
            self.turn,
            self.messages + messages_of_turn([one for one in self.said if STEERED in one], ()),
            tuple(self.calls.values()),
            bool(self.announced),
            self.after,
            self.n_of_turn + (n_pieces or 0),
            self.decided,
            self.lost,
            self.begins_again,
            self.book,
            given=messages_of_turn(self.given, ()),
            n_corrections=self.n_corrections,
        )

    def take(self, event: Event) -> None:
        handler = _READERS.get(event.type)
        if handler is not None:
            handler(self, event.data, event.sequence_number or 0)
        if event.type in _ASKING or self.book is not None:
            book = ApprovalBook() if self.book is None else self.book
            self.book = book.apply(event.type, event.run_id, event.data, event.timestamp_us)

    def forget_turn(self) -> None:
        self.said = [one for one in self.said if STEERED in one]  # that is not the provider's
        self.announced, self.n_of_turn = set(), 0

    def _counts(self, sequence: int) -> None:
        self.after = sequence
        self.forget_turn()

    def _started(self, data: Mapping[str, Any], sequence: int) -> None:
        self._counts(sequence)

    def _recovered(self, data: Mapping[str, Any], sequence: int) -> None:
        self._counts(sequence)
        decision = data.get("decision")
        self.begins_again = decision == "ask" and data.get("on_restart") == "retry" and not self.lost
        if decision == "retry":
            self.turn, self.calls, self.lost, self.said, self.n_corrections = 0, {}, (), [], 0
            self.messages = messages_of_turn(self.given, ())

    def _sent(self, data: Mapping[str, Any], sequence: int) -> None:
        if STEERED in data:
            self._ask_next()
            self.said.append(data)
            self.given.append(data)

    def _error(self, data: Mapping[str, Any], sequence: int) -> None:
        if data.get("source") == STEERED:
            for kept in (self.said, self.given):
                kept[:] = [one for one in kept if one.get("number") != data.get("number")]
        elif data.get("source") != "provider" and ("retry_in_s" in data or "will_retry" in data):
            self._counts(sequence)  # the turn began again
        else:
            self.n_of_turn += 1

    def _received(self, data: Mapping[str, Any], sequence: int) -> None:
        self._ask_next()
        self.said.append(data)
        self.n_of_turn += 1

    def _turn_completed(self, data: Mapping[str, Any], sequence: int) -> None:
        self._ask_next()
        self.turn = data.get("turn", self.turn + 1)
        calls = [
            Call(call["id"], call["name"], call["input"], is_announced=call["id"] in self.announced)
            for call in data.get("pending_tool_calls") or ()
        ]
        self.messages += messages_of_turn(self.said, calls)
        if "correction" in data:
            self.n_corrections += 1
            self.messages += ({"role": "user", "content": data["correction"]},)
        self.calls, self.said = {call.id: call for call in calls}, []
        self._counts(sequence)

    def _ask_next(self) -> None:
        """Something of the next turn was heard: the calls of the last one have all been answered."""
        if self.calls:
            self.messages += answers_of(self.calls.values())
            self.calls = {}

    def _call_started(self, data: Mapping[str, Any], sequence: int) -> None:
        call = self.calls.get(data.get("tool_call_id", "")) if "attempt" in data else None
        if call is None:
            self.announced.add(data.get("tool_call_id", ""))
            self.n_of_turn += 1
            return
        call.attempt, call.is_started, call.decision = data["attempt"], True, None
        call.safe_to_repeat = bool(data.get("safe_to_repeat"))
        given = data.get("tool_input")
        if isinstance(given, dict):
            call.input = given  # somebody may have put other arguments in place of its own
        self._counts(sequence)

    def _call_completed(self, data: Mapping[str, Any], sequence: int) -> None:
        self._call_ended(data, sequence, is_error=False)

    def _call_failed(self, data: Mapping[str, Any], sequence: int) -> None:
        self._call_ended(data, sequence, is_error=True)

    def _call_ended(self, data: Mapping[str, Any], sequence: int, *, is_error: bool) -> None:
        call = self.calls.get(data.get("tool_call_id", "")) if "attempt" in data else None
        if call is None:
            self.n_of_turn += 1
            return
        call.answered(data.get("tool_output"), is_error=is_error)
        if is_error and (data.get("error") or {}).get("code") == ErrorCode.OUTCOME_UNKNOWN:
            self.lost += (call,)
        self._counts(sequence)

    def _decided(self, decision: str, data: Mapping[str, Any], sequence: int) -> None:
        call_id = data.get("tool_call_id", "")
        self.decided[call_id] = decision
        if call_id in self.calls:
            self.calls[call_id].decision = decision
        self._counts(sequence)


_ASKING = frozenset(
    {
        EventType.TOOL_APPROVAL_REQUESTED,
        EventType.TOOL_APPROVAL_GRANTED,
        EventType.TOOL_APPROVAL_DENIED,
    }
)
_READERS: Mapping[EventType, Any] = {
    EventType.RUN_STARTED: _Reader._started,
    EventType.RUN_RECOVERED: _Reader._recovered,
    EventType.RUN_PAUSED: _Reader._started,
    EventType.RUN_RESUMED: _Reader._started,
    EventType.ERROR_OCCURRED: _Reader._error,
    EventType.MESSAGE_SENT: _Reader._sent,
    EventType.MESSAGE_RECEIVED: _Reader._received,
    EventType.TURN_COMPLETED: _Reader._turn_completed,
    EventType.TOOL_CALL_STARTED: _Reader._call_started,
    EventType.TOOL_CALL_COMPLETED: _Reader._call_completed,
    EventType.TOOL_CALL_FAILED: _Reader._call_failed,
    EventType.TOOL_APPROVAL_REQUESTED: lambda reader, *rest: reader._decided("requested", *rest),
    EventType.TOOL_APPROVAL_GRANTED: lambda reader, *rest: reader._decided("granted", *rest),
    EventType.TOOL_APPROVAL_DENIED: lambda reader, *rest: reader._decided("denied", *rest),
}
