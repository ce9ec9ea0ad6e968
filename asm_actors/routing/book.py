"""What a router knows of its targets, and what it decides by that. Pure: time and draws are given.

Every change is one plain step without an await, so that the streams of one loop cannot come between. Attempts hold the
record they began with: of a target that was taken out they change nothing any more, also if another one was added under
its name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import define, field

from asm_actors.errors import AsmError
from asm_actors.routing.breaker import Breaker, CircuitBreaker
from asm_actors.routing.choice import Choice, Reason, Verdict, choose
from asm_actors.routing.health import Health, is_blamed
from asm_actors.routing.hints import Hints
from asm_actors.routing.policy import RandomSource, RoutingPolicy, ranked
from asm_actors.routing.statistics import RouterStatistics, TargetStatistics
from asm_actors.routing.sticky import StickyTable
from asm_actors.routing.trip import Trip

__all__ = ["Attempt", "RoutingBook"]


@define(eq=False)
class _Record:
    """One target."""

    name: str
    breaker: Breaker | None
    health: Health = field(factory=Health)
    in_flight: int = 0
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    given_up: int = 0

    def verdict(self, now: float) -> Verdict:
        """Tell whether its health and its breaker let it be asked."""
        wait = self.health.ready_in(now)
        if wait > 0:
            detail = f"{self.health.error} {self.health.failures} times in a row"
            return Verdict(self.name, Reason.UNHEALTHY, detail, wait)
        if self.breaker is not None and not self.breaker.allows(now):
            state = self.breaker.at(now).state.value
            return Verdict(self.name, Reason.REFUSED, state, self.breaker.ready_in(now))
        return Verdict(self.name, Reason.ELIGIBLE)

    def statistics(self, now: float) -> TargetStatistics:
        """Numbers of this moment."""
        breaker = self.breaker
        return TargetStatistics(
            name=self.name,
            in_flight=self.in_flight,
            started=self.started,
            succeeded=self.succeeded,
            failed=self.failed,
            given_up=self.given_up,
            failures=self.health.failures,
            error=self.health.error,
            ready_in=max(self.health.ready_in(now), 0.0 if breaker is None else breaker.ready_in(now)),
            breaker=None if breaker is None else breaker.at(now).state,
        )


@define(eq=False)
class Attempt:
    """One turn that was given to one target; ended once."""

    record: _Record
    began_at: float
    is_over: bool = False

    @property
    def name(self) -> str:
        """The target."""
        return self.record.name


class RoutingBook:
    """See the module.

    Args:
        policy: The router's.
        cooldown: Seconds for which a target is left alone that failed and did not say for how long.
        breaker: Rules of the targets' circuit breakers; None: they have none.
        sticky: Whether each session stays with the target it had last, also if no hint asks for it.
        sticky_ttl: Seconds for which a session, and a run between its turns, is kept with a target.
    """

    def __init__(
        self,
        policy: RoutingPolicy,
        *,
        cooldown: float,
        breaker: CircuitBreaker | None,
        sticky: bool,
        sticky_ttl: float,
    ) -> None:
        self.policy = policy
        self.cooldown = cooldown
        self._rules = breaker
        self._is_sticky = sticky
        self._sessions = StickyTable(sticky_ttl)
        # Runs that go on with another turn; also where sessions are not sticky.
        self._runs = StickyTable(sticky_ttl)
        self._records: dict[str, _Record] = {}
        self._failovers = 0

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order in which they were added."""
        return tuple(self._records)

    def add(self, name: str) -> None:
        """Take a target in, of which nothing is known."""
        breaker = None if self._rules is None else Breaker(self._rules)
        self._records = {**self._records, name: _Record(name, breaker)}

    def remove(self, name: str) -> None:
        """Forget a target: its health, its breaker, and who was kept with it."""
        self._records = {key: record for key, record in self._records.items() if key != name}
        self._sessions.forget_target(name)
        self._runs.forget_target(name)

    # --- Decisions -------------------------------------------------------------------------------------------------

    def trip(self, hints: Hints, random: RandomSource) -> Trip:
        """Begin a turn: fix the order of the targets."""
        failures = {name: record.health.failures for name, record in self._records.items()}
        return Trip(hints, ranked(hints.policy, self._records, failures, random))

    def consider(
        self,
        trip: Trip,
        now: float,
        *,
        session_id: str,
        run_id: str,
        unusable: Mapping[str, str],
        incapable: Mapping[str, str],
    ) -> Choice:
        """Decide where a turn goes next.

        Args:
            trip: Its way so far.
            now: Seconds of the router's clock.
            session_id: Its session.
            run_id: Its run.
            unusable: Why targets cannot work, by name.
            incapable: What targets lack of what the request needs, by name.
        """
        excluded, tried = trip.hints.policy.exclude, trip.tried_targets
        found: list[Verdict] = []
        for name in trip.order:
            record = self._records.get(name)
            if record is None:
                continue  # it was taken out meanwhile
            found.append(_standing(record, now, tried, excluded, unusable, incapable))
        return choose(found, self._homes(trip.hints, session_id, run_id, now))

    def _homes(self, hints: Hints, session_id: str, run_id: str, now: float) -> tuple[str | None, ...]:
        sticky = self._sticky_key(hints, session_id)
        last = None if sticky is None else self._sessions.get(sticky, now)
        return self._runs.get(run_id, now), last

    def _sticky_key(self, hints: Hints, session_id: str) -> str | None:
        return hints.sticky_id or (session_id if self._is_sticky else None)

    # --- Attempts --------------------------------------------------------------------------------------------------

    def begin(self, trip: Trip, choice: Choice, now: float) -> Attempt:
        """Give a turn to the target that was chosen just now."""
        assert choice.chosen is not None
        trip.go(choice)
        # Taken out in this very moment by another thread: it answers, and nothing is learnt of it.
        record = self._records.get(choice.chosen) or _Record(choice.chosen, None)
        if record.breaker is not None:
            record.breaker = record.breaker.began(now)
        if trip.tried:
            self._failovers += 1
        record.in_flight += 1
        record.started += 1
        return Attempt(record, now)

    def succeeded(
        self, attempt: Attempt, trip: Trip, now: float, *, session_id: str, run_id: str, goes_on: bool
    ) -> None:
        """The target answered.

        Args:
            attempt: What is over.
            trip: The turn's way.
            now: Seconds of the router's clock.
            session_id: The turn's session.
            run_id: The turn's run.
            goes_on: Whether the run will ask for another turn: it goes to the same target then.
        """
        record = attempt.record
        self._over(attempt)
        record.succeeded += 1
        record.health = record.health.succeeded(attempt.began_at)
        if record.breaker is not None:
            record.breaker = record.breaker.succeeded(now, attempt.began_at)
        if self._records.get(record.name) is not record:
            return  # it was taken out: nobody is kept with it
        sticky = self._sticky_key(trip.hints, session_id)
        if sticky is not None:
            self._sessions.keep(sticky, record.name, now)
        if goes_on:
            self._runs.keep(run_id, record.name, now)
        else:
            self._runs.forget(run_id)

    def failed(self, attempt: Attempt, error: AsmError, now: float) -> None:
        """The target failed, which counts against it unless the error says nothing of it."""
        if not is_blamed(error):
            self.given_up(attempt, now)
            return
        record = attempt.record
        self._over(attempt)
        record.failed += 1
        record.health = record.health.failed(now, error, self.cooldown)
        if record.breaker is not None:
            record.breaker = record.breaker.failed(now)

    def given_up(self, attempt: Attempt, now: float) -> None:
        """It ended without telling anything of the target; nothing if it is over already."""
        if attempt.is_over:
            return
        record = attempt.record
        self._over(attempt)
        record.given_up += 1
        if record.breaker is not None:
            record.breaker = record.breaker.given_up(now, attempt.began_at)

    def _over(self, attempt: Attempt) -> None:
        assert not attempt.is_over
        attempt.is_over = True
        attempt.record.in_flight -= 1

    def statistics(self, name: str, now: float, active_runs: Mapping[str, str]) -> RouterStatistics:
        """Numbers of this moment."""
        return RouterStatistics(
            name=name,
            policy=self.policy,
            cooldown=self.cooldown,
            targets=tuple(record.statistics(now) for record in self._records.values()),
            active_runs=dict(active_runs),
            sticky_sessions=self._sessions.count(now),
            failovers=self._failovers,
        )


def _standing(
    record: _Record,
    now: float,
    tried: Collection[str],
    excluded: Collection[str],
    unusable: Mapping[str, str],
    incapable: Mapping[str, str],
) -> Verdict:
    name = record.name
    if name in tried:
        return Verdict(name, Reason.TRIED)
    if name in excluded:
        return Verdict(name, Reason.EXCLUDED)
    if name in unusable:
        return Verdict(name, Reason.UNUSABLE, unusable[name])
    if name in incapable:
        return Verdict(name, Reason.INCAPABLE, incapable[name])
    return record.verdict(now)
