"""`Mailbox`: the side of an actor's life that any thread may touch.

1. Every operation here is safe on any thread and never waits: it appends to a queue, or takes a lock for some
   hundred nanoseconds, and then lets the dispatcher know.
2. Whatever else a life holds is touched on the dispatcher's thread alone; that side is `life.py`.
3. Messages are refused when the mailbox is full. Stop requests, notices and signals never are: a full actor can
   still be stopped and still hears of its children.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import ref as weak

from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from supervisors.errors import Overloaded

if TYPE_CHECKING:
    from supervisors.dispatcher import Dispatcher

__all__ = [
    "DEAD",
    "NEW",
    "RUNNING",
    "STOPPING",
    "Mailbox",
    "StopFlag",
    "answer",
    "answer_dead",
    "answer_error",
    "refuse",
]

NEW, RUNNING, STOPPING, DEAD = range(4)

# For what happens rarely and briefly: one lock for all lives, since one each would cost more than a life's signals.
_rare = threading.Lock()


class StopFlag:
    """`actor_stopped` of Pykka: a `threading.Event` that costs nothing until somebody waits on it."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: threading.Event | None = None

    def is_set(self) -> bool:
        """Whether the actor has ended, or is about to."""
        return self._set

    def set(self) -> None:
        """Note the end and wake whoever waits for it."""
        self._set = True
        # After the flag, and looked at by the waiter in the opposite order: one of the two sees the other.
        event = self._event
        if event is not None:
            event.set()

    def clear(self) -> None:
        """Take the note back; Pykka never does."""
        with _rare:
            self._set = False
            if self._event is not None:
                self._event.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the flag is set, or for `timeout` seconds; return whether it is."""
        with _rare:
            if self._event is None:
                self._event = threading.Event()
            event = self._event
        return self._set or event.wait(timeout)


class MessageQueue(SimpleQueue[Any]):
    """The messages of one mailbox: a quarter of a deque's size while it is empty, as most are most of the time."""

    __slots__ = ()

    __len__ = SimpleQueue.qsize


class Mailbox:
    """Takes messages, notices and signals for one life; see the module."""

    __slots__ = (
        "_ref",
        "capacity",
        "dispatcher",
        "phase",
        "queue",
        "scheduled",
        "signals",
        "stop_waiters",
        "stopped",
    )

    def __init__(self, dispatcher: Dispatcher, capacity: int | None) -> None:
        self.dispatcher = dispatcher
        self.capacity = capacity
        self.queue = MessageQueue()
        self.signals: list[tuple[str, Any]] | None = None
        self.stopped = StopFlag()
        self.stop_waiters: list[Any] | None = None
        self.phase = NEW
        self.scheduled = False
        self._ref: Any = None

    @property
    def ref(self) -> Any:
        """The actor's ref; None if its life is over and nobody holds the ref any more."""
        ref = self._ref
        return ref() if type(ref) is weak else ref

    @ref.setter
    def ref(self, ref: Any) -> None:
        self._ref = ref

    def put(self, item: Any) -> None:
        """Queue a message or a Pykka envelope.

        The bound is looked at without a lock: senders on several threads that see the last free place at the same
        instant all get it.

        Raises:
            Overloaded: The mailbox is bounded and full; nothing was queued.
        """
        queue = self.queue
        if self.capacity is not None and queue.qsize() >= self.capacity:
            refuse(self.ref, item, self.capacity)
        queue.put(item)
        dispatcher = self.dispatcher
        if get_ident() == dispatcher.thread_id:
            if not self.scheduled:
                dispatcher.schedule(self)
        else:
            dispatcher.notify(self)

    def put_notice(self, item: Any) -> None:
        """Queue a notice of the runtime: as `put`, but never refused."""
        self.queue.put(item)
        self._wake()

    def signal(self, kind: str, detail: Any = None) -> None:
        """Queue a signal, which overtakes messages."""
        with _rare:
            if self.signals is None:
                self.signals = [(kind, detail)]
            else:
                self.signals.append((kind, detail))
        self._wake()

    def _wake(self) -> None:
        dispatcher = self.dispatcher
        if get_ident() == dispatcher.thread_id:
            if not self.scheduled:
                dispatcher.schedule(self)
        else:
            dispatcher.notify(self)

    def take_signals(self) -> list[tuple[str, Any]]:
        """Take all signals that wait, oldest first (dispatcher's thread)."""
        with _rare:
            batch, self.signals = self.signals, None
        return batch or []

    def get(self) -> Any:
        """Take the oldest message as a Pykka envelope (inbox protocol; the runtime itself does not use it)."""
        item = self.queue.get_nowait()
        return item if type(item) is Envelope else Envelope(item)

    def empty(self) -> bool:
        """Whether no message waits (inbox protocol)."""
        return self.queue.empty()

    def refuse_queue(self, *, is_over: bool) -> None:
        """Answer all that waits with an error; an asked stop, when the life is over, with its success."""
        queue = self.queue
        while True:
            try:
                item = queue.get_nowait()
            except Empty:  # not looked at before: several threads may do this for a dispatcher that is gone
                return
            reply_to = item.reply_to if type(item) is Envelope else None
            if reply_to is None:
                continue
            if not isinstance(item.message, _ActorStop):
                answer_dead(reply_to, self.ref)
            elif is_over:
                answer(reply_to, None)
            else:
                self.stop_waiters = [*(self.stop_waiters or ()), reply_to]

    def abandon_queue(self) -> None:
        """Answer what waits with an error: nobody will ever run this life again. Any thread."""
        # One that is being made is left alone: its start opens the dispatcher again, or is refused.
        if self.phase != NEW:
            self.stopped.set()
            self.refuse_queue(is_over=True)


def refuse(ref: Any, item: Any, capacity: int) -> None:
    """Refuse what does not fit into a full mailbox; a request to stop always fits.

    Raises:
        Overloaded: It is a message like any other.
    """
    message = item.message if type(item) is Envelope else item
    if type(message) is not _ActorStop:
        raise Overloaded(f"mailbox of {ref} holds its {capacity} messages; try again later")


def answer(reply_to: Any, value: Any) -> None:
    """Give an asker the answer, if it has none yet."""
    with suppress(Exception):  # Pykka's `queue.Full`: somebody answered before
        reply_to.set(value)


def answer_error(reply_to: Any) -> None:
    """Give an asker the exception that is being handled, if it has no answer yet."""
    with suppress(Exception):  # as above
        reply_to.set_exception()


def answer_dead(reply_to: Any, ref: Any) -> None:
    """Tell an asker that nobody will answer, if nobody has."""
    error = ActorDeadError(f"{ref} stopped before handling the message")
    with suppress(Exception):  # as above
        reply_to.set_exception((ActorDeadError, error, None))
