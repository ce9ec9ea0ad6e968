"""`Ref`: the address of one life of an actor; Pykka's `ActorRef` plus orderly and immediate exit signals."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import ref as weak

import pykka
from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from supervisors.exits import KILLED, SHUTDOWN, ExitReason
from supervisors.future import Future

if TYPE_CHECKING:
    from supervisors.actor import Actor
    from supervisors.life import Life, StopFlag

__all__ = ["Ref"]

A = TypeVar("A", bound="Actor")
_naming = threading.Lock()


class Ref(pykka.ActorRef[A]):
    """As `pykka.ActorRef`; it costs no more than its four attributes, and its URN is made when first asked for."""

    __slots__ = ("_actor_weakref", "_urn", "actor_class", "actor_inbox", "actor_stopped")

    actor_class: type[A]
    actor_inbox: Life
    actor_stopped: StopFlag  # type: ignore[assignment]

    def __init__(self, actor: A, life: Life) -> None:
        self._actor_weakref = weak(actor)
        self.actor_class = actor.__class__
        self.actor_inbox = life
        self.actor_stopped = life.stopped
        self._urn: str | None = None

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """The actor's unique resource name."""
        urn = self._urn
        if urn is None:
            with _naming:  # two threads that ask first at the same time get the same one
                if self._urn is None:
                    self._urn = uuid.uuid4().urn
                urn = self._urn
        return urn

    @property
    def life(self) -> Life:
        """What the runtime keeps about this actor; for supervisors and diagnosis."""
        return self.actor_inbox

    @property
    def exit_reason(self) -> ExitReason | None:
        """How the actor ended or is ending, or None while it lives."""
        return self.actor_inbox.reason

    def is_alive(self) -> bool:
        """Whether the actor takes messages."""
        return not self.actor_stopped._set

    def tell(self, message: Any) -> None:
        """Send a message without waiting.

        Raises:
            ActorDeadError: The actor has ended.
            Overloaded: Its mailbox is bounded and full.
        """
        if self.actor_stopped._set:
            raise ActorDeadError(f"{self} not found")
        self.actor_inbox.put(message)

    def post(self, message: Any) -> bool:
        """Send a message to an actor that may have ended: as `tell`, but a dead receiver is no error.

        Returns:
            Whether the actor was alive.
        """
        if self.actor_stopped._set:
            return False
        self.actor_inbox.put(message)
        return True

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and get the reply, or a future of it with `block=False`; see Pykka.

        Raises:
            pykka.Timeout: No reply within `timeout` seconds.
            WouldDeadlock: Blocking on a dispatcher's thread.
            ActorDeadError: The actor has ended.
            Overloaded: Its mailbox is bounded and full.
        """
        future: Future[Any] = self.actor_class._create_future()
        life = self.actor_inbox
        future._driver = life.dispatcher.driver
        if self.actor_stopped._set:
            future.set_error(ActorDeadError(f"{self} not found"))
        else:
            try:
                life.put(Envelope(message, future))
            except (
                Exception
            ):  # Overloaded or DispatcherStopped: the asker gets it where it looks for the answer
                future.set_exception()
        if block:
            return future.get(timeout=timeout)
        return future

    def ask_into(self, message: Any, future: Future[Any]) -> Future[Any]:
        """As `ask(block=False)`, with a future that the caller made; it is returned."""
        life = self.actor_inbox
        future._driver = life.dispatcher.driver
        if self.actor_stopped._set:
            future.set_error(ActorDeadError(f"{self} not found"))
        else:
            try:
                life.put(Envelope(message, future))
            except (
                Exception
            ):  # Overloaded or DispatcherStopped: the asker gets it where it looks for the answer
                future.set_exception()
        return future

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Ask the actor to stop after the messages sent before, and wait for the end of its life; see Pykka.

        A full mailbox takes this request all the same.

        Returns:
            True if it was alive, false if it had ended before; with `block=False` a future of that.
        """
        asked: Future[None] = self.ask(_ActorStop(), block=False)
        result: Future[bool] = Future()
        result._driver = asked._driver

        def convert(done: Future[None]) -> None:
            try:
                done.get()
            except ActorDeadError:
                result.set(False)
            except BaseException:  # whatever it is, it belongs to the caller
                result.set_exception()
            else:
                result.set(True)

        asked.add_done_callback(convert)
        return result.get(timeout=timeout) if block else result

    def shutdown(self, reason: ExitReason = SHUTDOWN) -> None:
        """Have the actor leave in good order now: overtakes queued messages; no error if it has ended."""
        self.actor_inbox.signal("exit", reason)

    def kill(self, reason: ExitReason = KILLED) -> None:
        """End the actor at once: no hook runs, its tasks are cancelled but not awaited, its children are killed."""
        self.actor_inbox.signal("kill", reason)

    def proxy(self) -> Any:
        """Wrap the ref in Pykka's `ActorProxy`."""
        return pykka.ActorProxy(actor_ref=cast("Any", self))
