"""What must not be erased, because forks share it. The same for all stores; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.sessions.session import Session

__all__ = ["forks_first", "refuse_shared", "refuse_shared_events"]

ForksOf = Callable[[str], Iterable[str]]
"""Gives the ids of the sessions that were forked from one directly."""


def forks_first(ids: Iterable[str], forks_of: ForksOf) -> dict[str, None]:
    """Order sessions so that each comes after those of them that share its history.

    Whoever erases them one after the other, and is interrupted, then never leaves a fork without its beginning.
    """
    wanted = dict.fromkeys(ids)
    ordered: dict[str, None] = {}
    for name in wanted:
        waiting = [name]
        while waiting:
            current = waiting[-1]
            ahead = [fork for fork in forks_of(current) if fork in wanted and fork not in ordered]
            if ahead:
                waiting += ahead
            else:
                ordered[waiting.pop()] = None
    return ordered


def refuse_shared(wanted: Collection[str], forks_of: ForksOf) -> None:
    """Refuse to erase sessions whose history others share.

    Raises:
        StateError: ``invalid_operation``, naming these others.
    """
    shared = {name: [fork for fork in forks_of(name) if fork not in wanted] for name in wanted}
    forks = sorted({fork for found in shared.values() for fork in found})
    if forks:
        first = next(name for name, found in shared.items() if found)
        raise _shared(first, forks, "erase them too, in the same call, or keep it")


def refuse_shared_events(
    session_id: str, sequences: Iterable[int], forks_of: ForksOf, session_of: Callable[[str], Session]
) -> None:
    """Refuse to erase events that forks of their session share.

    Raises:
        StateError: ``invalid_operation``, naming these forks.
    """
    forks = list(forks_of(session_id))
    least = min(sequences, default=None) if forks else None
    if least is None:
        return
    sharing = [fork for fork in forks if (session_of(fork).forked_at or 0) >= least]
    if sharing:
        raise _shared(session_id, sharing, "only events that came after the forks can be erased")


def _shared(session_id: str, forks: list[str], advice: str) -> AsmError:
    shown = ", ".join(forks[:10]) + (f" and {len(forks) - 10} more" if len(forks) > 10 else "")
    return AsmError(
        ErrorCode.INVALID_OPERATION,
        f"the history of {session_id} is shared by {shown}: {advice}",
        details={"forks": forks},
        context={"session_id": session_id},
    )
