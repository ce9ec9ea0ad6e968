"""The record of a run, and the table of its statuses.

1. Every status change of a run goes through :data:`RUN_TRANSITIONS`.
2. Records are values: a change makes a new record. The maps inside are never changed in place.
3. What callers give is checked in :meth:`Run.new` and :meth:`Run.from_map`. The bare constructor checks
   nothing, because the actors build records from what was checked before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from attrs import Factory, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import jsonable, stringify_keys
from asm_actors.records import replacer
from asm_actors.serialization import (
    Fields,
    check_id,
    check_optional_id,
    check_time,
    iso_from_us,
    json_map,
    json_value,
    parse_member,
    time_from_us,
)
from asm_actors.transitions import advance, terminal_statuses

__all__ = ["RUN_TRANSITIONS", "TERMINAL_RUN_STATUSES", "Run", "RunStatus", "add_usage"]


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


_ENDS = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMEOUT})

RUN_TRANSITIONS: Final[Mapping[RunStatus, frozenset[RunStatus]]] = MappingProxyType(
    {
        # A run that never started has nothing to complete.
        RunStatus.PENDING: frozenset(
            {RunStatus.RUNNING, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMEOUT}
        ),
        RunStatus.RUNNING: _ENDS | {RunStatus.PAUSED, RunStatus.AWAITING_APPROVAL},
        RunStatus.PAUSED: _ENDS | {RunStatus.RUNNING},
        RunStatus.AWAITING_APPROVAL: _ENDS | {RunStatus.RUNNING},
        RunStatus.COMPLETED: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
        RunStatus.TIMEOUT: frozenset(),
    }
)
"""What each status may change to; the empty set ends the run."""

TERMINAL_RUN_STATUSES: Final = terminal_statuses(RUN_TRANSITIONS)
"""The statuses that nothing follows."""


def add_usage(total: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sum of two usage maps: numbers add up key by key, anything else is replaced."""
    result = dict(total)
    for key, value in more.items():
        before = result.get(key)
        result[key] = before + value if _is_number(before) and _is_number(value) else value
    return result


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@frozen
class Run:
    """One execution inside a session.

    Attributes:
        id: its name, ``run_`` and 32 hex digits unless the caller chose one.
        session_id: the session it belongs to.
        status: where it stands.
        input: what it was asked, any JSON value (mostly a map with ``messages`` or ``prompt``).
        output: what it answered, a JSON map, or None before it completed.
        error: why it ended otherwise: ``{code, message, provider_error?, details?}``, or None.
        metadata: the caller's own facts, JSON.
        turn_count: turns taken so far.
        token_usage: counts by name, such as ``input_tokens``.
        cost_usd: US dollars, or None if not known.
        created_us: when it was asked for, in microseconds since the epoch; :attr:`created_at` shows it.
        started_us: when it first ran, or None before that; :attr:`started_at` shows it.
        ended_us: when it ended, or None before that; :attr:`ended_at` shows it.
        provider: who executes it; a session that takes a run which names none puts its own there, or the system's.
        provider_metadata: what the provider told about itself (its own session id, its model).
        idempotency_key: the caller's key which makes a repeated submit the same run.
        attempt: how many times it was begun again, 0 the first time.
        options: the options of its execution which must survive a restart, JSON.
        recoveries: how many times it was taken up again after a crash.
        from_sequence: the last sequence number of its session when it first started: its events come after that.
        details: what the runtime adds, JSON: ``continuation capabilities policy workspace object pause``, as far as
            there is something to tell; see `RunResult`.
    """

    id: str
    session_id: str
    status: RunStatus = RunStatus.PENDING
    input: Any = None
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    metadata: dict[str, Any] = Factory(dict)
    turn_count: int = 0
    token_usage: dict[str, Any] = Factory(dict)
    cost_usd: float | None = None
    created_us: int = 0
    started_us: int | None = None
    ended_us: int | None = None
    provider: str | None = None
    provider_metadata: dict[str, Any] = Factory(dict)
    idempotency_key: str | None = None
    attempt: int = 0
    options: dict[str, Any] = Factory(dict)
    recoveries: int = 0
    from_sequence: int | None = None
    details: dict[str, Any] = Factory(dict)

    @classmethod
    def new(
        cls,
        *,
        id: str,  # noqa: A002 - the field's name is the argument's
        now: int,
        session_id: str | None = None,
        input: Any = None,  # noqa: A002 - as above
        metadata: Mapping[str, Any] | None = None,
        provider: str | None = None,
        idempotency_key: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Run:
        """Check what a caller asks for, copy it, and return a pending run.

        Args:
            id: its name, made or chosen.
            now: microseconds since the epoch.
            session_id: required, though it has a default: leaving it out is bad input like any other.
            input: any JSON value.
            metadata: JSON.
            provider: a provider's name.
            idempotency_key: the caller's key for this submit.
            options: JSON.

        Raises:
            ValidationError: a field is missing or malformed; the message names it.
        """
        return cls(
            id=check_id(id, "id"),
            session_id=check_id(session_id, "session_id"),
            input=json_value(input, "input"),
            metadata=json_map(metadata, "metadata"),
            created_us=check_time(now, "now"),
            provider=check_optional_id(provider, "provider"),
            idempotency_key=check_optional_id(idempotency_key, "idempotency_key"),
            options=json_map(options, "options"),
        )

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def is_terminal(self) -> bool:
        """Whether it is over."""
        return self.status in TERMINAL_RUN_STATUSES

    @property
    def created_at(self) -> datetime:
        """When it was asked for (aware, UTC)."""
        return time_from_us(self.created_us)

    @property
    def started_at(self) -> datetime | None:
        """When it first ran (aware, UTC), or None before that."""
        return None if self.started_us is None else time_from_us(self.started_us)

    @property
    def ended_at(self) -> datetime | None:
        """When it ended (aware, UTC), or None before that."""
        return None if self.ended_us is None else time_from_us(self.ended_us)

    def with_status(self, status: RunStatus | str, now: int) -> Run:
        """Return this run with another status; the same status returns this very record.

        The first ``running`` sets :attr:`started_us`; a status that ends the run sets :attr:`ended_us`.

        Args:
            status: the status asked for.
            now: microseconds since the epoch.

        Raises:
            StateError: ``invalid_transition`` if the table lacks the change, ``invalid_status`` if there is
                no such status.
        """
        return self._moved(status, now, {})

    def begun(self, now: int, from_sequence: int) -> Run:
        """Return this pending run as running.

        Args:
            now: microseconds since the epoch.
            from_sequence: the last sequence number of its session.

        Raises:
            StateError: ``invalid_transition``: it is over.
        """
        return self._moved(RunStatus.RUNNING, now, {"from_sequence": from_sequence})

    def with_output(
        self,
        output: Mapping[str, Any],
        now: int,
        *,
        token_usage: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Run:
        """Return this run completed with ``output``; ``token_usage`` is added to what it used so far.

        ``more`` are further fields to change in the same copy, unchecked.

        Raises:
            StateError: ``invalid_transition``: it is over, or has not started.
        """
        changes: dict[str, Any] = {"output": dict(output), **more}
        if token_usage:
            changes["token_usage"] = add_usage(self.token_usage, token_usage)
        return self._moved(RunStatus.COMPLETED, now, changes)

    def with_error(
        self, error: AsmError | Mapping[str, Any], now: int, status: RunStatus = RunStatus.FAILED
    ) -> Run:
        """Return this run ended by ``error``: failed, unless ``status`` names another end.

        Raises:
            StateError: ``invalid_transition``: it is over already.
        """
        record = error.to_record() if isinstance(error, AsmError) else dict(error)
        return self._moved(status, now, {"error": record})

    def with_turn(self) -> Run:
        """Return this run with one more turn."""
        return _replace(self, {"turn_count": self.turn_count + 1})

    def with_token_usage(self, usage: Mapping[str, Any]) -> Run:
        """Return this run with ``usage`` added: see :func:`add_usage`."""
        return _replace(self, {"token_usage": add_usage(self.token_usage, usage)})

    def replace(self, **changes: Any) -> Run:
        """Return a copy with some fields changed, unchecked: statuses go through :meth:`with_status`."""
        return _replace(self, changes)

    def _moved(self, status: RunStatus | str, now: int, changes: dict[str, Any]) -> Run:
        if type(status) is not RunStatus:
            status = parse_member(RunStatus, status, ErrorCode.INVALID_STATUS)
        if status is self.status:
            # Also for an end that is asked for again: the first outcome stands, whatever the new one says.
            return self
        advance(RUN_TRANSITIONS, self.status, status, "run", self.id)
        changes["status"] = status
        if status is RunStatus.RUNNING:
            if self.started_us is None:
                changes["started_us"] = now
        elif status in TERMINAL_RUN_STATUSES:
            changes["ended_us"] = now
        return _replace(self, changes)

    def to_map(self) -> dict[str, Any]:
        """Return the run as a JSON-ready map; times are ISO-8601 text in UTC."""
        return {
            "id": self.id,
            "session_id": self.session_id,
            "status": self.status.value,
            "input": jsonable(self.input),
            "output": None if self.output is None else stringify_keys(self.output),
            "error": None if self.error is None else stringify_keys(self.error),
            "metadata": stringify_keys(self.metadata),
            "turn_count": self.turn_count,
            "token_usage": stringify_keys(self.token_usage),
            "cost_usd": self.cost_usd,
            "created_at": iso_from_us(self.created_us),
            "started_at": None if self.started_us is None else iso_from_us(self.started_us),
            "ended_at": None if self.ended_us is None else iso_from_us(self.ended_us),
            "provider": self.provider,
            "provider_metadata": stringify_keys(self.provider_metadata),
            "idempotency_key": self.idempotency_key,
            "attempt": self.attempt,
            "options": stringify_keys(self.options),
            "recoveries": self.recoveries,
            "from_sequence": self.from_sequence,
            "details": stringify_keys(self.details),
        }

    @classmethod
    def from_map(cls, value: Any) -> Run:
        """Read what :meth:`to_map` wrote. ``id session_id status created_at`` are required.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
            StateError: ``invalid_status``.
        """
        fields = Fields(value, "run")
        return cls(
            id=fields.id("id"),
            session_id=fields.id("session_id"),
            status=fields.member("status", RunStatus, ErrorCode.INVALID_STATUS),
            input=fields.value("input"),
            output=fields.optional_map("output"),
            error=fields.optional_map("error"),
            metadata=fields.map("metadata"),
            turn_count=fields.integer("turn_count", least=0, default=0),
            token_usage=fields.map("token_usage"),
            cost_usd=fields.optional_number("cost_usd"),
            created_us=fields.time("created_at"),
            started_us=fields.optional_time("started_at"),
            ended_us=fields.optional_time("ended_at"),
            provider=fields.optional_id("provider"),
            provider_metadata=fields.map("provider_metadata"),
            idempotency_key=fields.optional_id("idempotency_key"),
            attempt=fields.integer("attempt", least=0, default=0),
            options=fields.map("options"),
            recoveries=fields.integer("recoveries", least=0, default=0),
            from_sequence=fields.optional_integer("from_sequence", least=0),
            details=fields.map("details"),
        )


_replace = replacer(Run)
