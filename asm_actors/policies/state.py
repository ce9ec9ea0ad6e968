"""What a policy knows of a run: counts, money, what was violated. A fold over facts. Pure.

1. The state changes by `apply` alone. A live run and one that is rebuilt from its events take the same facts, so they
   have the same state.
2. What is told again changes nothing: the start of a run counts once, and a violation once per kind and subject.
3. A turn's cost is what the provider says when the turn is over; until then, and if it does not, what the rates say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self

from attrs import Factory, evolve, frozen

from asm_actors.cost.pricing import PricingTable
from asm_actors.errors import AsmError
from asm_actors.events import Event
from asm_actors.journal.usage import count_of
from asm_actors.policies.facts import (
    CallBegan,
    CallSeen,
    Fact,
    LimitsLifted,
    RunBegan,
    RunOver,
    TurnOver,
    UsageTold,
    ViolationTold,
    fact_of,
)
from asm_actors.policies.violations import Action, Violation
from asm_actors.runs.run import add_usage
from asm_actors.serialization import Fields

__all__ = ["PolicyState", "apply", "fold"]


@frozen(kw_only=True)
class PolicyState:
    """What a policy knows of a run.

    Attributes:
        started_us: when it started, in microseconds since the epoch; None before that.
        provider: who answers, if that was told.
        model: the model that answers, if that was told.
        input_tokens: tokens of its requests.
        output_tokens: tokens of the answers.
        summed_tokens: the sum over turns of both, or of what a turn tells as its total if it tells neither.
        reported_tokens: the largest total that was told.
        n_calls: calls of tools.
        n_turns: completed turns.
        settled_usd: what its completed turns cost, as far as that is known; US dollars.
        open_usage: what was used since.
        unpriced: ``provider/model`` of completed turns whose cost is not known.
        violations: what was violated, in order.
        lifted: metrics whose limits somebody has lifted.
        is_over: whether it has ended.
    """

    started_us: int | None = None
    provider: str | None = None
    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    summed_tokens: int = 0
    reported_tokens: int = 0
    n_calls: int = 0
    n_turns: int = 0
    settled_usd: float = 0.0
    open_usage: dict[str, Any] = Factory(dict)
    unpriced: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    lifted: frozenset[str] = frozenset()
    is_over: bool = False

    def __hash__(self) -> int:
        return hash((self.started_us, self.summed_tokens, self.n_calls, self.n_turns))

    @property
    def total_tokens(self) -> int:
        """Tokens used: the sum over its turns, or the largest total that was told if that is more."""
        return max(self.summed_tokens, self.reported_tokens)

    @property
    def is_cancelled(self) -> bool:
        """Whether a violation has ended it."""
        return any(one.action == Action.CANCEL for one in self.violations)

    def has_told(self, key: tuple[str, str, str]) -> bool:
        """Tell whether a violation of this kind, subject and action is known."""
        return any(one.key == key for one in self.violations)

    def with_violation(self, violation: Violation) -> PolicyState:
        """Return this with a violation; one that is known changes nothing."""
        if self.has_told(violation.key):
            return self
        return evolve(self, violations=(*self.violations, violation))

    def with_usage(self, usage: Mapping[str, Any]) -> PolicyState:
        """Return this with more tokens used."""
        sent, made = count_of(usage, "input_tokens"), count_of(usage, "output_tokens")
        told = count_of(usage, "total_tokens")
        counts = {name: count for name in _COUNTS if (count := count_of(usage, name))}
        return evolve(
            self,
            input_tokens=self.input_tokens + sent,
            output_tokens=self.output_tokens + made,
            summed_tokens=self.summed_tokens + (sent + made or told),
            reported_tokens=max(self.reported_tokens, told),
            open_usage=add_usage(self.open_usage, counts),
        )

    def cost(self, pricing: PricingTable, provider: str | None = None) -> tuple[float, tuple[str, ...]]:
        """Return what was spent so far, in US dollars, and ``provider/model`` of what has no known cost.

        Args:
            pricing: the rates.
            provider: who answers, unless that was told.
        """
        if not self.open_usage:
            return self.settled_usd, self.unpriced
        cost = pricing.cost_of(self.open_usage, self.provider or provider, self.model)
        if cost.usd is None:
            return self.settled_usd, _with_name(self.unpriced, cost.unpriced)
        return self.settled_usd + cost.usd, self.unpriced

    def settled(self, pricing: PricingTable, provider: str | None, reported_usd: float | None) -> PolicyState:
        """Return this with what was used since the last turn paid for."""
        if reported_usd is not None and reported_usd > 0:
            return evolve(self, settled_usd=self.settled_usd + reported_usd, open_usage={})
        usd, unpriced = self.cost(pricing, provider)
        return evolve(self, settled_usd=usd, unpriced=unpriced, open_usage={})

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            **{name: getattr(self, name) for name in (*_INTEGERS, *_PLAIN)},
            "open_usage": dict(self.open_usage),
            "unpriced": list(self.unpriced),
            "violations": [one.to_map() for one in self.violations],
            "lifted": sorted(self.lifted),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: a field is malformed.
        """
        fields = Fields(value, "policy_state")
        found: dict[str, Any] = {name: fields.integer(name, least=0, default=0) for name in _INTEGERS}
        return cls(
            **found,
            started_us=fields.optional_integer("started_us", least=0),
            provider=fields.optional_text("provider"),
            model=fields.optional_text("model"),
            settled_usd=fields.optional_number("settled_usd") or 0.0,
            open_usage=fields.map("open_usage"),
            unpriced=fields.texts("unpriced"),
            violations=tuple(Violation.from_map(one) for one in fields.items("violations")),
            lifted=frozenset(fields.texts("lifted")),
            is_over=fields.boolean("is_over", default=False),
        )


_COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
_INTEGERS: Final = (
    "input_tokens", "output_tokens", "summed_tokens", "reported_tokens", "n_calls", "n_turns",
)  # fmt: skip
_PLAIN: Final = ("started_us", "provider", "model", "settled_usd", "is_over")


def _with_name(names: tuple[str, ...], name: str | None) -> tuple[str, ...]:
    return names if name is None or name in names else (*names, name)


def apply(
    state: PolicyState, fact: Fact, now: int, pricing: PricingTable, provider: str | None = None
) -> PolicyState:
    """Return the state after a fact. Facts that no event tells change nothing.

    Args:
        state: the state before it.
        fact: what happened.
        now: when, in microseconds since the epoch.
        pricing: what models cost.
        provider: who answers, unless facts tell it.
    """
    handler = _HANDLERS.get(type(fact))
    return state if handler is None else handler(state, fact, now, pricing, provider)


def fold(
    events: Iterable[Event],
    pricing: PricingTable,
    provider: str | None = None,
    state: PolicyState | None = None,
) -> PolicyState:
    """Return the state after a run's events.

    Args:
        events: the events of one run, in order; a payload that cannot be read is passed over.
        pricing: what models cost.
        provider: who answers, unless events tell it.
        state: the state before them.
    """
    found = PolicyState() if state is None else state
    for event in events:
        try:
            fact = fact_of(event.type, event.data, event.provider)
        except AsmError:
            continue  # what happened, happened: others may have written it in another shape
        if fact is not None:
            found = apply(found, fact, event.timestamp_us, pricing, provider)
    return found


def _began(state: PolicyState, fact: RunBegan, now: int, *_: Any) -> PolicyState:
    return evolve(
        state,
        started_us=now if state.started_us is None else state.started_us,
        model=fact.model or state.model,
        is_over=False,
    )


def _call_began(state: PolicyState, fact: CallBegan, *_: Any) -> PolicyState:
    return state if fact.is_repeated else evolve(state, n_calls=state.n_calls + 1)


def _call_seen(state: PolicyState, fact: CallSeen, *_: Any) -> PolicyState:
    return evolve(state, n_calls=state.n_calls + 1)


def _usage(state: PolicyState, fact: UsageTold, *_: Any) -> PolicyState:
    told = state.with_usage(fact.usage)
    return evolve(told, model=fact.model or state.model, provider=fact.provider or state.provider)


def _turn_over(
    state: PolicyState, fact: TurnOver, now: int, pricing: PricingTable, provider: str | None
) -> PolicyState:
    state = evolve(state, model=fact.model or state.model, n_turns=state.n_turns + 1)
    return state.settled(pricing, provider, fact.cost_usd)


def _run_over(
    state: PolicyState, fact: RunOver, now: int, pricing: PricingTable, provider: str | None
) -> PolicyState:
    state = evolve(state.settled(pricing, provider, None), is_over=True)
    if fact.is_complete:
        state = evolve(state, n_turns=state.n_turns + 1)
    total = fact.total_cost_usd
    return state if total is None or total <= 0 else evolve(state, settled_usd=total, unpriced=())


def _violated(state: PolicyState, fact: ViolationTold, *_: Any) -> PolicyState:
    return state.with_violation(fact.violation)


def _lifted(state: PolicyState, fact: LimitsLifted, *_: Any) -> PolicyState:
    return evolve(state, lifted=state.lifted.union(fact.metrics))


_HANDLERS: Final[Mapping[type, Callable[..., PolicyState]]] = {
    RunBegan: _began,
    CallBegan: _call_began,
    CallSeen: _call_seen,
    UsageTold: _usage,
    TurnOver: _turn_over,
    RunOver: _run_over,
    ViolationTold: _violated,
    LimitsLifted: _lifted,
}
