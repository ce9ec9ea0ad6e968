"""The operations on what was: transcripts, records as of an earlier event, forks; see `sessions.operations`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Unpack

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lineage import check_place
from asm_actors.journal.query import EventFilter
from asm_actors.journal.replay import SESSION_EVENTS, fold_run, fold_session
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run
from asm_actors.serialization import check_id, check_integer
from asm_actors.sessions import messages as m
from asm_actors.sessions.carrying import Carrying, chosen
from asm_actors.sessions.delivery import Delivery, ask_sessions
from asm_actors.sessions.door import check_names, known_provider
from asm_actors.sessions.forking import fork_of, without_continuation
from asm_actors.sessions.options import SessionOptions, session_options
from asm_actors.sessions.requests import Claim, Deliver
from asm_actors.sessions.session import Session
from asm_actors.transcripts.reading import read_transcript
from asm_actors.transcripts.transcript import Transcript
from asm_actors.transcripts.truncation import Truncation
from supervisors import Future

__all__ = ["HistoryOperations"]


class HistoryOperations(Carrying):
    """A third of `Operations`."""

    def fork_session(
        self,
        session_id: str,
        at: int | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the field's name is the argument's
        agent_id: str | None = None,
        provider: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SessionOptions],
    ) -> Future[Session]:
        """Make a session that begins with the history of another one, up to one of its events, and goes on by itself.

        Nothing is copied: events 1 to ``at`` of the fork are the parent's, its own begin with ``session_forked`` and
        the number ``at + 1``. The parent may be under way or over, and a fork may be forked. A run of the parent that
        is in the middle of its work at that event is no part of the fork: the shared history simply ends there.

        What is not given is copied from the parent as it was then. What providers call their own conversations
        (``metadata["provider_sessions"]``) is taken over only with the parent's last event, since they cannot go back.

        Args:
            session_id: The parent.
            at: Sequence number of the last event that is shared; None: the parent's last one.
            id: The fork's id, if the caller chooses it.
            agent_id: Another agent.
            provider: Another provider.
            context: Another context, JSON.
            metadata: Other facts, JSON.
            tags: Other labels.
            idempotency_key: A repeated call with the same key returns the same fork.
            **options: What it says about its runs (`SessionOptions`), one by one in the place of what the parent says.
                Grants that stand for the whole of the parent are not taken over.

        Returns:
            The fork, pending, once it is durable.

        Raises:
            ValidationError: ``at`` is no sequence number of the parent (the message tells the range), a field is
                malformed, or no provider has that name.
            ConcurrencyError: ``invalid_operation``: the parent was deleted.
            ResourceError: ``session_not_found``; ``already_exists``: the id is taken.
        """
        services, session_id = self._services, check_id(session_id, "session_id")
        given = {
            "agent_id": agent_id,
            "provider": provider,
            "context": context,
            "metadata": metadata,
            "tags": tags,
        }
        wanted = Session.new(
            id=services.ids.session() if id is None else id,
            now=services.now_us(),
            # Replaced by the parent's, as is all that is not given.
            agent_id=session_id if agent_id is None else agent_id,
            parent_session_id=session_id,
            metadata=metadata,
            context=context,
            tags=() if tags is None else tags,
            provider=None if provider is None else known_provider(services, provider),
            idempotency_key=idempotency_key,
            options=session_options(options, services.tools) if options else None,
        )
        key = wanted.idempotency_key
        check_names(services, wanted, has_chosen_id=id is not None)
        if at is not None:
            check_integer(at, "at", least=1)
        kept = frozenset(name for name, value in given.items() if value is not None)

        def find(store: Store) -> Session | Deliver:
            known = None if key is None else store.session_by_key(key)
            if known is not None:
                return store.session(known)
            if id is not None and store.has_session(wanted.id):
                raise AsmError(
                    ErrorCode.ALREADY_EXISTS, f"there is a session {wanted.id} already; choose another id"
                )
            fork = fork_of(store, wanted, at, kept)
            return Deliver(fork.id, m.CreateSession(fork), is_new=True)

        keys = chosen(("session", wanted.id), ("session key", key))
        return ask_sessions(services, Claim(keys, find), Delivery(services))

    def transcript(
        self,
        session_id: str,
        at: int | None = None,
        *,
        run_id: str | None = None,
        type: Any = None,  # noqa: A002 - the event's name
        since: datetime | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        max_messages: int | None = None,
        max_chars: int | None = None,
        max_tokens_approx: int | None = None,
    ) -> Future[Transcript]:
        """Return a session's conversation as messages, as it is now or was as of one of its events.

        Args:
            session_id: Which session; of a fork, what it shares is part of it.
            at: As of this sequence number (inclusive); None: now.
            run_id: Events of this run only.
            type: One event type or several.
            since: Earliest time (inclusive), aware.
            after: Sequence number after which to begin (exclusive).
            before: Sequence number before which to end (exclusive).
            limit: At most so many events, the first ones.
            max_messages: At most so many messages, the last ones.
            max_chars: At most so many characters, the last messages that fit.
            max_tokens_approx: Likewise in tokens, if `max_chars` is not given: of four characters each, unless the
                system is configured otherwise (`chars_per_token`).

        Raises:
            ResourceError: ``session_not_found``.
            AsmError: ``validation_error`` (``at`` is no sequence number of the session, a bound is malformed),
                ``invalid_event_type``.
        """
        session_id = check_id(session_id, "session_id")
        wanted = EventFilter(run_ids=run_id, types=type, since=since, after=after, before=before, limit=limit)
        tokens = self._services.config.chars_per_token
        truncation = Truncation(max_messages, max_chars, max_tokens_approx, tokens)
        store = self._services.store
        return self._read(
            lambda: read_transcript(store, session_id, at=at, wanted=wanted, truncation=truncation)
        )

    def session_at(self, session_id: str, at: int) -> Future[Session]:
        """Return a session's record as it was as of one of its events, rebuilt from the events up to there.

        Status, times and deletion are those of then. What no event tells is as it is now, and does not change: the
        context, tags, metadata, idempotency key; what providers call their own conversations is left out unless
        ``at`` is the last event.

        Args:
            session_id: Which session. As of an event that a fork shares, this is the record of the session which
                wrote that event.
            at: The event's sequence number.

        Raises:
            ValidationError: ``at`` is no sequence number of the session.
            ResourceError: ``session_not_found``.
        """
        session_id = check_id(session_id, "session_id")
        store = self._services.store

        def read() -> Session:
            end = check_place(session_id, at, store.head(session_id)) + 1
            events = store.read_session(session_id, EventFilter(types=SESSION_EVENTS, before=end))
            record = store.session(events[-1].session_id if events else session_id)
            if at < record.last_sequence:
                record = without_continuation(record)
            return fold_session(events, record).replace(last_sequence=at)

        return self._read(read)

    def run_at(self, run_id: str, at: int) -> Future[Run]:
        """Return a run's record as it was as of one event of its session, rebuilt from the run's events up to there.

        Status, times, attempts, turns, tokens, cost, error and output are those of then; what it was asked and how is
        as it is now. A run makes no event before it starts: until then it is pending, also before it was asked for.

        Args:
            run_id: Which run.
            at: The sequence number of an event of its session.

        Raises:
            ValidationError: ``at`` is no sequence number of its session.
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        store = self._services.store

        def read() -> Run:
            run = store.run(run_id)
            end = check_place(run.session_id, at, store.head(run.session_id)) + 1
            wanted = EventFilter(run_ids=run_id, after=run.from_sequence, before=end)
            return fold_run(store.read_session(run.session_id, wanted), run)

        return self._read(read)
