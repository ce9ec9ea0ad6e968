"""The journal's actor: the single writer of the store, and the waker of those who read it.

Writes come in as messages, leave as group commits on a thread of their own, and are acknowledged after the commit.
A commit that fails is tried again with a growing pause for some seconds (the disk may have been full); then its
writers are told, and nothing of it was shown to anybody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from asm_actors.effects import Note, Refuse, Reply, Then
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal import messages as m
from asm_actors.journal.append import Append
from asm_actors.journal.batch import Batcher
from asm_actors.journal.tail import Tail
from asm_actors.services import Services
from supervisors import Actor, Timer
from supervisors.exits import ExitReason

__all__ = ["JournalActor", "JournalStatistics"]

logger = logging.getLogger("asm_actors.journal")
_THREAD = "asm-journal"
SETTLE_AFTER_S = 0.2
"""A pause in the writing after which the store's memory is moved into its tables."""
SETTLE_STEP = 4096
"""Records of one such step: some ten milliseconds for which a commit may have to wait."""


@frozen
class JournalStatistics:
    """The journal's actor at one moment.

    Attributes:
        position: Last committed position.
        commits: Group commits since the start.
        events: Events in them.
        largest_batch: Most events in one of them.
        waiting: Writes in line.
        failures: Commits that failed and were tried again.
        followers: Subscriptions.
    """

    position: int
    commits: int
    events: int
    largest_batch: int
    waiting: int
    failures: int
    followers: int


class _TryAgain:
    """To itself: try the failed batch again."""


class _Settle:
    """To itself: nothing was written for a while."""


class _Sync:
    """To itself: the interval between two syncs is over."""


