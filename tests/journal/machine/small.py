"""Bounds of the store on disk made so small that what happens at them happens within a few steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from asm_actors.journal import lmdb_event_search, lmdb_zones


@contextmanager
def with_small_zones() -> Iterator[None]:
    """Have zones begin and end every few events."""
    with ExitStack() as patched:
        for module, name, value in (
            (lmdb_zones, "ZONE_EVENTS", 3),
            (lmdb_zones, "_ZONES_PER_CHUNK", 2),
            (lmdb_event_search, "_CHUNKS_AT_ONCE", 2),
            (lmdb_event_search, "_PAGE", 2),
        ):
            patched.enter_context(mock.patch.object(module, name, value))
        yield
