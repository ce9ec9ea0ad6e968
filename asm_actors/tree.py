"""The whole supervision tree as specs. No logic; every number has its reason.

root                    rest_for_one: whoever is started later needs what was started earlier
├─ journal              permanent; everybody writes to it
├─ subscriptions        dynamic, temporary: a client subscribes again from its cursor
├─ providers            one small supervisor per provider, so that one that keeps crashing takes down only itself
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
from asm_actors.runs.state import RUNS_POOL
from asm_actors.services import (
    CURSORS,
    JOURNAL,
    PROVIDERS,
    RUN_SLOTS,
    SESSION_SLOTS,
    SESSIONS,
    SUBSCRIPTIONS,
    Services,
    provider_name,
)
from asm_actors.sessions.state import SESSIONS_POOL
from asm_actors.sessions.supervisor import SessionsSupervisor
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

# Sessions get their shutdown time from their own supervisor; a provider closes its streams, a journal its last batch.
PROVIDER_SHUTDOWN_S = 5.0
JOURNAL_SHUTDOWN_S = 30.0


def root_spec(services: Services, on_report: ReportHook | None = None) -> dict[str, Any]:
    """Arguments of the root `Supervisor` of a system."""
    limits = services.limits
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
        ChildSpec(
            SESSION_SLOTS, SlotPool, ({SESSIONS_POOL: limits.max_parallel_sessions},), name=SESSION_SLOTS
        ),
        # Its line needs no bound of its own: each session brings no more to it than it may have open.
        ChildSpec(
            RUN_SLOTS,
            SlotPool,
            ({RUNS_POOL: limits.max_parallel_runs},),
            _options(max_waiting=None),
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
        shutdown=PROVIDER_SHUTDOWN_S,
        name=provider_name(name),
    )
    return ChildSpec(name, Supervisor, ([actor],), _options(flags=PROVIDER), restart=Restart.TEMPORARY)


def _options(**options: Any) -> dict[str, Any]:
    return options
