"""Which pools of slots sessions and runs need a slot of, and what the limits of these pools are. Pure.

All sessions, and all runs, share a pool. Where `Limits` say something about agents, tenants or providers there is a
pool for each of these too, and who needs slots of several gets them at once (`supervisors.slots`). A system without
such limits has the shared pools alone, and pays nothing for the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from math import ceil
from typing import TYPE_CHECKING, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.keyed_limits import limit_for
from supervisors.rates import Rate
from supervisors.slot_counts import Keys, PoolStatistics

if TYPE_CHECKING:
    from asm_actors.config import Limits
    from asm_actors.runs.run import Run
    from asm_actors.sessions.session import Session

__all__ = [
    "RUNS_POOL",
    "SESSIONS_POOL",
    "SlotKeys",
    "pool_name",
    "priority_of",
    "runs_exceeded",
    "sessions_exceeded",
]

RUNS_POOL: Final = "runs"
"""The pool of all runs."""
SESSIONS_POOL: Final = "sessions"
"""The pool of all sessions."""

_SHARED: Final = {"runs": "max_parallel_runs", "sessions": "max_parallel_sessions"}
_KEYED: Final = {"runs": "max_runs_per_{}", "sessions": "max_sessions_per_{}"}
_RATES: Final = "max_run_starts_per_second"


def priority_of(session: Session, run: Run) -> int:
    """Return the priority of a run: its own, else its session's, else 0."""
    own = run.options.get("priority")
    found = session.options.get("priority") if own is None else own
    return found if isinstance(found, int) else 0


def pool_name(key: Hashable) -> str:
    """Return how a pool is shown: ``runs``, ``sessions``, ``agent:writer``, ``tenant:acme``, ``provider:claude``."""
    return ":".join(key) if isinstance(key, tuple) else str(key)


class SlotKeys:
    """Makes keys of pools, and tells their limits.

    Args:
        limits: Of the system.
    """

    __slots__ = ("_limits", "_run_kinds", "_session_kinds", "is_rated")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._run_kinds = tuple(kind for kind in ("agent", "tenant", "provider") if self._says(kind))
        self._session_kinds = tuple(
            kind
            for kind in ("agent", "tenant")
            if getattr(limits, _KEYED[SESSIONS_POOL].format(kind)) is not None
        )
        names = (_RATES, *(f"{_RATES}_per_{kind}" for kind in ("agent", "tenant", "provider")))
        self.is_rated = any(getattr(limits, name) is not None for name in names)

    def _says(self, kind: str) -> bool:
        names = (_KEYED[RUNS_POOL].format(kind), f"{_RATES}_per_{kind}")
        return any(getattr(self._limits, name) is not None for name in names)

    def of_run(self, session: Session, provider: str | None) -> Hashable:
        """Return the key, or the keys, of the slots that a run needs.

        Args:
            session: Its session.
            provider: The name of who executes it.
        """
        kinds = self._run_kinds
        if not kinds:
            return RUNS_POOL
        found = self._named(kinds, session, provider)
        return _together(RUNS_POOL, [key for key in found if self.run_limit(key) or self.run_rate(key)])

    def of_session(self, session: Session) -> Hashable:
        """Return the key, or the keys, of the slots that an active session needs."""
        kinds = self._session_kinds
        if not kinds:
            return SESSIONS_POOL
        found = self._named(kinds, session, None)
        return _together(SESSIONS_POOL, [key for key in found if self.session_limit(key)])

    def _named(
        self, kinds: Iterable[str], session: Session, provider: str | None
    ) -> Iterator[tuple[str, str]]:
        for kind in kinds:
            if kind == "agent":
                yield (kind, session.agent_id)
            elif kind == "tenant":
                for name in self._tenants(session.tags):
                    yield (kind, name)
            elif provider is not None:
                yield (kind, provider)

    def _tenants(self, tags: Iterable[str]) -> list[str]:
        prefix = self._limits.tenant_tag_prefix
        return [tag[len(prefix) :] for tag in tags if tag.startswith(prefix) and len(tag) > len(prefix)]

    # --- What a pool has -----------------------------------------------------------------------------------------

    def run_limit(self, key: Hashable) -> int | None:
        """Return how many slots a pool of runs has; None: no limit."""
        return self._limit(RUNS_POOL, key)

    def session_limit(self, key: Hashable) -> int | None:
        """Return how many slots a pool of sessions has; None: no limit."""
        return self._limit(SESSIONS_POOL, key)

    def _limit(self, shared: str, key: Hashable) -> int | None:
        name = self.field_of(shared, key)
        limit = getattr(self._limits, name)
        found: int | None = limit_for(limit, key[1]) if isinstance(key, tuple) else limit
        return found

    def run_rate(self, key: Hashable) -> Rate | None:
        """Return how often a slot of a pool of runs may be granted; None: as often as there is one."""
        if isinstance(key, tuple):
            rate = limit_for(getattr(self._limits, f"{_RATES}_per_{key[0]}"), key[1])
        else:
            rate = self._limits.max_run_starts_per_second
        if rate is None:
            return None
        burst = self._limits.run_start_burst
        return Rate(rate, max(1, ceil(rate)) if burst is None else burst)

    @staticmethod
    def field_of(shared: str, key: Hashable) -> str:
        """Return the name of the field of `Limits` that says how many slots a pool has."""
        return _KEYED[shared].format(key[0]) if isinstance(key, tuple) else _SHARED[shared]


def _together(shared: str, more: list[tuple[str, str]]) -> Hashable:
    return Keys(shared, *more) if more else shared


def sessions_exceeded(session_id: str, key: Hashable, in_use: int, limit: int | None) -> AsmError:
    """The error for a session that may not be active: names the limit that is reached, and what to raise.

    Args:
        session_id: Which session.
        key: The pool that is full.
        in_use: How many are active that count there.
        limit: How many may be.
    """
    field = SlotKeys.field_of(SESSIONS_POOL, key)
    whose = f" of {key[0]} {key[1]!r}" if isinstance(key, tuple) else ""
    return AsmError(
        ErrorCode.MAX_SESSIONS_EXCEEDED,
        f"{in_use} sessions{whose} are active, as many as limits.{field} ({limit}) allows; end or pause one, or raise "
        f"{field}",
        details={"limit": f"limits.{field}", "value": limit, "in_use": in_use, "pool": pool_name(key)},
        context={"session_id": session_id},
    )


def runs_exceeded(session_id: str, waiting: int, limit: int, full: PoolStatistics, key: Hashable) -> AsmError:
    """The error for a run that would have to wait, while as many wait as may: names the limit, and what to raise.

    Args:
        session_id: Its session.
        waiting: How many wait.
        limit: How many may.
        full: Counts of a pool that has no room for it.
        key: That pool.
    """
    return AsmError(
        ErrorCode.MAX_RUNS_EXCEEDED,
        f"{waiting} runs wait for their slots, as many as limits.max_waiting_runs ({limit}) allows, and {full.in_use} "
        f"are under way in pool {pool_name(key)}; try again later, or raise max_waiting_runs",
        details={
            "limit": "limits.max_waiting_runs",
            "value": limit,
            "waiting": waiting,
            "in_use": full.in_use,
            "pool": pool_name(key),
        },
        context={"session_id": session_id},
    )
