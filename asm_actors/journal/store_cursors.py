"""The part of the store's port that keeps named cursors; see `asm_actors.journal.store`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from asm_actors.journal.cursors import NamedCursor

__all__ = ["CursorStore"]


@runtime_checkable
class CursorStore(Protocol):
    """Keeps named cursors beside the events, in transactions of their own.

    The committing thread saves, any thread reads. Erasing sessions leaves cursors as they are.
    """

    def save_cursors(self, cursors: Mapping[str, NamedCursor | None]) -> None:
        """Write cursors by their names in one transaction; None forgets the name.

        Raises:
            ValidationError: One of them cannot be stored; nothing was written.
            StorageError: ``storage_write_failed``: nothing was written.
        """
        ...

    def cursor(self, name: str) -> NamedCursor | None:
        """Return the cursor of that name, or None."""
        ...

    def cursors(self) -> list[NamedCursor]:
        """Return all cursors in the order of their names."""
        ...
