"""The journal's actor: the single writer of the store, and the waker of those who read it.

Writes come in as messages, leave as group commits on a thread of their own, and are acknowledged after the commit.
A commit that fails is tried again with a growing pause for some seconds (the disk may have been full); then its
writers are told, and nothing of it was shown to anybody. Until a commit goes through again the next ones have one
try each: nobody waits for longer than these seconds.

A fault of a writer or a reader is never this actor's: whoever is gone, or has its answer already, is passed over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakSet

from asm_actors.effects import Reply
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal import messages as m
from asm_actors.journal.answers import built_on_sand, follow_up, is_barrier, notify, refuse_all
from asm_actors.journal.append import Append
from asm_actors.journal.statistics import JournalStatistics
from asm_actors.journal.tail import Tail
from asm_actors.journal.taken import commit_again
from asm_actors.journal.upkeep import SETTLE_AFTER_S, THREAD, Settle, Sync, Upkeep, error_of
from asm_actors.services import Services
from supervisors.exits import ExitReason

__all__ = ["JournalActor"]

logger = logging.getLogger("asm_actors.journal")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
"""Before a commit that failed is tried again; the pause doubles with each failure."""
SHORTEST_PAUSE_S = 0.001
"""What is left of the patience counts as nothing from here on: a clock may not be able to tell it from nothing."""
LINGER_S = 0.002
"""How long a write that nobody waits for may wait for company: streams of thousands of runs make few large commits,
and a short run's start and end one. Only where the system gathers at all (`Services.linger`)."""
GATHER_ROUNDS = 4
"""Rounds of the event loop before the first commit after a pause."""


