"""What was committed and is not settled yet: the part of an LMDB journal that is found through memory.

1. It never holds what is not committed, and what it holds replaces what the tables say.
2. Sessions and runs stand in the order of their last change, segments in the order of the first one that waits.
   So the oldest block that still matters is always at the front.
3. It knows no lock: the store changes it under one, and readers copy what they need under the same one.

It also keeps the last blocks themselves, up to a bound in bytes, since whoever follows the journal reads its end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Final, Generic, NamedTuple, TypeVar

from asm_actors.journal.codec import unpack_run, unpack_session
from asm_actors.journal.holes import NOBODY
from asm_actors.journal.lmdb_block import FIRST_BODY, Directory
from asm_actors.journal.lmdb_layout import (
    LOCATOR_SIZE,
    LOG,
    first_block_of,
    locators_after,
    number_key,
    pack_locator,
    pair_key,
)
from asm_actors.journal.placing import Group
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run
from asm_actors.sessions.session import Session

__all__ = ["Entry", "Recent", "SettleBatch", "Tail"]

_R = TypeVar("_R", Session, Run)
_K = TypeVar("_K", int, str)

_TAIL_BYTES: Final = 8 << 20
_TAIL_BLOCKS: Final = 4096


class Entry(NamedTuple, Generic[_R]):
    """The last version of a record."""

    record: _R
    blob: bytes
    block: bytes
    """The key of the block that holds this version."""
    owner: int
    """The number of its session (a session's own number)."""
    is_new: bool
    """Whether no version of it was settled before."""


class SettleBatch(NamedTuple):
    """What is to be settled next, oldest first."""

    sessions: dict[int, Entry[Session]]
    runs: dict[int, Entry[Run]]
    segments: dict[int, bytes]
    loose: tuple[bytes, ...] = ()


class Recent:
    """The unsettled part of a journal.

    Attributes:
        sessions: the last version of session records, by number.
        runs: the last version of run records, by number.
        segments: where the unsettled events of a session are, by the session's number: joined locators, at least one.
        session_numbers: the numbers of the sessions in it, by id.
        run_numbers: the numbers of the runs in it, by id.
        session_keys: session ids by idempotency key.
        run_keys: run ids by session number and idempotency key.
        children: the numbers of the sessions in it that have a parent, by the parent's id.
        runs_of: the numbers of the runs in it, by their session's number.
        open_of: those of them that are not over.
        loose: session number and block key of blocks that hold records of a session, but no events of it.
    """

    def __init__(self) -> None:
        self.sessions: dict[int, Entry[Session]] = {}
        self.runs: dict[int, Entry[Run]] = {}
        self.segments: dict[int, bytearray] = {}
        self.session_numbers: dict[str, int] = {}
        self.run_numbers: dict[str, int] = {}
        self.session_keys: dict[str, str] = {}
        self.run_keys: dict[tuple[int, str], str] = {}
        self.children: dict[str, dict[int, None]] = {}
        self.runs_of: dict[int, dict[int, None]] = {}
        self.open_of: dict[int, dict[int, None]] = {}
        self.loose: list[bytes] = []
        self._locators = 0
        self.tail = Tail()

    def __len__(self) -> int:
        """Measure what waits to be settled, in records; a locator takes a quarter of one's space."""
        return len(self.sessions) + len(self.runs) + len(self.segments) + self._locators // 4

    def take_group(self, group: Group, key: bytes, block: bytes) -> None:
        """Take over what was just committed."""
        segments = self.segments
        offset = FIRST_BODY
        for number, first, count, position, blob in group.segments:
            length = len(blob)
            locator = pack_locator(first, count, position, key, offset, length)
            offset += length
            waiting = segments.get(number)
            if waiting is None:
                segments[number] = bytearray(locator)
            else:
                waiting += locator
        self._locators += len(group.segments)
        session_blobs, run_blobs = group.encoded
        for number, (session, is_new) in group.sessions.items():
            self.put_session(number, Entry(session, session_blobs[number], key, number, is_new))
        for number, (run, owner, is_new) in group.runs.items():
            self.put_run(number, Entry(run, run_blobs[number], key, owner, is_new))
        owners = group.sessions.keys() | {placed.owner for placed in group.runs.values()}
        self._note_loose(key, owners - {segment.number for segment in group.segments})
        self.tail.push(key, block)

    def _note_loose(self, key: bytes, numbers: Iterable[int]) -> None:
        self.loose += [number_key(number) + key for number in numbers]

    def put_session(self, number: int, entry: Entry[Session]) -> None:
        """Take over a session's record."""
        before = self.sessions.pop(number, None)
        if before is None:
            session = entry.record
            self.session_numbers[session.id] = number
            if session.idempotency_key is not None:
                self.session_keys[session.idempotency_key] = session.id
            if session.parent_session_id is not None:
                _add(self.children, session.parent_session_id, number)
        elif before.is_new and not entry.is_new:
            entry = entry._replace(is_new=True)
        self.sessions[number] = entry

    def put_run(self, number: int, entry: Entry[Run]) -> None:
        """Take over a run's record."""
        before = self.runs.pop(number, None)
        if before is None:
            run = entry.record
            self.run_numbers[run.id] = number
            if run.idempotency_key is not None:
                self.run_keys[entry.owner, run.idempotency_key] = run.id
            _add(self.runs_of, entry.owner, number)
        elif before.is_new and not entry.is_new:
            entry = entry._replace(is_new=True)
        self.runs[number] = entry
        if entry.record.status not in TERMINAL_RUN_STATUSES:
            _add(self.open_of, entry.owner, number)
        elif before is not None:
            _discard(self.open_of, entry.owner, number)

    def drop_session(self, number: int) -> None:
        """Forget a session's record, which is settled."""
        session = self.sessions.pop(number).record
        del self.session_numbers[session.id]
        if session.idempotency_key is not None:
            self.session_keys.pop(session.idempotency_key, None)
        if session.parent_session_id is not None:
            _discard(self.children, session.parent_session_id, number)

    def drop_run(self, number: int) -> None:
        """Forget a run's record, which is settled."""
        entry = self.runs.pop(number)
        run = entry.record
        del self.run_numbers[run.id]
        if run.idempotency_key is not None:
            self.run_keys.pop((entry.owner, run.idempotency_key), None)
        _discard(self.runs_of, entry.owner, number)
        _discard(self.open_of, entry.owner, number)

    def take_blocks(self, blocks: Iterable[tuple[bytes, bytes, Directory]]) -> None:
        """Take over blocks that an earlier process, or another one, committed, in order.

        Only the last version of each record is decoded. Records count as never settled, and segments as waiting:
        whoever replays corrects that with :meth:`reconcile`.

        Raises:
            StorageError: a record in them cannot be read.
        """
        sessions: dict[int, tuple[bytes, bytes]] = {}
        runs: dict[int, tuple[bytes, bytes, int]] = {}
        for key, block, (first_position, _, _, _, segment_index, session_index, run_index) in blocks:
            offset = FIRST_BODY
            position = first_position
            numbers = iter(segment_index)
            for number, first, count, length in zip(numbers, numbers, numbers, numbers, strict=True):
                if number != NOBODY:
                    self.segments.setdefault(number, bytearray()).extend(
                        pack_locator(first, count, position, key, offset, length)
                    )
                    self._locators += 1
                offset += length
                position += count
            numbers = iter(session_index)
            for number, length in zip(numbers, numbers, strict=True):
                sessions.pop(number, None)
                sessions[number] = (key, block[offset : offset + length])
                offset += length
            numbers = iter(run_index)
            for number, owner, length in zip(numbers, numbers, numbers, strict=True):
                runs.pop(number, None)
                runs[number] = (key, block[offset : offset + length], owner)
                offset += length
            self._note_loose(key, {*session_index[::2], *run_index[1::3]} - {*segment_index[::4]})
            self.tail.push(key, block)
        for number, (key, blob) in sessions.items():
            self.put_session(number, Entry(unpack_session(blob, LOG, key), blob, key, number, is_new=True))
        for number, (key, blob, owner) in runs.items():
            self.put_run(number, Entry(unpack_run(blob, LOG, key), blob, key, owner, is_new=True))

    def reconcile(
        self, has_session: Callable[[int], bool], has_run: Callable[[int], bool], head: Callable[[int], int]
    ) -> None:
        """Correct what a replay assumed: some of it was settled before.

        Args:
            has_session: whether a session's record is in the tables.
            has_run: whether a run's record is in the tables.
            head: the last settled sequence number of a session.
        """
        for number, session in self.sessions.items():
            self.sessions[number] = session._replace(is_new=not has_session(number))
        for number, run in self.runs.items():
            self.runs[number] = run._replace(is_new=not has_run(number))
        left: list[tuple[bytes, int, bytearray]] = []
        for number, waiting in self.segments.items():
            rest = bytearray(locators_after(waiting, head(number), None))
            if rest:
                left.append((first_block_of(rest), number, rest))
        # The order by the first block that waits is what makes the front the oldest.
        self.segments = {number: rest for _, number, rest in sorted(left, key=itemgetter(0))}
        self._locators = sum(map(len, self.segments.values())) // LOCATOR_SIZE

    def oldest(self, limit: int) -> SettleBatch:
        """Choose what to settle next: at most ``limit`` records and segment lists."""
        waiting = merge(
            (((entry.block, 0, number) for number, entry in islice(self.sessions.items(), limit))),
            (((entry.block, 1, number) for number, entry in islice(self.runs.items(), limit))),
            (((first_block_of(found), 2, number) for number, found in islice(self.segments.items(), limit))),
        )
        batch = SettleBatch({}, {}, {}, tuple(self.loose))
        for _, kind, number in islice(waiting, limit):
            if kind == 0:
                batch.sessions[number] = self.sessions[number]
            elif kind == 1:
                batch.runs[number] = self.runs[number]
            else:
                batch.segments[number] = bytes(self.segments[number])
        return batch

    def drop(self, batch: SettleBatch) -> None:
        """Forget what was settled. Nothing may have changed since :meth:`oldest` chose it."""
        for number in batch.sessions:
            self.drop_session(number)
        for number in batch.runs:
            self.drop_run(number)
        del self.loose[: len(batch.loose)]
        for number in batch.segments:
            self._locators -= len(self.segments.pop(number)) // LOCATOR_SIZE

    def resume_key(self, default: bytes, without: SettleBatch | None = None) -> bytes:
        """Return the key of the oldest block that matters once a batch is settled.

        Args:
            default: the key to return when nothing waits.
            without: what is about to be settled.
        """
        gone = without or SettleBatch({}, {}, {})
        # A batch is the front of each of the three, so what is behind it is the oldest that stays.
        keys = [default]
        keys += [
            entry.block
            for entry in islice(self.sessions.values(), len(gone.sessions), len(gone.sessions) + 1)
        ]
        keys += [entry.block for entry in islice(self.runs.values(), len(gone.runs), len(gone.runs) + 1)]
        keys += [
            first_block_of(found)
            for found in islice(self.segments.values(), len(gone.segments), len(gone.segments) + 1)
        ]
        return min(keys)

    def forget_before(self, key: bytes) -> None:
        """Forget what lies in blocks before ``key``, because another process has settled it."""
        self.loose = [entry for entry in self.loose if entry[8:] >= key]
        for number in [number for number, entry in self.sessions.items() if entry.block < key]:
            self.drop_session(number)
        for number in [number for number, entry in self.runs.items() if entry.block < key]:
            self.drop_run(number)
        for number, waiting in list(self.segments.items()):
            while waiting and first_block_of(waiting) < key:
                del waiting[:LOCATOR_SIZE]
                self._locators -= 1
            if not waiting:
                del self.segments[number]


def _add(numbers_of: dict[_K, dict[int, None]], owner: _K, number: int) -> None:
    siblings = numbers_of.get(owner)
    if siblings is None:
        numbers_of[owner] = {number: None}
    else:
        siblings[number] = None


def _discard(numbers_of: dict[_K, dict[int, None]], owner: _K, number: int) -> None:
    siblings = numbers_of.get(owner)
    if siblings is not None:
        siblings.pop(number, None)
        if not siblings:
            del numbers_of[owner]


class Tail:
    """The last blocks of the log, up to a bound."""

    def __init__(self, max_bytes: int = _TAIL_BYTES, max_blocks: int = _TAIL_BLOCKS) -> None:
        self._max_bytes = max_bytes
        self._max_blocks = max_blocks
        self._bytes = 0
        self._keys: list[bytes] = []
        self._blocks: dict[bytes, bytes] = {}

    def push(self, key: bytes, block: bytes) -> None:
        """Add the newest block, and forget old ones beyond the bound."""
        self._keys.append(key)
        self._blocks[key] = block
        self._bytes += len(block)
        if self._bytes > self._max_bytes or len(self._keys) > self._max_blocks:
            self._trim()

    def _trim(self) -> None:
        # Half of the bound goes at once, so that the list is seldom shifted.
        drop = 0
        while drop < len(self._keys) and (
            self._bytes > self._max_bytes // 2 or len(self._keys) - drop > self._max_blocks // 2
        ):
            self._bytes -= len(self._blocks.pop(self._keys[drop]))
            drop += 1
        del self._keys[:drop]

    def get(self, key: bytes) -> bytes | None:
        """Return a block if it is still here."""
        return self._blocks.get(key)

    def following(self, position: int, limit: int) -> list[tuple[bytes, bytes]] | None:
        """Return up to ``limit`` blocks from the one that holds ``position`` on; None if it is no longer here."""
        place = bisect_left(self._keys, pair_key(position + 1, 0)) - 1
        if place < 0:
            return None
        return [(found, self._blocks[found]) for found in self._keys[place : place + limit]]
