"""Everything that a journal holds, read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, field, frozen

from asm_actors.events import Event, EventType
from asm_actors.journal.cursors import NamedCursor
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["CallHistory", "Contents"]

_PAGE = 5_000


@define
class CallHistory:
    """One call of a host's tool over all lives, found by the argument ``key``, which is its own.

    Attributes:
        n_started: How often it was begun.
        n_granted: How often somebody allowed to repeat it.
        has_ended: Whether its last beginning has its end.
        is_safe: Whether its tool is safe to repeat.
        is_retried: Whether its run was begun again from its input.
    """

    n_started: int = 0
    n_granted: int = 0
    has_ended: bool = False
    is_safe: bool = False
    is_retried: bool = False


@frozen
class Contents:
    """See the module.

    Attributes:
        sessions: By id, softly deleted ones included.
        runs: By id.
        cursors: Named subscriptions, by name.
        events: In the order of their positions.
        histories: Events of each session, those that a fork shares included.
        missing: How many own events each session lacks.
        n_missing: How many positions have no event.
    """

    sessions: Mapping[str, Session]
    runs: Mapping[str, Run]
    cursors: Mapping[str, NamedCursor]
    events: list[Event]
    histories: Mapping[str, list[Event]]
    missing: Mapping[str, int]
    n_missing: int
    _places: dict[str, dict[int, Event]] = field(factory=dict)

    @classmethod
    def of(cls, store: Store) -> Contents:
        """Read a journal."""
        sessions = {session.id: session for session in store.sessions(include_deleted=True)}
        events: list[Event] = []
        position, last = 0, store.last_position()
        while position < last:
            page = store.read_all(after=position, limit=_PAGE)
            if page.position <= position:
                break
            events += page.events
            position = page.position
        own: dict[str, list[Event]] = {session_id: [] for session_id in sessions}
        for event in events:
            own.setdefault(event.session_id, []).append(event)
        missing = {
            session.id: session.last_sequence - (session.forked_at or 0) - len(own[session.id])
            for session in sessions.values()
        }
        return cls(
            sessions,
            {run.id: run for run in store.runs()},
            {cursor.name: cursor for cursor in store.cursors()},
            events,
            {
                session.id: own[session.id] if session.forked_at is None else store.read_session(session.id)
                for session in sessions.values()
            },
            missing,
            last - len(events),
        )

    def by_place(self, session_id: str) -> dict[int, Event]:
        """Return the events of a session by their sequence numbers; of the journal (empty) by their positions."""
        found = self._places.get(session_id)
        if found is None:
            if session_id:
                found = {event.sequence_number or 0: event for event in self.histories[session_id]}
            else:
                found = {event.position or 0: event for event in self.events}
            self._places[session_id] = found
        return found

    def events_of_run(self, session_id: str, run_id: str) -> list[Event]:
        """Return the events of a run, in order."""
        return [event for event in self.histories.get(session_id, ()) if event.run_id == run_id]

    def double_ids(self) -> Iterator[str]:
        """Events that share an id."""
        places: dict[str, int | None] = {}
        for event in self.events:
            if event.id in places:
                yield f"{event.id} stands at {places[event.id]} and again at {event.position}"
            places[event.id] = event.position

    def calls(self) -> dict[str, CallHistory]:
        """Return the calls of the host's tools by the key among their arguments."""
        calls: dict[str, CallHistory] = {}
        keys: dict[tuple[str | None, object], str] = {}
        retried: set[str | None] = set()
        for event in self.events:
            call_id = (event.run_id, event.data.get("tool_call_id"))
            match event.type:
                case EventType.TOOL_CALL_STARTED if event.data.get("attempt"):
                    key = keys[call_id] = str(event.data["tool_input"].get("key"))
                    call = calls.setdefault(key, CallHistory())
                    call.n_started += 1
                    call.has_ended = False
                    call.is_safe = event.data["safe_to_repeat"]
                case EventType.TOOL_CALL_COMPLETED | EventType.TOOL_CALL_FAILED if call_id in keys:
                    calls[keys[call_id]].has_ended = True
                case EventType.TOOL_APPROVAL_GRANTED if call_id in keys:
                    calls[keys[call_id]].n_granted += 1
                case EventType.RUN_RECOVERED if event.data.get("decision") == "retry":
                    retried.add(event.run_id)
        for (run_id, _), key in keys.items():
            calls[key].is_retried = run_id in retried
        return calls
