"""Timers deliver a message to an actor: time passes as messages, so that a manual clock can drive all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisors.life import Life

__all__ = ["Timer"]


class Timer:
    """One pending message; `cancel()` is idempotent and also harmless after it fired."""

    __slots__ = ("_handle", "_life", "_message")

    def __init__(self, life: Life, message: Any) -> None:
        self._life: Life | None = life
        self._message = message
        self._handle: Any = None

    @property
    def is_pending(self) -> bool:
        """Whether the message has neither been sent nor cancelled."""
        return self._life is not None

    def fire(self) -> None:
        """Send the message now (called by the dispatcher when the time has come)."""
        life = self._life
        if life is not None:
            message = self._message
            self._forget(life)
            life.put_notice(message)

    def cancel(self) -> None:
        """Never send the message, unless it has been sent already."""
        life = self._life
        if life is not None:
            self._forget(life)
            if self._handle is not None:
                self._handle.cancel()

    def _forget(self, life: Life) -> None:
        self._life = None
        self._message = None
        if life.timers is not None:
            life.timers.discard(self)
