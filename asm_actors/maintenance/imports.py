"""Bring an export into a journal, in constant memory.

1. Ids, sequence numbers and timestamps stay as they were; positions are those of this journal.
2. A session is there wholly or not at all. A small one is one append. A large one is written in parts behind a record
   that is hidden and marked as unfinished, and its last part brings the real record. If an import is killed in
   between, the next import of that session clears the remains away and begins it anew.
3. What is wrong with the export ends the import with the line and the reason. Sessions before that line are there, so
   the import can be repeated with ``on_conflict="skip"`` once the export is mended.
4. What comes in is redacted like anything that is written, event by event: its journal may not have been. Of a secret
   that was streamed over several events, a piece that is none by itself stays.
5. Open runs stay open: the next start of a system on this journal takes them up.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final, Literal, Protocol

from attrs import define, field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.append import Append, Draft, Packed
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.store import Store
from asm_actors.maintenance.artifact import Artifact
from asm_actors.maintenance.export import FORMAT, FORMAT_VERSION, opened
from asm_actors.maintenance.hands import Hands
from asm_actors.maintenance.incoming import Incoming, check_incoming
from asm_actors.maintenance.lines import UNFINISHED, End, Header, Hole, LineReader, at_line
from asm_actors.maintenance.report import MaintenanceProgress, OnProgress
from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.writes import WriteRedactor
from asm_actors.runs.run import Run, RunStatus
from asm_actors.serialization import invalid
from asm_actors.sessions.session import Session

__all__ = ["ImportReport", "Importer", "OnConflict", "import_from", "import_lines"]

_BROKEN: Final = (EOFError, UnicodeDecodeError, zlib.error)
"""What reading a damaged file raises beside errors of the system."""

OnConflict = Literal["error", "skip"]

_PART: Final = 2_000
"""Events of a session that are held in memory, and written in one append."""
_SESSIONS_AT_ONCE: Final = 200
"""Small sessions that share a commit, unless their events fill it before."""


class _Blocks(Protocol):
    def block(self) -> int: ...


@frozen
class ImportReport:
    """What was imported.

    Attributes:
        sessions: sessions that are there now.
        runs: their runs.
        events: their events.
        artifacts: records of their artifacts.
        skipped: sessions that were there before and were left as they are.
        open_runs: runs that are not over: the next start takes them up.
    """

    sessions: int
    runs: int
    events: int
    artifacts: int
    skipped: int
    open_runs: int


@define
class Importer:
    """One import; see the module.

    Attributes:
        hands: Writes to the journal.
        ids: Makes bases for ids.
        on_conflict: What becomes of a session that is there already.
        progress: Called after every commit.
        redactor: Takes secrets out of what comes in; None: it comes in as it is.
    """

    hands: Hands
    ids: _Blocks
    on_conflict: OnConflict = "error"
    progress: OnProgress | None = None
    redactor: Redactor | None = None
    _shown: WriteRedactor | None = field(default=None, init=False)
    _reader: LineReader = field(factory=lambda: LineReader(FORMAT_VERSION, FORMAT), init=False)
    _now: Incoming | None = field(default=None, init=False)
    _ready: list[Incoming] = field(factory=list, init=False)
    _total: int | None = field(default=None, init=False)
    _counts: dict[str, int] = field(factory=dict, init=False)
    _seen: dict[str, int] = field(
        factory=lambda: dict.fromkeys(("sessions", "runs", "events"), 0), init=False
    )

    @property
    def _store(self) -> Store:
        return self.hands.store

    def run(self, lines: Iterable[str]) -> ImportReport:
        """Import all lines.

        Raises:
            AsmError: What is wrong with a line or cannot be written; nothing of its session is there.
        """
        self._counts = dict.fromkeys(("sessions", "runs", "events", "artifacts", "skipped", "open_runs"), 0)
        try:
            for line in lines:
                value = self._reader.read(line)
                if value is not None:
                    self._take(value)
            self._reader.check_complete()
        except BaseException:
            self._withdraw()
            raise
        return ImportReport(**self._counts)

    def _take(self, value: object) -> None:
        if self.redactor is not None and self._now is not None and not isinstance(value, Session):
            check_incoming(self.redactor, value, self._reader.number)
        match value:
            case Header(counts=counts):
                self._total = counts.get("sessions")
            case Session():
                self._finish()
                self._begin(value)
            case Run():
                self._seen["runs"] += 1
                if self._now is not None:
                    self._take_run(self._now, value)
            case Event():
                self._seen["events"] += 1
                if self._now is not None:
                    self._take_event(self._now, value)
            case Hole(last=last):
                if self._now is not None:
                    self._fill(self._now, last)
            case Artifact():
                if self._now is not None:
                    self._now.artifacts.append(value)
            case End(counts=counts):
                self._finish()
                self._commit_ready()
                for kind, seen in self._seen.items():
                    if counts.get(kind, seen) != seen:
                        text = f"the export says that it has {counts[kind]} {kind}, and there were {seen}"
                        raise at_line(self._reader.number, AsmError(ErrorCode.VALIDATION_ERROR, text))

    # --- One session -------------------------------------------------------------------------------------------

    def _begin(self, session: Session) -> None:
        self._seen["sessions"] += 1
        line = self._reader.number
        if self._is_there(session.id):
            if self.on_conflict == "skip":
                self._counts["skipped"] += 1
                self._now = None
                return
            error = AsmError(
                ErrorCode.ALREADY_EXISTS,
                f"there is a session {session.id} already; leave out what is there with on_conflict='skip'",
                context={"session_id": session.id},
            )
            raise at_line(line, error)
        start = session.forked_at or 0
        if session.forked_at is not None:
            self._check_parent(session, line)
        if self.redactor is not None:
            check_incoming(self.redactor, session, line)
            self._shown = WriteRedactor(self.redactor)
            session = self._shown.session(session)
        self._now = Incoming(session, line, start, start)

    def _is_there(self, session_id: str) -> bool:
        if any(pending.session.id == session_id for pending in self._ready):
            return True
        if not self._store.has_session(session_id):
            return False
        if UNFINISHED not in self._store.session(session_id).metadata:
            return True
        self.hands.write(lambda: self._store.erase_sessions([session_id]))
        return False

    def _check_parent(self, session: Session, line: int) -> None:
        """Its parent must be in the journal, and not only in memory."""
        self._commit_ready()
        parent, shared = session.parent_session_id, session.forked_at or 0
        if parent is None or not self._store.has_session(parent) or self._store.head(parent) < shared:
            error = AsmError(
                ErrorCode.SESSION_NOT_FOUND,
                f"{session.id} shares the first {shared} events of {parent}, which has to be imported before it",
                context={"session_id": session.id},
            )
            raise at_line(line, error)

    def _take_run(self, now: Incoming, run: Run) -> None:
        now.n_runs += 1
        now.n_open += not run.is_terminal
        now.runs.append(run if self._shown is None else self._shown.run(run))
        if len(now.runs) >= _PART:
            self._write_part(now)

    def _take_event(self, now: Incoming, event: Event) -> None:
        assert event.sequence_number is not None
        self._fill(now, event.sequence_number - 1)
        draft = Draft(
            event.type,
            event.timestamp_us,
            event.run_id,
            event.data,
            event.metadata,
            event.provider,
            event.correlation_id,
            event.id,
        )
        now.drafts.append(draft if self._shown is None else self._shown.draft(draft))
        now.head = event.sequence_number
        now.n_events += 1
        if len(now.drafts) >= _PART:
            self._write_part(now)

    def _fill(self, now: Incoming, last: int) -> None:
        """Take the places up to a sequence number, of which there are no events."""
        while now.head < last:
            now.fill(min(last + 1, now.head + 1 + _PART))
            if len(now.drafts) >= _PART:
                self._write_part(now)

    def _finish(self) -> None:
        now, self._now = self._now, None
        if now is None:
            return
        self._now = now  # so that it is withdrawn if this fails
        self._fill(now, now.session.last_sequence)
        if now.is_staged or now.holes:
            self._write_part(now)
            self._complete(now)
        else:
            self._ready.append(now)
            self._now = None
            if (
                len(self._ready) >= _SESSIONS_AT_ONCE
                or sum(len(pending.drafts) for pending in self._ready) >= _PART
            ):
                self._commit_ready()

    # --- Writing -----------------------------------------------------------------------------------------------

    def _write_part(self, now: Incoming) -> None:
        """Write what is there of a session behind a record that hides it; open runs come with the real one."""
        if not now.is_staged:
            self._commit_ready()
        hidden = None
        if not now.is_staged:
            hidden = now.session.replace(deleted_us=now.session.created_us, metadata={UNFINISHED: True})
        # So that all runs keep their order, an open one takes its place now.
        over = [run if run.is_terminal else run.replace(status=RunStatus.CANCELLED) for run in now.runs]
        self._commit([self._append(now, hidden, over)], [now])
        now.is_staged = True
        now.open_runs += [run for run in now.runs if not run.is_terminal]
        now.runs = []
        now.drafts, now.written = [], now.head
        holes, now.holes = now.holes, []
        if holes:
            self.hands.write(lambda: self._store.prune_events(now.session.id, holes))

    def _complete(self, now: Incoming) -> None:
        self._commit([self._append(now, now.session, now.open_runs)], [now])
        self._now = None
        self._count(now)

    def _commit_ready(self) -> None:
        ready = self._ready
        if ready:
            self._commit([self._append(one, one.session, one.runs) for one in ready], ready)
            self._ready = []
            for pending in ready:
                self._count(pending)

    def _append(self, now: Incoming, session: Session | None, runs: list[Run]) -> Append:
        base = self.ids.block()
        try:
            drafts: Packed | tuple[()] = pack_drafts(base, now.drafts) if now.drafts else ()
        except AsmError as error:
            raise at_line(now.line, error) from error
        return Append(now.session.id, drafts, base, session, tuple(runs), now.written)

    def _commit(self, appends: list[Append], pending: list[Incoming]) -> None:
        answers = self.hands.write(lambda: self._store.commit(appends))
        refused: AsmError | None = None
        for answer, one in zip(answers, pending, strict=True):
            if isinstance(answer, AsmError):
                refused = refused or at_line(one.line, answer)
        if refused is not None:
            self._ready = []
            raise refused

    def _count(self, done: Incoming) -> None:
        if done.artifacts:
            try:
                self.hands.write(lambda: self._store.save_artifacts(done.artifacts))
            except AsmError as error:
                raise at_line(done.line, error) from error
        counts = self._counts
        counts["sessions"] += 1
        counts["runs"] += done.n_runs
        counts["open_runs"] += done.n_open
        counts["events"] += done.n_events
        counts["artifacts"] += len(done.artifacts)
        if self.progress is not None:
            self.progress(MaintenanceProgress("import", counts["sessions"], self._total))

    def _withdraw(self) -> None:
        """Take away what is there of a session that will not be finished; the ones before it are whole and stay."""
        now, self._now = self._now, None
        ready, self._ready = self._ready, []
        if now is not None and now.is_staged:
            self.hands.write(lambda: self._store.erase_sessions([now.session.id]))
        if ready:
            self._ready = ready
            self._commit_ready()


def import_lines(
    hands: Hands,
    lines: Iterable[str],
    ids: _Blocks,
    *,
    on_conflict: OnConflict = "error",
    progress: OnProgress | None = None,
    redactor: Redactor | None = None,
) -> ImportReport:
    """Import the lines of an export; see the module.

    Args:
        hands: Writes to the journal.
        lines: The lines.
        ids: Makes bases for ids.
        on_conflict: ``error`` ends the import at a session that is there already, ``skip`` leaves it as it is.
        progress: Called after every session.
        redactor: Takes secrets out of what comes in; None: it comes in as it is.

    Raises:
        AsmError: ``validation_error``, ``already_exists``, ``session_not_found``, …; the message names the line.
    """
    if not isinstance(on_conflict, str) or on_conflict not in ("error", "skip"):
        raise invalid("on_conflict", "must be error or skip", on_conflict)
    return Importer(hands, ids, on_conflict, progress, redactor).run(lines)


def import_from(
    hands: Hands,
    source: str | os.PathLike[str] | IO[str],
    ids: _Blocks,
    *,
    on_conflict: OnConflict = "error",
    progress: OnProgress | None = None,
    redactor: Redactor | None = None,
) -> ImportReport:
    """Import a file, through gzip if its name ends in ``.gz``, or something to read text from; see `import_lines`.

    Raises:
        AsmError: As `import_lines`; ``not_found``, ``storage_read_failed``.
    """
    take = partial(
        import_lines, hands, ids=ids, on_conflict=on_conflict, progress=progress, redactor=redactor
    )
    if not isinstance(source, str | os.PathLike):
        return take(_lines_of(source))
    path = Path(source)
    try:
        with opened(path, "r", compressed=path.suffix == ".gz") as file:
            return take(file)
    except FileNotFoundError as error:
        raise AsmError(ErrorCode.NOT_FOUND, f"there is no file {path}") from error
    except (OSError, *_BROKEN) as error:
        raise AsmError(ErrorCode.STORAGE_READ_FAILED, f"{path} cannot be read: {error}") from error


def _lines_of(source: Iterable[str]) -> Iterator[str]:
    """Give the lines of a stream, whose errors are no errors of the import."""
    try:
        yield from source
    except (OSError, ValueError, *_BROKEN) as error:
        raise AsmError(ErrorCode.STORAGE_READ_FAILED, f"the source cannot be read: {error}") from error
