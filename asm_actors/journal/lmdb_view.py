"""How a reader looks at an LMDB journal: memory and tables, at one instant.

Every question goes to both. They are looked at while the committer cannot move anything from the one to the other:
under ``_lock`` a snapshot of the tables is opened, and what memory knows is copied. From then on neither changes for
this reader, and the lock is free again. A view is never opened inside another one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_block import Directory, unpack_directory
from asm_actors.journal.lmdb_env import Environment
from asm_actors.journal.lmdb_errors import closed
from asm_actors.journal.lmdb_layout import (
    EDITION_KEY,
    LOG,
    META,
    RESUME_KEY,
    Locator,
    end_of_locators,
    pair_key,
    pair_of,
)
from asm_actors.journal.lmdb_recent import Recent, Tail
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.packing import SOURCES
from asm_actors.journal.placing import Counters, Spot

__all__ = ["LmdbView", "Spots", "counters_after", "end_of"]

_T = TypeVar("_T")

_SPOTS: Final = 32_768
_ORIGIN: Final = pair_key(0, 0)


class Spots:
    """Where recently used sessions stand, by id. Those that were not written to for longest go first."""

    def __init__(self, bound: int = _SPOTS) -> None:
        self._bound = bound
        self._young: dict[str, Spot] = {}
        self._old: dict[str, Spot] = {}

    def get(self, session_id: str) -> Spot | None:
        """Return where a session stands, if it is remembered."""
        return self._young.get(session_id) or self._old.get(session_id)

    def update(self, spots: Mapping[str, Spot]) -> None:
        """Remember where sessions stand."""
        self._young.update(spots)
        if len(self._young) > self._bound:
            self._old = self._young
            self._young = {}


class WriterFirstLock:
    """A lock that the writer gets next, however many readers ask for it again and again.

    The interpreter's locks go to whoever is awake, and that is never the thread which waited. So readers look whether
    the writer waits before they take it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._no_writer = threading.Event()
        self._no_writer.set()

    def __enter__(self) -> None:
        if not self._no_writer.is_set():
            self._no_writer.wait()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @contextmanager
    def as_writer(self) -> Iterator[None]:
        """Take it before every reader that does not have it yet. There is one writer."""
        self._no_writer.clear()
        with self._lock:
            try:
                yield
            finally:
                self._no_writer.set()


