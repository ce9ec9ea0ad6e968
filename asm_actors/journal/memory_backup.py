"""From a journal in memory to one on disk, event by event at its place, holes included."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.holes import NOBODY, NOBODYS_SEGMENT
from asm_actors.journal.lmdb_block import Directory, pack_block
from asm_actors.journal.lmdb_env import Environment
from asm_actors.journal.lmdb_errors import system_error
from asm_actors.journal.lmdb_layout import LOG, pair_key
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.placing import Counters, PlacedSegment
from asm_actors.journal.store_maintenance import BackupReport, Progress

__all__ = ["MemoryContents", "write_backup"]

_SEGMENTS: Final = 1024
_MAP_SIZE: Final = 1 << 26


class MemoryContents(NamedTuple):
    """What a journal in memory holds."""

    log: Sequence[PlacedSegment]
    sessions: Mapping[int, bytes]
    runs: Mapping[int, tuple[int, bytes]]
    """Run records with the numbers of their sessions, by number."""
    counters: Counters


def write_backup(path: Path, contents: MemoryContents, rest: Any, progress: Progress | None) -> BackupReport:
    """Write a journal on disk.

    Args:
        path: a directory that is new or empty.
        contents: what it shall hold.
        rest: the store, for its cursors and artifacts.
        progress: called with events written and events there are.

    Raises:
        AsmError: ``already_exists``, ``storage_write_failed``.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise AsmError(
                ErrorCode.ALREADY_EXISTS,
                f"there is something at {path}: choose a directory that is new or empty",
                details={"path": str(path)},
            )
        part = path.with_name(path.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700, parents=True)
        try:
            _write_log(part, contents, progress)
            store = LmdbStore(part)
            store.open()
            try:
                _write_rest(store, rest)
                found = store.statistics()
            finally:
                store.close()
            if path.exists():
                path.rmdir()
            part.rename(path)
        except BaseException:  # whatever it is goes on up; half a backup must not stay
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        what = f"no backup could be written to {path}"
        raise system_error(error, what, path, ErrorCode.STORAGE_WRITE_FAILED) from error
    size = (path / "data.mdb").stat().st_size
    return BackupReport(str(path), size, found.events, len(contents.sessions), len(contents.runs))


def _write_log(path: Path, contents: MemoryContents, progress: Progress | None) -> None:
    """Write blocks of many segments each, and one of all records: opening settles them."""
    environment = Environment(path, map_size=_MAP_SIZE, max_map_size=None, readonly=False, durable=True)
    try:
        table = environment.tables[LOG]
        log, counters = contents.log, contents.counters
        done = 0
        for commit, begin in enumerate(range(0, len(log), _SEGMENTS), 1):
            segments = log[begin : begin + _SEGMENTS]
            count = sum(segment.n_events for segment in segments)
            key = pair_key(segments[0].first_position, commit)
            block = _block(segments[0].first_position, count, counters, segments, {}, {})
            environment.write(lambda txn, key=key, block=block: txn.put(key, block, db=table))  # type: ignore[misc]
            done += count
            if progress is not None:
                progress(done, counters.position - 1)
        last = pair_key(counters.position, len(log) + 1)
        block = _block(counters.position, 0, counters, (), contents.sessions, contents.runs)
        environment.write(lambda txn: txn.put(last, block, db=table))
    finally:
        environment.close()


def _block(
    position: int,
    count: int,
    counters: Counters,
    segments: Sequence[PlacedSegment],
    sessions: Mapping[int, bytes],
    runs: Mapping[int, tuple[int, bytes]],
) -> bytes:
    whole = [
        segment._replace(blob=NOBODYS_SEGMENT) if segment.number == NOBODY else segment
        for segment in segments
    ]
    directory = Directory(
        position,
        count,
        counters.session,
        counters.run,
        [n for s in whole for n in (s.number, s.first_sequence, s.n_events, len(s.blob))],
        [n for number, blob in sessions.items() for n in (number, len(blob))],
        [n for number, (owner, blob) in runs.items() for n in (number, owner, len(blob))],
    )
    bodies = [segment.blob for segment in whole]
    return pack_block(directory, [*bodies, *sessions.values(), *(blob for _, blob in runs.values())])


def _write_rest(store: LmdbStore, rest: Any) -> None:
    cursors = rest.cursors()
    store.save_cursors({cursor.name: cursor for cursor in cursors})
    store.save_artifacts(rest.artifacts(include_deleted=True))
