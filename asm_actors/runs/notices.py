"""What a run's core hears from its own shell and from the slot pool. Pure."""

from __future__ import annotations

from asm_actors.errors import AsmError

__all__ = ["InLine", "ProviderBack", "ProviderGone", "SlotTaken", "StopOverdue"]


class SlotTaken:
    """From the slot pool: the run may execute."""


class InLine:
    """From the slot pool: no slot is free, the run stands in line."""


class StopOverdue:
    """From the run's own timer: the stream is not closed yet."""


class ProviderGone:
    """From the shell: the provider's actor died under this turn, or is not there.

    `for_good` when the tree has given it up.
    """

    __slots__ = ("error", "for_good")

    def __init__(self, error: AsmError, *, for_good: bool = False) -> None:
        self.error = error
        self.for_good = for_good


class ProviderBack:
    """From the shell: the provider's actor can be asked again."""
