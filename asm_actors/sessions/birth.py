"""How the life of a session's actor begins."""

from __future__ import annotations

from typing import Any

from asm_actors.errors import AsmError

__all__ = ["Birth"]


class Birth:
    """What one life of a session's actor knows of the lives before it; a restarted actor gets the same one.

    Args:
        is_first: Whether the session is made by the first message.
        cause: What ended the life before.
    """

    __slots__ = ("_is_first", "cause", "open")

    def __init__(self, *, is_first: bool, cause: AsmError | None = None) -> None:
        self._is_first = is_first
        self.cause = cause
        # The open runs of the life before: its crash may have kept it from striking them off the directory.
        self.open: dict[str, Any] = {}

    @property
    def is_first(self) -> bool:
        """Whether the session is still to be made."""
        return self._is_first

    def take(self) -> bool:
        """Return whether it is the first, and never again."""
        first, self._is_first = self._is_first, False
        return first
