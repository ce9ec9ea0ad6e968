"""The policy that a caller's options give. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asm_actors.policies.policy import Policy, stack_merge
from asm_actors.serialization import invalid

__all__ = ["as_policy", "resolve_policy"]


def as_policy(value: object) -> Policy:
    """Return a policy that was given as such or as a map.

    Raises:
        ValidationError: it is neither, or malformed.
    """
    if isinstance(value, Policy):
        return value
    if not isinstance(value, Mapping):
        raise invalid("policy", "must be a policy, or a map of its fields", value)
    return Policy.from_map(value)


def resolve_policy(policy: object = None, policies: object = None) -> Policy | None:
    """Return the policy that a caller's options give, or None if they give none.

    Args:
        policy: a policy or a map.
        policies: a list of these, to be put together; unless it is empty it counts, and `policy` does not.

    Raises:
        ValidationError: one is malformed.
    """
    if policies is not None:
        if isinstance(policies, str | bytes | Mapping) or not isinstance(policies, Iterable):
            raise invalid("policies", "must be a list of policies", policies)
        given = [as_policy(one) for one in policies]
        if given:
            return stack_merge(given)
    return None if policy is None else as_policy(policy)
