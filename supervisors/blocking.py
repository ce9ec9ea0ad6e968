"""`BlockingPool`: a bounded pool of daemon threads for calls that block.

The standard library's pool has its threads joined when the interpreter exits, so that one call which never returns
keeps the process for ever. Here such a call is left behind: nobody waits for it, and the process can end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, NamedTuple, ParamSpec, TypeVar

__all__ = ["BlockingPool"]

P = ParamSpec("P")
T = TypeVar("T")


class _Call(NamedTuple):
    future: Future[Any]
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class BlockingPool(Executor):
    """Runs calls on at most `size` threads, which are made when they are first needed.

    Args:
        size: Most threads. With one thread the calls run in the order in which they were submitted.
        name: Prefix of the threads' names.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._is_shut = False
        self.threads: list[threading.Thread] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call.

        Raises:
            RuntimeError: The pool has been shut down.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._is_shut:
                raise RuntimeError(f"the pool {self._name} has been shut down")
            self._calls.put(_Call(future, fn, args, kwargs))
            if len(self.threads) < self._size and not self._idle.acquire(blocking=False):
                name = f"{self._name}-{len(self.threads)}" if self._size > 1 else self._name
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self.threads.append(thread)
                thread.start()
        return future

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if call.future.set_running_or_notify_cancel():
                try:
                    result = call.func(*call.args, **call.kwargs)
                except BaseException as error:  # the caller's, where it awaits the future
                    call.future.set_exception(error)
                else:
                    call.future.set_result(result)
                    del result
            del call  # an idle thread keeps nothing of its last call
            self._idle.release()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls and let the threads end; see `concurrent.futures.Executor`."""
        with self._lock:
            self._is_shut = True
            if cancel_futures:
                while not self._calls.empty():
                    call = self._calls.get()
                    if call is not None:
                        call.future.cancel()
            for _ in self.threads:
                self._calls.put(None)
        if wait:
            self.join(None)

    def join(self, timeout: float | None) -> bool:
        """Wait for the threads of a pool that was shut down; return whether all have ended in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self.threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self.threads)
