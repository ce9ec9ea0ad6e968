"""The tree of actors below a supervisor, as a value that prints itself.

The walk reads the live actor objects instead of asking them: it runs on the dispatcher's thread, where
nothing else does meanwhile, and asking a child supervisor would have to wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from attrs import frozen

from supervisors.exits import ExitReason, describe
from supervisors.plan import ChildStatus

if TYPE_CHECKING:
    from supervisors.ref import Ref

__all__ = ["TreeNode", "walk"]


@frozen
class TreeNode:
    """One actor and what is below it.

    Attributes:
        label: Its id with its supervisor, or its name, or its class.
        actor: Name of its class.
        status: Where it stands with its supervisor.
        restarts: How often it has been restarted.
        mailbox: Messages that wait, or None if it does not run.
        last_exit: How its last life ended, or None if this is its first.
        about: What a supervisor is, such as ``one_for_all, 0 of 3 restarts in 5 s``; empty for others.
        children: Those below, in start order.
        hidden: How many more children there are than `children` shows.
    """

    label: str
    actor: str
    status: ChildStatus = ChildStatus.RUNNING
    restarts: int = 0
    mailbox: int | None = 0
    last_exit: ExitReason | None = None
    about: str = ""
    children: tuple[TreeNode, ...] = ()
    hidden: int = 0

    def __str__(self) -> str:
        return "\n".join(self._lines("", ""))

    def find(self, label: str) -> TreeNode | None:
        """Find the first node with this label, this one first, then depth first."""
        if self.label == label:
            return self
        return next((found for child in self.children if (found := child.find(label)) is not None), None)

    def _lines(self, first: str, rest: str) -> Iterator[str]:
        yield first + self._line()
        last = len(self.children) + bool(self.hidden) - 1
        for index, child in enumerate(self.children):
            is_last = index == last
            yield from child._lines(
                rest + ("└─ " if is_last else "├─ "), rest + ("   " if is_last else "│  ")
            )
        if self.hidden:
            yield f"{rest}└─ … {self.hidden:,} more"

    def _line(self) -> str:
        parts = [self.status.value]
        if self.restarts:
            parts.append(f"{self.restarts} restart{'s' if self.restarts > 1 else ''}")
        if self.last_exit is not None:
            parts.append(f"last exit {describe(self.last_exit)}")
        if self.mailbox:
            parts.append(f"{self.mailbox} waiting")
        if self.about:
            parts.append(self.about)
        name = self.label if self.label == self.actor else f"{self.label} ({self.actor})"
        return f"{name}  {', '.join(parts)}"


def walk(ref: Ref[Any], limit: int, label: str | None = None, **known: Any) -> TreeNode:
    """Describe an actor and all below it. On the dispatcher's thread only.

    Args:
        ref: The actor.
        limit: Children to show of each actor that is no static supervisor.
        label: What its supervisor calls it; by default its name or class.
        known: Further fields of the node that only the supervisor knows.
    """
    life = getattr(ref, "life", None)
    actor = getattr(life, "actor", None)
    actor_name = ref.actor_class.__name__
    if label is None:
        names = life.dispatcher.names.names_of(ref) if life is not None else ()
        label = str(names[0]) if names else actor_name
    queue = getattr(life, "queue", ())
    node = TreeNode(label, actor_name, mailbox=len(queue), **known)
    describe_below = getattr(actor, "_describe_below", None)
    if describe_below is not None:
        about, children, hidden = describe_below(limit)
    else:
        about = ""
        children, hidden = walk_some(getattr(life, "children", None) or (), limit)
    return TreeNode(
        node.label,
        node.actor,
        node.status,
        node.restarts,
        node.mailbox,
        node.last_exit,
        about,
        children,
        hidden,
    )


def walk_some(refs: Any, limit: int) -> tuple[tuple[TreeNode, ...], int]:
    """Describe the first actors of a collection; also tell how many more there are."""
    return tuple(walk(ref, limit) for ref in islice(refs, limit)), max(0, len(refs) - limit)
