"""Every operation of the session manager, defined once.

Each function checks what its caller gave, sends one message (or reads the store), and returns a future. The blocking
surface gets it, the asyncio surface awaits it (`sessions.manager`). Reads are futures that read where they are
waited for: on the caller's thread, or off the caller's event loop. What must be read before a message can be sent is
read by whoever passes it on (`sessions.supervisor`): no operation waits for the store.
"""

from __future__ import annotations

from typing import Any

from asm_actors.serialization import check_seconds
from asm_actors.sessions import messages as m
from asm_actors.sessions.approval_operations import ApprovalOperations
from asm_actors.sessions.control_operations import ControlOperations
from asm_actors.sessions.delivery import Delivery, ask_sessions, deliver_to_run, not_running, tell, tell_run
from asm_actors.sessions.event_operations import EventOperations
from asm_actors.sessions.history_operations import HistoryOperations
from asm_actors.sessions.limit_operations import LimitOperations
from asm_actors.sessions.provider_operations import ProviderOperations
from asm_actors.sessions.requests import Drain, DrainReport
from asm_actors.sessions.run_control_operations import RunControlOperations
from asm_actors.sessions.run_operations import RunOperations
from asm_actors.sessions.session_control_operations import SessionControlOperations
from asm_actors.sessions.session_operations import SessionOperations
from asm_actors.status import system_status
from supervisors import DispatcherStopped, Future

__all__ = ["Operations"]


class Operations(
    SessionOperations,
    SessionControlOperations,
    LimitOperations,
    RunOperations,
    RunControlOperations,
    ControlOperations,
    ApprovalOperations,
    EventOperations,
    HistoryOperations,
    ProviderOperations,
):
    """The operations; see the module. Ids in, values out; what is refused raises an `AsmError`."""

    def status(self, session_id: str | None = None) -> Future[dict[str, Any]]:
        """Tell what runs and what waits, of one live session or of the whole system.

        Returns:
            For a session: ``session_id status in_flight_runs in_flight_count queued_runs queued_count held_runs
            created_runs max_concurrent_runs max_queued_runs available_run_slots second_run priority holds_session_slot
            last_sequence subscribers``. Queued runs stand in the order in which they start. Runs in flight have their
            turn in the session; they may wait for their slots of the whole.

            For the system: ``active_sessions waiting_sessions active_runs waiting_runs open_runs
            max_parallel_sessions max_parallel_runs max_waiting_runs available_session_slots available_run_slots limits
            pools providers routers lost_providers events subscriptions sessions is_draining`` (None: no limit).
            ``limits`` are the system's; ``pools`` has, under ``sessions`` and ``runs``, by name (``runs``, and while
            they are used ``agent:…``, ``tenant:…``, ``provider:…``) ``limit in_use available waiting longest_wait_s
            peak granted refused``. ``sessions`` has ``live`` (those in memory), ``passivated`` and ``revived`` (how
            often one left memory and came back); ``subscriptions`` has ``open`` (how many read now) and ``lags``, of
            each named one the events behind (None where it follows one session: see `subscriptions`) once the first
            was asked for.

        Raises:
            ResourceError: ``session_not_found``.
        """
        if session_id is not None:
            return self._deliver(session_id, m.GetStatus())
        future: Future[dict[str, Any]] = Future()
        dispatcher = self._services.dispatcher
        future._driver = dispatcher.driver

        def look() -> None:
            try:
                future.set(system_status(self._services))
            except Exception:  # the asker's, and must not be lost in the loop
                future.set_exception()

        try:
            dispatcher.call_from_outside(look)
        except DispatcherStopped:
            future.set_error(not_running(self._services))
        return future

    def drain(self, timeout: float | None = 60.0) -> Future[DrainReport]:
        """Admit no new sessions and runs, and wait until none is open, or until the time is over.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            ``orphans``: ids of the runs that are still open (they go on), and ``waited_s``.
        """
        return ask_sessions(self._services, Drain(check_seconds(timeout)), Delivery(self._services))

    def send(self, session_id: str, message: Any, *, wants_reply: bool = True) -> Future[Any]:
        """Send any message of `asm_actors.messages` to a session."""
        if not wants_reply:
            tell(self._services, session_id, message)
            return Future()
        return self._deliver(session_id, message)

    def send_to_run(self, run_id: str, message: Any, *, wants_reply: bool = True) -> Future[Any]:
        """Send any message that names a run to the run's session."""
        if not wants_reply:
            tell_run(self._services, run_id, message)
            return Future()
        return deliver_to_run(self._services, run_id, message)
