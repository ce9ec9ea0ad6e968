"""What lies where in an LMDB journal. Keys only: nothing here reads or writes.

::

    log        position of the first event · commit number       -> block: everything one commit wrote
    sessions   session number                                    -> record
    runs       run number                                        -> record
    segments   session number · first sequence number            -> locators of consecutive segments in the log
    members    session number · run number                       -> (empty): the runs of a session
    open       session number · run number                       -> (empty): those of them that are not over
    names      kind · id or idempotency key                      -> number
    marks      facet · value · chunk                             -> bits of 512 consecutive numbers
    columns    what · chunk                                      -> what 512 consecutive numbers are sorted by
    zones      position                                          -> what kinds of events follow (`lmdb_zones`)
    cursors    name of a subscription                            -> record
    artifacts  kind · id, key or session                         -> records of artifacts (`lmdb_artifacts`)
    blobs      digest                                            -> a large payload, compressed (``large``)
               digest · key of a block                           -> (empty): the block refers to that payload
               key of a block                                    -> the digests that it refers to
    loose      session number · key of a block                   -> (empty): the block holds records of the session, but
                                                                   no events of it
    erased     session number, key of a block                    -> what is still to be removed (``lmdb_erase``)
    meta       name                                              -> layout version, where to resume, known ids

A commit writes one block into ``log`` and nothing else, for two reasons. Appending at the end touches a handful of
pages however large the journal is; and every call into LMDB gives up the interpreter's lock, which under load
costs far more than the write (a hundred puts against a busy thread: 25 ms). What a block holds is found through
memory (``lmdb_recent``) until it is *settled*: moved into the other tables, many commits at once, so that a record
that changed ten times is written there once. ``meta/resume`` names the first block that still matters to that
memory; opening the journal reads from there.

Numbers are eight bytes, big-endian, so that keys sort as numbers do.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = [
    "CHUNK",
    "TABLES",
    "Locator",
    "facets_by_run",
    "facets_of_run",
    "facets_of_session",
    "mark_key",
    "name_key",
    "number_key",
    "pack_locator",
    "pair_key",
    "unpack_locators",
]

LOG: Final = "log"
SESSIONS: Final = "sessions"
RUNS: Final = "runs"
SEGMENTS: Final = "segments"
MEMBERS: Final = "members"
OPEN: Final = "open"
NAMES: Final = "names"
MARKS: Final = "marks"
COLUMNS: Final = "columns"
ZONES: Final = "zones"
CURSORS: Final = "cursors"
ARTIFACTS: Final = "artifacts"
BLOBS: Final = "blobs"
LOOSE: Final = "loose"
ERASED: Final = "erased"
META: Final = "meta"
TABLES: Final = (
    LOG,
    SESSIONS,
    RUNS,
    SEGMENTS,
    MEMBERS,
    OPEN,
    NAMES,
    MARKS,
    COLUMNS,
    ZONES,
    CURSORS,
    ARTIFACTS,
    BLOBS,
    LOOSE,
    ERASED,
    META,
)

SCHEMA_KEY: Final = b"schema"
RESUME_KEY: Final = b"resume"
KNOWN_KEY: Final = b"known"
EDITION_KEY: Final = b"edition"
TOTALS_KEY: Final = b"totals"
ZONED_KEY: Final = b"zoned"

CHUNK: Final = 512
"""How many consecutive numbers share one bit set."""

# Kinds of names.
SESSION_ID: Final = b"s"
RUN_ID: Final = b"r"
SESSION_KEY: Final = b"S"
RUN_KEY: Final = b"R"

# Facets that marks exist for.
LISTED: Final = b"l"
DELETED: Final = b"d"
STATUS: Final = b"s"
AGENT: Final = b"a"
TAG: Final = b"t"
PROVIDER: Final = b"p"
VIA: Final = b"v"  # marks sessions by the providers of their runs
RUN_LISTED: Final = b"R"
RUN_STATUS: Final = b"r"
RUN_PROVIDER: Final = b"q"
PARENT: Final = b"f"

_ONE: Final = struct.Struct(">Q")
_TWO: Final = struct.Struct(">QQ")
_CHUNK_NUMBER: Final = struct.Struct(">I")
_LOCATOR: Final = struct.Struct(">QIQ16sII")
_LOCATOR_START: Final = struct.Struct(">QI")
_BLOCK: Final = slice(20, 36)

# LMDB takes keys of up to 511 bytes. Names are checked to be shorter than this where callers hand them in.
_MAX_TEXT: Final = 400

number_key = _ONE.pack
"""Make the key of a session or a run."""

pair_key = _TWO.pack
"""Make the key of a block, a segment or a member."""


class Locator(NamedTuple):
    """Where the events of one append are."""

    first_sequence: int
    n_events: int
    first_position: int
    block: bytes
    """The key of the block in the log."""
    offset: int
    """Where in the block the segment begins."""
    length: int


pack_locator = _LOCATOR.pack
"""Encode the fields of one locator. Consecutive ones are joined, in memory as in the tables.

