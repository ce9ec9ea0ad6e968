"""The operations on events and on named subscriptions; see `sessions.operations`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.cursor_book import Forget, ListCursors
from asm_actors.journal.cursors import NamedCursor, SubscriptionInfo
from asm_actors.journal.following import Following
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.journal.subscription import Scope
from asm_actors.serialization import check_id, check_seconds, invalid
from asm_actors.services import CURSORS
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.delivery import Delivery, not_running
from supervisors import Future

__all__ = ["EventOperations", "seconds_of"]


class EventOperations(Carrying):
    """A part of `Operations`."""

    def get_session_events(
        self,
        session_id: str,
        *,
        after: int | None = None,
        before: int | None = None,
        since: datetime | int | None = None,
        run_id: str | Iterable[str] | None = None,
        type: EventType | str | Iterable[EventType | str] | None = None,  # noqa: A002 - the event's name
        limit: int | None = None,
        wait_timeout_ms: float | None = None,
    ) -> Future[list[Event]]:
        """Return events of a session, in order; with `wait_timeout_ms` wait for the first one if there is none.

        Args:
            session_id: Which session.
            after: Sequence number after which to begin (exclusive).
            before: Sequence number before which to end (exclusive).
            since: Earliest time (inclusive): aware, or microseconds since the epoch.
            run_id: Events of this run only, or of these.
            type: One event type or several.
            limit: At most so many, the first ones.
            wait_timeout_ms: If nothing matches, wait up to so many milliseconds, and answer as soon as an event that
                matches is durable; an empty list if none comes, or at once if none can come any more. 0 and None do
                not wait.

        Raises:
            ResourceError: ``session_not_found``.
            AsmError: ``validation_error``, ``invalid_event_type``.
        """
        session_id = check_id(session_id, "session_id")
        wanted = EventFilter(after=after, before=before, since=since, run_ids=run_id, types=type, limit=limit)
        wait = seconds_of(wait_timeout_ms)
        if not wait or limit == 0 or not self._services.directory.is_up:
            return self._read(lambda: self._services.store.read_session(session_id, wanted))
        return Following(self._services, Scope(session_id, wanted), after or 0).once(limit, wait)

    def subscriptions(self) -> Future[list[SubscriptionInfo]]:
        """List the named subscriptions by name: what each follows, where it stands, how far behind it is.

        A cursor stands where it was acknowledged, which may be a moment ahead of the disk.
        """
        listed: Delivery[list[tuple[NamedCursor, bool]]] = self._ask_keeper(ListCursors())
        store = self._services.store
        return self._read(
            lambda: [
                SubscriptionInfo(cursor, _lag(store, cursor), is_open) for cursor, is_open in listed.get()
            ]
        )

    def unsubscribe(self, name: str) -> Future[bool]:
        """Forget a named subscription, on the disk too; a consumer that has it open is closed (``stream_closed``).

        Args:
            name: Which; no error if there is none.

        Returns:
            Whether there was one.
        """
        return self._ask_keeper(Forget(check_id(name, "name")))

    def _ask_keeper(self, message: Any) -> Delivery[Any]:
        future: Delivery[Any] = Delivery(self._services)
        keeper = self._services.whereis(CURSORS)
        if keeper is None:
            future.set_error(not_running(self._services))
        else:
            keeper.ask_into(message, future)
        return future


def _lag(store: Store, cursor: NamedCursor) -> int:
    session_id = cursor.session_id
    if session_id is None:
        return max(0, store.last_position() - cursor.cursor)
    try:
        return max(0, store.head(session_id) - cursor.cursor)
    except AsmError as error:
        if error.code is not ErrorCode.SESSION_NOT_FOUND:
            raise
        return 0


def seconds_of(milliseconds: float | None) -> float | None:
    """Check a ``wait_timeout_ms`` and return it in seconds.

    Raises:
        ValidationError: It is no number, or negative.
    """
    if milliseconds is None:
        return None
    if (
        isinstance(milliseconds, bool)
        or not isinstance(milliseconds, int | float)
        or not 0 <= milliseconds < float("inf")
    ):
        raise invalid("wait_timeout_ms", "must be milliseconds of at least 0, or None", milliseconds)
    return check_seconds(min(milliseconds, sys.float_info.max) / 1000.0)