class JournalActor(Actor):
    """See the module.

    Args:
        services: The system's; its store must be open.
    """

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._batcher = Batcher()
        self._tail: Tail
        self._waiting: dict[Any, m.Await] = {}
        self._failures = 0
        self._failing_since: float | None = None
        self._leaving: ExitReason | None = None
        self._unsynced = False
        self._quiet: Timer | None = None
        self._handlers = {
            m.Commit: self._take,
            m.Committed: self._committed,
            m.Flush: self._flush,
            m.Await: self._await,
            m.Follow: self._follow,
            m.Unfollow: self._unfollow,
            _TryAgain: self._try_again,
            _Sync: self._sync,
            _Settle: self._settle,
        }

    @property
    def tail(self) -> Tail:
        """The newest events; read it on the dispatcher's thread only."""
        return self._tail

    def statistics(self) -> JournalStatistics:
        """Numbers of this moment."""
        batcher = self._batcher
        return JournalStatistics(
            position=self._tail.position,
            commits=batcher.n_commits,
            events=batcher.n_events,
            largest_batch=batcher.largest,
            waiting=len(batcher.waiting),
            failures=self._failures,
            followers=self._tail.n_followers,
        )

    def on_start(self) -> None:
        self._tail = Tail(self._services.store.last_position())
        if self._services.sync_interval is not None:
            self.send_after(self._services.sync_interval, _Sync())

    def on_receive(self, message: Any) -> Any:
        handler = self._handlers.get(type(message))
        return super().on_receive(message) if handler is None else handler(message)

    def on_exit_request(self, reason: ExitReason) -> bool:
        """What was told before is made durable first."""
        if self._batcher.is_idle:
            return False
        self._leaving = reason
        return True

    # --- Writing -----------------------------------------------------------------------------------------------

    def _take(self, commit: m.Commit) -> None:
        self._batcher.add(commit)
        if self._batcher.under_way is None:
            self._next()

    def _flush(self, message: m.Flush) -> None:
        barrier = Append("", (), 0)
        self._take(m.Commit(self.actor_ref, barrier, (Reply(self.reply_later(), None),)))

    def _next(self) -> None:
        batch = self._batcher.take()
        if batch is None:
            if self._leaving is not None:
                self.exit(self._leaving)
            elif self._quiet is None:
                self._quiet = self.send_after(SETTLE_AFTER_S, _Settle())
            return
        self._start_commit(batch)

    def _start_commit(self, batch: list[m.Commit]) -> None:
        appends = [commit.append for commit in batch if not _is_barrier(commit.append)]
        if not appends:
            self._acknowledge(batch, ())
            return
        call = self.dispatcher.run_blocking(
            lambda: self._services.store.commit(appends, sync=self._services.sync), thread=_THREAD
        )
        call.add_done_callback(self._commit_done)

    def _commit_done(self, call: asyncio.Future[Any]) -> None:
        if call.cancelled() or not self.actor_ref.is_alive():
            if not call.cancelled():
                call.exception()
            return
        error = call.exception()
        if error is None:
            self._life.put_notice(m.Committed(call.result(), None))
        elif isinstance(error, AsmError):
            self._life.put_notice(m.Committed((), error))
        else:
            self._life.signal("crash", error)

    def _committed(self, message: m.Committed) -> None:
        if message.error is not None:
            self._failed(message.error)
            return
        self._failing_since = None
        self._unsynced = not self._services.sync
        batch = self._batcher.under_way
        assert batch is not None
        self._acknowledge(batch, message.answers)

    def _acknowledge(self, batch: list[m.Commit], answers: Sequence[Any]) -> None:
        self._batcher.finish()
        tail, place = self._tail, iter(answers)
        for commit in batch:
            if not _is_barrier(commit.append):
                answer = next(place)
                if isinstance(answer, AsmError):
                    _refuse(commit, answer)
                    continue
                tail.add(commit.append, answer)
            for effect in commit.then:
                _follow_up(effect, commit.writer)
        if self._waiting:
            self._wake_waiting()
        self._next()

    def _failed(self, error: AsmError) -> None:
        self._failures += 1
        now = self.now()
        if self._failing_since is None:
            self._failing_since = now
            logger.error("a commit failed and is tried again for %.0f s: %s", self._services.patience, error)
        if now - self._failing_since < self._services.patience:
            self.send_after(min(1.0, 0.05 * 2 ** min(self._failures, 5)), _TryAgain())
            return
        self._failing_since = None
        logger.error("a commit could not be made durable; its writers are told: %s", error)
        given_up = AsmError(ErrorCode.STORAGE_WRITE_FAILED, error.message, details=error.details)
        for commit in self._batcher.finish():
            _refuse(commit, given_up)
        self._next()

    def _settle(self, message: _Settle) -> None:
        """Use the pause: what waits in memory goes into the tables, so that later commits need not do it."""
        self._quiet = None
        if not self._batcher.is_idle:
            return
        call = self.dispatcher.run_blocking(self._services.store.settle, SETTLE_STEP, thread=_THREAD)
        call.add_done_callback(self._settled)

    def _settled(self, call: asyncio.Future[Any]) -> None:
        if call.cancelled() or not self._actor_ref.is_alive():
            return
        error = call.exception()
        if error is not None:
            # Nothing is lost by it: settling is tried again, and a commit that needs it says why it fails.
            logger.warning("the journal could not be settled: %s", error)
        elif call.result() and self._quiet is None:
            self._quiet = self.send_after(SETTLE_AFTER_S, _Settle())

    def _try_again(self, message: _TryAgain) -> None:
        if self._batcher.under_way is not None:
            self._start_commit(self._batcher.under_way)

    def _sync(self, message: _Sync) -> None:
        interval = self._services.sync_interval
        assert interval is not None
        self.send_after(interval, _Sync())
        if self._unsynced:
            self._unsynced = False
            self.dispatcher.run_blocking(self._services.store.sync, thread=_THREAD)

    # --- Reading -----------------------------------------------------------------------------------------------

    def _follow(self, message: m.Follow) -> None:
        self._tail.n_followers += 1

    def _unfollow(self, message: m.Unfollow) -> None:
        self._tail.n_followers -= 1
        self._waiting.pop(message.subscriber, None)

    def _await(self, message: m.Await) -> None:
        if self._tail.has_grown(message.session_id, message.position):
            message.subscriber.post(m.Wake(self._tail.position))
        else:
            self._waiting[message.subscriber] = message

    def _wake_waiting(self) -> None:
        tail = self._tail
        ready = [ref for ref, wish in self._waiting.items() if tail.has_grown(wish.session_id, wish.position)]
        for ref in ready:
            del self._waiting[ref]
            ref.post(m.Wake(tail.position))


def _is_barrier(append: Append) -> bool:
    return not append.drafts and append.session is None and not append.runs


def _follow_up(effect: Then, writer: Any) -> None:
    if type(effect) is Reply:
        if effect.to is not None:
            effect.to.set(effect.value)
    elif type(effect) is Note:
        writer.post(effect.message)
    elif type(effect) is Refuse and effect.to is not None:
        effect.to.set_error(effect.error)


def _refuse(commit: m.Commit, error: AsmError) -> None:
    for effect in commit.then:
        if not isinstance(effect, Note) and effect.to is not None:
            effect.to.set_error(error)
    commit.writer.post(m.WriteFailed(error))
