"""A provider that chooses among other providers, and goes on to the next one when one fails.

What is decided, and why, is told in the pure modules beside this one: the order in `policy`, the choice in `choice`,
the breaker in `breaker`, failover in `trip`. Here it is acted out: one stream of the router reads one stream of a
target at a time. Nothing is locked: what is known of the targets changes between two awaits, never across one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import define

from asm_actors.capabilities.manifest import Manifest
from asm_actors.config import ROUTER_NAME, ROUTING_COOLDOWN, STICKY_SESSION_TTL
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import Provider, TurnRequest
from asm_actors.providers.items import Item, Raw, TurnDone, TurnStarted, Usage
from asm_actors.routing.book import Attempt, RoutingBook
from asm_actors.routing.breaker import CircuitBreaker
from asm_actors.routing.choice import Choice
from asm_actors.routing.hints import hints_of, missing_of
from asm_actors.routing.merging import merged_manifest
from asm_actors.routing.openings import OpenTarget, as_error
from asm_actors.routing.policy import RoutingPolicy
from asm_actors.routing.reading import bounded
from asm_actors.routing.statistics import RouterStatistics
from asm_actors.routing.target import Target, target_of
from asm_actors.routing.trip import Trip, none_eligible
from asm_actors.serialization import check_id, check_number, invalid

if TYPE_CHECKING:
    from supervisors.clock import Clock

__all__ = ["Router"]

logger = logging.getLogger("asm_actors.routing")

FAILOVER: Final = "routing_failover"
"""What the `Raw` item is called that tells of a failover."""


@define(eq=False)
class _Turn:
    """One turn that is being answered."""

    request: TurnRequest
    trip: Trip
    targets: Mapping[str, OpenTarget]
    """The router's at the beginning: one that is taken out meanwhile is still asked."""


