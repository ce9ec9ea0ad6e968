"""What a provider's actor accepts, and what it tells the run that asked.

Items flow by credit: the actor sends a batch, and the next one only after the run asked for it (`More`). What arrives
meanwhile waits in the call, which stops reading its stream when it holds enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from asm_actors.errors import AsmError
    from asm_actors.providers.base import TurnRequest
    from asm_actors.providers.items import Item

__all__ = [
    "CREDIT",
    "CancelTurn",
    "CloseTurn",
    "More",
    "StartTurn",
    "SteerTurn",
    "TurnItems",
    "TurnRetries",
    "TurnSteered",
    "TurnStopped",
]


class StartTurn(NamedTuple):
    """From a run: answer one turn."""

    run: Any
    """Ref of the run's actor; if it ends, the turn is cancelled."""
    request: TurnRequest
    """What to answer."""


CREDIT = 1
"""Batches that may be on their way to a run unasked. With one, batches grow by themselves when there is much to do;
with four, five thousand streams made half as many messages again."""


class More(NamedTuple):
    """From a run: send further batches."""

    run_id: str
    """Whose turn."""
    batches: int = 1
    """How many."""


class CancelTurn(NamedTuple):
    """From a run: close the stream; `TurnStopped` answers when it is closed."""

    run_id: str
    """Whose turn."""


class CloseTurn(NamedTuple):
    """From a run that was taken up again: see to it that no stream of an earlier life of it is open; `TurnStopped`."""

    run: Any
    """Ref of the run's actor, which is told when it is so."""
    run_id: str
    """Whose stream."""


class SteerTurn(NamedTuple):
    """From a run: hand more input to whatever answers its turn; `TurnSteered` tells whether it was taken."""

    run: Any
    """Ref of the run's actor, which is told."""
    run_id: str
    """Whose turn."""
    number: int
    """Which input of the run it is, from 1."""
    message: Mapping[str, Any]
    """The input: a message of the user, in the form of a request."""


class TurnSteered(NamedTuple):
    """To the run: its input was taken, or was not."""

    number: int
    """Which input."""
    error: AsmError | None = None
    """Why it was not taken."""


class TurnItems(NamedTuple):
    """To the run: the next items of its turn."""

    items: Sequence[Item]
    """In order; may be empty when only the end is told."""
    is_last: bool = False
    """Whether the turn is over."""
    error: AsmError | None = None
    """How it failed, if it did; only with `is_last`."""


class TurnRetries(NamedTuple):
    """To the run: an attempt failed, the next one follows."""

    error: AsmError
    """How it failed."""
    attempt: int
    """Which attempt failed, from 1."""
    delay_s: float
    """Seconds until the next one."""


class TurnStopped(NamedTuple):
    """To the run: the stream is closed after a `CancelTurn`; items that had arrived are here."""

    items: Sequence[Item]
    """What had arrived and was not sent yet."""
