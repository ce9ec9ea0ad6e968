"""How sessions, runs and events get their names.

Cores never make ids: the shell asks an :class:`Ids` and hands the result in, so that a simulation can replay
a run with the very same names. The events of one append share one 128-bit *block*, and the event at place
``k`` is named by :func:`event_id`. So a session actor draws one number per append instead of one per event.

What a name may look like is told by ``asm_actors.serialization.check_id``.
"""

from __future__ import annotations

import os
import time
from collections import deque
from itertools import count
from typing import Final, Protocol, runtime_checkable
from weakref import WeakSet

__all__ = [
    "RUN_PREFIX",
    "SESSION_PREFIX",
    "Ids",
    "RandomIds",
    "SequentialIds",
    "event_id",
    "normalized_event_id",
]

SESSION_PREFIX: Final = "ses_"
RUN_PREFIX: Final = "run_"

_MASK: Final = (1 << 128) - 1
# Two blocks lie 2**32 apart: no append comes near that many events.
_BLOCK_SHIFT: Final = 32


def event_id(base: int, index: int) -> str:
    """Name the event at place ``index`` (from 0) of the append whose block is ``base``."""
    return f"evt_{(base + index) & _MASK:032x}"


def normalized_event_id(base: int, index: int) -> str:
    """Name the normalized event at place ``index`` (from 0) of a batch whose block is ``base``."""
    return f"nevt_{(base + index) & _MASK:032x}"


@runtime_checkable
class Ids(Protocol):
    """Where new names come from. Calls may come from any thread."""

    def session(self) -> str:
        """Return a new session id: ``ses_`` and 32 lower-case hex digits."""
        ...

    def run(self) -> str:
        """Return a new run id: ``run_`` and 32 lower-case hex digits."""
        ...

    def block(self) -> int:
        """Return the 128-bit base for the event ids of one append."""
        ...


class RandomIds:
    """Names that no other process will make, from the random source of the operating system.

    A name begins with the time at which it was drawn, in milliseconds: names that are made together lie together in an
    index, which then costs the same however many it holds. Its other 80 bits are random.

    A system call for each name would let another thread of the process run in between, which costs more than the
    name: so names are drawn in bulk. A block costs even less: the first one is drawn, the next ones follow it in
    steps. A forked child draws anew, else parent and child would name things alike.
    """

    def __init__(self) -> None:
        self._drawn: deque[str] = deque()
        self._restart()
        _all_random.add(self)

    def _restart(self) -> None:
        self._drawn.clear()
        self._start = int.from_bytes(os.urandom(16), "big")
        self._steps = count()

    def _draw(self) -> str:
        while True:
            try:
                # One atomic operation: two threads never get the same name.
                return self._drawn.pop()
            except IndexError:
                begin = f"{time.time_ns() // 1_000_000:012x}"
                digits = os.urandom(10 * _BULK).hex()
                self._drawn.extend(begin + digits[place : place + 20] for place in range(0, 20 * _BULK, 20))

    def session(self) -> str:
        """Return a new session id."""
        return SESSION_PREFIX + self._draw()

    def run(self) -> str:
        """Return a new run id."""
        return RUN_PREFIX + self._draw()

    def block(self) -> int:
        """Return the base for the event ids of one append."""
        return (self._start + (next(self._steps) << _BLOCK_SHIFT)) & _MASK


_BULK: Final = 256
_all_random: Final[WeakSet[RandomIds]] = WeakSet()


def _restart_all() -> None:
    for ids in _all_random:
        ids._restart()


os.register_at_fork(after_in_child=_restart_all)


class SequentialIds:
    """Names that count from 1: the same calls give the same names, in tests and in the simulation."""

    def __init__(self) -> None:
        self._sessions = count(1)
        self._runs = count(1)
        self._blocks = count(1)

    def session(self) -> str:
        """Return the next session id."""
        return f"{SESSION_PREFIX}{next(self._sessions):032x}"

    def run(self) -> str:
        """Return the next run id."""
        return f"{RUN_PREFIX}{next(self._runs):032x}"

    def block(self) -> int:
        """Return the next base: a multiple of 2**32."""
        return next(self._blocks) << _BLOCK_SHIFT
