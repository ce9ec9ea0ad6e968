"""What the journal's actor does beside writing: it settles in pauses, syncs, lends out its thread, wakes readers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from asm_actors.journal import answers
from asm_actors.journal import messages as m
from asm_actors.journal.batch import Batcher
from asm_actors.journal.sleepers import Sleepers
from asm_actors.journal.tail import Tail
from asm_actors.services import Services
from supervisors import Actor, Down, Timer

__all__ = ["THREAD", "Settle", "Sync", "Upkeep", "error_of"]

logger = logging.getLogger("asm_actors.journal")
THREAD: Final = "asm-journal"
"""The one thread on which the store is written."""
SETTLE_AFTER_S = 0.2
"""A pause in the writing after which the store's memory is moved into its tables."""
SETTLE_STEP = 4096
"""Records of one such step: some ten milliseconds for which a commit may have to wait."""


class Settle:
    """To itself: nothing was written for a while."""


class Sync:
    """To itself: the interval between two syncs is over."""


class Upkeep(Actor):
    """See the module.

    Args:
        services: The system's; its store must be open.
    """

    _tail: Tail

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._batcher = Batcher()
        self._sleepers = Sleepers()
        # Of those who follow one session: which one.
        self._followed: dict[Any, str] = {}
        self._failures = 0
        self._unsynced = False
        self._quiet: Timer | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            m.Await: self._await,
            m.Maintain: self._maintain,
            m.Maintained: self._maintained,
            m.Follow: self._follow,
            Down: self._unfollow,
            Sync: self._sync,
            Settle: self._settle,
        }

    # --- The store ---------------------------------------------------------------------------------------------

    def _settle(self, message: Settle) -> None:
        """Use the pause: what waits in memory goes into the tables, so that later commits need not do it."""
        self._quiet = None
        if not self._batcher.is_idle:
            return
        call = self.dispatcher.run_blocking(self._services.store.settle, SETTLE_STEP, thread=THREAD)
        call.add_done_callback(self._settled)

    def _settled(self, call: asyncio.Future[Any]) -> None:
        if call.cancelled() or not self._actor_ref.is_alive():
            return
        error = call.exception()
        if error is not None:
            # Nothing is lost by it: settling is tried again, and a commit that needs it says why it fails.
            logger.warning("the journal could not be settled: %s", error)
        elif call.result() and self._quiet is None:
            self._quiet = self.send_after(SETTLE_AFTER_S, Settle())

    def _sync(self, message: Sync) -> None:
        interval = self._services.sync_interval
        assert interval is not None
        self.send_after(interval, Sync())
        if self._unsynced:
            self._unsynced = False
            call = self.dispatcher.run_blocking(self._services.store.sync, thread=THREAD)
            call.add_done_callback(self._synced)

    def _synced(self, call: asyncio.Future[Any]) -> None:
        error = error_of(call)
        if error is not None:
            # Durable at the next interval, or the log says so again.
            self._failures += 1
            self._unsynced = True
            logger.error("the journal could not be synced and is tried again: %s", error)

    def _maintain(self, message: m.Maintain) -> None:
        """Run it between two commits: the committing thread does one thing after the other."""
        reply, store = self.reply_later(), self._services.store
        call = self.dispatcher.run_blocking(answers.maintain, store, message.work, reply, thread=THREAD)
        call.add_done_callback(self._maintenance_done)

    def _maintenance_done(self, call: asyncio.Future[Any]) -> None:
        if not call.cancelled() and self._actor_ref.is_alive():
            self._life.put_notice(call.result())

    def _maintained(self, message: m.Maintained) -> None:
        if message.position is not None:
            # It may have added and erased events, past the tail: what is where is the store's to tell.
            self._tail.begin(message.position)
            self._wake(self._sleepers.take_all())
        answers.answer_work(message)

    # --- Reading -----------------------------------------------------------------------------------------------

    def _follow(self, message: m.Follow) -> None:
        self._tail.n_followers += 1
        self.monitor(message.subscriber)
        if message.session_id is not None:
            self._followed[message.subscriber] = message.session_id
            followers = self._services.directory.followers
            followers[message.session_id] = followers.get(message.session_id, 0) + 1

    def _unfollow(self, message: Down) -> None:
        self._tail.n_followers -= 1
        self._sleepers.discard(message.ref)
        session_id = self._followed.pop(message.ref, None)
        if session_id is not None:
            followers = self._services.directory.followers
            followers[session_id] -= 1
            if not followers[session_id]:
                del followers[session_id]

    def _await(self, message: m.Await) -> None:
        if self._tail.has_grown(message.session_id, message.position):
            self._wake((message.subscriber,))
        else:
            self._sleepers.add(message.subscriber, message.session_id)

    def _wake(self, refs: Sequence[Any]) -> None:
        for ref in refs:
            ref.post(m.Wake(self._tail.position))


def error_of(call: asyncio.Future[Any]) -> BaseException | None:
    """The error of a call, which counts as seen by this; None if it has none or was cancelled."""
    return None if call.cancelled() else call.exception()
