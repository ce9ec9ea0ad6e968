"""What kinds of events lie where in the log, so that a search over the whole journal passes over what cannot match.

::

    zones table  position -> summary of all · summary of each zone, up to 32

A zone is some hundred events that follow each other, whole segments; its summary tells their times, their types, and
as hashed bits their providers and correlation ids. Bits can only say that something is not there. Zones follow the
settling, not the commits, so that a commit pays nothing for them; what has no zone yet may hold anything.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zlib import crc32

from asm_actors.errors import AsmError
from asm_actors.journal.codec import Buffer, peek_segments, type_mask, unreadable
from asm_actors.journal.lmdb_block import FIRST_BODY, unpack_directory
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_layout import (
    LOG,
    META,
    ZONED_KEY,
    ZONES,
    number_key,
    number_of,
    pair_key,
    pair_of,
)
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.query import EventFilter
from asm_actors.journal.usage import INT64_MAX, INT64_MIN

__all__ = [
    "Wish",
    "Zone",
    "extend_zones",
    "zone_chunks",
    "zoned_position",
    "zoned_until",
    "zones_in",
]

ZONE_EVENTS: Final = 256
"""A zone is full with so many events: as many as one reads in a millisecond."""

_ZONES_PER_CHUNK: Final = 32
_ZONE: Final = struct.Struct(">QqqQQ64s")
_PLACE: Final = struct.Struct(">16sQ")
_ALL: Final = (1 << 64) - 1
_ALL_CORRELATIONS: Final = (1 << 512) - 1


class Zone(NamedTuple):
    """What a stretch of the log holds."""

    first_position: int
    least_us: int
    most_us: int
    types: int
    """Bits of event types, see ``codec.type_mask``."""
    providers: int
    """64 bits: the hashes of the providers' names."""
    correlations: int
    """512 bits: two hashes of each correlation id."""

    def pack(self) -> bytes:
        """Encode it."""
        return _ZONE.pack(*self[:5], self.correlations.to_bytes(64, "big"))

    def joined(self, other: Zone) -> Zone:
        """Return the summary of this stretch and of a later one together."""
        return Zone(
            self.first_position,
            min(self.least_us, other.least_us),
            max(self.most_us, other.most_us),
            self.types | other.types,
            self.providers | other.providers,
            self.correlations | other.correlations,
        )


def _zone(values: tuple[Any, ...]) -> Zone:
    position, least, most, types, providers, correlations = values
    return Zone(position, least, most, types, providers, int.from_bytes(correlations, "big"))


def first_zone(value: Buffer, key: object) -> Zone:
    """Return the summary of a stored chunk of zones.

    Raises:
        StorageError: ``storage_read_failed``.
    """
    if len(value) < 2 * _ZONE.size or len(value) % _ZONE.size:
        raise unreadable(ZONES, key, "it has another length")
    return _zone(_ZONE.unpack_from(value))


def zones_in(value: Buffer) -> list[Zone]:
    """Return the zones of a stored chunk, in order."""
    return list(map(_zone, _ZONE.iter_unpack(value[_ZONE.size :])))


@lru_cache(1024)
def _provider_bit(name: str) -> int:
    return 1 << (crc32(name.encode()) & 63)


@lru_cache(4096)
def _correlation_bits(name: str) -> int:
    hashed = crc32(name.encode())
    return 1 << (hashed & 511) | 1 << (hashed >> 9 & 511)


class Wish:
    """What a zone must hold so that it may hold a wanted event.

    Args:
        wanted: which events; its bounds are not looked at.
    """

    def __init__(self, wanted: EventFilter) -> None:
        self._least = INT64_MIN if wanted.since is None else wanted.since
        self._most = INT64_MAX if wanted.until is None else wanted.until
        self._types = _ALL if wanted.types is None else type_mask(wanted.types)
        self._providers = _ALL
        if wanted.providers is not None:
            self._providers = 0
            for name in wanted.providers:
                self._providers |= _provider_bit(name)
        self._providers_matter = wanted.providers is not None
        self._correlation = 0 if wanted.correlation_id is None else _correlation_bits(wanted.correlation_id)

    def may_be_in(self, zone: Zone) -> bool:
        """Tell whether a zone may hold such an event."""
        return (
            zone.most_us >= self._least
            and zone.least_us <= self._most
            and zone.types & self._types != 0
            and (not self._providers_matter or zone.providers & self._providers != 0)
            and zone.correlations & self._correlation == self._correlation
        )


def _zoned(stored: Buffer | None) -> tuple[bytes, int]:
    """Return the key of the first block that has no zones yet, and its position, from what ``meta`` says."""
    if stored is None:
        return pair_key(0, 0), 1
    key, position = _PLACE.unpack(stored)
    return key, position


def zoned_until(tables: Tables) -> bytes:
    """Return the key of the first block that has no zones yet."""
    return _zoned(tables.get(META, ZONED_KEY))[0]


def zoned_position(tables: Tables) -> int:
    """Return the first position that has no zone yet."""
    return _zoned(tables.get(META, ZONED_KEY))[1]


