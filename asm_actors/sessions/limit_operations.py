"""The operations on limits; see `sessions.operations`."""

from __future__ import annotations

from typing import Any

from asm_actors.serialization import check_id
from asm_actors.sessions import messages as m
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.options import session_options
from asm_actors.sessions.session import Session
from supervisors import Future

__all__ = ["LimitOperations"]


class LimitOperations(Carrying):
    """Part of `Operations`."""

    def update_session_limits(
        self,
        session_id: str,
        *,
        max_concurrent_runs: int | None = None,
        max_queued_runs: int | None = None,
        second_run: str | None = None,
        priority: int | None = None,
    ) -> Future[Session]:
        """Change the limits of a session; they hold after a restart too. What is None stays as it is.

        More places are taken at once by runs that wait. Fewer stop nobody: as runs end, no others start until there is
        a place. Nor does a smaller queue lose what waits in it.

        Args:
            session_id: Which session, not over.
            max_concurrent_runs: Runs of it that may execute at once.
            max_queued_runs: Runs of it that may wait for their turn; 0: none.
            second_run: What becomes of a run that comes while all places are taken, as for `start_session`.
            priority: Of its runs that say nothing of their own; those in line keep their places.

        Returns:
            The session, once that is durable.

        Raises:
            ValidationError: One is malformed.
            ConcurrencyError: ``invalid_operation``: the session is over, or about to end.
            ResourceError: ``session_not_found``.
        """
        given: dict[str, Any] = {
            "max_concurrent_runs": max_concurrent_runs,
            "max_queued_runs": max_queued_runs,
            "second_run": second_run,
            "priority": priority,
        }
        session_options(given)
        return self._deliver(check_id(session_id, "session_id"), m.UpdateSessionLimits(**given))