Memory may hold a hundred thousand of them, and as bytes they are none of the garbage collector's business.
"""

LOCATOR_SIZE: Final = _LOCATOR.size


def unpack_locators(value: bytes | memoryview) -> Iterator[Locator]:
    """Decode joined locators; raises ``struct.error`` if the value has another length."""
    return map(Locator._make, _LOCATOR.iter_unpack(value))


def first_block_of(locators: bytes | bytearray) -> bytes:
    """Return the key of the block that the first of some joined locators names."""
    return bytes(locators[_BLOCK])


def end_of_locators(locators: bytes | bytearray | memoryview) -> int:
    """Return the last sequence number of some joined locators, at least one."""
    first, n_events = _LOCATOR_START.unpack_from(locators, len(locators) - LOCATOR_SIZE)
    end: int = first + n_events - 1
    return end


def locators_after(locators: bytes | bytearray, after: int, limit: int | None) -> bytes:
    """Copy at most ``limit`` of some joined locators, from the one on that holds ``after + 1``."""
    low, high = 0, len(locators) // LOCATOR_SIZE
    while low < high:
        middle = (low + high) // 2
        first, n_events = _LOCATOR_START.unpack_from(locators, middle * LOCATOR_SIZE)
        if first + n_events - 1 > after:
            high = middle
        else:
            low = middle + 1
    return bytes(locators[low * LOCATOR_SIZE : None if limit is None else (low + limit) * LOCATOR_SIZE])


def number_of(key: bytes | bytearray | memoryview) -> int:
    """Return the number in an eight-byte key or value."""
    number: int = _ONE.unpack(key)[0]
    return number


def pair_of(key: bytes | memoryview) -> tuple[int, int]:
    """Return the two numbers of a sixteen-byte key."""
    first, second = _TWO.unpack(key)
    return first, second


def _text(text: str) -> bytes:
    data = text.encode()
    return data if len(data) <= _MAX_TEXT else data[: _MAX_TEXT - 32] + blake2b(data, digest_size=32).digest()


def name_key(kind: bytes, text: str, owner: int | None = None) -> bytes:
    """Make the key of an id or of an idempotency key; the latter belongs to ``owner``, a session's number."""
    return kind + (b"" if owner is None else _ONE.pack(owner)) + _text(text)


@lru_cache(4096)
def mark_prefix(facet: bytes, value: str = "") -> bytes:
    """Make the part of a mark's key that all chunks of one value share."""
    data = _text(value)
    # The length keeps one value's keys apart from those of a value that begins alike.
    return facet + len(data).to_bytes(2, "big") + data


def mark_key(prefix: bytes, chunk: int) -> bytes:
    """Make the key of one chunk of marks."""
    return prefix + _CHUNK_NUMBER.pack(chunk)


def chunk_of(key: bytes | memoryview) -> int:
    """Return the chunk that a mark's key ends in."""
    chunk: int = _CHUNK_NUMBER.unpack(key[-_CHUNK_NUMBER.size :])[0]
    return chunk


def facets_of_session(session: Session) -> frozenset[bytes]:
    """Return the prefixes under which a session is marked."""
    facets = {
        mark_prefix(LISTED),
        mark_prefix(STATUS, session.status),
        mark_prefix(AGENT, session.agent_id),
    }
    facets.update(mark_prefix(TAG, tag) for tag in session.tags)
    if session.provider is not None:
        facets.add(mark_prefix(PROVIDER, session.provider))
    if session.parent_session_id is not None:
        facets.add(mark_prefix(PARENT, session.parent_session_id))
    if session.deleted_us is not None:
        facets.add(mark_prefix(DELETED))
    return frozenset(facets)


def facets_of_run(run: Run) -> frozenset[bytes]:
    """Return the prefixes under which a run is marked."""
    facets = {mark_prefix(RUN_LISTED), mark_prefix(RUN_STATUS, run.status)}
    if run.provider is not None:
        facets.add(mark_prefix(RUN_PROVIDER, run.provider))
    return frozenset(facets)


def facets_by_run(run: Run) -> frozenset[bytes]:
    """Return the prefixes under which a run's session is marked because of it."""
    return frozenset() if run.provider is None else frozenset((mark_prefix(VIA, run.provider),))
