"""Large payloads in an LMDB journal: stored once, and known by the blocks that refer to them.

A payload goes in the transaction of the block that refers to it. Each reference is an entry of its own, so that taking
one away needs no counting: a payload goes when the last entry under its digest has gone. What a block refers to is
listed under the block's key, which tells at a glance that one has nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from asm_actors.journal.codec import unpack_segment
from asm_actors.journal.holes import large_values_of
from asm_actors.journal.large import DIGEST_SIZE, EMPTY_VALUE, pack_large, unpack_large
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_layout import BLOBS, LOG
from asm_actors.journal.packing import Buffer, finding, unpack_record, unreadable

__all__ = [
    "digests_of_block",
    "forget_references",
    "large_finder",
    "put_large",
    "references_in",
    "stored_forms",
]


def stored_forms(large: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Compress encoded payloads, before the transaction that stores them begins."""
    return {digest: pack_large(value) for digest, value in large.items()}


def put_large(txn: Transaction, table: Any, forms: Mapping[bytes, bytes], block: bytes) -> int:
    """Store payloads that a new block refers to; returns how many bytes they took.

    Args:
        txn: the write transaction that stores the block.
        table: the handle of the table.
        forms: what :func:`stored_forms` returned.
        block: the block's key.
    """
    for digest, form in sorted(forms.items()):
        txn.put(digest, form, db=table, overwrite=False)
        txn.put(digest + block, b"", db=table)
    txn.put(block, b"".join(sorted(forms)), db=table)
    return sum(map(len, forms.values()))


def large_finder(get: Callable[[str, bytes], Buffer | None]) -> Callable[[bytes], Buffer]:
    """Make the function that finds a payload's encoded form by its digest.

    Args:
        get: reads a table by its name and a key.
    """

    def fetch(digest: bytes) -> Buffer:
        stored = get(BLOBS, digest)
        if stored is None:
            raise unreadable(BLOBS, digest, "it is missing")
        return unpack_large(stored, BLOBS, digest)

    return fetch


def digests_of_block(txn: Transaction, table: Any, block: bytes) -> list[bytes]:
    """Return the digests that a block is listed with."""
    listed = bytes(txn.get(block, db=table) or b"")
    return [listed[k : k + DIGEST_SIZE] for k in range(0, len(listed), DIGEST_SIZE)]


def forget_references(txn: Transaction, table: Any, block: bytes, kept: Collection[bytes]) -> int:
    """Take away what a block no longer refers to, and payloads that nothing refers to any more.

    Args:
        txn: a write transaction.
        table: the handle of the table.
        block: the block's key.
        kept: the digests that it still refers to.

    Returns:
        The bytes of the payloads that went.
    """
    freed = 0
    listed = digests_of_block(txn, table, block)
    for digest in listed:
        if digest not in kept:
            txn.delete(digest + block, db=table)
            freed += _drop_if_unused(txn, table, digest)
    left = sorted(digest for digest in listed if digest in kept)
    if left:
        txn.put(block, b"".join(left), db=table)
    elif listed:
        txn.delete(block, db=table)
    return freed


def _drop_if_unused(txn: Transaction, table: Any, digest: bytes) -> int:
    cursor = txn.cursor(table)
    if not cursor.set_key(digest):
        return 0
    size = len(cursor.value())
    if cursor.next() and bytes(cursor.key()[:DIGEST_SIZE]) == digest and len(cursor.key()) > DIGEST_SIZE:
        return 0
    txn.delete(digest, db=table)
    return size


def references_in(segments: Iterable[Buffer], records: Iterable[Buffer]) -> set[bytes]:
    """Return the digests that encoded segments and records refer to.

    Raises:
        StorageError: ``storage_read_failed``: one of them cannot be read.
    """
    found: set[bytes] = set()
    for blob in segments:
        found.update(large_values_of(unpack_segment(blob, LOG, "segment")))

    def note(digest: bytes) -> Buffer:
        found.add(digest)
        return EMPTY_VALUE

    with finding(note):
        for blob in records:
            unpack_record(blob, LOG, "record")
    return found


def entries(cursor: Any) -> Iterator[tuple[bytes, Buffer]]:
    """Yield the whole table as (key, value)."""
    found = cursor.first()
    while found:
        yield bytes(cursor.key()), cursor.value()
        found = cursor.next()
