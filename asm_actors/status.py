"""The state of a whole system as one map, for `status()` and for operators. Runs on the dispatcher's thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asm_actors.routing.router import Router
from asm_actors.services import CURSORS, JOURNAL, RUN_SLOTS, SESSION_SLOTS, SESSIONS, Services, provider_name
from asm_actors.sessions.lives import LivesCount
from asm_actors.slot_keys import RUNS_POOL, SESSIONS_POOL, pool_name
from supervisors.slots import PoolStatistics

__all__ = ["system_status"]


def system_status(services: Services) -> dict[str, Any]:
    """Count what is open and what is free; see `SessionManager.status`."""
    sessions = _actor(services, SESSIONS)
    journal = _actor(services, JOURNAL)
    pools_of_sessions = _pools(services, SESSION_SLOTS)
    pools_of_runs = _pools(services, RUN_SLOTS)
    session_slots = pools_of_sessions.get(SESSIONS_POOL)
    run_slots = pools_of_runs.get(RUNS_POOL)
    providers: dict[str, Any] = {}
    for name in services.providers:
        actor = _actor(services, provider_name(name))
        providers[name] = None if actor is None else actor.statistics().in_flight
    limits = services.limits
    return {
        "active_sessions": session_slots.in_use if session_slots else 0,
        "waiting_sessions": session_slots.waiting if session_slots else 0,
        "active_runs": run_slots.in_use if run_slots else 0,
        "waiting_runs": run_slots.waiting if run_slots else 0,
        "open_runs": len(services.directory.runs),
        "max_parallel_sessions": limits.max_parallel_sessions,
        "max_parallel_runs": limits.max_parallel_runs,
        "max_waiting_runs": limits.max_waiting_runs,
        "available_session_slots": session_slots.available if session_slots else 0,
        "available_run_slots": run_slots.available if run_slots else 0,
        "limits": limits.to_map(),
        "pools": {
            "sessions": {pool_name(key): _shown(pool) for key, pool in pools_of_sessions.items()},
            "runs": {pool_name(key): _shown(pool) for key, pool in pools_of_runs.items()},
        },
        "providers": providers,
        "routers": {
            name: provider.statistics().to_map()
            for name, provider in services.providers.items()
            if isinstance(provider, Router)
        },
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


def _pools(services: Services, name: str) -> Mapping[Any, PoolStatistics]:
    """Counts of the pools that have a limit for all, and of keyed ones that are in use."""
    actor = _actor(services, name)
    return {} if actor is None else actor.statistics()


def _shown(pool: PoolStatistics) -> dict[str, Any]:
    return {
        "limit": pool.limit,
        "in_use": pool.in_use,
        "available": pool.available,
        "waiting": pool.waiting,
        "longest_wait_s": pool.longest_wait,
        "peak": pool.peak,
        "granted": pool.granted,
        "refused": pool.refused,
    }
