"""The whole supervision tree as specs. No logic; every number has its reason.

root                    rest_for_one: whoever is started later needs what was started earlier
├─ journal              permanent; everybody writes to it
├─ subscriptions        dynamic, temporary: a client subscribes again from its cursor
├─ providers            one small supervisor per provider, so that one that keeps crashing takes down only itself
├─ mcp                  likewise for each server of tools; only if there is one
├─ slots:sessions
├─ slots:runs
├─ sessions             dynamic, transient; each session is the parent of its runs
└─ cursors              permanent; last, since nobody here needs it: its restart is nobody else's
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from asm_actors.journal.actor import JournalActor
from asm_actors.journal.cursor_keeper import CursorKeeper
from asm_actors.journal.subscriber import SubscriptionActor
from asm_actors.providers.actor import ProviderActor
from asm_actors.services import (
    CURSORS,
    JOURNAL,
    MCP,
    PROVIDERS,
    RUN_SLOTS,
    SESSION_SLOTS,
    SESSIONS,
    SUBSCRIPTIONS,
    Services,
    mcp_name,
    provider_name,
)
from asm_actors.sessions.supervisor import SessionsSupervisor
from asm_actors.slot_keys import RUNS_POOL, SESSIONS_POOL
from asm_actors.tools.mcp_actor import McpServerActor
from supervisors import (
    Backoff,
    ChildSpec,
    DynamicSupervisor,
    Restart,
    SlotPool,
    Strategy,
    Supervisor,
    SupervisorFlags,
)
from supervisors.reports import ReportHook

__all__ = ["root_spec"]

# The journal or a slot pool crashes by a defect or a broken disk. Three orderly restarts of everything in a minute
# are a try; more would only hide it.
ROOT = SupervisorFlags(Strategy.REST_FOR_ONE, intensity=3, period=60.0)

# A provider may crash in a burst (a bad deployment behind it, a broken response) and come back: five restarts in
# thirty seconds, each after a longer pause. A sixth means that it does not come back by itself.
PROVIDER = SupervisorFlags(intensity=5, period=30.0)
PROVIDER_BACKOFF = Backoff(initial=0.05, maximum=5.0)

# The supervisors of single providers are temporary children: their end is reported, and is nobody else's.
PROVIDERS_FLAGS = SupervisorFlags(intensity=1, period=5.0)

# A server of tools is a process of somebody else's, and starting it takes its time: eleven crashes, the pauses between
# which grow to ten seconds, are about a minute in which it did not come back.
MCP_SERVER = SupervisorFlags(intensity=10, period=60.0)
MCP_BACKOFF = Backoff(initial=0.1, maximum=10.0)
# Its input is ended, it is told to end, it is killed: each step has its seconds.
MCP_SHUTDOWN_S = 15.0

# Sessions get their shutdown time from their own supervisor, and providers, which close their streams, from the
# configuration. A journal writes its last batch.
JOURNAL_SHUTDOWN_S = 30.0


def root_spec(services: Services, on_report: ReportHook | None = None) -> dict[str, Any]:
    """Arguments of the root `Supervisor` of a system."""
    limits, keys = services.limits, services.slot_keys
    children = (
        ChildSpec(JOURNAL, JournalActor, (services,), name=JOURNAL, shutdown=JOURNAL_SHUTDOWN_S),
        ChildSpec(
            SUBSCRIPTIONS,
            DynamicSupervisor,
            (ChildSpec("subscription", SubscriptionActor, (services,), restart=Restart.TEMPORARY),),
            name=SUBSCRIPTIONS,
        ),
        ChildSpec(
            PROVIDERS,
            Supervisor,
            ([_provider_supervisor(services, name) for name in services.providers],),
            _options(flags=PROVIDERS_FLAGS),
            name=PROVIDERS,
        ),
        *([_mcp(services)] if services.mcp_servers else ()),
        ChildSpec(
            SESSION_SLOTS,
            SlotPool,
            ({SESSIONS_POOL: limits.max_parallel_sessions},),
            _options(default_limit=keys.session_limit, max_waiting=None),
            name=SESSION_SLOTS,
        ),
        # Their lines need no bound of their own: who may not wait is refused at the door, and of those who may, each
        # session brings no more than it may have open.
        ChildSpec(
            RUN_SLOTS,
            SlotPool,
            ({RUNS_POOL: limits.max_parallel_runs},),
            _options(
                default_limit=keys.run_limit, max_waiting=None, rate=keys.run_rate if keys.is_rated else None
            ),
            name=RUN_SLOTS,
        ),
        ChildSpec(SESSIONS, SessionsSupervisor, (services,), name=SESSIONS),
        ChildSpec(CURSORS, CursorKeeper, (services,), name=CURSORS),
    )
    return {"children": children, "flags": ROOT, "on_report": on_report}


def _provider_supervisor(services: Services, name: str) -> ChildSpec:
    actor = ChildSpec(
        name,
        ProviderActor,
        (services, name),
        backoff=evolve(PROVIDER_BACKOFF, random=services.random.random),  # a seed chooses these pauses too
        shutdown=services.config.task_shutdown_timeout_ms / 1000,
        name=provider_name(name),
    )
    return ChildSpec(name, Supervisor, ([actor],), _options(flags=PROVIDER), restart=Restart.TEMPORARY)


def _mcp(services: Services) -> ChildSpec:
    below = [_mcp_supervisor(services, name) for name in services.mcp_servers]
    return ChildSpec(MCP, Supervisor, (below,), _options(flags=PROVIDERS_FLAGS), name=MCP)


def _mcp_supervisor(services: Services, name: str) -> ChildSpec:
    actor = ChildSpec(
        mcp_name(name),
        McpServerActor,
        (services, name),
        backoff=evolve(MCP_BACKOFF, random=services.random.random),
        shutdown=MCP_SHUTDOWN_S,
        name=mcp_name(name),
    )
    return ChildSpec(name, Supervisor, ([actor],), _options(flags=MCP_SERVER), restart=Restart.TEMPORARY)


def _options(**options: Any) -> dict[str, Any]:
    return options
