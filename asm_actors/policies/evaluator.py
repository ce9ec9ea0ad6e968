"""`Evaluator`: a policy looks at a run, fact by fact, and says what follows. Pure.

1. A call of a host's tool is asked about before it is made (`CallAsked`): it is allowed, denied, or somebody is asked.
   What was decided about a call holds, but for a grant where a limit ends the run. A grant that stands for calls like
   it answers for the rules that asked, not for limits, nor for rules that forbid a tool.
2. Limits are looked at with every fact that can exceed one. The time has a timer besides (`deadline_us`), so that it is
   not needed that anything happens; waiting for somebody's decision counts as time.
3. A violation is told once per kind, subject and action. What follows is decided by the policy's `on_violation`:

   - ``cancel``: the run ends. A call that a rule forbids is denied instead, and ends the run only if `on_denied` is
     ``fail``. A forbidden call that the provider has made on its own ends the run: it is too late to deny it.
   - ``request_approval``: a forbidden call waits for a decision, and while a limit is exceeded every call does, until
     somebody lifts the limit for the run. A forbidden call that was made already ends the run here too.
   - ``warn``: nothing else.

   A tool for which somebody has to be asked (`RuleKind.ASK`, `gated`) is asked about whatever the policy says of
   violations, and that is none: nothing is put on record but the question.
4. Nothing is said about a run that is over, or that a violation has ended, but that its calls are denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from asm_actors.cost.budget import Spent, exceeds_usd
from asm_actors.cost.built_in import BUILT_IN_PRICES
from asm_actors.cost.pricing import PricingTable
from asm_actors.errors import AsmError
from asm_actors.events import Event
from asm_actors.policies.approval import Approval, ApprovalRequest
from asm_actors.policies.facts import (
    CallAsked,
    CallSeen,
    Fact,
    TimePassed,
    TurnOver,
    UsageSoFar,
    UsageTold,
)
from asm_actors.policies.policy import Policy
from asm_actors.policies.rules import OnDenied, OnViolation
from asm_actors.policies.rulings import Allow, AskApproval, Decision, Deny, Ruling
from asm_actors.policies.state import PolicyState, apply, fold
from asm_actors.policies.violations import Action, Metric, Violation, ViolationKind, violation_error

__all__ = ["GATE", "GATED_ONLY", "Allow", "AskApproval", "Decision", "Deny", "Evaluator", "Ruling"]


GATE: Final = "requires_approval"
"""Stands for the policy that wants to know, where a tool wants it by itself."""
GATED_ONLY: Final = Policy(name=GATE)
"""Stands for a policy where there is none, and tools want somebody to be asked."""


@frozen
class Evaluator:
    """A policy, and what it knows of one run.

    Attributes:
        policy: the policy.
        state: what it knows.
        pricing: what models cost, for limits in dollars.
        provider: who answers, unless events tell it.
        gated: tools that say themselves that somebody has to be asked.
    """

    policy: Policy
    state: PolicyState = field(factory=PolicyState)
    pricing: PricingTable = BUILT_IN_PRICES
    provider: str | None = None
    gated: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        return hash((self.policy, self.state))

    @classmethod
    def rebuilt(
        cls,
        policy: Policy,
        events: Iterable[Event],
        pricing: PricingTable = BUILT_IN_PRICES,
        provider: str | None = None,
    ) -> Evaluator:
        """Return the evaluator of a run that goes on after a restart. Let it look once: `TimePassed`.

        Args:
            policy: the policy.
            events: the events of the run, in order; others than its own must not be among them.
            pricing: what models cost.
            provider: who answers, unless events tell it.
        """
        return cls(policy, fold(events, pricing, provider), pricing, provider)

    def observe(self, fact: Fact, now: int) -> Ruling:
        """Take a fact, and return what follows.

        Args:
            fact: what happened, or is about to.
            now: microseconds since the epoch.
        """
        state = apply(self.state, fact, now, self.pricing, self.provider)
        judge = _JUDGES.get(type(fact))
        if judge is None:
            return Ruling(evolve(self, state=state))
        decisions = tuple(judge(evolve(self, state=state), fact, now))
        for decision in decisions:
            if isinstance(decision, Violation):
                state = state.with_violation(decision)
        return Ruling(evolve(self, state=state), decisions)

    # --- What it knows ---------------------------------------------------------------------------------------------

    @property
    def deadline_us(self) -> int | None:
        """When the time of the run is up, in microseconds since the epoch; None if there is no such limit (any more).

        A timer for this instant brings `TimePassed`.
        """
        limit, state = self.policy.limits.max_duration_ms, self.state
        if limit is None or state.started_us is None or state.is_over:
            return None
        action = self.policy.on_violation.value
        told = (ViolationKind.BUDGET_EXCEEDED.value, Metric.DURATION_MS.value, action)
        if Metric.DURATION_MS in state.lifted or state.has_told(told):
            return None
        return state.started_us + limit * 1000

    @property
    def spent(self) -> Spent:
        """What the run has spent so far."""
        usd, unpriced = self.state.cost(self.pricing, self.provider)
        return Spent(usd, self.state.total_tokens, tuple(sorted(unpriced)))

    @property
    def warnings(self) -> tuple[dict[str, Any], ...]:
        """What the policy cannot see to: a limit in dollars while it is not known what the models cost."""
        spent = self.spent
        if self.policy.limits.max_cost_usd is None or spent.is_known:
            return ()
        return ({"warning": "missing_cost_rates", "unpriced": list(spent.unpriced)},)

    def report(self, now: int) -> dict[str, Any]:
        """Return what a run's result tells of its policy, as a JSON-ready map.

        Args:
            now: microseconds since the epoch.
        """
        warnings, spent = self.warnings, self.spent
        metadata: dict[str, Any] = {"warnings": list(warnings)}
        if self.policy.limits.max_cost_usd is not None:
            metadata["cost_supported"] = not warnings
        return {
            "policy": self.policy.name,
            "action": self.policy.on_violation.value,
            "violated": bool(self.state.violations),
            "violations": [one.to_map() for one in self.state.violations],
            "usage": {
                "input_tokens": self.state.input_tokens,
                "output_tokens": self.state.output_tokens,
                "total_tokens": spent.total_tokens,
                "tool_calls": self.state.n_calls,
                "turns": self.state.n_turns,
                "duration_ms": self._elapsed_ms(now),
                "cost_usd": spent.cost_usd,
            },
            "metadata": metadata,
        }

    def details(self, now: int) -> dict[str, Any]:
        """Return what a run's record keeps of its policy: its `report` as ``policy``, if somebody gave it one."""
        return {} if self.policy is GATED_ONLY else {"policy": self.report(now)}

    def error(self, context: Mapping[str, Any] | None = None) -> AsmError:
        """Return the error with which the run ends by this policy: ``policy_violation``."""
        return violation_error(self.policy.name, self.state.violations, context)

    def exceeded(
        self, now: int, *, n_more_calls: int = 0, n_more_turns: int = 1, is_due: bool = False
    ) -> tuple[Violation, ...]:
        """Return the limits that are exceeded and not lifted, told or not, as violations.

        Args:
            now: microseconds since the epoch.
            n_more_calls: calls that are about to be made.
            n_more_turns: turns that are not complete: a run that goes on takes one, or is in the middle of it.
            is_due: whether the time is up at its very end too, as a timer finds it.
        """
        limits, state = self.policy.limits, self.state
        actual: dict[Metric, float] = {
            Metric.TOTAL_TOKENS: state.total_tokens,
            Metric.DURATION_MS: self._elapsed_ms(now),
            Metric.TOOL_CALLS: state.n_calls + n_more_calls,
            Metric.COST_USD: self.spent.cost_usd,
            Metric.TURNS: state.n_turns + n_more_turns,
        }
        deadline = self.deadline_us
        found = []
        for metric, value in actual.items():
            limit = getattr(limits, metric.limit)
            if limit is None or metric in state.lifted:
                continue
            is_over = exceeds_usd(value, limit) if metric is Metric.COST_USD else value > limit
            if metric is Metric.DURATION_MS and is_due and deadline is not None:
                is_over = now >= deadline
            if is_over:
                found.append(self._exceeding(metric, value, limit))
        return tuple(found)

    def _elapsed_ms(self, now: int) -> int:
        started = self.state.started_us
        return 0 if started is None else max(0, now - started) // 1000

    def _exceeding(self, metric: Metric, actual: float, limit: float) -> Violation:
        details = {
            "metric": metric.value,
            "actual": actual,
            "limit": limit,
            "policies": list(self.policy.contributors(metric.limit)),
        }
        # What a policy does about limits is named as its actions are.
        action = Action(self.policy.on_violation.value)
        return Violation(ViolationKind.BUDGET_EXCEEDED.value, self.policy.name, action.value, details)

    def _forbidden(self, tool: str, action: Action, **more: Any) -> Violation | None:
        refusal = self.policy.refusal_of(tool)
        if refusal is None:
            return None
        details = {
            "tool_name": tool,
            "rule": refusal.rule.kind.value,
            "list": list(refusal.rule.tools),
            "policies": list(refusal.policies),
            **more,
        }
        return Violation(ViolationKind.TOOL_DENIED.value, self.policy.name, action.value, details)

    def _untold(self, violations: Iterable[Violation]) -> list[Violation]:
        return [one for one in violations if not self.state.has_told(one.key)]

    # --- Judging ---------------------------------------------------------------------------------------------------

    def _is_silent(self) -> bool:
        return self.state.is_over or self.state.is_cancelled

    def _call_asked(self, fact: CallAsked, now: int) -> Iterable[Decision]:
        if self._is_silent():
            return [Deny(fact.call_id, "the run has ended", fails_run=True)]
        exceeded = self.exceeded(now, n_more_calls=0 if fact.is_repeated else 1)
        if fact.approval is not None:
            return self._decided(fact, fact.approval, exceeded)
        forbidden = (
            None
            if self._is_lifted_by(fact.standing)
            else self._forbidden(fact.tool_name, self._denial_action)
        )
        found = [*([] if forbidden is None else [forbidden]), *exceeded]
        untold = self._untold(found)
        must_ask = fact.standing is None and self._asks_about(fact.tool_name)
        if not found or self.policy.on_violation is OnViolation.WARN:
            if must_ask:
                return [*untold, AskApproval(self._gate(fact))]
            return [*untold, _allowed(fact, fact.standing)]
        if self.policy.on_violation is OnViolation.REQUEST_APPROVAL:
            return [*untold, AskApproval(self._request(fact, found, exceeded))]
        fails_run = bool(exceeded) or self.policy.on_denied is OnDenied.FAIL
        return [*untold, Deny(fact.call_id, "; ".join(one.text for one in found), fails_run)]

    def _is_lifted_by(self, grant: Approval | None) -> bool:
        """Whether a grant that stands for a call also stands over rules that forbid it.

        It does if that was the question, and nowhere where nobody would be asked: a run may have a policy that is
        stricter than that of the run in which somebody allowed the call.
        """
        if grant is None or self.policy.on_violation is not OnViolation.REQUEST_APPROVAL:
            return False
        return grant.violation_kind == ViolationKind.TOOL_DENIED

    @property
    def _denial_action(self) -> Action:
        if self.policy.on_violation is OnViolation.CANCEL and self.policy.on_denied is OnDenied.TELL:
            return Action.DENY
        return Action(self.policy.on_violation.value)

    def _asks_about(self, tool: str) -> bool:
        return tool in self.gated or bool(self.policy.asks_about(tool))

    def _gate(self, fact: CallAsked) -> ApprovalRequest:
        names = self.policy.asks_about(fact.tool_name)
        who = f"policy {' + '.join(names)} requires" if names else "its tool requires"
        return ApprovalRequest(
            fact.call_id,
            fact.tool_name,
            dict(fact.tool_input),
            " + ".join(names) or GATE,
            ViolationKind.APPROVAL_REQUIRED.value,
            f"{who} approval before {fact.tool_name} is called",
            (),
            self.policy.approval_timeout,
        )

    def _decided(
        self, fact: CallAsked, approval: Approval, exceeded: tuple[Violation, ...]
    ) -> Iterable[Decision]:
        if approval.is_pending:
            return [AskApproval(approval.request, is_new=False)]
        if not approval.is_granted:
            return [Deny(fact.call_id, approval.denial, self.policy.on_denied is OnDenied.FAIL)]
        untold = self._untold(exceeded)
        if exceeded and self.policy.on_violation is OnViolation.CANCEL:
            # Calls that were made meanwhile have used up what there was.
            return [*untold, Deny(fact.call_id, "; ".join(one.text for one in exceeded), fails_run=True)]
        return [*untold, _allowed(fact, approval)]

    def _request(
        self, fact: CallAsked, found: list[Violation], exceeded: tuple[Violation, ...]
    ) -> ApprovalRequest:
        return ApprovalRequest(
            fact.call_id,
            fact.tool_name,
            dict(fact.tool_input),
            self.policy.name,
            found[0].kind,
            "; ".join(one.text for one in found),
            tuple(one.subject for one in exceeded),
            self.policy.approval_timeout,
        )

    def _call_seen(self, fact: CallSeen, now: int) -> Iterable[Decision]:
        if self._is_silent():
            return []
        action = Action.WARN if self.policy.on_violation is OnViolation.WARN else Action.CANCEL
        forbidden = self._forbidden(fact.tool_name, action, seen_afterwards=True)
        if forbidden is None and self._asks_about(fact.tool_name):
            details = {
                "tool_name": fact.tool_name,
                "policies": list(self.policy.asks_about(fact.tool_name)),
                "seen_afterwards": True,
            }
            kind = ViolationKind.APPROVAL_REQUIRED.value
            forbidden = Violation(kind, self.policy.name, action.value, details)
        return self._untold([*([] if forbidden is None else [forbidden]), *self.exceeded(now)])

    def _looks(self, fact: Fact, now: int) -> Iterable[Decision]:
        return [] if self._is_silent() else self._untold(self.exceeded(now))

    def _turn_over(self, fact: TurnOver, now: int) -> Iterable[Decision]:
        n_more_turns = 1 if fact.wants_more else 0
        return [] if self._is_silent() else self._untold(self.exceeded(now, n_more_turns=n_more_turns))

    def _time_passed(self, fact: TimePassed, now: int) -> Iterable[Decision]:
        return [] if self._is_silent() else self._untold(self.exceeded(now, is_due=True))

    def _usage_so_far(self, fact: UsageSoFar, now: int) -> Iterable[Decision]:
        so_far = self.state.with_usage(fact.usage)
        so_far = evolve(so_far, model=fact.model or so_far.model)
        return evolve(self, state=so_far)._looks(fact, now)


def _allowed(fact: CallAsked, grant: Approval | None) -> Allow:
    # The record of a grant is redacted; unless somebody edited them, the call's own arguments are the true ones.
    edited = None if grant is None else grant.edited_input
    return Allow(fact.call_id, dict(fact.tool_input) if edited is None else edited, grant)


_JUDGES: Final[Mapping[type, Callable[[Evaluator, Any, int], Iterable[Decision]]]] = {
    CallAsked: Evaluator._call_asked,
    CallSeen: Evaluator._call_seen,
    UsageSoFar: Evaluator._usage_so_far,
    UsageTold: Evaluator._looks,
    TurnOver: Evaluator._turn_over,
    TimePassed: Evaluator._time_passed,
}
