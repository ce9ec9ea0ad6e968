"""A commit whose acknowledgement was lost may have been taken although it failed: that is asked before the next try.

A group is taken as a whole or not at all, but the next try may be half of it, or a part of it and something new. So it
is asked for each append by itself. One with events is there if its first event is, for its writer gave that its id.
One with records only went in if its session stands behind it, since what its writer told later is not taken before it;
else it is committed again, and the same records stand there as before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from asm_actors.errors import AsmError
from asm_actors.ids import event_id
from asm_actors.journal.append import Append, Appended
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store

__all__ = ["commit_again"]


def commit_again(
    store: Store, appends: Sequence[Append], doubtful: Collection[int], *, sync: bool
) -> list[Appended | AsmError]:
    """Commit a group of which some may have been taken before, without writing any event twice.

    Args:
        store: Where to.
        appends: The group.
        doubtful: Places in it of those that may have been taken before.
        sync: As for `Store.commit`.

    Returns:
        One answer per append, as `Store.commit` gives it.

    Raises:
        StorageError: As `Store.commit`, or the store could not be asked.
    """
    found: dict[int, Appended] = {}
    left: list[Append] = []
    for number, append in enumerate(appends):
        place = _place_of(store, append) if number in doubtful else None
        if isinstance(place, Appended):
            found[number] = place
        else:
            left.append(append if place is None else place)
    again = iter(store.commit(left, sync=sync) if left else ())
    if sync and found:
        store.sync()
    return [found[number] if number in found else next(again) for number in range(len(appends))]


def _place_of(store: Store, append: Append) -> Appended | Append | None:
    """Where an append stands that may have been taken; what to commit instead of it; None: commit it as it is."""
    count, expect = len(append.drafts), append.expect
    if expect is None or not store.has_session(append.session_id):
        return None
    if not count:
        if store.head(append.session_id) <= expect:
            return None
        # It went in, or was refused, with what its writer told later. If it was refused it is again, for that reason.
        return Appended(expect, 0, 0) if _has_runs(store, append) else append._replace(expect=None)
    found = store.read_session(append.session_id, EventFilter(after=expect, limit=1))
    if not found or found[0].id != event_id(append.base_id, 0) or found[0].sequence_number != expect + 1:
        return None
    return Appended(expect + 1, found[0].position or 0, count)


def _has_runs(store: Store, append: Append) -> bool:
    return all(
        store.has_run(run.id) and store.run(run.id).session_id == append.session_id for run in append.runs
    )
