"""The lines of an export, read back and checked one by one. Pure; `maintenance.export` tells the format."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, TypeVar

from attrs import define

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import SCHEMA_VERSION, Event
from asm_actors.jsonable import shown
from asm_actors.maintenance.artifact import Artifact
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["UNFINISHED", "End", "Header", "LineReader", "at_line"]

UNFINISHED: Final = "asm_unfinished_import"
"""In the metadata of a session whose import has not come to its end; it is hidden, and no export tells it."""

_KINDS: Final = ("header", "session", "run", "event", "artifact", "end")


class Header(NamedTuple):
    """The first line."""

    version: int
    """Of the format."""
    counts: dict[str, int]
    """What the export held, about."""


class End(NamedTuple):
    """The last line."""

    counts: dict[str, int]
    """What the export holds."""


_Owned = TypeVar("_Owned", Run, Event, Artifact)

Value = Header | Session | Run | Event | Artifact | End


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
    """Reads lines in order, and checks that each may come where it comes.

    Attributes:
        number: lines read so far.
        session: the session whose lines come now.
        last_sequence: the sequence number of its last event so far.
    """

    version: int
    """The latest version of the format that is known."""
    format: str
    """The format's name."""
    number: int = 0
    session: Session | None = None
    last_sequence: int = 0
    ended: bool = False

    def read(self, line: str) -> Value | None:
        """Read the next line; None for an empty one.

        Raises:
            AsmError: ``validation_error``, ``invalid_status``, ``invalid_event_type``, ``session_mismatch``,
                ``migration_required``: what is wrong with it; the message begins with the line's number.
        """
        self.number += 1
        if not line.strip():
            return None
        try:
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
            found = json.loads(line)
        except ValueError as error:
            raise _malformed(f"it is not JSON: {error}") from error
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
                self.session = Session.from_map(found)
                self.last_sequence = self.session.forked_at or 0
                return self.session
            case "run":
                return self._owned(Run.from_map(found))
            case "event":
                return self._event(Event.from_map(found))
            case "artifact":
                return self._owned(Artifact.from_map(found))
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
        return Header(version, _counts(found))

    def _owned(self, value: _Owned) -> _Owned:
        if self.session is None or value.session_id != self.session.id:
            raise AsmError(
                ErrorCode.SESSION_MISMATCH,
                f"{value.id} belongs to session {value.session_id}, whose line must come before it",
            )
        return value

    def _event(self, event: Event) -> Event:
        self._owned(event)
        assert self.session is not None
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
        self.last_sequence = sequence
        return event


def _counts(found: dict[str, Any]) -> dict[str, int]:
    counts = found.get("counts")
    if not isinstance(counts, dict) or not all(type(value) is int for value in counts.values()):
        raise _malformed("its counts must be a map of numbers")
    return counts


def _malformed(text: str) -> AsmError:
    return AsmError(ErrorCode.VALIDATION_ERROR, text)
