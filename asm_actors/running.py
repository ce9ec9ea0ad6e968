"""What both surfaces of a running system share: making its services, starting its tree, stopping it in order."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, cast

from attrs import evolve, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.handles import RunHandle, SessionHandle
from asm_actors.journal.store import Store
from asm_actors.redacted_logs import LOGS
from asm_actors.serialization import check_integer, check_seconds
from asm_actors.services import JOURNAL, SESSIONS, Services, mcp_name
from asm_actors.sessions.requests import Drain, DrainReport
from asm_actors.tools.mcp_tools import ask_for_tools, tools_of_servers
from asm_actors.tree import root_spec
from supervisors import ActorDeadError, Dispatcher, DispatcherStopped, Future, StartFailed, Supervisor
from supervisors import control as supervision
from supervisors.reports import IntensityReached, Report

__all__ = ["StopReport", "SystemBase"]

logger = logging.getLogger("asm_actors")

STOP_GRACE_S = 60.0
"""How long the tree may take to stop after the drain: each level has its own shorter time."""
_LEAST_PATIENCE_S = 1.0
"""How long coroutines of tools may take to end at least, however little of a stop's time the drain has left."""


@frozen
class StopReport:
    """How a system stopped.

    Attributes:
        orphans: Ids of runs that were to be executed and are still open; they are in the journal, and the next start
            takes them up.
        is_clean: Whether the tree stopped within its time, and no tool was left behind that cannot be stopped.
        signal: The signal that asked for it, if one did (`run_until_signal`).
    """

    orphans: tuple[str, ...] = ()
    is_clean: bool = True
    signal: int | None = None