class _Opened:
    """To itself: what an earlier life of this actor had left under way is through."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class _TryAgain:
    """To itself: try the failed batch again."""


class _Leave(NamedTuple):
    """To itself: what was told before it was asked to leave has been taken."""

    reason: ExitReason


class JournalActor(Upkeep):
    """See the module.

    Args:
        services: The system's; its store must be open.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._failing_since: float | None = None
        self._tries = 0
        # Commits in line that may have been taken although they failed, by identity.
        self._doubtful: set[int] = set()
        self._leaving: ExitReason | None = None
        self._starting = False
        self._lingers = False
        # Lives of writers of which something was refused.
        self._fenced: WeakSet[Any] = WeakSet()
        self._handlers |= {
            m.Commit: self._take,
            m.Committed: self._committed,
            m.Flush: self._flush,
            _Opened: self._opened,
            _TryAgain: self._try_again,
            _Leave: self._leave,
        }

    @property
    def tail(self) -> Tail:
        """The newest events; read it on the dispatcher's thread only."""
        return self._tail

    @property
    def is_idle(self) -> bool:
        """Whether everything that it was told is durable, or was refused."""
        return self._batcher.is_idle

    def statistics(self) -> JournalStatistics:
        """Numbers of this moment."""
        batcher = self._batcher
        return JournalStatistics(
            position=self._tail.position,
            commits=batcher.n_commits,
            events=batcher.n_events,
            largest_batch=batcher.largest,
            waiting=len(batcher.waiting),
            waiting_events=batcher.n_waiting_events,
            held_back=len(self._services.directory.held_back),
            failures=self._failures,
            followers=self._tail.n_followers,
        )

    def on_start(self) -> None:
        store, directory = self._services.store, self._services.directory
        self._tail = Tail(store.last_position())
        directory.journal_is_behind = directory.journal_is_full = False
        directory.held_back.clear()
        directory.followers.clear()
        # The commit of an earlier life may still run on the committing thread: nothing is written or answered before
        # it is through, so that whoever starts again from the journal finds all of it.
        self._batcher.under_way = []
        call = self.dispatcher.run_blocking(store.last_position, thread=THREAD)
        call.add_done_callback(self._open_done)
        if self._services.sync_interval is not None:
            self.send_after(self._services.sync_interval, Sync())

    def on_receive(self, message: Any) -> Any:
        handler = self._handlers.get(type(message))
        return super().on_receive(message) if handler is None else handler(message)

    def on_exit_request(self, reason: ExitReason) -> bool:
        """What was told before is made durable first, that which is still in line for this actor too."""
        if self._batcher.is_idle and not len(self._life.queue):
            return False
        self._life.put_notice(_Leave(reason))
        return True

    def _leave(self, message: _Leave) -> None:
        self._leaving = message.reason
        if self._batcher.under_way is None and not self._starting:
            self._next()

    def _open_done(self, call: asyncio.Future[Any]) -> None:
        error = error_of(call)
        if not self.actor_ref.is_alive() or call.cancelled():
            return
        if error is not None:
            self._life.signal("crash", error)
        else:
            self._life.put_notice(_Opened(call.result()))

    def _opened(self, message: _Opened) -> None:
        self._tail.begin(message.position)
        self._batcher.finish()
        self._next()

    # --- Writing -----------------------------------------------------------------------------------------------

    def _take(self, commit: m.Commit) -> None:
        if self._fenced and commit.writer.life in self._fenced:
            self._refuse(commit, built_on_sand())
            return
        self._batcher.add(commit)
        if self._batcher.is_behind:
            directory = self._services.directory
            directory.journal_is_behind = True
            directory.journal_is_full = self._batcher.is_full
        if self._batcher.under_way is None and not self._starting:
            self._start()

    def _start(self) -> None:
        """Start a commit: soon if somebody waits for it, after a moment otherwise."""
        if self._batcher.is_urgent or not self._services.linger or self._leaving is not None:
            self._starting = True
            self._start_soon(GATHER_ROUNDS)
        elif not self._lingers:
            self._lingers = True
            self.dispatcher.call_later(LINGER_S, self._lingered)

    def _lingered(self) -> None:
        self._lingers = False
        if self._batcher.under_way is None and not self._starting and self._actor_ref.is_alive():
            self._next()

    def _flush(self, message: m.Flush) -> None:
        barrier = Append("", (), 0)
        self._take(m.Commit(self.actor_ref, barrier, (Reply(self.reply_later(), None),)))

    def _start_soon(self, rounds: int) -> None:
        """Start a commit after some rounds of the loop: what they bring shares it.

        A session's whole start, or a short answer's whole run, takes a few rounds and then costs one commit, not three.
        """
        if not self._actor_ref.is_alive():
            return
        if rounds:
            self.dispatcher.loop.call_soon(self._start_soon, rounds - 1)
            return
        self._starting = False
        if self._batcher.under_way is None:
            self._next()

    def _next_or_linger(self) -> None:
        """After a commit: go on with what waits, unless it may linger."""
        if self._batcher.waiting and not self._batcher.is_urgent:
            self._start()
        else:
            self._next()

    def _next(self) -> None:
        batch = self._batcher.take()
        if self._services.directory.journal_is_behind:
            self._make_room()
        if batch is None:
            if self._leaving is not None:
                self.exit(self._leaving)
            elif self._quiet is None:
                self._quiet = self.send_after(SETTLE_AFTER_S, Settle())
            return
        if self._fenced:
            batch = self._batcher.under_way = self._sound(batch)
        self._start_commit(batch)

    def _sound(self, batch: list[m.Commit]) -> list[m.Commit]:
        """Leave out what was told by writers of whom something was refused since they told it."""
        sound = []
        for commit in batch:
            if commit.writer.life in self._fenced:
                self._doubtful.discard(id(commit))
                self._refuse(commit, built_on_sand())
            else:
                sound.append(commit)
        return sound

    def _make_room(self) -> None:
        """Let those go on that were held back, if the line is short again."""
        directory = self._services.directory
        directory.journal_is_full = self._batcher.is_full
        directory.journal_is_behind = self._batcher.is_behind
        if not directory.journal_is_behind:
            held, directory.held_back = directory.held_back, []
            for ref in held:
                ref.post(m.HasRoom())

    def _start_commit(self, batch: list[m.Commit]) -> None:
        writes = [commit for commit in batch if not is_barrier(commit.append)]
        if not writes:
            self._acknowledge(batch, ())
            return
        appends = [commit.append for commit in writes]
        commit = self._services.store.commit
        if self._doubtful:
            doubtful = [number for number, one in enumerate(writes) if id(one) in self._doubtful]
            commit = partial(commit_again, self._services.store, doubtful=doubtful)
        call = self.dispatcher.run_blocking(partial(commit, appends, sync=self._services.sync), thread=THREAD)
        call.add_done_callback(self._commit_done)

    def _commit_done(self, call: asyncio.Future[Any]) -> None:
        error = error_of(call)
        if call.cancelled() or not self.actor_ref.is_alive():
            return
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
        if self._tries:
            self._tries = 0
            # What failed may have been taken all the same, and only its acknowledgement was lost: where everything
            # is now, the store must tell.
            self._tail.begin(self._services.store.last_position())
            self._wake(self._sleepers.take_all())
        self._unsynced = not self._services.sync
        batch = self._batcher.under_way
        assert batch is not None
        self._acknowledge(batch, message.answers)

    def _acknowledge(self, batch: list[m.Commit], answers: Sequence[Any]) -> None:
        self._batcher.finish()
        if self._doubtful:
            self._doubtful.difference_update(map(id, batch))
        tail, place, sleepers = self._tail, iter(answers), self._sleepers
        before = tail.position
        for commit in batch:
            if not is_barrier(commit.append):
                answer = next(place)
                if isinstance(answer, AsmError):
                    self._refuse(commit, answer)
                    continue
                tail.add(commit.append, answer)
                if sleepers and answer.count:
                    self._wake(sleepers.take(commit.append.session_id))
            elif self._fenced and commit.writer.life in self._fenced:
                self._refuse(commit, built_on_sand())
                continue
            for effect in commit.then:
                follow_up(effect, commit.writer)
        if sleepers and tail.position > before:
            self._wake(sleepers.take(None))
        self._next_or_linger()

    def _failed(self, error: AsmError) -> None:
        self._failures += 1
        self._tries += 1
        patience, now = self._services.patience, self.now()
        if self._failing_since is None:
            self._failing_since = now
            logger.error("a commit failed and is tried again for %g s: %s", patience, error)
        left = self._failing_since + patience - now
        batch = self._batcher.under_way
        assert batch is not None
        self._doubtful.update(map(id, batch))
        if left > SHORTEST_PAUSE_S:
            if self._tries > 1:
                self._batcher.halve()
            self.send_after(min(self._pause(), left), _TryAgain())
            return
        self._batcher.finish()
        self._doubtful.difference_update(map(id, batch))
        logger.error("%d writes could not be made durable; their writers are told: %s", len(batch), error)
        given_up = AsmError(ErrorCode.STORAGE_WRITE_FAILED, error.message, details=error.details)
        for commit in batch:
            if not is_barrier(commit.append) or commit.writer.life in self._fenced:
                self._refuse(commit, given_up)
                continue
            for effect in commit.then:  # nothing that its writer told before is lost
                follow_up(effect, commit.writer)
        # A pause before the next batch: its writers start again from the journal, and would be back at once, for ever.
        self._batcher.under_way = []
        self.send_after(self._pause(), _TryAgain())

    def _pause(self) -> float:
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * (1 << min(self._tries - 1, 10)))

    def _refuse(self, commit: m.Commit, error: AsmError) -> None:
        """Tell a writer that this will not be durable; what it told later builds on it and is refused as well."""
        self._fenced.add(commit.writer.life)
        refuse_all(commit.then, error)
        notify(commit.writer, m.WriteFailed(error))

    def _try_again(self, message: _TryAgain) -> None:
        if self._batcher.under_way is not None:
            self._start_commit(self._batcher.under_way)
