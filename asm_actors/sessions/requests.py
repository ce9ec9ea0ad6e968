"""What the supervisor of the sessions accepts, beside what every dynamic supervisor does; and what a drain reports."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from asm_actors.journal.store import Store

__all__ = ["Claim", "Deliver", "DeliverToRun", "Drain", "DrainReport", "Reserve", "Reserved"]


class Deliver(NamedTuple):
    """Hand a message to a session, starting its actor if need be. Answer to an ask: the session's."""

    session_id: str
    """Which session."""
    message: Any
    """The message."""
    is_new: bool = False
    """Whether the session is made by this message."""
    is_counted: bool = False
    """Whether it is counted as on the way, so that what its sender sends later does not overtake it."""


class DeliverToRun(NamedTuple):
    """As `Deliver`, to the session of a run."""

    run_id: str
    """Which run."""
    message: Any
    """The message."""


class Claim(NamedTuple):
    """Ask: make something under an id or key that the caller chose, unless it is there. Answer: what there is then."""

    keys: tuple[Hashable, ...]
    """What is claimed meanwhile."""
    find: Callable[[Store], Any]
    """Returns what is there already, or None, or what makes it if that hangs on what is stored; raises an `AsmError`
    if it cannot be made. Runs in the blocking pool."""
    deliver: Deliver | None = None
    """Makes it, if `find` does not say how."""


class Reserve(NamedTuple):
    """Ask: have work done on sessions that do not live; none of them begins to live meanwhile. Answer: `Reserved`."""

    session_ids: tuple[str, ...]
    """Which ones."""
    work: Callable[[tuple[str, ...]], Any]
    """Gets those that do not live now. Blocks; runs on the journal's committing thread."""


class Reserved(NamedTuple):
    """What became of a `Reserve`."""

    result: Any
    """What the work returned."""
    live: tuple[str, ...]
    """The sessions that live, and were left alone. Those of them that have nothing to do leave now."""


class Drain(NamedTuple):
    """Ask: admit nothing new; answer (`DrainReport`) when nothing is under way, or when the time is over."""

    timeout: float | None
    """Seconds; None waits for ever."""
    cancel: bool = False
    """Cancel what is under way."""


class DrainReport(NamedTuple):
    """How a drain went."""

    orphans: tuple[str, ...]
    """Ids of runs that were to be executed and were not over when the time was."""
    waited_s: float
    """Seconds it took."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was left."""
        return not self.orphans
