"""A commit whose acknowledgement was lost may have been taken although it failed: that is asked before the next try.

A group is taken as a whole or not at all, and each event has an id that its writer gave it: so the first event of an
append tells whether the append is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from asm_actors.errors import AsmError
from asm_actors.ids import event_id
from asm_actors.journal.append import Append, Appended
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store

__all__ = ["commit_again"]


def commit_again(store: Store, appends: Sequence[Append], *, sync: bool) -> list[Appended | AsmError]:
    """Commit a group that may have been taken before, without writing anything twice.

    Args:
        store: Where to.
        appends: The group, or the first ones of it.
        sync: As for `Store.commit`.

    Returns:
        One answer per append, as `Store.commit` gives it.

    Raises:
        StorageError: As `Store.commit`, or the store could not be asked.
    """
    places = [_place_of(store, append) for append in appends]
    if not any(places):
        return store.commit(appends, sync=sync)
    # Of a group that was taken, what is not there was refused, and is again; records without events went with it.
    left = [
        append for append, place in zip(appends, places, strict=True) if place is None and len(append.drafts)
    ]
    again = iter(store.commit(left, sync=sync) if left else ())
    if sync:
        store.sync()
    return [
        place or (next(again) if len(append.drafts) else Appended(append.expect or 0, 0, 0))
        for append, place in zip(appends, places, strict=True)
    ]


def _place_of(store: Store, append: Append) -> Appended | None:
    """Where an append stands; None if it is not there, or has no events."""
    count, expect = len(append.drafts), append.expect
    if not count or expect is None or not store.has_session(append.session_id):
        return None
    found = store.read_session(append.session_id, EventFilter(after=expect, limit=1))
    if not found or found[0].id != event_id(append.base_id, 0) or found[0].sequence_number != expect + 1:
        return None
    return Appended(expect + 1, found[0].position or 0, count)
