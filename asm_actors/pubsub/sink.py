"""`PubSubSink`: hands each event on to a broker, by topic. It never stops for a broker that fails, and counts.

A sink is an event callback: ``manager.execute_run(run.id, event_callback=asm.PubSubSink(broker))``. Or it follows a
subscription; with a name it goes on after a restart where it was::

    asm.PubSubSink(redis).follow(manager.subscribe(name="to-redis"))
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.follow import AsyncSubscription, Subscription
from asm_actors.pubsub.topics import DEFAULT_PREFIX, Topic, TopicScope, check_prefix, topic_of
from asm_actors.serialization import invalid, parse_member

__all__ = ["Broadcaster", "PubSubSink", "event_callback"]

logger = logging.getLogger("asm_actors.pubsub")

MessageWrapper = str | Callable[[Event], Any]
TopicChoice = Callable[[Event], str | Topic | Iterable[str | Topic]]


@runtime_checkable
class Broadcaster(Protocol):
    """The port to a broker: `PubSub` of this package, or whatever has this one method."""

    def broadcast(self, topic: str, message: Any) -> Any:
        """Hand a message to whoever listens to a topic. May return an awaitable, for sinks on the asyncio surface."""
        ...


class PubSubSink:
    """See the module.

    Args:
        pubsub: The broker.
        topic: Where all events go.
        topic_fn: Chooses by the event one topic or several; instead of `topic`.
        prefix: What topics begin with, where neither is given.
        scope: ``session``, ``run`` or ``type``: how finely events are spread then.
        message_wrapper: A text: messages are ``(text, session_id, event)``. A function: what it makes of an event,
            bytes for a broker out of this process, say.

    Attributes:
        broadcast_count: Messages handed over.
        error_count: Failures: of the broker, of `topic_fn`, of the wrapper.

    Raises:
        ValidationError: An argument is malformed, or both `topic` and `topic_fn` are given.
    """

    def __init__(
        self,
        pubsub: Broadcaster,
        *,
        topic: str | Topic | None = None,
        topic_fn: TopicChoice | None = None,
        prefix: str = DEFAULT_PREFIX,
        scope: TopicScope | str = TopicScope.SESSION,
        message_wrapper: MessageWrapper = "asm_event",
    ) -> None:
        if not isinstance(pubsub, Broadcaster):
            raise invalid("pubsub", "must have a method broadcast(topic, message)", pubsub)
        if topic is not None and topic_fn is not None:
            raise invalid("topic", "cannot be given together with topic_fn", topic)
        if topic is not None and not isinstance(topic, str | Topic):
            raise invalid("topic", "must be the name of a topic, or a Topic", topic)
        if topic_fn is not None and not callable(topic_fn):
            raise invalid("topic_fn", "must be callable with an event", topic_fn)
        if not isinstance(message_wrapper, str) and not callable(message_wrapper):
            raise invalid("message_wrapper", "must be a text, or callable with an event", message_wrapper)
        self._pubsub = pubsub
        self._topic = topic
        self._topic_fn = topic_fn
        self._prefix = check_prefix(prefix)
        self._scope = parse_member(TopicScope, scope, ErrorCode.VALIDATION_ERROR)
        self._wrapper = message_wrapper
        self.broadcast_count = 0
        self.error_count = 0

    def __call__(self, event: Event) -> Awaitable[None] | None:
        """Hand an event on.

        Returns:
            None; of a broker that answers with awaitables one that hands it on when it is awaited, and never raises.
        """
        pending = self._broadcast(event)
        return self._await_all(event, pending) if pending else None

    def _broadcast(self, event: Event) -> list[Awaitable[Any]]:
        """Hand an event on, and return what is to be awaited."""
        pending: list[Awaitable[Any]] = []
        try:
            message, topics = self._message(event), self._topics(event)
        except Exception:  # the user's, and stops nobody
            self._failed(event)
            return pending
        for topic in topics:
            try:
                answer = self._pubsub.broadcast(topic, message)
            except Exception:  # as above
                self._failed(event)
            else:
                if inspect.isawaitable(answer):
                    pending.append(answer)
                else:
                    self.broadcast_count += 1
        return pending

    def follow(self, subscription: Subscription) -> None:
        """Hand on what a subscription gives, until it ends; a named one is acknowledged page by page.

        Raises:
            ConcurrencyError: ``invalid_operation``: the broker answers with awaitables; use `follow_async`.
            AsmError: What the subscription raises.
        """
        with subscription:
            while events := _next(subscription):
                for event in events:
                    pending = self._broadcast(event)
                    for each in pending:
                        if inspect.iscoroutine(each):
                            each.close()
                    if pending:
                        raise AsmError(
                            ErrorCode.INVALID_OPERATION,
                            "this broker answers with awaitables: follow it on the asyncio surface, with follow_async",
                        )
                if subscription.acknowledged is not None:
                    subscription.ack()

    async def follow_async(self, subscription: AsyncSubscription) -> None:
        """As `follow`, awaited."""
        async with subscription:
            while events := await _next_async(subscription):
                for event in events:
                    waiting = self(event)
                    if waiting is not None:
                        await waiting
                if subscription.acknowledged is not None:
                    await subscription.ack()

    def _message(self, event: Event) -> Any:
        wrapper = self._wrapper
        return (wrapper, event.session_id, event) if isinstance(wrapper, str) else wrapper(event)

    def _topics(self, event: Event) -> list[str]:
        if self._topic is not None:
            return [str(self._topic)]
        if self._topic_fn is None:
            return [str(topic_of(event, self._scope, self._prefix))]
        chosen = self._topic_fn(event)
        return [str(topic) for topic in ([chosen] if isinstance(chosen, str | Topic) else chosen)]

    async def _await_all(self, event: Event, pending: list[Awaitable[Any]]) -> None:
        # One after the other: a broker that keeps an order gets it.
        for each in pending:
            try:
                await each
            except Exception:  # as above
                self._failed(event)
            else:
                self.broadcast_count += 1

    def _failed(self, event: Event) -> None:
        self.error_count += 1
        if self.error_count == 1:
            logger.error(
                "event %s could not be broadcast; further failures are counted only",
                event.id,
                exc_info=True,  # noqa: LOG014 - called in a handler
            )


def event_callback(
    pubsub: Broadcaster,
    topic: str | Topic | None = None,
    *,
    prefix: str = DEFAULT_PREFIX,
    scope: TopicScope | str = TopicScope.SESSION,
    message_wrapper: MessageWrapper = "asm_event",
) -> PubSubSink:
    """An `event_callback` that hands each event on to a broker; see `PubSubSink` for the arguments."""
    return PubSubSink(pubsub, topic=topic, prefix=prefix, scope=scope, message_wrapper=message_wrapper)


def _next(subscription: Subscription) -> list[Event]:
    """The next page; empty when the subscription has ended."""
    try:
        return subscription.pull(timeout=subscription.timeout)
    except AsmError as error:
        if subscription.is_ended_by(error):
            return []
        raise


async def _next_async(subscription: AsyncSubscription) -> list[Event]:
    try:
        return await subscription.pull(timeout=subscription.timeout)
    except AsmError as error:
        if subscription.is_ended_by(error):
            return []
        raise
