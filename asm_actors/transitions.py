"""Status tables, and the one function that reads them.

1. A table maps each status to the set of those it may change to. The empty set means: this is the end.
2. A change that the table lacks raises, and nothing has changed.
3. Asking for the status one is already in is no change, and no error.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from asm_actors.errors import AsmError, ErrorCode

__all__ = ["advance", "state_diagram", "terminal_statuses"]

_S = TypeVar("_S", bound=StrEnum)


def advance(
    table: Mapping[_S, frozenset[_S]], current: _S, target: _S, subject: str = "status", name: str = ""
) -> _S:
    """Return ``target`` if the table allows the change, or if it is the current status.

    Args:
        table: what each status may change to.
        current: the status now.
        target: the status that is asked for.
        subject: what has the status, for the message: ``session`` or ``run``.
        name: the id of that thing, for the message.

    Raises:
        StateError: ``invalid_transition``; the message and details name both statuses and those allowed.
    """
    allowed = table[current]
    if target in allowed or target == current:
        return target
    # Allowed statuses are named in the table's order, since a set has none.
    names = [str(status) for status in table if status in allowed]
    hint = f"it may become {', '.join(names)}" if names else f"{current} is final"
    raise AsmError(
        ErrorCode.INVALID_TRANSITION,
        f"{subject}{' ' if name else ''}{name} cannot go from {current} to {target}: {hint}",
        details={"from": str(current), "to": str(target), "allowed": names},
        context={f"{subject}_id": name} if name else None,
    )


def terminal_statuses(table: Mapping[_S, frozenset[_S]]) -> frozenset[_S]:
    """Return the statuses that nothing follows."""
    return frozenset(status for status, allowed in table.items() if not allowed)


def state_diagram(table: Mapping[_S, frozenset[_S]]) -> str:
    """Print a table: one line per status, in the table's order, final ones marked.

    ::

        pending   ─> active | failed | cancelled
        completed ─> (final)
    """
    width = max(len(status) for status in table)
    lines = []
    for status, allowed in table.items():
        names = " | ".join(str(other) for other in table if other in allowed)
        lines.append(f"{status:<{width}} ─> {names or '(final)'}")
    return "\n".join(lines)
