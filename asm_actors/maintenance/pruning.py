"""Carrying out the pruning of events; rules in `maintenance.planner` and `maintenance.execution`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.maintenance.planner import Surplus, due_for_soft_delete, is_exempt, surplus_of
from asm_actors.maintenance.work import Work, collected
from asm_actors.sessions.session import Session

__all__ = ["Pruning"]

_PRUNE_AT_ONCE: Final = 2_000
"""Events of one session that are pruned in one write."""


@define
class Pruning(Work):
    """The steps that prune events."""

    def prune_one(self, session_id: str) -> int:
        """Bring one session down to `max_events_per_session`.

        Returns:
            How many events went.

        Raises:
            AsmError: ``session_not_found``, ``invalid_operation``: it lives, or runs are open; what an archive raises.
        """
        self._now = self.around.now_us()
        session, bound = self._store.session(session_id), self.policy.max_events_per_session
        if bound is None:
            return 0
        surplus, count = self._surplus(session)
        if not self._prune(session, surplus.first(max(0, count - bound))):
            raise AsmError(
                ErrorCode.INVALID_OPERATION,
                f"session {session_id} is in use or has open runs: prune it when it is at rest",
                context={"session_id": session_id},
            )
        return self._tally.events_pruned

    def _prune_sessions(self) -> None:
        bound = self.policy.max_events_per_session
        if bound is None:
            return
        found = [
            session.id
            for session in self._sessions()
            if session.last_sequence - (session.forked_at or 0) > bound and self._may_prune(session)
        ]
        self._in_batches(
            "prune", found, lambda batch: self._each(batch, lambda one: self._prune_down(one, bound))
        )

    def _prune_down(self, session_id: str, bound: int) -> None:
        session = self._store.session(session_id)
        surplus, count = self._surplus(session)
        self._prune(session, surplus.first(max(0, count - bound)))

    def _prune_total(self) -> None:
        bound = self.policy.max_total_events
        if bound is None or self._store.last_position() <= bound:
            return
        surplus = self._count_events() - self._tally.events_pruned * self.is_dry_run - bound
        for is_other in (False, True):
            aim = self._tally.events_pruned + surplus

            def prune(session_id: str, aim: int = aim, is_other: bool = is_other) -> None:
                left = aim - self._tally.events_pruned
                if left > 0:
                    self._prune_for_all(session_id, left, is_other=is_other)

            if surplus > 0:
                found = [session.id for session in self._sessions() if self._may_prune(session)]
                before = self._tally.events_pruned
                self._in_batches(
                    "prune_total",
                    found,
                    lambda batch, prune=prune: self._each(batch, prune),  # type: ignore[misc]
                )
                surplus -= self._tally.events_pruned - before

    def _prune_for_all(self, session_id: str, left: int, *, is_other: bool) -> None:
        """Prune at most so many events of one kind from a session."""
        session = self._store.session(session_id)
        surplus, _ = self._surplus(session)
        self._prune(session, (surplus.other if is_other else surplus.expendable)[:left])

    def _count_events(self) -> int:
        return sum(1 for session in self._sessions(include_deleted=True) for _ in self._types(session))

    def _may_prune(self, session: Session) -> bool:
        if is_exempt(self.policy, session) or due_for_soft_delete(self.policy, session, self._now):
            return False
        return not self._store.open_runs(session.id)

    def _surplus(self, session: Session) -> tuple[Surplus, int]:
        """Find what may go of a session; what a fork shares of it may not."""
        forks = [self._store.session(fork) for fork in self._store.forks_of(session.id)]
        shared = max((fork.forked_at or 0 for fork in forks), default=0)
        surplus, count = surplus_of(self.policy, self._types(session))
        return surplus.after(shared), count

    def _prune(self, session: Session, gone: Sequence[int]) -> bool:
        """Archive a session and prune events of it; False if it is in use, and is left to the next execution."""
        if not gone:
            return True
        self._archive(session.id)
        if self.is_dry_run:
            self._tally.events_pruned += len(gone)
            return True
        for start in range(0, len(gone), _PRUNE_AT_ONCE):
            part = gone[start : start + _PRUNE_AT_ONCE]

            def work(idle: tuple[str, ...], part: Sequence[int] = part) -> int | None:
                if not idle or self._store.open_runs(session.id):
                    return None
                return self._store.prune_events(session.id, part)

            count, _ = self.hands.on_idle((session.id,), work)
            if count is None:
                return False
            self._tally.events_pruned += count
        return True

    def _each(self, session_ids: Sequence[str], work: Callable[[str], None]) -> None:
        for session_id in session_ids:
            with collected(self._tally, f"prune of {session_id}"):
                work(session_id)
