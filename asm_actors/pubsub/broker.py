"""`PubSub`: the events of a system by topic, for subscribers in its own process.

It has no queues. A topic is a filter on the journal, and a subscriber of it is a cursor: it gets what is durable, in
order, when it asks. So it cannot slow anybody down, whoever lags reads on where it was, and the journal is the only
way by which an event travels. Whoever would rather miss some than lag says ``overflow="drop"``.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from asm_actors.events import Event, EventType
from asm_actors.pubsub.topics import DEFAULT_PREFIX, Topic, check_prefix
from asm_actors.serialization import invalid

__all__ = ["PubSub"]

S_co = TypeVar("S_co", covariant=True)


class _Manager(Protocol[S_co]):
    def subscribe(self, session_id: str | None = None, **options: Any) -> S_co: ...


class PubSub(Generic[S_co]):
    """See the module.

    Args:
        manager: ``system.sessions``, of either surface; it decides whether subscriptions block or are awaited.
        prefix: What the names of its topics begin with.

    Raises:
        ValidationError: An argument is malformed.
    """

    def __init__(self, manager: _Manager[S_co], *, prefix: str = DEFAULT_PREFIX) -> None:
        if not callable(getattr(manager, "subscribe", None)):
            raise invalid("manager", "must be the sessions of a system", manager)
        self._manager = manager
        self.prefix = check_prefix(prefix)

    def topic(
        self,
        session_id: str,
        run_id: str | None = None,
        *,
        type: EventType | str | None = None,  # noqa: A002
    ) -> Topic:
        """The topic of a session, of one of its runs, or of one type of its events.

        Raises:
            AsmError: ``validation_error``, ``invalid_event_type``.
        """
        return Topic(session_id, run_id, type, self.prefix)  # type: ignore[arg-type]  # a name is converted

    def subscribe(self, topic: str | Topic, run_id: str | None = None, **options: Any) -> S_co:
        """Follow a topic from now on.

        Args:
            topic: A `Topic`, the name of one, or the id of a session.
            run_id: With the id of a session: one of its runs.
            options: Those of `SessionManager.subscribe`: ``after`` to begin earlier, ``name`` to make it durable,
                ``overflow="drop"`` and ``max_lag`` to be moved on when it is too slow, ``timeout``, ….

        Returns:
            A `Subscription`, or an `AsyncSubscription`, of the topic's events. On the asyncio surface "now" is when
            it is entered by ``async with``.

        Raises:
            ResourceError: ``session_not_found``.
            AsmError: ``validation_error``, ``invalid_event_type``.
        """
        found = self._found(topic)
        if run_id is not None:
            if found.run_id is not None or found.type is not None:
                raise invalid("run_id", "is for the id of a session, not for a topic of a part of it", run_id)
            found = Topic(found.session_id, run_id, prefix=found.prefix)
        options.setdefault("after", "now")
        return self._manager.subscribe(found.session_id, run_id=found.run_id, type=found.type, **options)

    def broadcast(self, topic: str | Topic, message: Any) -> None:
        """Take an event that a `PubSubSink` hands on: its subscribers have it from the journal already.

        This makes a `PubSub` fit wherever a broker is expected. It carries what is in the journal, and nothing else.

        Args:
            topic: A topic or its name.
            message: A durable event, or the message that a sink makes of it.

        Raises:
            ValidationError: It is no topic, or no durable event.
        """
        self._found(topic)
        event = message[-1] if isinstance(message, tuple) and message else message
        if not isinstance(event, Event) or event.position is None:
            raise invalid(
                "message", "must be an event of the journal; others need a broker of their own", message
            )

    def _found(self, topic: Any) -> Topic:
        if isinstance(topic, Topic):
            return topic
        if isinstance(topic, str) and topic.startswith(f"{self.prefix}:session:"):
            return Topic.parse(topic, self.prefix)
        return Topic(topic, prefix=self.prefix)
