"""What a store is, without any care for speed, disks or readers: the specification that stores are compared with.

Everything is in plain lists and maps, and every question is answered by looking at all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from attrs import define, field

from asm_actors.errors import ErrorCode
from asm_actors.events import Event
from asm_actors.ids import event_id
from asm_actors.journal.append import Append, Appended
from asm_actors.journal.cursors import NamedCursor
from asm_actors.journal.query import EventFilter
from asm_actors.maintenance.artifact import Artifact
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run
from asm_actors.sessions.session import TERMINAL_SESSION_STATUSES, Session

Refusal = frozenset[ErrorCode]
"""Why something is refused: any of these may be told."""


@define
class Model:
    """A journal.

    Attributes:
        log: The event at each position, from 1 on; None where one was erased.
        sessions, runs: The records by id, in the order of their creation.
        heads: By session, the sequence number of its last event.
        numbers: By id of a session or run, its number in the order of creation.
        n_sessions, n_runs: How many there ever were.
    """

    log: list[Event | None] = field(factory=list)
    sessions: dict[str, Session] = field(factory=dict)
    runs: dict[str, Run] = field(factory=dict)
    heads: dict[str, int] = field(factory=dict)
    session_keys: dict[str, str] = field(factory=dict)
    run_keys: dict[tuple[str, str], str] = field(factory=dict)
    numbers: dict[str, int] = field(factory=dict)
    cursors: dict[str, NamedCursor] = field(factory=dict)
    artifacts: dict[str, Artifact] = field(factory=dict)
    n_sessions: int = 0
    n_runs: int = 0

    def copy(self) -> Model:
        """Another one that holds the same."""
        return Model(
            list(self.log),
            *map(
                dict, (self.sessions, self.runs, self.heads, self.session_keys, self.run_keys, self.numbers)
            ),
            dict(self.cursors),
            dict(self.artifacts),
            self.n_sessions,
            self.n_runs,
        )

    # --- What is there -------------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """All events."""
        return [event for event in self.log if event is not None]

    def own(self, session_id: str) -> list[Event]:
        """The events that a session has itself."""
        return [event for event in self.events() if event.session_id == session_id]

    def history(self, session_id: str) -> list[Event]:
        """The events of a session, those that it shares included."""
        session = self.sessions[session_id]
        if session.forked_at is None:
            return self.own(session_id)
        shared = self.history(session.parent_session_id or "")
        at = session.forked_at
        return [event for event in shared if (event.sequence_number or 0) <= at] + self.own(session_id)

    def record(self, session_id: str) -> Session:
        """The record of a session as a store gives it."""
        return self.sessions[session_id].replace(last_sequence=self.heads[session_id])

    def runs_of(self, session_id: str) -> list[Run]:
        """The runs of a session."""
        return [run for run in self.runs.values() if run.session_id == session_id]

    def forks_of(self, session_id: str) -> list[str]:
        """The sessions that were forked from one."""
        return [
            session.id
            for session in self.sessions.values()
            if session.forked_at is not None and session.parent_session_id == session_id
        ]

    def is_open(self, name: str) -> bool:
        """Whether a session or a run is neither over nor deleted."""
        if name in self.runs:
            return self.runs[name].status not in TERMINAL_RUN_STATUSES
        session = self.sessions[name]
        return session.status not in TERMINAL_SESSION_STATUSES and session.deleted_us is None

    def stuck(self) -> int:
        """How many runs are open although their session is over."""
        return sum(
            self.is_open(run.id) and self.sessions[run.session_id].status in TERMINAL_SESSION_STATUSES
            for run in self.runs.values()
        )

    # --- Commits -------------------------------------------------------------------------------------------------

    def commit(self, append: Append, drafts: Sequence[Any]) -> Appended | Refusal:
        """Take an append, whose drafts may be packed in it; or tell why it is refused."""
        name, record = append.session_id, append.session
        is_new = name not in self.sessions
        head = self.heads.get(name, 0 if record is None else record.forked_at or 0)
        faults = set(self._faults(append, drafts, head, is_new=is_new))
        if is_new and record is None:
            return frozenset({ErrorCode.SESSION_NOT_FOUND})
        new, known = self._split(append, drafts)
        faults.update(self._id_faults(append, new, known))
        if faults:
            return frozenset(faults)
        self._take_records(append, is_new=is_new)
        events = [
            Event(
                own,
                draft.type,
                draft.timestamp_us,
                name,
                draft.run_id,
                head + k,
                draft.data,
                draft.metadata,
                1,
                draft.provider,
                draft.correlation_id,
                len(self.log) + k,
            )
            for k, (own, draft) in enumerate(new, 1)
        ]
        position = len(self.log) + 1
        self.log += events
        self.heads[name] = head + len(events)
        if known and not events:
            first = min((event for event, _ in known), key=lambda event: event.sequence_number or 0)
            return Appended(first.sequence_number or 0, first.position or 0, 0)
        return Appended(head + 1, position, len(events))

    def _faults(
        self, append: Append, drafts: Sequence[Any], head: int, *, is_new: bool
    ) -> Iterator[ErrorCode]:
        record = append.session
        if append.expect is not None and append.expect != head:
            yield ErrorCode.INVALID_OPERATION
        if any("unstorable" in draft.data for draft in drafts):
            yield ErrorCode.VALIDATION_ERROR
        if record is not None and record.id != append.session_id:
            yield ErrorCode.SESSION_MISMATCH
        if record is not None and is_new:
            if record.forked_at is not None:
                if record.parent_session_id not in self.sessions:
                    yield ErrorCode.SESSION_NOT_FOUND
                elif not 1 <= record.forked_at <= self.heads[record.parent_session_id]:
                    yield ErrorCode.VALIDATION_ERROR
            if record.idempotency_key in self.session_keys:
                yield ErrorCode.ALREADY_EXISTS
        keys = []
        for run in append.runs:
            if run.session_id != append.session_id:
                yield ErrorCode.SESSION_MISMATCH
            known = self.runs.get(run.id)
            if known is not None and known.session_id != append.session_id:
                yield ErrorCode.RUN_MISMATCH
            if known is None and run.idempotency_key is not None:
                keys.append(run.idempotency_key)
        if len(set(keys)) != len(keys) or any((append.session_id, key) in self.run_keys for key in keys):
            yield ErrorCode.ALREADY_EXISTS

    def _split(
        self, append: Append, drafts: Sequence[Any]
    ) -> tuple[list[tuple[str, Any]], list[tuple[Event, Any]]]:
        """The drafts that are new, with their ids; and those that are there already, with their events."""
        there = {event.id: event for event in self.own(append.session_id)}
        pairs = [(draft.id or event_id(append.base_id, k), draft) for k, draft in enumerate(drafts)]
        if append.expect is not None:
            return pairs, []
        new = [pair for pair in pairs if pair[0] not in there]
        return new, [(there[own], draft) for own, draft in pairs if own in there]

    def _id_faults(self, append: Append, new: Any, known: Any) -> Iterator[ErrorCode]:
        there = {event.id for event in self.own(append.session_id)}
        ids = [own for own, _ in new]
        doubled = [event.id for event, _ in known]
        if len(set(ids)) != len(ids) or len(set(doubled)) != len(doubled) or there & set(ids):
            yield ErrorCode.ALREADY_EXISTS
        if any((event.type, event.run_id) != (draft.type, draft.run_id) for event, draft in known):
            yield ErrorCode.ALREADY_EXISTS

    def _take_records(self, append: Append, *, is_new: bool) -> None:
        record = append.session
        if record is not None:
            if is_new:
                self.n_sessions += 1
                self.numbers[record.id] = self.n_sessions
                if record.idempotency_key is not None:
                    self.session_keys[record.idempotency_key] = record.id
            self.sessions[record.id] = record
        for run in append.runs:
            if run.id not in self.runs:
                self.n_runs += 1
                self.numbers[run.id] = self.n_runs
                if run.idempotency_key is not None:
                    self.run_keys[run.session_id, run.idempotency_key] = run.id
            self.runs[run.id] = run

    # --- Erasing -------------------------------------------------------------------------------------------------

    def erase(self, names: Collection[str]) -> tuple[int, int, int] | Refusal:
        """Erase sessions; how many sessions, runs and events went."""
        if any(fork not in names for name in names for fork in self.forks_of(name)):
            return frozenset({ErrorCode.INVALID_OPERATION})
        gone = [name for name in self.sessions if name in names]
        runs = [run.id for run in self.runs.values() if run.session_id in names]
        events = sum(len(self.own(name)) for name in gone)
        self.log = [None if event is None or event.session_id in names else event for event in self.log]
        for name in gone:
            del self.sessions[name], self.heads[name]
        for name in runs:
            del self.runs[name]
        self.session_keys = {key: name for key, name in self.session_keys.items() if name not in names}
        self.run_keys = {key: run for key, run in self.run_keys.items() if key[0] not in names}
        return len(gone), len(runs), events

    def prune(self, name: str, sequences: Collection[int]) -> int | Refusal:
        """Erase events of a session; how many went."""
        if name not in self.sessions:
            return frozenset({ErrorCode.SESSION_NOT_FOUND})
        if sequences and any(
            (self.sessions[fork].forked_at or 0) >= min(sequences) for fork in self.forks_of(name)
        ):
            return frozenset({ErrorCode.INVALID_OPERATION})
        gone = {event.position for event in self.own(name) if event.sequence_number in sequences}
        self.log = [None if event is None or event.position in gone else event for event in self.log]
        return len(gone)

    # --- Cursors and artifacts -----------------------------------------------------------------------------------

    def save_cursors(self, cursors: dict[str, NamedCursor | None]) -> None:
        """Keep cursors, or forget them."""
        for name, cursor in cursors.items():
            if cursor is None:
                self.cursors.pop(name, None)
            else:
                self.cursors[name] = cursor

    def save_artifacts(self, artifacts: Sequence[Artifact]) -> Refusal | None:
        """Keep records of artifacts."""
        kept = dict(self.artifacts)
        for artifact in artifacts:
            rivals = [
                other for other in kept.values() if other.deleted_us is None and other.id != artifact.id
            ]
            if artifact.deleted_us is None and artifact.key in [other.key for other in rivals]:
                return frozenset({ErrorCode.ALREADY_EXISTS})
            kept[artifact.id] = artifact
        self.artifacts = kept
        return None

    def drop_artifacts(self, ids: Collection[str]) -> int:
        """Forget artifacts; how many there were."""
        return sum(self.artifacts.pop(name, None) is not None for name in set(ids))


def is_wanted(event: Event, wanted: EventFilter) -> bool:
    """Whether an event is what a filter asks for, wherever it stands."""
    return (
        (wanted.run_ids is None or event.run_id in wanted.run_ids)
        and (wanted.types is None or event.type in wanted.types)
        and (wanted.since is None or event.timestamp_us >= wanted.since)
        and (wanted.until is None or event.timestamp_us <= wanted.until)
        and (wanted.providers is None or event.provider in wanted.providers)
        and (wanted.correlation_id is None or event.correlation_id == wanted.correlation_id)
    )
