"""What a run's core hears from its own shell and from the slot pool. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from asm_actors.errors import AsmError
from asm_actors.runs.run import Run

__all__ = [
    "Finished",
    "InLine",
    "Prepared",
    "ProviderBack",
    "ProviderGone",
    "SlotTaken",
    "StopOverdue",
    "TimeIsUp",
    "ToolEnded",
    "ToolsStopped",
    "WorkOverdue",
]


class SlotTaken:
    """From the slot pool: the run may execute."""


class InLine:
    """From the slot pool: no slot is free, the run stands in line."""


class StopOverdue:
    """From the run's own timer: the stream is not closed yet."""


class TimeIsUp:
    """From the run's own timer: the time that its policy allows may be over."""


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


class Prepared(NamedTuple):
    """From the shell: what the run needs is ready, or cannot be made so."""

    messages: tuple[Mapping[str, Any], ...] = ()
    """Messages of the conversation before it, in the form of a request; they go before its own."""
    provider_session_id: str | None = None
    """The provider's own name of the conversation which is gone on with."""
    continuation: dict[str, Any] | None = None
    """How it goes on from the conversation before it; None if it does not."""
    workspace: dict[str, Any] | None = None
    """What is known of its files; None if it has none."""
    taken: dict[str, Any] | None = None
    """The snapshot that was taken now, as its event tells it."""
    error: AsmError | None = None
    """Why it cannot begin."""
    compaction: Run | None = None
    """A run that is to sum the conversation up before this one begins."""


class Finished(NamedTuple):
    """From the shell: what was left to be done after the run is done, as far as it can be."""

    workspace: dict[str, Any]
    """What is known of its files."""
    taken: dict[str, Any] | None = None
    """The snapshot that was taken now, as its event tells it."""
    diff: dict[str, Any] | None = None
    """What has changed, as its event tells it."""
    error: AsmError | None = None
    """What could not be done."""


class WorkOverdue:
    """From the run's own timer: what was left to be done after it takes too long."""
