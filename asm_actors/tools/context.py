"""`ToolContext`: what a tool may know of the call that it answers. Pure.

A parameter with this annotation is filled in by the runtime; the model does not see it::

    @tool
    def charge(amount: int, context: ToolContext) -> str:
        return payments.charge(amount, idempotency_key=context.tool_call_id)
"""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["ToolContext"]


class _Flag:
    """Set once, on the event loop, and read by a tool on its thread: a write of one attribute needs no lock."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False


@frozen
class ToolContext:
    """The call that a tool answers.

    Attributes:
        session_id: The session.
        run_id: The run.
        tool_call_id: The provider's id of the call. It is the same when the call is made again after a crash, so it can
            be the key under which an effect happens only once.
        attempt: How many times the call was begun, from 1.
        agent_id: Whose session it is.
        workspace_path: Directory of the run's workspace; None without one.
    """

    session_id: str
    run_id: str
    tool_call_id: str
    attempt: int = 1
    agent_id: str | None = None
    workspace_path: str | None = None
    _flag: _Flag = field(factory=_Flag, repr=False, eq=False, init=False)

    def is_cancelled(self) -> bool:
        """Tell whether nobody waits for the call any more: it was cancelled, or is over its time.

        For plain functions, whose thread cannot be stopped; a coroutine is cancelled at its await.
        """
        return self._flag.is_set

    def cancel(self) -> None:
        """Say that nobody waits any more; for the runtime."""
        self._flag.is_set = True
