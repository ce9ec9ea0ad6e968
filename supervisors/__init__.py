"""Supervised actors on Pykka: supervision trees in OTP's sense, for tens of thousands of actors in one process.

Actor, ThreadActor              what runs: on a dispatcher's slices, or on a thread of its own
LoopDispatcher                  runs actors in production, on an asyncio loop in one thread
SimulationDispatcher            runs the same actors step by step: a seed, a manual clock, injected crashes
Supervisor, DynamicSupervisor   start, watch, restart and stop children, by ChildSpec and SupervisorFlags
SlotPool                        permission to run one of N; held by an actor, freed by its exit
Registry                        names that outlive refs
supervisors.testing             settle, Probe, Gate: no test needs to sleep
"""

from __future__ import annotations

from pykka import ActorDeadError, Timeout

from supervisors.actor import Actor
from supervisors.backoff import Backoff
from supervisors.clock import Clock, SystemClock
from supervisors.dispatcher import Dispatcher, DispatcherStatistics
from supervisors.drain import Drain
from supervisors.dynamic import DynamicSupervisor
from supervisors.errors import DispatcherStopped, Overloaded, StartFailed, SupervisionError, WouldDeadlock
from supervisors.exits import Abandoned, Crashed, ExitReason, Killed, Normal, Shutdown, is_abnormal
from supervisors.future import Future
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.manual_clock import ManualClock
from supervisors.notices import ChildExited, Down, Monitor
from supervisors.ref import Ref
from supervisors.registry import AlreadyRegistered, Registry
from supervisors.simulation import SimulationDispatcher
from supervisors.slot_pool import SlotPool
from supervisors.spec import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildSpec,
    Restart,
    SpecError,
    Strategy,
    SupervisorFlags,
)
from supervisors.supervisor import Supervisor
from supervisors.thread_actor import ThreadActor
from supervisors.timers import Timer

__all__ = [
    "Abandoned",
    "Actor",
    "ActorDeadError",
    "AlreadyRegistered",
    "AutoShutdown",
    "BRUTAL_KILL",
    "Backoff",
    "ChildExited",
    "ChildSpec",
    "Clock",
    "Crashed",
    "Dispatcher",
    "DispatcherStatistics",
    "DispatcherStopped",
    "Down",
    "Drain",
    "DynamicSupervisor",
    "ExitReason",
    "Future",
    "Killed",
    "LoopDispatcher",
    "ManualClock",
    "Monitor",
    "Normal",
    "Overloaded",
    "Ref",
    "Registry",
    "Restart",
    "Shutdown",
    "SimulationDispatcher",
    "SlotPool",
    "SpecError",
    "StartFailed",
    "Strategy",
    "SupervisionError",
    "Supervisor",
    "SupervisorFlags",
    "SystemClock",
    "ThreadActor",
    "Timeout",
    "Timer",
    "WouldDeadlock",
    "is_abnormal",
]
