"""Who waits for more: the subscriptions that are at the end, by what they follow.

Pure. A commit wakes those that follow its sessions and those that follow everything, and costs nothing for the
others, however many they are.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Sleepers"]


class Sleepers:
    """Refs by the session they follow; None stands for the whole journal."""

    __slots__ = ("_refs", "_scopes")

    def __init__(self) -> None:
        self._scopes: dict[Any, str | None] = {}
        self._refs: dict[str | None, dict[Any, None]] = {}

    def __len__(self) -> int:
        return len(self._scopes)

    def add(self, ref: Any, session_id: str | None) -> None:
        """Have a ref wait; it waits once, for what it asked for last."""
        if ref in self._scopes:
            self.discard(ref)
        self._scopes[ref] = session_id
        self._refs.setdefault(session_id, {})[ref] = None

    def discard(self, ref: Any) -> None:
        """Forget a ref, if it waits."""
        if ref not in self._scopes:
            return
        session_id = self._scopes.pop(ref)
        of_scope = self._refs[session_id]
        del of_scope[ref]
        if not of_scope:
            del self._refs[session_id]

    def take(self, session_id: str | None) -> tuple[Any, ...]:
        """Forget those that wait for a session (None: for anything), and return them in the order of their coming."""
        of_scope = self._refs.pop(session_id, None)
        if of_scope is None:
            return ()
        for ref in of_scope:
            del self._scopes[ref]
        return tuple(of_scope)

    def take_all(self) -> tuple[Any, ...]:
        """Forget everybody, and return them."""
        refs = tuple(self._scopes)
        self._scopes.clear()
        self._refs.clear()
        return refs