class Router:
    """A provider that chooses among others; see the module.

    An example::

        Router(
            {"claude": AnthropicProvider(), "backup": AnthropicProvider(base_url="…")},
            policy={"prefer": ["claude"], "max_attempts": 2},
            breaker=True,
        )

    One request changes the policy for itself by ``adapter_opts["routing"]``: ``prefer exclude max_attempts weights
    strategy``, and ``required_capabilities``, ``sticky_session_id`` (see `routing.hints`). The way that a turn took is
    in the run's provider metadata under ``routing``, each failover in an ``error_occurred`` event.

    Args:
        targets: By name: providers, `routing.target.Target` values, or maps with ``provider``, ``options`` and
            ``timeout``. They belong to the router: it names, opens and closes them.
        policy: A `routing.policy.RoutingPolicy`, or a map with its fields.
        cooldown: Seconds for which a target is left alone that failed, unless it said for how long itself.
        breaker: Whether each target has a circuit breaker, or the rules of it.
        sticky: Whether each session stays with the target that answered it last. Without it only those do that ask for
            it by ``sticky_session_id``. A run stays with its target between its turns in any case.
        sticky_ttl: For how many seconds.
        clock: Whose ``monotonic()`` tells the time (`supervisors.Clock`); None: the time of the loop that streams.
        seed: Of the draws of the strategy ``random``.
        timeout: Seconds one turn may take in all, over all its targets; None for no bound.
        name: The provider's name; the system sets it to the one it is configured under.

    Raises:
        ValidationError: An argument is malformed.
    """

    name: str
    resumable: bool
    timeout: float | None
    is_router: ClassVar[bool] = True
    """A router as a target of another one is given the routing hints of a request too."""

    def __init__(
        self,
        targets: Mapping[str, Provider | Target | Mapping[str, Any]],
        *,
        policy: RoutingPolicy | Mapping[str, Any] | None = None,
        cooldown: float = ROUTING_COOLDOWN,
        breaker: CircuitBreaker | bool = False,
        sticky: bool = False,
        sticky_ttl: float = STICKY_SESSION_TTL,
        clock: Clock | None = None,
        seed: int | None = None,
        timeout: float | None = None,
        name: str = ROUTER_NAME,
    ) -> None:
        if not isinstance(targets, Mapping) or not targets:
            raise invalid("targets", "must be a map from names to providers, with one at least", targets)
        if not isinstance(breaker, bool | CircuitBreaker):
            raise invalid("breaker", "must be true, false, or a CircuitBreaker", breaker)
        if timeout is not None and not check_number(timeout, "timeout"):
            raise invalid("timeout", "must be more than 0 seconds", timeout)
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise invalid("seed", "must be an integer", seed)
        self.name = check_id(name, "name")
        self.timeout = timeout
        self.resumable = False
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - it shares load
        self._loop: asyncio.AbstractEventLoop | None = None
        self._targets: dict[str, OpenTarget] = {}
        # Taken out while it may be answering: closed with the router.
        self._retired: list[OpenTarget] = []
        self._active: dict[str, str] = {}
        self._book = RoutingBook(
            policy if isinstance(policy, RoutingPolicy) else RoutingPolicy.from_map(policy or {}),
            cooldown=check_number(cooldown, "cooldown"),
            breaker=(CircuitBreaker() if breaker else None) if isinstance(breaker, bool) else breaker,
            sticky=sticky,
            sticky_ttl=check_number(sticky_ttl, "sticky_ttl"),
        )
        for target, value in targets.items():
            self.add(target, value)

    def __repr__(self) -> str:
        return f"Router(name={self.name!r}, targets={list(self._targets)!r})"

    # --- Targets ---------------------------------------------------------------------------------------------------

    def add(self, name: str, target: Provider | Target | Mapping[str, Any]) -> None:
        """Add a target. A system that runs keeps the capabilities which the router had at the start.

        Raises:
            ValidationError: The name or the target is malformed, or the target is this router itself.
            ResourceError: ``already_exists``: there is one of that name.
        """
        name, made = target_of(name, target)
        if made.provider is self:
            raise invalid(f"targets[{name!r}]", "must not be the router itself", self)
        if name in self._targets:
            raise AsmError(ErrorCode.ALREADY_EXISTS, f"the router has a target {name} already")
        made.provider.name = name
        self._targets = {**self._targets, name: OpenTarget(name, made)}
        self._book.add(name)
        self._note_resumable()

    def remove(self, name: str) -> None:
        """Take a target out, and forget what is known of it. What it answers just now, it answers to the end.

        Raises:
            ResourceError: ``not_found``: there is none of that name.
        """
        if name not in self._targets:
            raise AsmError(ErrorCode.NOT_FOUND, f"the router has no target {name}")
        self._retired.append(self._targets[name])
        self._targets = {key: found for key, found in self._targets.items() if key != name}
        self._book.remove(name)
        self._note_resumable()

    def _note_resumable(self) -> None:
        # The next try of a turn may go to any of them.
        providers = [found.target.provider for found in self._targets.values()]
        self.resumable = bool(providers) and all(provider.resumable for provider in providers)

    def statistics(self) -> RouterStatistics:
        """Numbers of this moment; from any thread."""
        return self._book.statistics(self.name, self._now(), dict(self._active))

    # --- The port --------------------------------------------------------------------------------------------------

    def capabilities(self) -> Manifest:
        """Return the union of what the targets can do."""
        manifests = {name: found.target.provider.capabilities() for name, found in self._targets.items()}
        return merged_manifest(self.name, manifests)

    def secrets(self) -> Iterable[str]:
        """Return the secrets which the targets were configured with, for redaction."""
        for found in (*self._targets.values(), *self._retired):
            tell = getattr(found.target.provider, "secrets", None)
            if callable(tell):
                yield from tell()

    def check(self) -> None:
        """See that one target at least can work.

        Raises:
            AsmError: None can; of a single target its own error, else ``provider_unavailable``, which is not retryable.
        """
        found = tuple(self._targets.values())
        if len(found) == 1:
            found[0].target.provider.check()
            return
        problems: list[str] = []
        for each in found:
            problem = each.target.problem()
            if problem is None:
                return
            problems.append(f"{each.name}: {problem}")
        raise AsmError(
            ErrorCode.PROVIDER_UNAVAILABLE,
            f"router {self.name} has no target that can work ({'; '.join(problems) or 'none is left'})",
            retryable=False,
        )

    async def open(self) -> None:
        """Open the targets. One that cannot be opened is tried again when it is chosen."""
        self._loop = asyncio.get_running_loop()
        opened = await asyncio.gather(
            *(found.open() for found in self._targets.values()), return_exceptions=True
        )
        for result in opened:
            if isinstance(result, BaseException) and not isinstance(result, AsmError):
                raise result

    async def aclose(self) -> None:
        """Close the targets, each of them also if another one fails to."""
        retired, self._retired = self._retired, []
        closed = await asyncio.gather(
            *(found.aclose() for found in (*self._targets.values(), *retired)), return_exceptions=True
        )
        for result in closed:
            if isinstance(result, BaseException):
                raise result

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Item, None]:
        """Answer one turn by the targets: the first that does not fail before it says something.

        Raises:
            ProviderError: ``provider_unavailable``: no target may be asked; if time helps, ``retry_after`` says when.
            AsmError: What the last target raised, with the way in ``details["routing"]``; or a hint is malformed.
        """
        hints = hints_of(request.options, self._book.policy)
        turn = _Turn(request, self._book.trip(hints, self._random), self._targets)
        trip = turn.trip
        while True:
            attempt = self._begin(turn)
            # Nothing is said twice: while another target may answer the whole, the opening of this one waits.
            holds, held = trip.can_go_on, list[Item]()
            try:
                if trip.tried:
                    yield Raw(FAILOVER, trip.failover_data())
                items = await self._stream_of(turn)
                try:
                    async for item in items:
                        kind = type(item)
                        if holds and kind is not Raw:
                            if kind is TurnStarted or kind is Usage:
                                held.append(item)
                                continue
                            holds = False
                            for early in held:
                                yield early
                        # Not through a function: each item resumes every frame between its source and the reader.
                        yield self._answered(turn, attempt, item) if isinstance(item, TurnDone) else item
                finally:
                    await self._close(turn, items)
                if attempt.is_over:
                    return
                raise _broken_off(trip)
            except Exception as failure:
                error = as_error(attempt.name, failure)
                self._failed(turn, attempt, error)
            finally:
                self._release(turn, attempt)
            if not (holds and error.retryable):
                raise self._final_error(turn) from error

    # --- Of a turn -------------------------------------------------------------------------------------------------

    def _begin(self, turn: _Turn) -> Attempt:
        """Decide, and give the turn to the target that was chosen: one step, so that nobody comes between."""
        choice = self._consider(turn, turn.trip)
        if choice.chosen is None:
            raise self._final_error(turn) if turn.trip.tried else none_eligible(choice)
        attempt = self._book.begin(turn.trip, choice, self._now())
        self._active[turn.request.run_id] = choice.chosen
        return attempt

    def _consider(self, turn: _Turn, trip: Trip) -> Choice:
        unusable: dict[str, str] = {}
        incapable: dict[str, str] = {}
        required = trip.hints.required
        for name, found in self._targets.items():
            problem = found.target.problem()
            if problem is not None:
                unusable[name] = problem
            elif required and (missing := missing_of(required, found.target.provider.capabilities())):
                incapable[name] = ", ".join(map(str, missing))
        return self._book.consider(
            trip,
            self._now(),
            session_id=turn.request.session_id,
            run_id=turn.request.run_id,
            unusable=unusable,
            incapable=incapable,
        )

    async def _stream_of(self, turn: _Turn) -> AsyncGenerator[Item, None]:
        name = turn.trip.target
        assert name is not None
        found = self._targets.get(name) or turn.targets[name]
        seconds = found.target.seconds
        if seconds is not None:
            return bounded(found, turn.request, seconds)
        await found.ready()
        return found.target.stream(turn.request)

    async def _close(self, turn: _Turn, items: AsyncGenerator[Item, None]) -> None:
        try:
            await items.aclose()
        except Exception:
            # Whatever ends the stream stands: a cancel must not become an error, nor an error another one.
            logger.exception("target %s could not close its stream", turn.trip.target)

    def _answered(self, turn: _Turn, attempt: Attempt, done: TurnDone) -> TurnDone:
        """Note the answer, and have it tell the way."""
        if not attempt.is_over:
            self._book.succeeded(
                attempt,
                turn.trip,
                self._now(),
                session_id=turn.request.session_id,
                run_id=turn.request.run_id,
                goes_on=done.stop_reason == "tool_use",
            )
        metadata = dict(done.metadata)
        metadata["routing"] = turn.trip.routing(metadata.get("routing"))
        return done._replace(metadata=metadata)

    def _failed(self, turn: _Turn, attempt: Attempt, error: AsmError) -> None:
        turn.trip.failed(error)
        if not attempt.is_over:
            self._book.failed(attempt, error, self._now())

    def _release(self, turn: _Turn, attempt: Attempt) -> None:
        self._book.given_up(attempt, self._now())
        if self._active.get(turn.request.run_id) == attempt.name:
            del self._active[turn.request.run_id]

    def _final_error(self, turn: _Turn) -> AsmError:
        """How the turn fails; if it may be tried again, when some target may be asked again."""
        anew = Trip(turn.trip.hints, turn.trip.order)
        return turn.trip.final_error(self._consider(turn, anew).ready_in)

    def _now(self) -> float:
        if self._clock is not None:
            return self._clock.monotonic()
        with suppress(RuntimeError):  # asked from another thread: the time of the loop that streams
            self._loop = asyncio.get_running_loop()
        return 0.0 if self._loop is None else self._loop.time()


def _broken_off(trip: Trip) -> AsmError:
    return AsmError(
        ErrorCode.PROVIDER_ERROR, f"target {trip.target} ended its stream in the middle of the turn"
    )
