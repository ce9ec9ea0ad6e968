"""A journal as JSON Lines.

::

    {"kind": "header", "format": "asm-journal", "version": 2, "exported_at": …, "session_id": …, "counts": {…}}
    {"kind": "session", …}      one session: its record, and how many lines of a kind it "holds",
    {"kind": "run", …}          its runs in the order of their creation,
    {"kind": "event", …}        its events in the order of their sequence numbers,
    {"kind": "hole", …}         in between, "first" to "last": events that were pruned,
    {"kind": "artifact", …}     the records of its artifacts (their bytes stay where they are)
    {"kind": "session", …}      and so on, in the order of creation, so a fork comes after its parent
    {"kind": "end", "counts": {…}}

The counts of the header are an estimate, for a live journal grows meanwhile; those of the end are exact, and a file
without an end was cut short. Of a session a missing line is seen at its end at the latest: its events and holes leave
no number out up to its ``last_sequence``, and its other lines are counted. A fork has only its own events: its record
names the parent. Values are those of `to_map`.

Version 1 had neither holes nor counts of a session: there a number that is missing counts as pruned.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from attrs import define, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.query import EventFilter
from asm_actors.journal.replay import fold_run
from asm_actors.journal.store import Store
from asm_actors.maintenance.lines import UNFINISHED
from asm_actors.maintenance.report import MaintenanceProgress, OnProgress
from asm_actors.runs.run import Run
from asm_actors.serialization import iso_from_us
from asm_actors.sessions.session import Session

__all__ = ["FORMAT", "FORMAT_VERSION", "ExportReport", "Written", "export_lines", "export_to", "opened"]

FORMAT: Final = "asm-journal"
FORMAT_VERSION: Final = 2

_PAGE: Final = 1_000
_SESSIONS_AT_ONCE: Final = 200
# Between the first and the second look at a session that somebody writes to.
_LOOKS: Final = 5


@frozen
class ExportReport:
    """What was exported.

    Attributes:
        path: the file, or None if it went elsewhere.
        sessions: sessions.
        runs: runs.
        events: events.
        artifacts: records of artifacts.
    """

    path: str | None
    sessions: int
    runs: int
    events: int
    artifacts: int


@define
class Written:
    """Lines so far, by kind."""

    sessions: int = 0
    runs: int = 0
    events: int = 0
    artifacts: int = 0

    def to_map(self) -> dict[str, int]:
        """Return the counts as a map."""
        return {
            "sessions": self.sessions,
            "runs": self.runs,
            "events": self.events,
            "artifacts": self.artifacts,
        }


def export_lines(
    store: Store,
    now: int,
    *,
    session_id: str | None = None,
    with_parents: bool = False,
    written: Written | None = None,
    progress: OnProgress | None = None,
) -> Iterator[str]:
    """Yield the lines of an export, each with its end; see the module. Memory does not grow with the journal.

    Each session is told as of one instant, also while somebody writes to it.

    Args:
        store: What is exported; open.
        now: Microseconds since the epoch, for the header.
        session_id: Only this session.
        with_parents: Before it the sessions whose history it shares, so that it can be imported elsewhere.
        written: Counts what was yielded.
        progress: Called after every session.

    Raises:
        AsmError: ``session_not_found``, ``storage_read_failed``.
    """
    counts = written if written is not None else Written()
    found, estimate = _chosen(store, session_id, with_parents=with_parents)
    yield _line(
        "header",
        {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "exported_at": iso_from_us(now),
            "session_id": session_id,
            "counts": estimate,
        },
    )
    for session in found:
        try:
            told, runs = _as_of_one_instant(store, session)
        except AsmError as error:
            if error.code is ErrorCode.SESSION_NOT_FOUND and session_id is None:
                continue  # it was deleted for good since it was listed
            raise
        yield from _session_lines(store, told, runs, counts)
        if progress is not None:
            progress(MaintenanceProgress("export", counts.sessions, estimate["sessions"]))
    yield _line("end", {"counts": counts.to_map()})


def _chosen(
    store: Store, session_id: str | None, *, with_parents: bool
) -> tuple[Iterable[Session], dict[str, int]]:
    """Return the sessions to tell, in order, and about how much it will be."""
    if session_id is None:
        there = store.statistics()
        estimate = {"sessions": there.sessions, "runs": there.runs, "events": there.events}
        return _all_sessions(store), estimate
    line = [store.session(session_id)]
    while with_parents and line[0].forked_at is not None and line[0].parent_session_id is not None:
        line.insert(0, store.session(line[0].parent_session_id))
    events = sum(session.last_sequence - (session.forked_at or 0) for session in line)
    runs = sum(len(store.runs(session.id)) for session in line)
    return line, {"sessions": len(line), "runs": runs, "events": events}


def _all_sessions(store: Store) -> Iterator[Session]:
    after: str | None = None
    while True:
        try:
            page = store.sessions(include_deleted=True, limit=_SESSIONS_AT_ONCE, after=after)
        except AsmError as error:
            if error.code is not ErrorCode.INVALID_CURSOR:
                raise
            raise AsmError(
                ErrorCode.INVALID_OPERATION,
                "sessions were deleted for good during the export; start it again",
            ) from error
        yield from (session for session in page if UNFINISHED not in session.metadata)
        if len(page) < _SESSIONS_AT_ONCE:
            return
        after = page[-1].id


def _as_of_one_instant(store: Store, session: Session) -> tuple[Session, list[Run]]:
    """Return a session's record and runs of which neither is older than the other."""
    runs = store.runs(session.id)
    for _ in range(_LOOKS):
        before, found = runs, store.session(session.id)
        runs = store.runs(session.id)
        if runs == before:
            return found, runs
    # They change all the time. Those that just did are told as they were by the events up to that sequence number.
    same = {run.id: run for run in before}
    return found, [run if same.get(run.id) == run else _as_told(store, run, found) for run in runs]


