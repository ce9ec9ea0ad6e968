"""The book of named cursors: who stands where, who has a name open, what is not on the disk yet. Pure.

Rules:

1. A name has one scope from its making on, and at most one consumer at a time. A second one takes over, or is refused
   if it asked for that.
2. A cursor goes on by acknowledgements of the consumer that has the name, and never back. Whoever lost the name
   acknowledges nothing any more.
3. A consumer that is gone without a word (it was not closed) holds nothing.
4. What changed is handed out as one batch, in which a name stands once however often its cursor moved; what could not
   be written is put back behind what changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.cursors import NamedCursor

__all__ = ["Acknowledge", "Claim", "CursorBook", "Forget", "Holder", "ListCursors", "Release"]


class Holder:
    """A consumer, as the book knows it.

    Attributes:
        name: The subscription's name.
        scope: What it follows, as a JSON map.
        lost: Why the name is not its own any more; None while it is.
        ref: The actor that reads for it now, ended when the name is lost.
    """

    __slots__ = ("__weakref__", "lost", "name", "ref", "scope")

    def __init__(self, name: str, scope: dict[str, Any]) -> None:
        self.name = name
        self.scope = scope
        self.lost: str | None = None
        self.ref: Any = None

    def lose(self, why: str) -> None:
        """Take the name away, once."""
        if self.lost is None:
            self.lost = why
        if self.ref is not None:
            self.ref.shutdown()


class Claim(NamedTuple):
    """Ask: open a name, making it if it is new. Answer, when it is durable: its `NamedCursor`."""

    holder: Holder
    """Who."""
    start: int
    """Where a new one begins: everything up to here counts as acknowledged."""
    takeover: bool
    """Whether a consumer that has the name open loses it; else this claim is refused."""
    acknowledged: int | None
    """None at the first claim; afterwards (a part of the system was restarted) what was acknowledged so far."""


class Acknowledge(NamedTuple):
    """Tell or ask: everything up to a place is done with. Answer, when that is durable: None."""

    holder: Holder
    """Who."""
    cursor: int
    """The place."""


class Release(NamedTuple):
    """Tell: a consumer is closed."""

    holder: Holder
    """Who."""


class Forget(NamedTuple):
    """Ask: remove a name. Answer, when that is durable: whether it was there."""

    name: str
    """Which."""


class ListCursors(NamedTuple):
    """Ask: a list of pairs, each a `NamedCursor` and whether it is open, in the order of their names."""


class CursorBook:
    """See the module.

    Args:
        cursors: What the store has.
    """

    def __init__(self, cursors: Iterable[NamedCursor]) -> None:
        self._cursors = {cursor.name: cursor for cursor in cursors}
        # Weak: who was left behind without being closed is gone here too.
        self._holders: WeakValueDictionary[str, Holder] = WeakValueDictionary()
        self._dirty: dict[str, NamedCursor | None] = {}

    @property
    def is_dirty(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._dirty)

    def entries(self) -> list[tuple[NamedCursor, bool]]:
        """All cursors, as acknowledged, and whether they are open; by name."""
        return [(self._cursors[name], name in self._holders) for name in sorted(self._cursors)]

    def claim(self, claim: Claim, now: int) -> NamedCursor:
        """Give a name to a consumer.

        Raises:
            ConcurrencyError: ``invalid_operation``: the name follows something else, or is open and shall not be
                taken over.
            StateError: ``stream_closed``: it is claimed again by a consumer that lost it.
        """
        holder = claim.holder
        name, is_again = holder.name, claim.acknowledged is not None
        known, other = self._cursors.get(name), self._holders.get(name)
        if known is not None and known.scope != holder.scope:
            raise AsmError(
                ErrorCode.INVALID_OPERATION,
                f"the subscription {name!r} follows something else: {known.scope}. Choose another name, or remove "
                f"it with unsubscribe({name!r}), which forgets where it stands",
                details={"name": name, "scope": known.scope},
            )
        if is_again and (known is None or other not in (None, holder)):
            holder.lose("it was removed" if known is None else "another consumer has it")
        if holder.lost is not None:
            raise AsmError(ErrorCode.STREAM_CLOSED, f"the subscription {name!r} is closed: {holder.lost}")
        if other is not None and other is not holder:
            if not claim.takeover:
                raise AsmError(
                    ErrorCode.INVALID_OPERATION,
                    f"the subscription {name!r} is open already: close it first, or take it over (takeover=True)",
                    details={"name": name},
                )
            other.lose("another consumer took it over")
        self._holders[name] = holder
        if known is None:
            known = NamedCursor(name, holder.scope, claim.start, now, now)
            self._note(known)
        elif claim.acknowledged is not None and claim.acknowledged > known.cursor:
            known = known.moved(claim.acknowledged, now)
            self._note(known)
        return known

    def acknowledge(self, message: Acknowledge, now: int) -> None:
        """Move a cursor on, if it is its consumer who says so."""
        holder = message.holder
        known = self._cursors.get(holder.name)
        if holder.lost is not None:
            return
        current = self._holders.get(holder.name)
        if known is None or current not in (None, holder):
            holder.lose("it was removed" if known is None else "another consumer has it")
            return
        self._holders[holder.name] = holder
        if message.cursor > known.cursor:
            self._note(known.moved(message.cursor, now))

    def release(self, holder: Holder) -> None:
        """A consumer is closed."""
        if self._holders.get(holder.name) is holder:
            del self._holders[holder.name]

    def forget(self, name: str) -> bool:
        """Remove a name, and close its consumer; return whether it was there."""
        holder = self._holders.pop(name, None)
        if holder is not None:
            holder.lose("it was removed")
        if self._cursors.pop(name, None) is None:
            return False
        self._dirty[name] = None
        return True

    def _note(self, cursor: NamedCursor) -> None:
        self._cursors[cursor.name] = self._dirty[cursor.name] = cursor

    def take_dirty(self) -> dict[str, NamedCursor | None]:
        """Hand out what is to be written."""
        dirty, self._dirty = self._dirty, {}
        return dirty

    def put_back(self, batch: Mapping[str, NamedCursor | None]) -> None:
        """Take back what could not be written."""
        self._dirty = {**batch, **self._dirty}
