"""The lives of sessions: one at a time for each, begun when it is needed, ended when it is not.

1. What comes for a session while its last life is ending waits for that end.
2. A session that nothing was asked of for a while leaves memory (it is *passivated*): the journal has all of it, and
   the next message begins its next life (it is *revived*). Nothing here remembers a session that is not live.
3. No session has a timer for this. One timer looks over all lives, some at a time: what was used since the last look
   is noted as unused from now on, what was unused for long enough is told to rest. It decides for itself
   (`sessions.resting`), for it knows what has come meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from asm_actors.services import Services, session_name
from asm_actors.sessions.actor import RESTED, SessionActor
from asm_actors.sessions.messages import Recover
from asm_actors.sessions.requests import Deliver
from asm_actors.sessions.reserving import Reservations
from asm_actors.sessions.resting import Rest
from supervisors import ChildSpec, Down, DynamicSupervisor, ExitReason, Restart, SupervisorFlags
from supervisors.instance import Instance

__all__ = ["LivesCount", "LivesSupervisor", "Sweep", "SweepMore"]

# A session crashes only by a defect or a journal that refuses: a hundred in ten seconds, over all sessions, is no
# longer bad luck of single ones. Then the tree above decides, and everything starts again from the journal.
FLAGS = SupervisorFlags(intensity=100, period=10.0)
LOOKS_PER_LINGER = 4
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 15.0
"""Between two looks over all lives."""
LOOK_AT_ONCE = 1_000
"""Lives that are looked at before other actors have their turn."""
REST_AT_ONCE = 100
"""Of these, sessions that are told to rest."""


class Sweep:
    """To itself: look over the lives."""

    __slots__ = ()


class SweepMore:
    """To itself: go on with it."""

    __slots__ = ()


class LivesCount(NamedTuple):
    """How many sessions are in memory, and how many came and went, since this supervisor started."""

    live: int
    """Sessions with an actor."""
    passivated: int
    """How often one left because nothing was asked of it."""
    revived: int
    """How often one was begun again from the journal: by a message, or for its open runs."""


class LivesSupervisor(DynamicSupervisor):
    """The part of the sessions' supervisor that begins and ends lives; see the module.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        # A run ends when the coroutines of its tools have, or are given up.
        shutdown = services.config.task_shutdown_timeout_ms / 1000 + 1.0
        template = ChildSpec(
            "session", SessionActor, (services,), restart=Restart.TRANSIENT, shutdown=shutdown
        )
        super().__init__(template, flags=FLAGS, name_of=lambda session_id, _birth: session_name(session_id))
        self._services = services
        # The children by session, from their start until this actor has heard of their end.
        self._lives: dict[str, Any] = {}
        # What waits for the end of a session's last life, by its ref.
        self._held: dict[Any, list[tuple[Deliver | Recover, Any]]] = {}
        self._reserved = Reservations()
        # Refs of sessions that were revived for their runs and had not read their records when last looked at.
        self._reviving: set[Any] = set()
        self._n_passivated = 0
        self._n_revived = 0
        self._is_sweeping = False
        self._to_sweep: list[Any] = []

    def lives(self) -> LivesCount:
        """Numbers of this moment."""
        return LivesCount(len(self._lives), self._n_passivated, self._n_revived)

    def _start(self, instance: Instance) -> Any:
        is_revival = instance.restarts < 0 and not instance.args[1].is_first
        ref = super()._start(instance)
        self._lives[instance.args[0]] = ref
        self._n_revived += is_revival
        if not self._is_sweeping:
            self._sweep_later()
        return ref

    def _take_exit(self, ref: Any, reason: ExitReason) -> None:
        instance = self._instances.get(ref)
        if instance is not None and self._lives.get(instance.args[0]) is ref:
            del self._lives[instance.args[0]]
        self._reviving.discard(ref)
        self._n_passivated += reason is RESTED
        super()._take_exit(ref, reason)

    def _hold(self, session_id: str, message: Deliver | Recover, reply: Any) -> bool:
        """Keep a message until the session's last life is over, if it is just ending, or its reservation is."""
        if self._reserved.hold(session_id, message, reply):
            return True
        # Not who has the name: a life that is over has none, and its crash, reported or not, brings about the next one.
        ending = self._lives.get(session_id)
        if ending is None:
            return False
        held = self._held.get(ending)
        if held is None:
            held = self._held[ending] = []
            self.monitor(ending)
        held.append((message, reply))
        return True

    def _life_is_over(self, message: Down) -> None:
        # A life that crashed has its successor by now: its exit was reported to this actor first.
        for held, reply in self._held.pop(message.ref, ()):
            self._go_on(held, reply)

    def _go_on(self, held: Deliver | Recover, reply: Any) -> None:
        """Hand on what was held."""
        raise NotImplementedError

    # --- Passivation -------------------------------------------------------------------------------------------

    def _sweep_later(self) -> None:
        linger = self._services.session_linger
        self._is_sweeping = linger is not None and bool(self._lives)
        if self._is_sweeping:
            assert linger is not None
            pause = min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, linger / LOOKS_PER_LINGER))
            self.send_after(pause, Sweep())

    def _sweep(self, message: Sweep) -> None:
        self._to_sweep = list(self._lives.values())
        self._sweep_some(SweepMore())

    def _sweep_some(self, message: SweepMore) -> None:
        linger, now, refs = self._services.session_linger, self.now(), self._to_sweep
        assert linger is not None
        n_resting = 0
        for _ in range(min(LOOK_AT_ONCE, len(refs))):
            ref = refs.pop()
            actor = ref.life.actor
            if actor is None:
                continue
            if actor.is_used:
                actor.is_used = False
                actor.quiet_since = now
            elif now - actor.quiet_since >= linger and actor.may_rest:
                # If it does not leave now, it is asked again after another such time.
                actor.quiet_since = now
                ref.post(Rest())
                n_resting += 1
                if n_resting == REST_AT_ONCE:
                    break
        if refs:
            self.actor_ref.post(message)
        else:
            self._sweep_later()