def _as_told(store: Store, run: Run, session: Session) -> Run:
    return fold_run(_events(store, session, run.id), run)


def _events(store: Store, session: Session, run_id: str | None = None) -> Iterator[Event]:
    """Yield the events of a session that are its own, or those of one run, as of its record."""
    cursor = session.forked_at or 0
    while True:
        wanted = EventFilter(after=cursor, before=session.last_sequence + 1, run_ids=run_id, limit=_PAGE)
        page = store.read_session(session.id, wanted)
        yield from page
        if len(page) < _PAGE:
            return
        cursor = page[-1].sequence_number or 0


def _session_lines(store: Store, session: Session, runs: list[Run], counts: Written) -> Iterator[str]:
    artifacts = store.artifacts(session.id, include_deleted=True)
    holds = {"runs": len(runs), "artifacts": len(artifacts)}
    yield _line("session", {**session.to_map(), "holds": holds})
    counts.sessions += 1
    for run in runs:
        yield _line("run", run.to_map())
        counts.runs += 1
    cursor = session.forked_at or 0
    for event in _events(store, session):
        sequence = event.sequence_number or 0
        if sequence > cursor + 1:
            yield _hole(session, cursor + 1, sequence - 1)
        yield _line("event", event.to_map())
        counts.events += 1
        cursor = sequence
    if cursor < session.last_sequence:
        yield _hole(session, cursor + 1, session.last_sequence)
    for artifact in artifacts:
        yield _line("artifact", artifact.to_map())
        counts.artifacts += 1


def _hole(session: Session, first: int, last: int) -> str:
    return _line("hole", {"session_id": session.id, "first": first, "last": last})


def _line(kind: str, value: Mapping[str, Any]) -> str:
    return json.dumps({"kind": kind, **value}, ensure_ascii=False, separators=(",", ":")) + "\n"


def export_to(
    store: Store,
    target: str | os.PathLike[str] | IO[str],
    now: int,
    *,
    session_id: str | None = None,
    with_parents: bool = False,
    progress: OnProgress | None = None,
) -> ExportReport:
    """Write an export to a file; see `export_lines`.

    Args:
        store: What is exported.
        target: A path, compressed if it ends in ``.gz``, written beside its place and moved there when it is
            complete; or something to write text to.
        now: Microseconds since the epoch.
        session_id: Only this session.
        with_parents: Before it the sessions whose history it shares.
        progress: Called after every session.

    Raises:
        AsmError: As `export_lines`; ``already_exists``: there is such a file; ``storage_write_failed``.
    """
    counts = Written()
    lines = export_lines(
        store, now, session_id=session_id, with_parents=with_parents, written=counts, progress=progress
    )
    if not isinstance(target, str | os.PathLike):
        for line in lines:
            with writing("the target"):
                target.write(line)
        return ExportReport(None, **counts.to_map())
    path = Path(target)
    with writing(str(path)):
        if path.exists():
            raise AsmError(ErrorCode.ALREADY_EXISTS, f"there is a file {path} already; choose another name")
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened(part, "w", compressed=path.suffix == ".gz") as file:
                file.writelines(lines)
            part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    return ExportReport(str(path), **counts.to_map())


@contextmanager
def writing(what: str) -> Iterator[None]:
    """A block that writes to something of the caller's.

    Raises:
        StorageError: ``storage_write_failed``: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise AsmError(
            ErrorCode.STORAGE_WRITE_FAILED, f"{what} could not be written: {error.strerror or error}"
        ) from error


@contextmanager
def opened(path: Path, mode: str, *, compressed: bool) -> Iterator[IO[str]]:
    """Open a text file, through gzip if it is to be compressed; what was written is on the disk afterwards.

    Raises:
        OSError: It cannot be opened, read or written.
    """
    with path.open(f"{mode}b") as raw:
        if not compressed:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as text:
                yield text
                text.flush()
                _sync(raw, mode)
            return
        # No name and no time in it: the same journal gives the same bytes.
        packed = cast("IO[bytes]", gzip.GzipFile(filename="", mode=f"{mode}b", fileobj=raw, mtime=0))
        with packed, io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text:
            yield text
        _sync(raw, mode)


def _sync(file: IO[bytes], mode: str) -> None:
    if mode == "w":
        file.flush()
        os.fsync(file.fileno())