class SystemBase:
    """What both surfaces share. Not for direct use."""

    def __init__(self, services: Services, dispatcher: Dispatcher, *, owns_dispatcher: bool) -> None:
        self._services = services
        self._dispatcher = dispatcher
        self._owns_dispatcher = owns_dispatcher
        self._root: Any = None
        self._stop_lock = threading.Lock()
        self._draining: Future[DrainReport] | None = None
        self._waits: list[float | None] = []
        self._stopped: StopReport | None = None

    @property
    def services(self) -> Services:
        """What the system's actors share; for diagnosis and tests."""
        return self._services

    @property
    def store(self) -> Store:
        """The journal's store, for reading."""
        return self._services.store

    @property
    def dispatcher(self) -> Dispatcher:
        """Who runs the system's actors."""
        return self._dispatcher

    @property
    def root(self) -> Any:
        """Ref of the root supervisor."""
        return self._root

    @property
    def is_running(self) -> bool:
        """Whether it takes work: started, and neither stopped nor given up by its own tree."""
        return self._stopped is None and self._root is not None and self._root.is_alive()

    def session(self, session_id: str) -> SessionHandle:
        """A session as an actor: tell it, ask it; see `asm_actors.messages`."""
        return SessionHandle(self._services, session_id)

    def run(self, run_id: str) -> RunHandle:
        """A run as an actor: ``system.run(id).tell(messages.CancelRun(reason="user"))``."""
        return RunHandle(self._services, run_id)

    def _note(self, report: Report) -> None:
        if not isinstance(report, IntensityReached):
            return
        lost_servers = [name for name in self._services.mcp_servers if report.child_id == mcp_name(name)]
        if lost_servers:
            self._services.directory.lost_servers.update(lost_servers)
            logger.critical("the MCP server %s is given up; calls of its tools fail", lost_servers[0])
        elif report.child_id in self._services.providers:
            name = str(report.child_id)
            self._services.directory.lost_providers.add(name)
            logger.critical(
                "provider %s crashed more than %d times in %g s and is given up; its runs fail, others go on",
                name,
                report.intensity,
                report.period,
            )

    def _begin(self) -> None:
        """Open the store and start the tree; of a start that fails nothing is left. Blocks."""
        if self._services.redactor is not None:
            LOGS.begin(self._services.redactor)
        try:
            self._services.store.open()
        except BaseException:
            self._close_dispatcher()
            raise
        try:
            self._dispatcher.open()
            if self._services.whereis(JOURNAL) is not None:
                raise AsmError(
                    ErrorCode.INVALID_OPERATION,
                    f"another actor system runs on {self._dispatcher!r}: give each its own dispatcher",
                )
            self._start_tree()
        except BaseException:
            self._finish(())
            raise
        self._services.directory.root = self._root

    def _start_tree(self) -> None:
        spec = root_spec(self._services, self._note)
        children, at = spec["children"], len(spec["children"])
        if self._services.mcp_servers:
            # Sessions take up their runs when they start, and runs must know their tools.
            at = next(at for at, child in enumerate(children) if child.id == SESSIONS)
        self._root = self._dispatcher.start(Supervisor, **{**spec, "children": children[:at]})
        try:
            # Answered when all children have started, for the root starts them in its first step.
            supervision.count_children(self._root).get(timeout=STOP_GRACE_S)
            if self._services.mcp_servers:
                self._add_server_tools()
            for child in children[at:]:
                supervision.start_child(self._root, child).get(timeout=STOP_GRACE_S)
        except (ActorDeadError, StartFailed) as error:
            cause = getattr(self._root.exit_reason, "error", None) or error
            found = cause
            while found is not None and not isinstance(found, AsmError):
                found = found.__cause__
            raise found or AsmError.wrap(
                ErrorCode.INTERNAL_ERROR, cause, f"the supervision tree could not be started: {cause!r}"
            ) from cause

    def _add_server_tools(self) -> None:
        """Learn what tools the servers have; each answers within its own time, or fails the start."""
        servers = self._services.mcp_servers
        asked = ask_for_tools(self._services)
        listed = {
            name: future.get(timeout=servers[name].start_timeout + STOP_GRACE_S)
            for name, future in asked.items()
        }
        cast("dict[str, Any]", self._services.tools).update(tools_of_servers(self._services, listed))

    def _close_dispatcher(self) -> bool:
        return self._dispatcher.close() if self._owns_dispatcher else True

    def _drain(self, timeout: float | None, *, cancel: bool = False) -> Future[DrainReport]:
        """Admit nothing new, and learn what is open after some time."""
        future: Future[DrainReport] = Future()
        sessions = self._services.whereis(SESSIONS)
        if sessions is None:
            future.set(DrainReport((), 0.0))
            return future
        return sessions.ask_into(Drain(timeout, cancel), future)  # type: ignore[no-any-return]

    def _stop(self, drain: bool, timeout: float | None, cancel_runs: bool) -> StopReport:
        """Stop in order; idempotent, from any thread but the dispatcher's. Blocks.

        A second caller waits for the first one's stop, and hurries it if its own time for the drain is over earlier.
        """
        timeout = check_seconds(timeout)
        began = self._dispatcher.clock.monotonic()
        wait = timeout if drain or cancel_runs else 0.0
        # Noted before the drain under way is looked for, while that is published before the notes are looked at: one of
        # the two sees the other.
        self._waits.append(wait)
        if self._draining is not None:
            self._let_drain_end(self._draining, wait)
        with self._stop_lock:
            if self._stopped is None:
                orphans: tuple[str, ...] = ()
                if self.is_running:
                    orphans = self._await_drain(wait, cancel=cancel_runs)
                self._services.directory.is_stopping = True
                if timeout is not None:
                    left = timeout - (self._dispatcher.clock.monotonic() - began)
                    self._services.directory.tool_patience = max(_LEAST_PATIENCE_S, left)
                self._stopped = self._finish(orphans)
            return self._stopped

    def _await_drain(self, timeout: float | None, *, cancel: bool) -> tuple[str, ...]:
        self._draining = draining = self._drain(timeout, cancel=cancel)
        for wait in tuple(self._waits):
            if timeout is None or (wait is not None and wait < timeout):
                self._let_drain_end(draining, wait)
        try:
            return draining.get().orphans
        except ActorDeadError:  # the tree gave up meanwhile
            return tuple(self._services.directory.runs)

    def _let_drain_end(self, draining: Future[DrainReport], timeout: float | None) -> None:
        """Have a drain that is under way end within another time."""

        def end(own: Future[DrainReport]) -> None:
            if not draining.is_done:
                draining.set(own.get())

        if timeout is not None:
            self._drain(timeout).add_done_callback(end)

    def _tree(self, limit: int) -> Future[str]:
        most = min(check_integer(limit, "limit", least=0), sys.maxsize)
        self._check_running()
        answer: Future[str] = Future()
        answer._driver = self._dispatcher.driver

        def pass_on(asked: Future[Any]) -> None:
            try:
                answer.set(str(asked.get()))
            except (ActorDeadError, DispatcherStopped):  # it was stopped, or gave up, meanwhile
                answer.set_error(_stopped())
            except BaseException:  # whatever it is, it belongs to the asker
                answer.set_exception()

        supervision.tree(self._root, most).add_done_callback(pass_on)
        return answer

    def _check_running(self) -> None:
        if not self.is_running:
            raise _stopped()

    def _stopped_by(self, number: int | None) -> StopReport:
        assert self._stopped is not None
        if number is None:
            raise AsmError(
                ErrorCode.INTERNAL_ERROR, "the supervision tree gave up; its reports are in the log"
            )
        return evolve(self._stopped, signal=number)

    def _finish(self, orphans: tuple[str, ...]) -> StopReport:
        """Stop the tree, end the dispatcher, close the store. Blocks."""
        is_clean = True
        if self._root is not None and self._root.is_alive():
            try:
                self._root.stop(timeout=STOP_GRACE_S)
            except Exception:
                is_clean = False
                logger.exception("the tree did not stop in time and is killed")
                self._root.kill()
        is_clean = self._close_dispatcher() and is_clean and not self._dispatcher.has_given_up
        self._services.store.close()
        if self._services.redactor is not None:
            LOGS.end(self._services.redactor)
        return StopReport(orphans, is_clean)


def _stopped() -> AsmError:
    return AsmError(ErrorCode.INVALID_OPERATION, "the actor system is not running; start one first")
