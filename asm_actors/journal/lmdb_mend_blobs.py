"""Repairing large payloads: those that cannot be read any more leave holes, and references are listed as they are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from asm_actors.errors import AsmError
from asm_actors.journal.codec import (
    pack_run,
    pack_session,
    unpack_run,
    unpack_segment,
    unpack_session,
)
from asm_actors.journal.holes import NOBODY, large_places_of, without_events
from asm_actors.journal.large import DIGEST_SIZE, EMPTY_VALUE, digest_of, unpack_large
from asm_actors.journal.lmdb_large import references_in
from asm_actors.journal.lmdb_layout import BLOBS, LOG, RUNS, SESSIONS, number_of
from asm_actors.journal.lmdb_mending import Mending
from asm_actors.journal.lmdb_rewrite import Contents, Part
from asm_actors.journal.packing import Buffer, finding, unreadable

__all__ = ["mend_blobs"]


def mend_blobs(mending: Mending) -> None:
    """Have every reference to a large payload lead to one that can be read, and list each as it is."""
    good = _good_payloads(mending)
    rows: dict[bytes, bytes] = {}
    for key in mending.keys(LOG):
        used = _mend_block(mending, key, good)
        if used:
            rows[key] = b"".join(sorted(used))
            rows.update((digest + key, b"") for digest in used)
    used_at_all = {key[:DIGEST_SIZE] for key in rows if len(key) > DIGEST_SIZE}
    for table, unpack, pack in ((SESSIONS, unpack_session, pack_session), (RUNS, unpack_run, pack_run)):
        for key in mending.keys(table):
            blob = mending.get(table, key)
            assert blob is not None
            lost = _lost_in(blob, good)
            if lost:
                record = _without(mending, unpack, blob, table, key)
                if record is not None:
                    mending.set_aside(table, key, "a large field of it is lost", blob)
                    mending.put(table, key, pack(record))
                    mending.give_up(f"{BLOBS}: a large field of {record.id} is lost, and empty now")
            else:
                used_at_all |= _references(blob)
    _list(mending, rows, good, used_at_all)


def _good_payloads(mending: Mending) -> set[bytes]:
    good: set[bytes] = set()
    for key in mending.keys(BLOBS):
        if len(key) != DIGEST_SIZE:
            continue
        value = mending.get(BLOBS, key)
        assert value is not None
        try:
            if digest_of(bytes(unpack_large(value, BLOBS, key))) != key:
                raise unreadable(BLOBS, key, "it is another payload than its name says")
        except AsmError as error:
            mending.set_aside(BLOBS, key, error.message, value)
            mending.delete(BLOBS, key)
            mending.tell(f"{error.message}; it was taken out")
        else:
            good.add(key)
    return good


def _references(blob: bytes) -> set[bytes]:
    try:
        return references_in((), (blob,))
    except AsmError:
        return set()


def _lost_in(blob: bytes, good: Collection[bytes]) -> set[bytes]:
    return {digest for digest in _references(blob) if digest not in good}


def _without(mending: Mending, unpack: Callable[..., Any], blob: bytes, table: str, key: bytes) -> Any:
    """Decode a record with empty maps for what is lost."""

    def fetch(digest: bytes) -> Buffer:
        stored = mending.get(BLOBS, digest)
        return EMPTY_VALUE if stored is None else unpack_large(stored, BLOBS, digest)

    try:
        with finding(fetch):
            return unpack(blob, table, number_of(key))
    except AsmError:
        return None


def _mend_block(mending: Mending, key: bytes, good: Collection[bytes]) -> set[bytes]:
    """Take lost payloads out of a block, and return the digests that it refers to then."""
    block = mending.get(LOG, key)
    assert block is not None
    contents = Contents.of(block, key)
    segments = [_mend_segment(mending, part, key, good) for part in contents.segments]
    sessions = [part for part in contents.sessions if not _lost_in(part.blob, good)]
    runs = [part for part in contents.runs if not _lost_in(part.blob, good)]
    if (segments, sessions, runs) != (contents.segments, contents.sessions, contents.runs):
        mending.set_aside(LOG, key, "large payloads to which it refers are lost", block)
        contents.segments, contents.sessions, contents.runs = segments, sessions, runs
        mending.put(LOG, key, contents.pack())
    return references_in(
        (part.blob for part in segments if part.number != NOBODY),
        (part.blob for part in (*sessions, *runs)),
    )


def _mend_segment(mending: Mending, part: Part, key: bytes, good: Collection[bytes]) -> Part:
    if part.number == NOBODY:
        return part
    segment = unpack_segment(part.blob, LOG, key)
    lost = {place: digest for place, digest in large_places_of(segment).items() if digest not in good}
    for place, digest in sorted(lost.items()):
        sequence = part.first + place
        reason = f"the large payload {digest.hex()} in {BLOBS} is missing or cannot be read"
        mending.lose(part.number, sequence, sequence, reason)
        mending.give_up(f"{reason}: event {sequence} of {mending.name_of(part.number)} is lost")
    return part._replace(blob=without_events(segment, lost)) if lost else part


def _list(
    mending: Mending, rows: dict[bytes, bytes], good: Collection[bytes], used: Collection[bytes]
) -> None:
    """Write the references as they are, and take out what nothing refers to."""
    wrong = 0
    for key in mending.keys(BLOBS):
        if len(key) != DIGEST_SIZE and key not in rows:
            mending.delete(BLOBS, key)
            wrong += 1
    for key, value in sorted(rows.items()):
        if mending.get(BLOBS, key) != value:
            mending.put(BLOBS, key, value)
            wrong += 1
    if wrong:
        mending.tell(f"{BLOBS}: {wrong} entries about what refers to large payloads were set right")
    for digest in sorted(digest for digest in good if digest not in used):
        mending.set_aside(BLOBS, digest, "nothing refers to it", mending.get(BLOBS, digest) or b"")
        mending.delete(BLOBS, digest)
        mending.tell(f"{BLOBS}: the payload {digest.hex()}, to which nothing refers, was taken out")
