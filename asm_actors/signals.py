"""Running a backend process until the operating system wants it to end: SIGTERM from a supervisor, Ctrl-C from a user.

1. The first signal begins a graceful stop: nothing new is admitted, what is under way may end within a bound.
2. The second one stops at once: what is open stays in the journal for the next start.
3. After that the signals do again what they did before, so that a third one ends the process whatever it does.

A handler only notes the signal: everything else happens in the thread, or task, that waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from supervisors import Actor, Dispatcher, DispatcherStopped, Down

__all__ = ["STOP_SIGNALS", "wait_and_stop", "wait_and_stop_async"]

logger = logging.getLogger("asm_actors")

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""What an operating system, a container or a user sends to have a process end in good order."""
_TREE_ENDED: Final = 0
_STOPPED: Final = -1


class _Watch(Actor):
    """Tells once when an actor's life is over."""

    def __init__(self, ref: Any, tell: Callable[[], object]) -> None:
        super().__init__()
        self._ref = ref
        self._tell = tell

    def on_start(self) -> None:
        self.monitor(self._ref)

    def on_receive(self, message: Any) -> Any:
        if not isinstance(message, Down):
            return super().on_receive(message)
        self._tell()
        self.exit()
        return None


def _watch(dispatcher: Dispatcher, root: Any, tell: Callable[[], object]) -> None:
    try:
        dispatcher.start(_Watch, root, tell)
    except DispatcherStopped:
        tell()


@contextlib.contextmanager
def _noted(signals: Sequence[int], note: Callable[[int], object]) -> Iterator[Callable[[], None]]:
    """Have signals noted in the block; gives what ends that earlier."""
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        before.clear()

    try:
        for number in signals:
            before[number] = signal.signal(number, lambda got, _frame: note(got))
        yield restore
    finally:
        restore()


def _check_main_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise AsmError(
            ErrorCode.INVALID_OPERATION,
            "signals are handled on the main thread only; call this there, and stop the system yourself elsewhere",
        )


def wait_and_stop(
    dispatcher: Dispatcher,
    root: Any,
    stop: Callable[[bool], Any],
    *,
    signals: Sequence[int] = STOP_SIGNALS,
) -> int | None:
    """Block until a signal comes, stop the system, and return the signal's number; None if the tree gave up.

    Args:
        dispatcher: Runs the system.
        root: Its root supervisor.
        stop: Stops it, blocking; with True gracefully, with False at once. Called on a thread of its own.
        signals: Which signals.

    Raises:
        ConcurrencyError: ``invalid_operation``: this is not the main thread.
    """
    _check_main_thread()
    # Its `put` may interrupt its own `get` on the same thread, as no lock of `threading` allows.
    noted: queue.SimpleQueue[int] = queue.SimpleQueue()
    stopping: list[threading.Thread] = []

    def begin(drain: bool) -> None:
        def work() -> None:
            try:
                stop(drain)
            finally:
                noted.put(_STOPPED)

        thread = threading.Thread(target=work, name="asm-stop", daemon=True)
        stopping.append(thread)
        thread.start()

    with _noted(signals, noted.put) as restore:
        _watch(dispatcher, root, lambda: noted.put(_TREE_ENDED))
        first = noted.get()
        _log_first(first)
        begin(first != _TREE_ENDED)
        while (got := noted.get()) != _STOPPED:
            if got != _TREE_ENDED:
                _log_second(got)
                restore()
                begin(False)
    for thread in stopping:
        thread.join()
    return first or None


async def wait_and_stop_async(
    dispatcher: Dispatcher,
    root: Any,
    stop: Callable[[bool], Awaitable[Any]],
    *,
    signals: Sequence[int] = STOP_SIGNALS,
) -> int | None:
    """As `wait_and_stop`, awaited; `stop` is a coroutine function."""
    _check_main_thread()
    loop = asyncio.get_running_loop()
    noted: asyncio.Queue[int] = asyncio.Queue()

    def note(number: int) -> None:
        # The loop may be waiting for its sockets: only this call wakes it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(noted.put_nowait, number)

    async def work(drain: bool) -> None:
        try:
            await stop(drain)
        finally:
            noted.put_nowait(_STOPPED)

    with _noted(signals, note) as restore:
        _watch(dispatcher, root, lambda: note(_TREE_ENDED))
        first = await noted.get()
        _log_first(first)
        stopping = [asyncio.ensure_future(work(first != _TREE_ENDED))]
        while (got := await noted.get()) != _STOPPED:
            if got != _TREE_ENDED:
                _log_second(got)
                restore()
                stopping.append(asyncio.ensure_future(work(False)))
        await asyncio.gather(*stopping)
    return first or None


def _log_first(number: int) -> None:
    if number == _TREE_ENDED:
        logger.critical("the supervision tree has given up; see the reports above")
    else:
        logger.warning("%s: draining; send it again to stop at once", signal.Signals(number).name)


def _log_second(number: int) -> None:
    logger.warning("%s: stopping at once", signal.Signals(number).name)
