"""The state of a whole system as one map, for `status()` and for operators. Runs on the dispatcher's thread."""

from __future__ import annotations

from typing import Any

from asm_actors.runs.state import RUNS_POOL
from asm_actors.services import CURSORS, JOURNAL, RUN_SLOTS, SESSION_SLOTS, SESSIONS, Services, provider_name
from asm_actors.sessions.lives import LivesCount
from asm_actors.sessions.state import SESSIONS_POOL

__all__ = ["system_status"]


def system_status(services: Services) -> dict[str, Any]:
    """Count what is open and what is free; see `SessionManager.status`."""
    sessions = _actor(services, SESSIONS)
    journal = _actor(services, JOURNAL)
    session_slots = _pool(services, SESSION_SLOTS, SESSIONS_POOL)
    run_slots = _pool(services, RUN_SLOTS, RUNS_POOL)
    providers: dict[str, Any] = {}
    for name in services.providers:
        actor = _actor(services, provider_name(name))
        providers[name] = None if actor is None else actor.statistics().in_flight
    return {
        "active_sessions": session_slots.in_use if session_slots else 0,
        "active_runs": run_slots.in_use if run_slots else 0,
        "waiting_runs": run_slots.waiting if run_slots else 0,
        "open_runs": len(services.directory.runs),
        "max_parallel_sessions": services.limits.max_parallel_sessions,
        "max_parallel_runs": services.limits.max_parallel_runs,
        "available_session_slots": _free(session_slots),
        "available_run_slots": _free(run_slots),
        "providers": providers,
        "lost_providers": sorted(services.directory.lost_providers),
        "events": journal.statistics().position if journal is not None else None,
        "subscriptions": _subscriptions(services, journal),
        "sessions": (sessions.lives() if sessions is not None else LivesCount(0, 0, 0))._asdict(),
        "is_draining": sessions.is_draining if sessions is not None else True,
    }


def _subscriptions(services: Services, journal: Any) -> dict[str, Any]:
    keeper = _actor(services, CURSORS)
    if journal is None:
        return {"open": 0, "lags": {}}
    statistics = journal.statistics()
    lags = {} if keeper is None else keeper.lags(statistics.position)
    return {"open": statistics.followers, "lags": lags}


def _actor(services: Services, name: Any) -> Any:
    ref = services.whereis(name)
    return None if ref is None else ref.life.actor


def _pool(services: Services, name: str, key: str) -> Any:
    actor = _actor(services, name)
    return None if actor is None else actor.statistics().get(key)


def _free(pool: Any) -> int | None:
    if pool is None:
        return 0
    return None if pool.limit is None else max(0, pool.limit - pool.in_use)
