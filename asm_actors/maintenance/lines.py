"""The lines of an export, read back and checked one by one. Pure; `maintenance.export` tells the format."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, TypeVar

from attrs import define, field

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EVENT_GROUPS, SCHEMA_VERSION, Event, EventGroup
from asm_actors.jsonable import shown
from asm_actors.maintenance.agreement import Agreement
from asm_actors.maintenance.artifact import Artifact
from asm_actors.runs.run import Run
from asm_actors.serialization import check_integer
from asm_actors.sessions.session import Session

__all__ = ["UNFINISHED", "End", "Header", "Hole", "LineReader", "at_line"]

UNFINISHED: Final = "asm_unfinished_import"
"""In the metadata of a session whose import has not come to its end; it is hidden, and no export tells it."""

_KINDS: Final = ("header", "session", "run", "event", "hole", "artifact", "end")
_LONGEST: Final = 1 << 29
"""Characters of a line; nothing that a journal holds is as long."""
_WITH_COUNTS: Final = 2
"""The version of the format from which on each session tells what it holds."""


_OF_RUNS: Final = frozenset(EVENT_GROUPS[EventGroup.RUN])


class Header(NamedTuple):
    """The first line."""

    version: int
    """Of the format."""
    counts: dict[str, int]
    """What the export held, about."""


class Hole(NamedTuple):
    """Events of a session that were pruned."""

    first: int
    """Sequence number of the first one."""
    last: int
    """Of the last one."""


class End(NamedTuple):
    """The last line."""

    counts: dict[str, int]
    """What the export holds."""


_Owned = TypeVar("_Owned", Run, Event, Artifact)

Value = Header | Session | Run | Event | Hole | Artifact | End


def at_line(number: int, error: AsmError) -> AsmError:
    """Return an error that also says which line it is about."""
    return AsmError(
        error.code,
        f"line {number}: {error.message}",
        details={**error.details, "line": number},
        context=error.context,
    )


@define
class LineReader:
    """Reads lines in order, and checks that each may come where it comes, and that none is missing.

    At the end of a session, which the next line tells that is none of its own, it is checked as a whole.

    Attributes:
        number: lines read so far.
        session: the session whose lines come now.
        last_sequence: the sequence number of its last event so far, or of the last one that was pruned.
    """

    version: int
    """The latest version of the format that is known."""
    format: str
    """The format's name."""
    number: int = 0
    session: Session | None = None
    last_sequence: int = 0
    ended: bool = False
    _has_counts: bool = False
    _left: dict[str, int] = field(factory=dict)
    """Lines that are to come of the session, by kind."""
    _agreement: Agreement | None = None

    def read(self, line: str) -> Value | None:
        """Read the next line; None for an empty one.

        Raises:
            AsmError: ``validation_error``, ``invalid_status``, ``invalid_event_type``, ``session_mismatch``,
                ``migration_required``: what is wrong with it; the message begins with the line's number.
        """
        self.number += 1
        try:
            _check_text(line)
            if not line.strip():
                return None
            return self._value(line)
        except AsmError as error:
            raise at_line(self.number, error) from error

    def check_complete(self) -> None:
        """Refuse an export that was cut short.

        Raises:
            ValidationError: there was no last line.
        """
        if not self.ended:
            raise _malformed(f"line {self.number + 1}: the end is missing: the export was cut short")

    def _value(self, line: str) -> Value:
        try:
            found = json.loads(line, parse_constant=_no_constant)
        except ValueError as error:
            raise _malformed(f"it is not JSON: {error}") from error
        except RecursionError as error:
            raise _malformed("it is nested too deep") from error
        kind = found.get("kind") if isinstance(found, dict) else None
        if kind not in _KINDS:
            raise _malformed(f"it must be a map whose kind is one of {', '.join(_KINDS)}, not {shown(kind)}")
        if (kind == "header") != (self.number == 1):
            raise _malformed("an export begins with its header, and has one only")
        if self.ended:
            raise _malformed("nothing may come after the end")
        match kind:
            case "header":
                return self._header(found)
            case "session":
                self._close_session()
                return self._session(found)
            case "run":
                return self._run(Run.from_map(found))
            case "event":
                return self._event(Event.from_map(found))
            case "hole":
                return self._hole(found)
            case "artifact":
                artifact = self._owned(Artifact.from_map(found))
                self._count("artifacts")
                return artifact
        self._close_session()
        self.ended = True
        return End(_counts(found))

    def _header(self, found: dict[str, Any]) -> Header:
        if found.get("format") != self.format:
            raise _malformed(f"this is no export of a journal: its format is {shown(found.get('format'))}")
        version = found.get("version")
        if type(version) is not int or version < 1:
            raise _malformed(f"its version must be a number from 1 on, not {shown(version)}")
        if version > self.version:
            raise AsmError(
                ErrorCode.MIGRATION_REQUIRED,
                f"its format has version {version}, and this release knows up to {self.version}: use a later release",
            )
        self._has_counts = version >= _WITH_COUNTS
        return Header(version, _counts(found))

    def _session(self, found: dict[str, Any]) -> Session:
        self.session = session = Session.from_map(found)
        self.last_sequence = session.forked_at or 0
        self._agreement = Agreement(session)
        if self._has_counts:
            holds = _counts(found, "holds")
            self._left = {kind: holds.get(kind, 0) for kind in ("runs", "artifacts")}
        return session

    def _close_session(self) -> None:
        """Check that all of a session has come, and that it fits together."""
        session, agreement = self.session, self._agreement
        if session is None or agreement is None or not self._has_counts:
            return
        for kind, left in self._left.items():
            if left:
                raise _malformed(f"{left} {kind} of session {session.id} are missing before this line")
        if self.last_sequence != session.last_sequence:
            raise self._missing_before(session.last_sequence + 1)
        faults = agreement.faults()
        if faults:
            raise _malformed(f"the records of session {session.id} contradict its events: {faults[0]}")

    def _missing_before(self, sequence: int) -> AsmError:
        assert self.session is not None
        first, last = self.last_sequence + 1, sequence - 1
        which = f"event {first}" if first == last else f"events {first} to {last}"
        return _malformed(f"{which} of session {self.session.id} is missing before this line")

    def _count(self, kind: str) -> None:
        if not self._has_counts:
            return
        self._left[kind] -= 1
        if self._left[kind] < 0:
            assert self.session is not None
            raise _malformed(f"session {self.session.id} says that it holds fewer {kind}")

    def _owned(self, value: _Owned) -> _Owned:
        if self.session is None or value.session_id != self.session.id:
            raise AsmError(
                ErrorCode.SESSION_MISMATCH,
                f"{value.id} belongs to session {value.session_id}, whose line must come before it",
            )
        return value

    def _run(self, run: Run) -> Run:
        self._owned(run)
        assert self._agreement is not None
        if self._agreement.knows(run.id):
            raise _malformed(f"run {run.id} came before already")
        self._count("runs")
        self._agreement.take_run(run)
        return run

    def _hole(self, found: dict[str, Any]) -> Hole:
        if self.session is None or found.get("session_id") != self.session.id:
            raise AsmError(
                ErrorCode.SESSION_MISMATCH,
                f"a hole belongs to session {shown(found.get('session_id'))}, whose line must come before it",
            )
        assert self._agreement is not None
        first = check_integer(found.get("first"), "first", least=1)
        last = check_integer(found.get("last"), "last", least=first)
        if first <= self.last_sequence or last > self.session.last_sequence:
            raise _malformed(
                f"a hole must be above {self.last_sequence} and end at most at {self.session.last_sequence}, the last "
                f"sequence number of its session, not be {first} to {last}"
            )
        if first != self.last_sequence + 1:
            raise self._missing_before(first)
        self.last_sequence = last
        self._agreement.take_hole()
        return Hole(first, last)

    def _event(self, event: Event) -> Event:
        self._owned(event)
        assert self.session is not None
        assert self._agreement is not None
        sequence = event.sequence_number or 0
        if not self.last_sequence < sequence <= self.session.last_sequence:
            raise _malformed(
                f"the sequence number of {event.id} must be above {self.last_sequence} and at most "
                f"{self.session.last_sequence}, the last one of its session, not {sequence}"
            )
        if event.schema_version != SCHEMA_VERSION:
            raise AsmError(
                ErrorCode.MIGRATION_REQUIRED,
                f"{event.id} has schema version {event.schema_version}, and this release knows {SCHEMA_VERSION}",
            )
        if sequence != self.last_sequence + 1:
            if self._has_counts:
                raise self._missing_before(sequence)
            self._agreement.take_hole()
        if event.run_id is None and event.type in _OF_RUNS:
            raise _malformed(f"{event.id} is a {event.type} and names no run")
        if event.run_id is not None and not self._agreement.knows(event.run_id):
            raise _malformed(f"{event.id} belongs to run {event.run_id}, whose line must come before it")
        self.last_sequence = sequence
        self._agreement.take_event(event)
        return event


def _counts(found: dict[str, Any], name: str = "counts") -> dict[str, int]:
    counts = found.get(name)
    if not isinstance(counts, dict) or not all(type(value) is int for value in counts.values()):
        raise _malformed(f"its {name} must be a map of numbers")
    return counts


def _check_text(line: object) -> None:
    if not isinstance(line, str):
        raise _malformed(f"it must be text, not {shown(line)}")
    if len(line) > _LONGEST:
        raise _malformed(f"it has {len(line)} characters, and a line has at most {_LONGEST}")


def _no_constant(name: str) -> None:
    raise ValueError(f"there is no {name}")


def _malformed(text: str) -> AsmError:
    return AsmError(ErrorCode.VALIDATION_ERROR, text)
