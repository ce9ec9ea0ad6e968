"""The block: everything one commit writes, in one value of the log.

::

    block = header · segments · session records · run records · directory

The directory lists what is inside, so that a replay needs no other table; it stands at the end, because then the
place of a segment is known before the directory is. It has a checksum, as each record has its own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

from asm_actors.journal.codec import Buffer, pack_values, refuse_version, unpack_values, unreadable
from asm_actors.journal.placing import Group
from asm_actors.journal.store import RECORD_VERSION

__all__ = ["FIRST_BODY", "Directory", "pack_block", "pack_group", "unpack_directory"]

# Version, bytes of the bodies, bytes of the directory, checksum of the directory.
_HEADER: Final = struct.Struct(">BQII")


class Directory(NamedTuple):
    """What a block holds, in the order of its bytes: segments, session records, run records."""

    first_position: int
    n_events: int
    next_session: int
    next_run: int
    segments: list[int]
    """Four numbers each: the session's number, the first sequence number, the count of events, the bytes."""
    sessions: list[int]
    """Two numbers each: the session's number, the bytes."""
    runs: list[int]
    """Three numbers each: the run's number, its session's number, the bytes."""


FIRST_BODY: Final = _HEADER.size
"""Where in a block the first segment begins."""


def pack_block(directory: Directory, bodies: Sequence[bytes]) -> bytes:
    """Join everything that one commit writes into one value.

    Args:
        directory: what it holds.
        bodies: the segments, then the session records, then the run records, as the directory lists them.
    """
    index = pack_values(directory)
    body = b"".join(bodies)
    return _HEADER.pack(RECORD_VERSION, len(body), len(index), crc32(index)) + body + index


def unpack_directory(block: Buffer, table: str, key: object) -> Directory:
    """Read what a block holds.

    Raises:
        StorageError: ``storage_read_failed`` or ``migration_required``, naming ``table`` and ``key``.
    """
    try:
        version, body, size, checksum = _HEADER.unpack_from(block)
    except struct.error as error:
        raise unreadable(table, key, "it is cut short") from error
    if version != RECORD_VERSION:
        refuse_version(version, table, key)
    index = block[FIRST_BODY + body : FIRST_BODY + body + size]
    if len(index) != size or crc32(index) != checksum:
        raise unreadable(table, key, "its checksum is wrong")
    values = unpack_values(index, table, key)
    try:
        directory = Directory(*values)
        if sum(directory.segments[3::4]) + sum(directory.sessions[1::2]) + sum(directory.runs[2::3]) != body:
            raise ValueError("its directory does not fit its size")
    except (TypeError, ValueError) as error:
        raise unreadable(table, key, str(error)) from error
    return directory


def pack_group(group: Group, first_position: int) -> bytes:
    """Encode a planned group as the block that starts at a position."""
    segments: list[int] = []
    sessions: list[int] = []
    runs: list[int] = []
    bodies: list[bytes] = []
    for number, first_sequence, count, _, blob in group.segments:
        segments += (number, first_sequence, count, len(blob))
        bodies.append(blob)
    session_blobs, run_blobs = group.encoded
    for number, blob in session_blobs.items():
        sessions += (number, len(blob))
        bodies.append(blob)
    for number, blob in run_blobs.items():
        runs += (number, group.runs[number].owner, len(blob))
        bodies.append(blob)
    position, next_session, next_run = group.counters
    count = position - first_position
    return pack_block(
        Directory(first_position, count, next_session, next_run, segments, sessions, runs), bodies
    )
