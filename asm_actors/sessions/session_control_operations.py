"""The operations that hold sessions, let them go on, or end them, alone or with all below; see `sessions.operations`.

With `cascade` an operation is carried down to the sessions that name the session as their parent, to those that name
these, and so on (forks name the session that they were forked from). The session itself comes first: what it refuses is
raised, and nothing has changed. Those to which the operation says nothing, because they are over or have not begun, are
passed over. The result is a map then: by id of each session that was told, its record, or why it refused.
"""

from __future__ import annotations

from typing import Any, Literal, overload

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.query import check_flag
from asm_actors.runs.run import Run
from asm_actors.serialization import check_id
from asm_actors.sessions import messages as m
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.cascading import Cascade, pages_of
from asm_actors.sessions.delivery import Delivery, ask_sessions
from asm_actors.sessions.session import Session
from supervisors import Future

__all__ = ["SessionControlOperations"]


class SessionControlOperations(Carrying):
    """Part of `Operations`."""

    @overload
    def pause_session(
        self,
        session_id: str,
        *,
        reason: str | None = None,
        by: str | None = None,
        cascade: Literal[False] = False,
    ) -> Future[Session]: ...
    @overload
    def pause_session(
        self, session_id: str, *, reason: str | None = None, by: str | None = None, cascade: Literal[True]
    ) -> Future[dict[str, Session | AsmError]]: ...
    def pause_session(
        self, session_id: str, *, reason: str | None = None, by: str | None = None, cascade: bool = False
    ) -> Future[Any]:
        """Start no new run of a session until it is resumed, and have those under way stand still.

        The session is paused, and its slot free, when this returns. Its runs stand still at their next turn boundary
        (`run_paused` with the reason ``session_paused``), as `pause_run` tells; they go on with the session, unless
        they were paused themselves. What is in line for a slot goes back into the session's own line.

        Args:
            session_id: Which session.
            reason: Why, for the journal.
            by: Who wants it, for the journal.
            cascade: Also those below it, as far as they are active; the result is a map then, of `Session` or error by
                id.

        Returns:
            The session.

        Raises:
            StateError: ``invalid_transition``: it is not active.
            ConcurrencyError: ``invalid_operation``: it is about to end.
            ResourceError: ``session_not_found``.
        """
        return self._tell(session_id, m.PauseSession(reason, by), cascade)

    @overload
    def resume_session(
        self,
        session_id: str,
        *,
        reason: str | None = None,
        by: str | None = None,
        cascade: Literal[False] = False,
    ) -> Future[Session]: ...
    @overload
    def resume_session(
        self, session_id: str, *, reason: str | None = None, by: str | None = None, cascade: Literal[True]
    ) -> Future[dict[str, Session | AsmError]]: ...
    def resume_session(
        self, session_id: str, *, reason: str | None = None, by: str | None = None, cascade: bool = False
    ) -> Future[Any]:
        """Make a paused session active again; the runs that its pause held go on, before those that have not begun.

        Args:
            session_id: Which session.
            reason: Why, for the journal.
            by: Who wants it, for the journal.
            cascade: Also those below it, as far as they are paused; see `pause_session`.

        Returns:
            The session.

        Raises:
            ConcurrencyError: ``max_sessions_exceeded``; ``invalid_operation`` if it never was active.
            StateError: ``invalid_transition``: it is over.
            ResourceError: ``session_not_found``.
        """
        return self._tell(session_id, m.ResumeSession(reason, by), cascade)

    @overload
    def complete_session(
        self, session_id: str, *, cancel_runs: bool = False, cascade: Literal[False] = False
    ) -> Future[Session]: ...
    @overload
    def complete_session(
        self, session_id: str, *, cancel_runs: bool = False, cascade: Literal[True]
    ) -> Future[dict[str, Session | AsmError]]: ...
    def complete_session(
        self, session_id: str, *, cancel_runs: bool = False, cascade: bool = False
    ) -> Future[Any]:
        """End a session well.

        Args:
            session_id: Which session.
            cancel_runs: Cancel its open runs first, paused ones too. Without it they make this ``invalid_operation``.
            cascade: Also those below it, as far as they have begun; see `pause_session`.

        Raises:
            ConcurrencyError: ``invalid_operation``: runs are open.
            StateError: ``invalid_transition``: it is over otherwise, or never was active.
        """
        return self._tell(session_id, m.CompleteSession(cancel_runs), cascade)

    @overload
    def fail_session(
        self, session_id: str, error: AsmError | str | None = None, *, cascade: Literal[False] = False
    ) -> Future[Session]: ...
    @overload
    def fail_session(
        self, session_id: str, error: AsmError | str | None = None, *, cascade: Literal[True]
    ) -> Future[dict[str, Session | AsmError]]: ...
    def fail_session(
        self, session_id: str, error: AsmError | str | None = None, *, cascade: bool = False
    ) -> Future[Any]:
        """End a session with an error; its open runs are cancelled.

        Args:
            session_id: Which session.
            error: Why: an error, or a text.
            cascade: Also those below it, as far as they are open; see `pause_session`.

        Raises:
            StateError: ``invalid_transition``: it is over otherwise.
        """
        if not isinstance(error, AsmError):
            error = AsmError(ErrorCode.INTERNAL_ERROR if error else ErrorCode.UNKNOWN_ERROR, error)
        return self._tell(session_id, m.FailSession(error), cascade)

    @overload
    def cancel_session(
        self,
        session_id: str,
        *,
        reason: str | None = None,
        by: str | None = None,
        cascade: Literal[False] = False,
    ) -> Future[Session]: ...
    @overload
    def cancel_session(
        self, session_id: str, *, reason: str | None = None, by: str | None = None, cascade: Literal[True]
    ) -> Future[dict[str, Session | AsmError]]: ...
    def cancel_session(
        self, session_id: str, *, reason: str | None = None, by: str | None = None, cascade: bool = False
    ) -> Future[Any]:
        """Withdraw a session; its open runs are cancelled.

        Args:
            session_id: Which session.
            reason: Why, for the journal.
            by: Who withdraws it, for the journal.
            cascade: Also those below it, as far as they are open; see `pause_session`. What a crash leaves half done is
                done by asking again.

        Raises:
            StateError: ``invalid_transition``: it is over otherwise.
        """
        return self._tell(session_id, m.CancelSession(reason, by), cascade)

    def interrupt_session(
        self, session_id: str, *, reason: str | None = None, by: str | None = None, cascade: bool = False
    ) -> Future[dict[str, Run | AsmError]]:
        """Interrupt all runs of a session that are to be executed; the session goes on.

        Each ends as `interrupt_run` tells, paused and waiting ones too. Runs whose execution nobody asked for stay.
        Many are ended some at a time, those under way first, so that other sessions have their turn; what is submitted
        meanwhile waits until the last of them was told, and takes a place in line beside those that are left. What a
        crash leaves half done is done by asking again.

        Args:
            session_id: Which session.
            reason: Why, for the journal, where it stands as ``note``.
            by: Who interrupts them, for the journal.
            cascade: Also those of all sessions below it.

        Returns:
            By id: each run's final record, or why it could not be interrupted; with `cascade` also by id of a session
            why it refused.

        Raises:
            ResourceError: ``session_not_found``.
        """
        return self._tell(session_id, m.InterruptSession(reason, by), cascade)

    def children(self, session_id: str, *, recursive: bool = False) -> Future[list[Session]]:
        """Return the sessions that name a session as their parent, oldest first; forks of it are among them.

        Args:
            session_id: Which session.
            recursive: Also those below these: level by level, each session once.

        Raises:
            ResourceError: ``session_not_found``.
        """
        session_id, recursive = check_id(session_id, "session_id"), check_flag(recursive, "recursive")
        return self._read(lambda: self._children(session_id, recursive=recursive))

    def _children(self, session_id: str, *, recursive: bool) -> list[Session]:
        store = self._services.store
        store.session(session_id)
        found: dict[str, Session] = {}
        level = [session_id]
        while level:
            below = [
                child
                for parent in level
                for page in pages_of(store, parent)
                for child in page
                if child.id != session_id and child.id not in found
            ]
            found.update((child.id, child) for child in below)
            level = [child.id for child in below] if recursive else []
        return [child for child in found.values() if not child.is_deleted]

    def _tell(self, session_id: str, message: Any, cascade: bool) -> Future[Any]:
        if not check_flag(cascade, "cascade"):
            return self._deliver(session_id, message)
        request = Cascade(check_id(session_id, "session_id"), message)
        return ask_sessions(self._services, request, Delivery(self._services))
