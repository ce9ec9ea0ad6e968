"""A disk that fails: a store around another one, whose calls fail as they are told to.

::

    store = FaultyStore(MemoryStore(), [Fault("commit", first=3, count=2)])        # the third and fourth commit
    store.fail(Fault("read", kind=FaultKind.IO_ERROR, count=None))                 # every read from now on
    store.heal()                                                                   # all is well again
    store = FaultyStore(MemoryStore(), seed=7, rate=0.05)                          # one of twenty, always the same

What fails says so as a store says it: `storage_write_failed` for what writes, `storage_read_failed` for what reads,
`storage_connection_failed` for what opens. Without faults it is the other store, and keeps the same contract.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

from asm_actors.errors import AsmError, ErrorCode

__all__ = ["Fault", "FaultKind", "FaultyStore", "Injected"]


class FaultKind(StrEnum):
    """How a call fails."""

    NO_SPACE = "no space"
    """The disk is full; nothing was written."""
    IO_ERROR = "i/o error"
    """The disk does not answer; nothing was done."""
    LOST_ANSWER = "lost answer"
    """It was done, and then the disk did not answer: whoever asked cannot tell."""


_ERRNO: Final = {
    FaultKind.NO_SPACE: errno.ENOSPC,
    FaultKind.IO_ERROR: errno.EIO,
    FaultKind.LOST_ANSWER: errno.EIO,
}
# What changes the journal; all other calls are reads.
_WRITES: Final = frozenset(
    {
        "commit",
        "sync",
        "settle",
        "erase_sessions",
        "prune_events",
        "backup",
        "compact",
        "repair",
        "save_cursors",
        "save_artifacts",
        "drop_artifacts",
    }
)
_SAFE: Final = frozenset({"close"})


@frozen
class Fault:
    """Some calls that fail.

    Attributes:
        call: a method of the store, or ``read`` or ``write`` for all that do that.
        kind: how they fail.
        first: the first one that fails, counted from 1 from when the fault was told.
        count: how many do; None: all from there on.
    """

    call: str = "commit"
    kind: FaultKind = field(default=FaultKind.NO_SPACE, converter=FaultKind)
    first: int = 1
    count: int | None = 1


@frozen
class Injected:
    """One call that failed.

    Attributes:
        call: the method.
        number: which of its calls, from 1.
        kind: how.
    """

    call: str
    number: int
    kind: FaultKind


class _Planned:
    """A fault, and how many calls it has seen."""

    __slots__ = ("fault", "n_seen")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.n_seen = 0

    def strikes(self, call: str, group: str) -> bool:
        fault = self.fault
        if fault.call not in (call, group):
            return False
        self.n_seen += 1
        past = self.n_seen - fault.first
        return past >= 0 and (fault.count is None or past < fault.count)


class FaultyStore:
    """See the module. Has every attribute of the store that it is around.

    Args:
        store: The other store.
        faults: What fails, from the start.
        seed: Draws further faults; the same ones for the same calls in the same order.
        rate: The share of calls that fail by `seed`.
        calls: The methods, or groups, that may fail by `seed`.
        kinds: How they may fail.

    Attributes:
        inner: The other store.
        calls: How often each method was called.
        injected: What failed, in order.
    """

    def __init__(
        self,
        store: Any,
        faults: Iterable[Fault] = (),
        *,
        seed: int | None = None,
        rate: float = 0.0,
        calls: Iterable[str] = ("commit",),
        kinds: Iterable[FaultKind] = tuple(FaultKind),
    ) -> None:
        self.inner = store
        self.calls: Counter[str] = Counter()
        self.injected: list[Injected] = []
        self._planned = [_Planned(fault) for fault in faults]
        self._random = random.Random(seed)  # noqa: S311 - chosen by a test
        self._rate = rate if seed is not None else 0.0
        self._drawn, self._kinds = frozenset(calls), tuple(kinds)
        # Reads come from any thread.
        self._lock = threading.Lock()

    def fail(self, *faults: Fault) -> None:
        """Have further calls fail."""
        with self._lock:
            self._planned += map(_Planned, faults)

    def heal(self) -> None:
        """Let nothing fail any more."""
        with self._lock:
            self._planned.clear()
            self._rate = 0.0

    @property
    def description(self) -> str:
        """That of the other store."""
        return f"a faulty {self.inner.description}"

    def open(self) -> None:
        """Open the other store."""
        self._call("open", self.inner.open, (), {})

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name.startswith("_") or name in _SAFE or not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            return self._call(name, found, args, options)

        return call

    def _call(self, name: str, method: Callable[..., Any], args: Any, options: Any) -> Any:
        kind = self._strike(name)
        if kind is None:
            return method(*args, **options)
        if kind is FaultKind.LOST_ANSWER:
            method(*args, **options)
        raise self._error(name, kind)

    def _strike(self, name: str) -> FaultKind | None:
        group = "write" if name in _WRITES else "" if name == "open" else "read"
        with self._lock:
            self.calls[name] += 1
            # All of them count this call, also behind one that strikes.
            struck = [planned.fault.kind for planned in self._planned if planned.strikes(name, group)]
            kind = struck[0] if struck else None
            if (
                self._rate
                and (name in self._drawn or group in self._drawn)
                and self._random.random() < self._rate
            ):
                kind = kind or self._random.choice(self._kinds)
            if kind is not None:
                self.injected.append(Injected(name, self.calls[name], kind))
        return kind

    def _error(self, name: str, kind: FaultKind) -> AsmError:
        code = ErrorCode.STORAGE_READ_FAILED
        if name == "open":
            code = ErrorCode.STORAGE_CONNECTION_FAILED
        elif name in _WRITES:
            code = ErrorCode.STORAGE_WRITE_FAILED
        # A full disk can be read.
        number = _ERRNO[kind] if name in _WRITES else errno.EIO
        return AsmError(
            code,
            f"{name} failed: {os.strerror(number)}",
            details={"errno": number, "fault": kind.value, "call": name},
        )
