"""The operations on runs that are there already; see `sessions.operations`."""

from __future__ import annotations

from typing import Any

from asm_actors.journal.query import check_count, statuses_of
from asm_actors.runs.messages import CancelRun
from asm_actors.runs.run import Run, RunStatus
from asm_actors.serialization import check_id
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.delivery import deliver_to_run
from supervisors import Future

__all__ = ["ControlOperations"]


class ControlOperations(Carrying):
    """Part of `Operations`."""

    def cancel_run(self, run_id: str, *, reason: str | None = None, by: str | None = None) -> Future[Run]:
        """Withdraw a run.

        When this returns, its stream is closed, what it had said is in the journal, its slot is free. Tools that it
        calls are cancelled; one that is a plain function cannot be stopped, and the run's error names it.

        Cancelling a run that is over changes nothing.

        Args:
            run_id: Which run.
            reason: Why, for the journal.
            by: Who withdraws it, for the journal.

        Returns:
            The run's final record.

        Raises:
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        return deliver_to_run(self._services, run_id, CancelRun(reason, run_id, by))

    def get_run(self, run_id: str) -> Future[Run]:
        """Return a run's record.

        Raises:
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        return self._read(lambda: self._services.store.run(run_id))

    def get_session_runs(
        self, session_id: str, *, status: Any = None, limit: int | None = None
    ) -> Future[list[Run]]:
        """Return the runs of a session in the order of their creation.

        Raises:
            ResourceError: ``session_not_found``.
            StateError: ``invalid_status``.
            ValidationError: The limit is no integer of at least 0.
        """
        session_id = check_id(session_id, "session_id")
        statuses, most = statuses_of(RunStatus, status), check_count(limit)
        return self._read(lambda: self._services.store.runs(session_id, status=statuses, limit=most))

    def place_before(self, run_id: str) -> Future[tuple[str, int]]:
        """Return a run's session, and a sequence number after which all events of the run lie.

        Raises:
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        store = self._services.store

        def read() -> tuple[str, int]:
            session_id = store.run(run_id).session_id
            head = store.head(session_id)
            # Read again, after the head: if it has not begun by now, all its events lie beyond that.
            run = store.run(run_id)
            return session_id, head if run.started_us is None and not run.is_terminal else 0

        return self._read(read)
