"""Erasing sessions and events for good: the transactions of it.

A session goes in two steps, so that no transaction becomes larger than memory however long its history is:

1. One transaction takes its records, names, marks, locators and every index entry away, and lists the blocks of the log
   that hold something of it in ``erased``. From then on no reader sees it.
2. Further transactions write these blocks anew, some megabytes of them at a time, and strike them off the list. What
   a crash leaves of the list is done when the journal is opened next.

All of this works on settled records only.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Final

from asm_actors.journal.large import EMPTY_VALUE
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_indexing import Indexing
from asm_actors.journal.lmdb_layout import (
    ERASED,
    LOG,
    LOOSE,
    MEMBERS,
    NAMES,
    OPEN,
    RUN_ID,
    RUN_KEY,
    RUNS,
    SEGMENTS,
    SESSION_ID,
    SESSION_KEY,
    SESSIONS,
    Locator,
    name_key,
    number_key,
    number_of,
    pair_key,
)
from asm_actors.journal.lmdb_rewrite import Change, Handles, add_totals, erase_events, next_edition
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.packing import finding
from asm_actors.journal.store_maintenance import Erased
from asm_actors.sessions.session import Session

__all__ = ["hide_sessions", "pending_sessions", "places_by_block", "prune_blocks", "scrub"]

STEP_BYTES: Final = 32 << 20
"""Bytes of blocks that one transaction writes anew, about."""


def hide_sessions(txn: Transaction, tables: Handles, numbers: Iterable[int]) -> Erased:
    """Take sessions out of every table but the log, and list what has to be removed there.

    Raises:
        StorageError: ``storage_read_failed``: a record that tells what leads to it cannot be read.
    """
    settled = Tables(txn, tables)
    indexing = Indexing(txn, tables)
    blocks: dict[bytes, set[int]] = defaultdict(set)
    sessions = runs = size = 0
    with finding(lambda _: EMPTY_VALUE):
        for number in numbers:
            session = settled.session(number)
            count, freed = _hide_runs(txn, tables, settled, number, indexing)
            runs += count
            size += freed + _hide_session(txn, tables, number, session, indexing)
            sessions += 1
            for locator in list(settled.locators(number)):
                blocks[locator.block].add(number)
            _clear(txn, tables, SEGMENTS, number_key(number))
            for key in _clear(txn, tables, LOOSE, number_key(number)):
                blocks[key[8:]].add(number)
            txn.put(number_key(number), b"", db=tables[ERASED])
        indexing.write()
    for key, owners in sorted(blocks.items()):
        listed = txn.get(key, db=tables[ERASED]) or b""
        txn.put(key, bytes(listed) + b"".join(map(number_key, sorted(owners))), db=tables[ERASED])
    add_totals(txn, tables, sessions, runs, 0)
    next_edition(txn, tables)
    return Erased(sessions, runs, 0, size)


def _hide_session(
    txn: Transaction, tables: Handles, number: int, session: Session, indexing: Indexing
) -> int:
    names = [name_key(SESSION_ID, session.id)]
    if session.idempotency_key is not None:
        names.append(name_key(SESSION_KEY, session.idempotency_key))
    for name in names:
        txn.delete(name, db=tables[NAMES])
    indexing.session(number, session, None)
    return len(txn.pop(number_key(number), db=tables[SESSIONS]) or b"")


def _hide_runs(
    txn: Transaction, tables: Handles, settled: Tables, owner: int, indexing: Indexing
) -> tuple[int, int]:
    members = list(settled.members(owner))
    size = 0
    for number in members:
        run = settled.run(number)
        txn.delete(name_key(RUN_ID, run.id), db=tables[NAMES])
        if run.idempotency_key is not None:
            txn.delete(name_key(RUN_KEY, run.idempotency_key, owner), db=tables[NAMES])
        txn.delete(pair_key(owner, number), db=tables[MEMBERS])
        txn.delete(pair_key(owner, number), db=tables[OPEN])
        indexing.run(number, owner, run, None)
        size += len(txn.pop(number_key(number), db=tables[RUNS]) or b"")
    return len(members), size


def _clear(txn: Transaction, tables: Handles, table: str, prefix: bytes) -> list[bytes]:
    """Remove the entries whose keys begin like this, and return their keys."""
    gone: list[bytes] = []
    cursor = txn.cursor(tables[table])
    found = cursor.set_range(prefix)
    while found and bytes(cursor.key()[: len(prefix)]) == prefix:
        gone.append(bytes(cursor.key()))
        # Deleting leaves the cursor on the entry that follows.
        found = cursor.delete() and bool(cursor.key())
    return gone


def pending_sessions(tables: Tables) -> set[int]:
    """Return the numbers of erased sessions that the log may still hold something of."""
    keys = tables.cursor(ERASED).iternext(values=False)
    return {number_of(key) for key in keys if len(key) == len(number_key(0))}


def scrub(txn: Transaction, tables: Handles) -> tuple[Erased, bool]:
    """Remove what is listed from some blocks of the log.

    Returns:
        What went, and whether there is more to do.
    """
    listed: list[tuple[bytes, bytes]] = []
    size = 0
    for key, numbers in txn.cursor(tables[ERASED]):
        if len(key) == len(pair_key(0, 0)):
            if size >= STEP_BYTES:
                break
            listed.append((bytes(key), bytes(numbers)))
            size += len(txn.get(key, db=tables[LOG]) or b"")
    by_owners: dict[bytes, list[bytes]] = defaultdict(list)
    for key, numbers in listed:
        by_owners[numbers].append(key)
    events = freed = 0
    for numbers, keys in by_owners.items():
        owners = {number_of(numbers[k : k + 8]) for k in range(0, len(numbers), 8)}
        change = Change(owners=owners)
        erase_events(txn, tables, keys, change)
        events += change.events
        freed += change.bytes
    for key, _ in listed:
        txn.delete(key, db=tables[ERASED])
    is_done = not any(len(key) == len(pair_key(0, 0)) for key, _ in txn.cursor(tables[ERASED]))
    if is_done:
        txn.drop(tables[ERASED], delete=False)
    add_totals(txn, tables, 0, 0, events)
    return Erased(0, 0, events, freed), not is_done


def places_by_block(
    locators: Iterable[Locator], number: int, sequences: Collection[int]
) -> dict[bytes, dict[tuple[int, int], set[int]]]:
    """Find where events of one session are: by block and segment, the places in it.

    Args:
        locators: all locators of the session, in order.
        number: the session's number.
        sequences: the sequence numbers.
    """
    wanted = sorted(sequences)
    found: dict[bytes, dict[tuple[int, int], set[int]]] = {}
    k = 0
    for first, count, _, block, _, _ in locators:
        while k < len(wanted) and wanted[k] < first:
            k += 1
        places = set()
        while k < len(wanted) and wanted[k] < first + count:
            places.add(wanted[k] - first)
            k += 1
        if places:
            found.setdefault(block, {})[number, first] = places
        if k == len(wanted):
            break
    return found


def prune_blocks(
    write: Callable[[Callable[[Transaction], tuple[int, Change]]], tuple[int, Change]],
    tables: Handles,
    found: Mapping[bytes, Mapping[tuple[int, int], Collection[int]]],
) -> int:
    """Erase single events, a few blocks per transaction; returns how many.

    Args:
        write: runs one transaction.
        tables: the handles of the tables.
        found: what :func:`places_by_block` returned.
    """
    waiting = deque(found)
    events = 0

    def work(txn: Transaction) -> tuple[int, Change]:
        picked, size = 0, 0
        places: dict[tuple[int, int], Collection[int]] = {}
        for key in waiting:
            if size >= STEP_BYTES:
                break
            size += len(txn.get(key, db=tables[LOG]) or b"")
            places.update(found[key])
            picked += 1
        change = Change(places=places)
        erase_events(txn, tables, list(islice(waiting, picked)), change)
        add_totals(txn, tables, 0, 0, change.events)
        return picked, change

    while waiting:
        picked, change = write(work)
        events += change.events
        for _ in range(picked):
            waiting.popleft()
    return events
