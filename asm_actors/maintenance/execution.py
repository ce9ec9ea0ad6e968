"""Carrying out a retention policy, in steps small enough that a live system goes on serving.

1. The steps and their order stand in `maintenance.planner`. One that fails is noted, and the next one is taken.
2. A step takes `batch_size` sessions at a time; after each batch the journal is left alone for as long as the batch
   took, so that at most half of its time goes into this.
3. What is due is looked at again where it is carried out: nobody can change it there any more. Sessions with open runs
   are never touched. Those that live are deleted softly by their own actors; for all else they have to rest first,
   and are left to the next execution if they do not.
4. Archives are written before anything of their session is lost; if one cannot be written, the session stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from asm_actors.errors import AsmError
from asm_actors.events import EventType
from asm_actors.journal.append import Append
from asm_actors.maintenance.cleaning import clean_artifacts, clean_cursors
from asm_actors.maintenance.planner import DAY_US, due_for_hard_delete, due_for_soft_delete
from asm_actors.maintenance.pruning import Pruning
from asm_actors.maintenance.report import MaintenanceReport
from asm_actors.maintenance.work import collected
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.sessions.session_drafts import reason_data, session_draft

__all__ = ["Execution"]


@define
class Execution(Pruning):
    """One execution of a policy; see the module."""

    def run(self) -> MaintenanceReport:
        """Carry the policy out.

        Returns:
            What was done, and what could not be.
        """
        began, self._now = self.around.seconds(), self.around.now_us()
        for name, step in (
            ("soft_delete", self._soft_delete),
            ("hard_delete", self._hard_delete),
            ("prune", self._prune_sessions),
            ("prune_total", self._prune_total),
            ("artifacts", self._clean_artifacts),
            ("cursors", self._clean_cursors),
        ):
            with collected(self._tally, name):
                step()
        took = round((self.around.seconds() - began) * 1000)
        return self._tally.report(took, is_dry_run=self.is_dry_run)

    def _soft_delete(self) -> None:
        policy = self.policy
        if policy.max_session_age_days is None and policy.max_completed_session_age_days is None:
            return
        statuses = frozenset(SessionStatus) - policy.exempt_statuses
        due = self._due(
            lambda session: due_for_soft_delete(policy, session, self._now), statuses, include_deleted=False
        )
        self._in_batches("soft_delete", due, self._delete_batch_softly)

    def _delete_batch_softly(self, batch: Sequence[str]) -> None:
        if self.is_dry_run:
            self._tally.sessions_soft_deleted += len(batch)
            return
        count, live = self.hands.on_idle(tuple(batch), self._delete_softly)
        self._tally.sessions_soft_deleted += count
        for session_id in live:
            with collected(self._tally, f"soft_delete of {session_id}"):
                if due_for_soft_delete(self.policy, self._store.session(session_id), self._now):
                    self._tally.sessions_soft_deleted += self.hands.delete_live(session_id)

    def _delete_softly(self, session_ids: tuple[str, ...]) -> int:
        appends: list[Append] = []
        for session_id in session_ids:
            session = self._store.session(session_id)
            if self._store.open_runs(session_id) or not due_for_soft_delete(self.policy, session, self._now):
                continue
            draft = session_draft(
                session, EventType.SESSION_DELETED, self._now, reason_data("retention policy")
            )
            deleted = session.replace(deleted_us=self._now, updated_us=self._now)
            appends.append(
                Append(session_id, (draft,), self.around.block(), deleted, (), session.last_sequence)
            )
        answers = self._store.commit(appends)
        refused = [answer for answer in answers if isinstance(answer, AsmError)]
        self._tally.errors += [f"soft_delete: {error.message}" for error in refused]
        return len(answers) - len(refused)

    def _hard_delete(self) -> None:
        policy = self.policy
        if policy.hard_delete_after_days is None:
            return
        due = self._due(
            lambda session: due_for_hard_delete(policy, session, self._now), None, include_deleted=True
        )
        # The youngest first: a fork goes before the session whose history it shares.
        self._in_batches("hard_delete", due[::-1], self._delete_batch_for_good)

    def _delete_batch_for_good(self, batch: Sequence[str]) -> None:
        ready = [session_id for session_id in batch if self._is_archived(session_id)]
        if self.is_dry_run:
            self._tally.sessions_hard_deleted += len(ready)
            return
        count, _ = self.hands.on_idle(tuple(ready), self._delete_for_good)
        self._tally.sessions_hard_deleted += count

    def _delete_for_good(self, session_ids: tuple[str, ...]) -> int:
        store, going = self._store, set[str]()
        for session_id in session_ids:
            if not store.has_session(session_id) or store.open_runs(session_id):
                continue
            # What a fork shares stays as long as the fork does.
            is_due = due_for_hard_delete(self.policy, store.session(session_id), self._now)
            if is_due and going.issuperset(store.forks_of(session_id)):
                going.add(session_id)
        return store.erase_sessions(going).sessions if going else 0

    def _due(
        self,
        is_due: Callable[[Session], bool],
        statuses: frozenset[SessionStatus] | None,
        *,
        include_deleted: bool,
    ) -> list[str]:
        found = self._sessions(statuses, include_deleted=include_deleted)
        return [session.id for session in found if is_due(session) and not self._store.open_runs(session.id)]

    def _clean_artifacts(self) -> None:
        if self.artifact_store is not None:
            self._tally.artifacts_cleaned += clean_artifacts(
                self.hands,
                self.artifact_store,
                self._tally.errors,
                deleted_before=self._age_limit(),
                is_dry_run=self.is_dry_run,
            )

    def _age_limit(self) -> int | None:
        days = self.policy.hard_delete_after_days
        return None if days is None else self._now - days * DAY_US

    def _clean_cursors(self) -> None:
        self._tally.orphaned_sequences_cleaned += clean_cursors(self.hands, is_dry_run=self.is_dry_run)