def zone_chunks(tables: Tables, position: int, limit: int) -> list[tuple[Zone, Buffer, int]]:
    """Return stored chunks of zones from the one that holds a position on, at most ``limit``.

    Each comes as its summary, its value, and the first position after it.

    Raises:
        StorageError: ``storage_read_failed``.
    """
    cursor = tables.cursor(ZONES)
    found: list[tuple[Zone, Buffer, int]] = []
    end = zoned_position(tables)
    if cursor.set_range(number_key(position + 1)):
        if not cursor.prev():
            cursor.first()
    elif not cursor.last():
        return found
    more = True
    while more and len(found) < limit:
        whole, value = first_zone(cursor.value(), cursor.key()), cursor.value()
        more = cursor.next()
        after = number_of(cursor.key()) if more else end
        if after > position:
            found.append((whole, value, after))
    return found


def extend_zones(txn: Transaction, tables: Mapping[str, Any], until: bytes, budget: int) -> bool:
    """Summarise more of the log.

    Args:
        txn: a write transaction.
        tables: the handles of the tables.
        until: the key of the first block to leave out.
        budget: stop after so many segments, about.

    Returns:
        Whether everything before ``until`` has its zones now.
    """
    begin, position = _zoned(txn.get(ZONED_KEY, db=tables[META]))
    if begin >= until:
        return True
    writer = _Writer(txn, tables[ZONES], position)
    cursor = txn.cursor(tables[LOG])
    found = cursor.set_range(begin)
    while found and budget > 0:
        key = bytes(cursor.key())
        if key >= until:
            break
        budget -= writer.add(key, cursor.value())
        begin = key + b"\0"
        found = cursor.next()
    is_done = not found or bytes(cursor.key()) >= until
    following = until if is_done else bytes(cursor.key())
    writer.close()
    txn.put(ZONED_KEY, _PLACE.pack(following, writer.position), db=tables[META])
    return is_done


class _Writer:
    """Appends zones to the table; the last zone and the last chunk go on until they are full."""

    def __init__(self, txn: Transaction, table: Any, position: int) -> None:
        self._txn = txn
        self._table = table
        self.position = position
        self._zones: list[Zone] = []
        self._open: Zone | None = None
        # What the open zone got since, by name: hashing them once per zone is a third of the work.
        self._types = 0
        self._least, self._most = INT64_MAX, INT64_MIN
        self._providers: set[str | None] = set()
        self._correlations: set[str | None] = set()
        cursor = txn.cursor(table)
        if cursor.last():
            self._zones = zones_in(bytes(cursor.value()))
            self._open = self._zones.pop()

    def add(self, key: bytes, block: Buffer) -> int:
        """Take in one block, and return how many segments it has, about."""
        try:
            directory = unpack_directory(block, LOG, key)
        except AsmError:
            # What cannot be read may be anything; whoever looks for it there is told.
            self._take_anything(pair_of(key)[0])
            return 1
        blobs, offset, position = [], FIRST_BODY, directory.first_position
        counts, lengths = directory.segments[2::4], directory.segments[3::4]
        for length in lengths:
            blobs.append(block[offset : offset + length])
            offset += length
        peeked = peek_segments(blobs, LOG, key)
        for count in counts:
            try:
                types, least, most, providers, correlations = next(peeked)
            except (AsmError, StopIteration):
                self._take_anything(position)
            else:
                self._begin(position)
                self._types |= types
                self._least = min(self._least, least)
                self._most = max(self._most, most)
                _gather(self._providers, providers)
                _gather(self._correlations, correlations)
            position += count
        self.position = position
        return len(counts) + 1

    def _begin(self, position: int) -> None:
        """See to it that there is a zone for what begins at a position."""
        zone = self._open
        if zone is not None and position - zone.first_position < ZONE_EVENTS:
            return
        self._finish_zone()
        if len(self._zones) >= _ZONES_PER_CHUNK:
            self._write()
            self._zones.clear()
        self._open = Zone(position, INT64_MAX, INT64_MIN, 0, 0, 0)

    def _take_anything(self, position: int) -> None:
        self._begin(position)
        assert self._open is not None
        self._open = self._open.joined(_anything(position))

    def _finish_zone(self) -> None:
        if self._open is None:
            return
        providers = correlations = 0
        for name in self._providers:
            providers |= 0 if name is None else _provider_bit(name)
        for name in self._correlations:
            correlations |= 0 if name is None else _correlation_bits(name)
        more = Zone(self.position, self._least, self._most, self._types, providers, correlations)
        self._zones.append(self._open.joined(more))
        self._open = None
        self._types, self._least, self._most = 0, INT64_MAX, INT64_MIN
        self._providers.clear()
        self._correlations.clear()

    def close(self) -> None:
        """Write what is gathered."""
        self._finish_zone()
        if self._zones:
            self._write()

    def _write(self) -> None:
        whole = self._zones[0]
        for zone in self._zones[1:]:
            whole = whole.joined(zone)
        value = b"".join([whole.pack(), *(zone.pack() for zone in self._zones)])
        self._txn.put(number_key(whole.first_position), value, db=self._table)


def _gather(names: set[str | None], column: Any) -> None:
    if isinstance(column, list):
        names.update(column)
    else:
        names.add(column)


def _anything(position: int) -> Zone:
    return Zone(position, INT64_MIN, INT64_MAX, _ALL, _ALL, _ALL_CORRELATIONS)