class LmdbView:
    """What the parts of the LMDB store share: its state, and the way to look at it."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lock = WriterFirstLock()
        self._environment: Environment | None = None
        # Whether another process writes, so that memory must be brought up to date before each answer.
        self._follows = False
        self._pid = 0
        self._forget()

    def _forget(self) -> None:
        self._recent = Recent()
        self._spots = Spots()
        self._counters = Counters()
        self._last_block = _ORIGIN
        self._resume = _ORIGIN
        self._edition = b""
        # Sessions whose events are still in the log, and must not be seen any more.
        self._gone: set[int] = set()

    def _forget_erased(self) -> None:
        """Forget all copies of what may have been erased. What is not settled cannot have been."""
        self._recent.tail = Tail()
        self._spots = Spots()

    def _opened(self) -> Environment:
        environment = self._environment
        if environment is None:
            raise closed(self._where)
        if self._pid != os.getpid():
            raise AsmError(
                ErrorCode.STORAGE_CONNECTION_FAILED,
                f"the store {self._where} was opened before this process was forked: open another one here",
                retryable=False,
            )
        return environment

    @contextmanager
    def _view(self, pick: Callable[[Recent, Tables], _T]) -> Iterator[tuple[_T, Tables]]:
        """Open a snapshot, and copy with ``pick`` what memory knows at the same instant.

        Raises:
            StorageError: ``storage_read_failed``, ``storage_connection_failed``.
        """
        environment = self._opened()
        txn, before = None, SOURCES.fetch
        try:
            with self._lock:
                txn = environment.begin_reading()
                tables = Tables(txn, environment.tables)
                SOURCES.fetch = tables.fetch_large
                if self._follows:
                    self._catch_up(tables)
                picked = pick(self._recent, tables)
            yield picked, tables
        except Exception as error:  # the library's are translated, all others go on up
            meaning = environment.read_error(error)
            if meaning is None:
                raise
            raise meaning from error
        finally:
            SOURCES.fetch = before
            if txn is not None:
                environment.end_reading(txn)

    def _catch_up(self, tables: Tables) -> None:
        """Bring memory up to what is committed, by replaying the blocks that it has not seen.

        Raises:
            StorageError: ``storage_read_failed``, ``migration_required``: one of them cannot be read.
        """
        edition = bytes(tables.get(META, EDITION_KEY) or b"")
        if edition != self._edition:
            # Blocks were written anew. What waits for being settled is newer than any of these.
            self._edition = edition
            self._forget_erased()
        resume = bytes(tables.get(META, RESUME_KEY) or _ORIGIN)
        if resume != self._resume:
            # Before anything new is taken: it may have the name of something that was settled, and then erased.
            self._recent.forget_before(resume)
            self._resume = resume
        fresh = [
            (key, bytes(block), unpack_directory(block, LOG, key))
            for key, block in tables.blocks_from(max(resume, self._last_block))
            if key > self._last_block
        ]
        if fresh:
            self._recent.take_blocks(fresh)
            self._last_block = fresh[-1][0]
            self._counters = counters_after(fresh[-1][2])
        elif resume > self._last_block and (newest := tables.last_block()) is not None:
            # All of it was settled between two looks: nothing to replay, but the journal has grown.
            self._last_block = newest[0]
            self._counters = counters_after(unpack_directory(newest[1], LOG, newest[0]))

    def spot(self, session_id: str) -> Spot | None:
        """Return where a session stands, or None if it is unknown."""
        if not self._follows:
            known = self._spots.get(session_id)
            if known is not None:
                self._opened()
                return known
        with self._view(lambda recent, tables: spot_of(recent, tables, session_id)) as (found, _):
            return found

    def known_spot(self, session_id: str) -> Spot:
        """Return where a session stands.

        Raises:
            ResourceError: ``session_not_found``.
        """
        return found_session(self.spot(session_id), session_id)


def spot_of(recent: Recent, tables: Tables, session_id: str) -> Spot | None:
    """Find where a session stands in memory and in the tables of the same instant."""
    number = recent.session_numbers.get(session_id)
    if number is None:
        number = tables.session_number(session_id)
        if number is None:
            return None
    waiting = recent.segments.get(number)
    return Spot(
        number,
        end_of_locators(waiting) if waiting else tables.head(number) or _shared(recent, tables, number),
    )


def _shared(recent: Recent, tables: Tables, number: int) -> int:
    """Return where a session stands that has no events of its own: only a fork shares some with another."""
    entry = recent.sessions.get(number)
    if entry is None and not tables.has_session(number):
        return 0
    record = tables.session(number) if entry is None else entry.record
    return record.forked_at or 0


def end_of(locator: Locator) -> int:
    """Return the last sequence number of a segment."""
    return locator.first_sequence + locator.n_events - 1


def found_session(spot: Spot | None, session_id: str) -> Spot:
    """Return ``spot`` unless it is None.

    Raises:
        ResourceError: ``session_not_found``.
    """
    if spot is None:
        raise AsmError(
            ErrorCode.SESSION_NOT_FOUND,
            f"there is no session {session_id}",
            context={"session_id": session_id},
        )
    return spot


def counters_after(directory: Directory) -> Counters:
    """Return the next numbers to give away after a block."""
    return Counters(directory.first_position + directory.n_events, directory.next_session, directory.next_run)


def commit_number(key: bytes) -> int:
    """Return the number of the commit that wrote a block."""
    return pair_of(key)[1]
