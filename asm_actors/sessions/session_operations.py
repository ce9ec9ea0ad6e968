"""The operations on sessions; see `sessions.operations`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.query import SessionQuery, check_count, check_flag
from asm_actors.journal.store import Store
from asm_actors.serialization import check_id, check_optional_id
from asm_actors.services import Services
from asm_actors.sessions import messages as m
from asm_actors.sessions.carrying import Carrying, chosen, configured
from asm_actors.sessions.delivery import Delivery, ask_sessions
from asm_actors.sessions.door import check_names
from asm_actors.sessions.options import SessionOptions, session_options
from asm_actors.sessions.requests import Claim, Deliver
from asm_actors.sessions.session import Session, SessionStatus
from supervisors import Future

__all__ = ["SessionOperations"]


class SessionOperations(Carrying):
    """Half of `Operations`."""

    def start_session(
        self,
        *,
        agent_id: str | None = None,
        id: str | None = None,  # noqa: A002 - the field's name is the argument's
        provider: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        parent_session_id: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SessionOptions],
    ) -> Future[Session]:
        """Make a session; it is pending until it is activated.

        Args:
            agent_id: The agent it talks to; required.
            id: Its id, if the caller chooses it.
            provider: Name of the provider of its runs; by default the system's only one.
            context: What its runs start from, such as ``system_prompt``; JSON.
            metadata: The caller's own facts, JSON; ``correlation_id`` is put on each of its events.
            tags: Labels to find it by.
            parent_session_id: A session it belongs to.
            idempotency_key: A repeated start with the same key returns the same session.
            **options: What it says about its runs: `SessionOptions` has the names and what they mean.

        Returns:
            The session, once it is durable.

        Raises:
            ValidationError: A field is missing or malformed, a name looks like a secret, or no provider has that name.
            ResourceError: ``already_exists``: the id is taken.
        """
        services = self._services
        session = Session.new(
            id=services.ids.session() if id is None else id,
            now=services.now_us(),
            agent_id=agent_id,
            parent_session_id=parent_session_id,
            metadata=metadata,
            context=context,
            tags=tags,
            provider=self._provider(provider),
            idempotency_key=idempotency_key,
            options=session_options(_configured(services, options), services.tools) if options else None,
        )
        key, id = session.idempotency_key, None if id is None else session.id  # noqa: A001 - as above
        check_names(services, session, has_chosen_id=id is not None)
        making = Deliver(session.id, m.CreateSession(session), is_new=True)
        keys = chosen(("session", id), ("session key", key))
        if not keys:
            return ask_sessions(services, making, Delivery(services))

        def find(store: Store) -> Session | None:
            known = None if key is None else store.session_by_key(key)
            if known is not None:
                return store.session(known)
            if id is not None and store.has_session(id):
                raise AsmError(
                    ErrorCode.ALREADY_EXISTS, f"there is a session {id} already; choose another id"
                )
            return None

        return ask_sessions(services, Claim(keys, find, making), Delivery(services))

    def activate_session(self, session_id: str) -> Future[Session]:
        """Make a pending or paused session active; an active one stays as it is.

        Raises:
            ConcurrencyError: ``max_sessions_exceeded``, or ``invalid_operation`` if it is about to end.
            StateError: ``invalid_transition``: it is over.
            ResourceError: ``session_not_found``.
        """
        return self._deliver(session_id, m.ActivateSession())

    def delete_session(self, session_id: str, *, reason: str | None = None) -> Future[Session]:
        """Delete a session softly: it is hidden from lists and starts no runs, until maintenance deletes it for good.

        One that was deleted already stays as it is.

        Args:
            session_id: Which session.
            reason: Why, for the journal.

        Returns:
            The session; `deleted_at` tells when it was deleted.

        Raises:
            ConcurrencyError: ``invalid_operation``: runs are open, or it is about to end.
            ResourceError: ``session_not_found``.
        """
        return self._deliver(session_id, m.DeleteSession(reason))

    def get_session(self, session_id: str) -> Future[Session]:
        """Return a session's record.

        Raises:
            ResourceError: ``session_not_found``.
        """
        session_id = check_id(session_id, "session_id")
        return self._read(lambda: self._services.store.session(session_id))

    def list_sessions(
        self,
        *,
        status: SessionStatus | str | Iterable[SessionStatus | str] | None = None,
        agent_id: str | None = None,
        tags: Iterable[str] | None = None,
        provider: str | None = None,
        include_deleted: bool = False,
        limit: int | None = 50,
        after: str | None = None,
        newest_first: bool = True,
        parent_session_id: str | None = None,
    ) -> Future[list[Session]]:
        """Return sessions in the order of their creation, newest first unless told otherwise.

        Args:
            status: One status or several.
            agent_id: The agent they talk to.
            tags: Labels they must all have.
            provider: The provider they use.
            include_deleted: Softly deleted ones too.
            limit: At most so many; None for all.
            after: Id of a session: those that follow it.
            newest_first: The order.
            parent_session_id: The session that they were forked from or belong to.

        Raises:
            StateError: ``invalid_status``, ``invalid_cursor``.
            ValidationError: Another filter, or the limit, is malformed.
        """
        query = SessionQuery.of(
            status,
            agent_id,
            tags,
            provider,
            include_deleted=include_deleted,
            parent_session_id=parent_session_id,
        )
        most, start = check_count(limit), check_optional_id(after, "after")
        newest_first = check_flag(newest_first, "newest_first")
        return self._read(
            lambda: self._services.store.sessions(
                status=query.statuses,
                agent_id=query.agent_id,
                tags=query.tags,
                provider=query.provider,
                include_deleted=query.include_deleted,
                limit=most,
                after=start,
                newest_first=newest_first,
                parent_session_id=query.parent_session_id,
            )
        )


def _configured(services: Services, options: Mapping[str, Any]) -> Mapping[str, Any]:
    of_runs = options.get("run_options")
    if not isinstance(of_runs, Mapping):
        return options
    return {**options, "run_options": configured(services, of_runs)}
