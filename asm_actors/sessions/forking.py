"""From a session to its fork: the new record. It reads the store and changes nothing."""

from __future__ import annotations

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lineage import check_place
from asm_actors.journal.store import Store
from asm_actors.sessions.session import Session

__all__ = ["COPIED", "fork_of", "without_continuation"]

COPIED = ("agent_id", "provider", "context", "metadata", "tags")
"""Fields that a fork has from its parent, unless its maker says otherwise."""

_CONTINUATION = "provider_sessions"
_GRANTS = "grants"


def fork_of(store: Store, wanted: Session, at: int | None, given: frozenset[str]) -> Session:
    """Return the record of a fork.

    Args:
        store: where its parent is.
        wanted: what its maker asks for; ``parent_session_id`` names the parent.
        at: the last sequence number that is shared; None: that of the parent's last event.
        given: those of :data:`COPIED` that stay as ``wanted`` has them. The others are copied from the parent as it
            was at that number.

    Raises:
        ResourceError: ``session_not_found``.
        ConcurrencyError: ``invalid_operation``: the parent was deleted.
        ValidationError: ``at`` is no sequence number of the parent.
    """
    parent = store.session(wanted.parent_session_id or "")
    if parent.is_deleted:
        raise AsmError(
            ErrorCode.INVALID_OPERATION,
            f"session {parent.id} was deleted and cannot be forked",
            context={"session_id": parent.id, "status": parent.status.value},
        )
    at = parent.last_sequence if at is None else check_place(parent.id, at, parent.last_sequence)
    source = parent if at == parent.last_sequence else without_continuation(parent)
    copied = {name: getattr(source, name) for name in COPIED if name not in given}
    # What its runs may do holds for those of a fork too; what somebody granted was granted to that session.
    options = {name: value for name, value in parent.options.items() if name != _GRANTS} | wanted.options
    return wanted.replace(forked_at=at, last_sequence=at, options=options, **copied)


def without_continuation(session: Session) -> Session:
    """Return a session's record without what its providers' own conversations are called.

    A provider that keeps a conversation of its own is at the end of it; none of them was at an earlier event.
    """
    if _CONTINUATION not in session.metadata:
        return session
    metadata = {name: fact for name, fact in session.metadata.items() if name != _CONTINUATION}
    return session.replace(metadata=metadata)
