"""Which ids may be in the journal: a filter that says no for certain, and yes for perhaps.

Each new session and run must be known to be new. Looking that up means a call into LMDB for each, and under load
that is dearer than all the rest of a commit, because the call gives up the interpreter's lock. A Bloom filter in
memory answers nearly all of these questions with no.

It grows by layers, each twice as large as the one before up to a bound, so that even ten million ids are a handful
of layers. Layers are saved now and then with the numbers that sessions and runs had come to; opening loads them and
adds the ids that came after. A layer that cannot be read makes the filter say yes to everything, which is slower and
still right.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final
from zlib import crc32

__all__ = ["KnownIds"]

_FIRST: Final = 1 << 16
_LARGEST: Final = 1 << 22
# Sixteen bits for each id and four probes: one new id in four hundred is looked up for nothing, per full layer.
_BYTES_PER_ID: Final = 2

# Ids in the layer, the next numbers of sessions and runs when it was saved, and the checksum of the bits.
_SAVED: Final = struct.Struct(">QQQI")
_PROBES: Final = struct.Struct("<4I")

SAVE_AFTER: Final = 1 << 16
"""After how many new ids the filter should be saved."""


class _Layer:
    __slots__ = ("bits", "capacity", "mask", "n_ids")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.bits = bytearray(capacity * _BYTES_PER_ID)
        self.mask = len(self.bits) * 8 - 1
        self.n_ids = 0


class KnownIds:
    """The ids of all sessions and runs, nearly.

    Attributes:
        n_unsaved: ids that were added since :meth:`save`.
        next_session: the first session number that a load did not cover.
        next_run: the first run number that a load did not cover.
    """

    def __init__(self) -> None:
        self._layers: list[_Layer] = []
        self._is_complete = True
        self._n_saved_layers = 0
        self.n_unsaved = 0
        self.next_session = 1
        self.next_run = 1

    def add(self, name: str) -> None:
        """Add the id of a session or a run."""
        layers = self._layers
        if not layers or layers[-1].n_ids >= layers[-1].capacity:
            layers.append(_Layer(min(_FIRST << len(layers), _LARGEST)))
        layer = layers[-1]
        layer.n_ids += 1
        self.n_unsaved += 1
        bits, mask = layer.bits, layer.mask
        for probe in _probes(name):
            bit = probe & mask
            bits[bit >> 3] |= 1 << (bit & 7)

    def may_hold(self, name: str) -> bool:
        """Tell whether this id may have been added; False is certain."""
        if not self._is_complete:
            return True
        first, second, third, fourth = _probes(name)
        for layer in self._layers:
            bits, mask = layer.bits, layer.mask
            bit = first & mask
            if not bits[bit >> 3] >> (bit & 7) & 1:
                continue
            bit = second & mask
            if not bits[bit >> 3] >> (bit & 7) & 1:
                continue
            bit = third & mask
            if not bits[bit >> 3] >> (bit & 7) & 1:
                continue
            bit = fourth & mask
            if bits[bit >> 3] >> (bit & 7) & 1:
                return True
        return False

    def give_up(self) -> None:
        """Say yes to everything from now on, because some id could not be read."""
        self._is_complete = False

    def save(self, next_session: int, next_run: int) -> list[tuple[int, bytes]]:
        """Return the layers that must be stored, by their index: those that changed since the last time.

        Args:
            next_session: the number the next session will get.
            next_run: the number the next run will get.
        """
        begin = max(self._n_saved_layers - 1, 0)
        saved = [
            (index, _SAVED.pack(layer.n_ids, next_session, next_run, crc32(layer.bits)) + layer.bits)
            for index, layer in enumerate(self._layers[begin:], begin)
        ]
        self._n_saved_layers = len(self._layers)
        self.n_unsaved = 0
        return saved

    def load(self, index: int, value: bytes | memoryview) -> None:
        """Take over a stored layer; they come in the order of their index."""
        layer = _Layer(min(_FIRST << index, _LARGEST))
        bits = bytearray(value[_SAVED.size :])
        if len(value) < _SAVED.size or len(bits) != len(layer.bits):
            self.give_up()
            return
        layer.n_ids, self.next_session, self.next_run, checksum = _SAVED.unpack_from(value)
        if crc32(bits) != checksum:
            self.give_up()
            return
        layer.bits = bits
        self._layers.append(layer)
        self._n_saved_layers = len(self._layers)


def _probes(name: str) -> tuple[int, ...]:
    return _PROBES.unpack(blake2b(name.encode(), digest_size=16).digest())
