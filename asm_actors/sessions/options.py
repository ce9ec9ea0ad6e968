"""The options of a session: what it says about all of its runs. Pure.

They stand in the session's record, as JSON, so that a later life of it reads them again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypedDict

from asm_actors.capabilities.resolver import CapabilityResolver
from asm_actors.policies.resolving import resolve_policy
from asm_actors.runs.options import run_options
from asm_actors.serialization import check_integer, invalid

__all__ = ["SECOND_RUN", "SessionOptions", "session_options"]

SECOND_RUN: Final = ("enqueue", "reject", "interrupt", "rollback")
"""What may become of a run that comes while the session's runs take all the places that it has for them."""

_TOGETHER: Final = ("policy", "policies", "required_capabilities", "optional_capabilities")


class SessionOptions(TypedDict, total=False):
    """Options of `start_session`; what is left out follows the system."""

    max_concurrent_runs: int | None
    """Runs of the session that may execute at once."""
    max_queued_runs: int | None
    """Runs of the session that may wait for their turn; 0: none ever waits, it is refused."""
    second_run: str | None
    """What becomes of a run that comes while others take all places: ``enqueue`` (default): it waits; ``reject``: it
    is refused; ``interrupt``: the others are cancelled, and it starts; ``rollback``: the same, and what they had been
    asked and had said is taken out of the conversation."""
    run_options: Mapping[str, Any] | None
    """Options of its runs (`RunOptions`), unless a run says otherwise."""
    policy: Any
    """What its runs may do and use; put together with the system's and with that of each run."""
    policies: Iterable[Any] | None
    """Several policies, to be put together; they count instead of `policy`."""
    priority: int | None
    """Of its runs, unless a run says otherwise."""
    required_capabilities: Iterable[str] | None
    """Capability types which the provider of each of its runs must have."""
    optional_capabilities: Iterable[str] | None
    """Types whose absence is only noted with the run."""


def session_options(given: Mapping[str, Any], known_tools: Collection[str] | None = None) -> dict[str, Any]:
    """Check options and return those that were given, as a session's record keeps them.

    Args:
        given: The options (`SessionOptions`); None stands for one that is not given.
        known_tools: Names of the system's tools; None: any name may be one.

    Raises:
        ValidationError: One is malformed or unknown.
    """
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name not in SessionOptions.__annotations__:
            raise invalid("options", f"must be some of {', '.join(SessionOptions.__annotations__)}", name)
        if value is None or name in _TOGETHER:
            continue
        if name == "second_run":
            if not isinstance(value, str) or value not in SECOND_RUN:
                raise invalid(name, f"must be one of {', '.join(SECOND_RUN)}", value)
            options[name] = str(value)
        elif name == "run_options":
            if not isinstance(value, Mapping):
                raise invalid(name, "must be a map of options", value)
            options[name] = run_options(value, known_tools)
        elif name == "priority":
            options |= run_options({"priority": value})
        else:
            options[name] = check_integer(value, name, least=1 if name == "max_concurrent_runs" else 0)
    policy = resolve_policy(given.get("policy"), given.get("policies"))
    if policy is not None:
        options["policy"] = policy.to_map()
    wanted = CapabilityResolver.new(
        given.get("required_capabilities") or (), given.get("optional_capabilities") or ()
    )
    if not wanted.is_empty:
        options["capabilities"] = wanted.to_map()
    return options
