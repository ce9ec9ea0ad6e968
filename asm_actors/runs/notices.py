"""What a run's core hears from its own shell and from the slot pool. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from asm_actors.errors import AsmError

__all__ = [
    "InLine",
    "ProviderBack",
    "ProviderGone",
    "SlotTaken",
    "StopOverdue",
    "ToolEnded",
    "ToolsStopped",
]


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


class ToolEnded(NamedTuple):
    """From the shell: a call of a tool is over."""

    call_id: str
    """Which call."""
    output: Any
    """What the tool returned."""
    error: AsmError | None = None
    """How it failed, if it did."""


class ToolsStopped(NamedTuple):
    """From the shell: the calls that were under way are cancelled."""

    left: list[str]
    """Ids of those that could not be stopped: their threads go on."""
