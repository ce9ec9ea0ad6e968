"""Looking at a policy before its run starts: what can only end in a violation is refused at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.policies.evaluator import Evaluator
from asm_actors.policies.policy import Policy
from asm_actors.policies.rules import OnViolation, RuleKind

__all__ = ["preflight"]

# Nothing can be done with none of these. No dollars are another matter: some models are free.
_NEEDED = ("max_total_tokens", "max_duration_ms", "max_tool_calls", "max_turns")


def preflight(
    policy: Policy, *, required_tools: Iterable[str] = (), evaluator: Evaluator | None = None, now: int = 0
) -> None:
    """Refuse a policy with which a run cannot go well.

    What is looked at, and told in ``details["check"]``, in this order:

    - ``empty_allow_list``: a rule allows tools and names none.
    - ``zero_budget``: a limit is 0, of anything but dollars; ``limits`` names them.
    - ``contradictory_rules``: one policy both allows and denies a tool; ``tools`` names them. Policies that were put
      together may disagree: there, deny wins.
    - ``required_tool_denied``: a tool that the run cannot do without would be denied; ``tools`` names them.
    - ``already_exceeded``: the run, or what it goes on from, has exceeded limits; ``violations`` has them.

    Args:
        policy: the policy.
        required_tools: names of tools that the run cannot do without.
        evaluator: what is known of the run already, if it goes on.
        now: microseconds since the epoch; for `evaluator`.

    Raises:
        RuntimeFailure: ``policy_violation``, as told above.
    """
    for part in policy.plain:
        if any(rule.kind is RuleKind.ALLOW and not rule.tools for rule in part.tool_rules):
            raise _refused(part, "empty_allow_list", "has a rule that allows no tool at all")
    zero = [name for name in _NEEDED if getattr(policy.limits, name) == 0]
    if zero:
        raise _refused(
            policy, "zero_budget", f"leaves nothing to run with: {', '.join(zero)} is 0", limits=zero
        )
    for part in policy.plain:
        both = sorted(_named(part, RuleKind.ALLOW) & _named(part, RuleKind.DENY))
        if both:
            text = f"both allows and denies {', '.join(both)}"
            raise _refused(part, "contradictory_rules", text, tools=both)
    if policy.on_violation is OnViolation.CANCEL:
        denied = [name for name in required_tools if policy.refusal_of(name) is not None]
        if denied:
            text = f"denies tools that the run requires: {', '.join(denied)}"
            raise _refused(policy, "required_tool_denied", text, tools=denied)
    if evaluator is not None and policy.on_violation is OnViolation.CANCEL:
        exceeded = evaluator.exceeded(now, is_due=True)
        if exceeded:
            text = f"is exceeded before the run starts: {'; '.join(one.text for one in exceeded)}"
            told = [one.to_map() for one in exceeded]
            raise _refused(policy, "already_exceeded", text, violations=told)


def _named(policy: Policy, kind: RuleKind) -> set[str]:
    return {name for rule in policy.tool_rules if rule.kind is kind for name in rule.tools}


def _refused(policy: Policy, check: str, text: str, **details: Any) -> AsmError:
    return AsmError(
        ErrorCode.POLICY_VIOLATION,
        f"policy {policy.name} {text}",
        details={"check": check, "policy": policy.name, **details},
    )
