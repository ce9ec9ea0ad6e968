"""What the journal's actor accepts, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from asm_actors.effects import Then
    from asm_actors.errors import AsmError
    from asm_actors.journal.append import Append

__all__ = [
    "Await",
    "Commit",
    "Committed",
    "Flush",
    "Follow",
    "HasRoom",
    "Maintain",
    "Maintained",
    "Wake",
    "WriteFailed",
]


class Commit(NamedTuple):
    """From a session: make this durable, then do what follows."""

    writer: Any
    """Ref that gets the notes in `then`, and `WriteFailed`."""
    append: Append
    """Events and records; without both it is a barrier behind this writer's earlier ones."""
    then: Sequence[Then]
    """What follows when it is durable."""


class Committed(NamedTuple):
    """From the committing thread: how the batch that is under way went."""

    answers: Sequence[Any]
    """Per append what the store answered; empty if the whole group failed."""
    error: AsmError | None
    """Why the whole group failed."""


class WriteFailed(NamedTuple):
    """To a writer: an append did not become durable and will not."""

    error: AsmError
    """Why."""


class Flush(NamedTuple):
    """Ask: answer (None) when all that was told before is durable."""


class Maintain(NamedTuple):
    """Ask: run this on the committing thread, between two commits. Answer: what it returns, or raises."""

    work: Callable[[], Any]
    """Blocks; may write to the store. Commits wait meanwhile, so it should be short."""


class Maintained(NamedTuple):
    """From the committing thread: how such a work went."""

    reply: Any
    """The token of its asker."""
    result: Any
    """What it returned."""
    error: BaseException | None
    """What it raised."""
    position: int | None
    """The journal's last position now; None if it cannot be told."""


class HasRoom(NamedTuple):
    """To a run that was held back: the line of the journal is short again; go on."""


class Follow(NamedTuple):
    """From a subscription: as long as I live, keep recent events in the shared tail; I may read them."""

    subscriber: Any
    """Its ref."""
    session_id: str | None = None
    """The session that it follows; None: several."""


class Await(NamedTuple):
    """From a subscription that is at the end: one `Wake` when there is more."""

    subscriber: Any
    """Ref to wake."""
    session_id: str | None
    """The session it follows, or None for the whole journal."""
    position: int
    """How far the journal was when the subscription last looked."""


class Wake(NamedTuple):
    """To a subscription, once per `Await`: there may be more. A hint; read to know."""

    position: int
    """The journal's last committed position."""
