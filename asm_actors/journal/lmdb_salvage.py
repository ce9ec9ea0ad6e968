"""Reading a block of the log whose directory is damaged: one record after the other, as far as they can be read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from asm_actors.errors import AsmError
from asm_actors.journal.codec import unpack_run, unpack_segment, unpack_session
from asm_actors.journal.lmdb_block import FIRST_BODY, unpack_directory
from asm_actors.journal.lmdb_layout import (
    LOG,
    META,
    NAMES,
    RESUME_KEY,
    RUN_ID,
    SESSION_ID,
    name_key,
    number_of,
    pair_key,
    pair_of,
)
from asm_actors.journal.lmdb_mending import Mending, readable
from asm_actors.journal.lmdb_rewrite import Contents, Part
from asm_actors.journal.lmdb_view import counters_after
from asm_actors.journal.packing import UNPACKING_ERRORS, value_reader
from asm_actors.journal.placing import Counters

__all__ = ["counters_before", "salvage"]

_PREFIX: Final = struct.calcsize(">BI")
_SEGMENT_FIELDS: Final = 11


def salvage(mending: Mending, key: bytes, block: bytes) -> Iterator[tuple[str, Part]]:
    """Yield what follows each other readably from the block's beginning, with its kind: segment, session or run."""
    names: _Names | None = None
    offset = FIRST_BODY
    while offset + _PREFIX < len(block):
        found = _next(block, offset)
        if found is None:
            return
        fields, blob = found
        offset += len(blob)
        if fields == _SEGMENT_FIELDS:
            part = _segment(blob)
            if part is None:
                return
            yield "segment", part
            continue
        names = names or _Names(mending, key)
        record = names.record(blob)
        if record is not None:
            yield record


def counters_before(mending: Mending, key: bytes) -> Counters:
    """Return the next numbers to give away before a block."""
    cursor = mending.txn.cursor(mending.handles[LOG])
    found = cursor.prev() if cursor.set_range(key) else cursor.last()
    while found:
        try:
            directory = unpack_directory(bytes(cursor.value()), LOG, bytes(cursor.key()))
        except AsmError:
            found = cursor.prev()
        else:
            return counters_after(directory)
    return Counters()


def _next(block: bytes, offset: int) -> tuple[int, bytes] | None:
    """Return the number of fields and the bytes of the record that begins here."""
    reader = value_reader()
    reader.feed(block[offset + _PREFIX :])
    try:
        fields = reader.read_array_header()
        for _ in range(fields):
            reader.skip()
    except UNPACKING_ERRORS:
        return None
    return fields, block[offset : offset + _PREFIX + reader.tell()]


def _segment(blob: bytes) -> Part | None:
    try:
        segment = unpack_segment(blob, LOG, "segment")
    except AsmError:
        return None
    return Part(segment.number, segment.number, segment.first_sequence, len(segment.codes), 0, blob)


class _Names:
    """Gives the number of a record by its id.

    What neither a name nor an earlier block that was not settled knows was new in this block, and new ones got their
    numbers in the order in which they stand there.
    """

    def __init__(self, mending: Mending, key: bytes) -> None:
        self._mending = mending
        self._sessions: dict[str, int] = {}
        self._runs: dict[str, tuple[int, int]] = {}
        _, self._next_session, self._next_run = counters_before(mending, key)
        resume = mending.get(META, RESUME_KEY) or pair_key(0, 0)
        for earlier in mending.keys(LOG):
            if resume <= earlier < key:
                self._learn(earlier)

    def _learn(self, key: bytes) -> None:
        block = self._mending.get(LOG, key)
        assert block is not None
        try:
            contents = Contents.of(block, key)
        except AsmError:
            return
        for part in contents.sessions:
            session = _read(unpack_session, part.blob)
            if session is not None:
                self._sessions[session.id] = part.number
        for part in contents.runs:
            run = _read(unpack_run, part.blob)
            if run is not None:
                self._runs[run.id] = (part.number, part.owner)

    def _session(self, name: str) -> int | None:
        value = self._mending.get(NAMES, name_key(SESSION_ID, name))
        return self._sessions.get(name) if value is None else number_of(value[:8])

    def record(self, blob: bytes) -> tuple[str, Part] | None:
        """Return a record with its kind, its number and its session's number; None if it is neither."""
        session = _read(unpack_session, blob)
        if session is not None:
            number = self._session(session.id)
            if number is None:
                number = self._sessions[session.id] = self._next_session
                self._next_session += 1
            return "session", Part(number, number, 0, 0, 0, blob)
        run = _read(unpack_run, blob)
        if run is None:
            return None
        value = self._mending.get(NAMES, name_key(RUN_ID, run.id))
        spot = self._runs.get(run.id) if value is None else pair_of(value)
        if spot is None:
            owner = self._session(run.session_id)
            if owner is None:
                return None
            spot = self._runs[run.id] = (self._next_run, owner)
            self._next_run += 1
        return "run", Part(*spot, 0, 0, 0, blob)


def _read(unpack: Any, blob: bytes) -> Any:
    try:
        return readable(unpack, blob, LOG, "record")
    except AsmError:
        return None
