"""`Persisting`: how a subscriber gets on while what it needs is being restarted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.faces import tell
from asm_actors.journal.cursor_book import Holder
from asm_actors.services import Services
from supervisors import ActorDeadError, DispatcherStopped, Future, SupervisionError

__all__ = ["MAY_PASS", "Patience", "Persisting", "Steps", "closed"]

T = TypeVar("T")
Steps = Generator[Future[Any], Any, T]
"""Steps that yield what they wait for; see `journal.driving`."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.5
"""Between attempts to begin anew while a part of the system is being restarted."""
PATIENCE_S = 30.0
"""For how long that is tried."""
MAY_PASS = (ActorDeadError, SupervisionError, AsmError)
"""Errors of an attempt that are looked at: with some of them the next attempt may succeed."""
_LOST = frozenset({ErrorCode.STREAM_CLOSED, ErrorCode.INTERRUPTED})


class Patience:
    """Of one thing that is tried again: since when, and how long the next pause is."""

    __slots__ = ("lost_at", "pause")

    def __init__(self) -> None:
        self.lost_at: float | None = None
        self.pause = FIRST_PAUSE_S


class Persisting:
    """Half of `Following`.

    Args:
        services: The system's.
        holder: Of a named subscription what its keeper knows it by.
    """

    def __init__(self, services: Services, holder: Holder | None) -> None:
        self._services = services
        self._holder = holder
        self._closed = threading.Event()
        # The actor that reads, and the future of it.
        self._ref: Any = None
        self._starting: Future[Any] | None = None

    def _persist(self, attempt: Callable[[], Steps[T]]) -> Steps[T]:
        """Try until it succeeds, while what is needed is being restarted."""
        patience = Patience()
        while True:
            self._check_open()
            try:
                result = yield from attempt()
            except MAY_PASS as error:
                pause = self._pause_after(error, patience)
            else:
                return result
            yield self._wait(pause)

    def _pause_after(self, error: Exception, patience: Patience) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            AsmError: There shall be none: the error is of another kind, or it took too long, or the end has come.
        """
        if isinstance(error, AsmError) and error.code not in _LOST:
            tell(self._services, error)
        self._check_open(error)
        now = self._services.dispatcher.clock.monotonic()
        if patience.lost_at is None:
            patience.lost_at = now
        self._ref = self._starting = None
        if not self._services.directory.is_up or now > patience.lost_at + PATIENCE_S:
            raise closed(error) from error
        pause, patience.pause = patience.pause, min(LONGEST_PAUSE_S, 2 * patience.pause)
        return pause

    def _wait(self, pause: float) -> Future[None]:
        """A future that is done after some time of the system's clock."""
        dispatcher = self._services.dispatcher
        future: Future[None] = Future()
        future._driver = dispatcher.driver
        try:
            dispatcher.call_from_outside(lambda: dispatcher.call_later(pause, lambda: future.set(None)))
        except DispatcherStopped as error:
            raise closed(error) from error
        return future

    def is_ended_by(self, error: AsmError) -> bool:
        """Whether this error is no failure but the end: the subscription was closed, or the system was stopped."""
        return error.code is ErrorCode.STREAM_CLOSED and (
            self._closed.is_set() or not (self._services.directory.is_up or self._is_lost)
        )

    @property
    def _is_lost(self) -> bool:
        return self._holder is not None and self._holder.lost is not None

    def _check_open(self, error: BaseException | None = None) -> None:
        if self._is_lost:
            assert self._holder is not None
            raise AsmError(
                ErrorCode.STREAM_CLOSED,
                f"the subscription {self._holder.name!r} is closed: {self._holder.lost}",
            )
        if self._closed.is_set():
            raise closed(error)


def closed(error: BaseException | None = None) -> AsmError:
    """The error of a subscription that gives nothing any more."""
    if error is None:
        return AsmError(ErrorCode.STREAM_CLOSED, "the subscription is closed, or the system is not running")
    return AsmError.wrap(
        ErrorCode.STREAM_CLOSED, error, "the subscription was closed, or the system was stopped"
    )
