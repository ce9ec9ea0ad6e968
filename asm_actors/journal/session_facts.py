"""Which sessions a subscription wants that chooses them by agent or tags.

What it goes by stands in the record of a session and never changes, so each record is read once. What is remembered
has a bound; what was forgotten is read again.
"""

from __future__ import annotations

from collections.abc import Iterable

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.store import Store
from asm_actors.journal.subscription import Scope

__all__ = ["SessionFacts"]

MOST_KNOWN = 8_192
"""Sessions remembered: some hundred bytes each."""


class SessionFacts:
    """See the module.

    Args:
        scope: What is followed; it must choose sessions.
    """

    def __init__(self, scope: Scope) -> None:
        self._agents = scope.agents
        self._tags = scope.tags
        self._known: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._known)

    def unknown(self, events: Iterable[Event]) -> list[str]:
        """The sessions of some events whose records must be read first."""
        return [
            name for name in dict.fromkeys(event.session_id for event in events) if name not in self._known
        ]

    def read(self, store: Store, session_ids: Iterable[str]) -> dict[str, bool]:
        """Read records and tell which are wanted; blocks, and changes nothing here.

        A session that is gone is not wanted: so are its events.
        """
        return {session_id: self._is_wanted(store, session_id) for session_id in session_ids}

    def _is_wanted(self, store: Store, session_id: str) -> bool:
        try:
            session = store.session(session_id)
        except AsmError as error:
            if error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise
            return False
        return (self._agents is None or session.agent_id in self._agents) and (
            self._tags is None or self._tags.issubset(session.tags)
        )

    def learn(self, found: dict[str, bool], needed: Iterable[str]) -> None:
        """Remember what was read.

        Args:
            found: What `read` returned.
            needed: Sessions that are asked for now. They are not forgotten, so whoever reads makes progress.
        """
        if len(self._known) + len(found) > MOST_KNOWN:
            self._known = {name: self._known[name] for name in needed if name in self._known}
        self._known.update(found)

    def wanted(self, events: Iterable[Event]) -> list[Event]:
        """Those whose sessions are wanted; all of them must be known."""
        known = self._known
        return [event for event in events if known[event.session_id]]
