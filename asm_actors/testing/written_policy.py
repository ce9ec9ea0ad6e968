"""What a run's policies demand, read from what the journal keeps of them: the rule in other words than elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["Gate", "WrittenPolicy"]

_STRICTEST: Final = ("cancel", "request_approval", "warn")


class Gate(StrEnum):
    """What must come before a call of a tool."""

    FREE = "free"
    """Nothing."""
    ASK = "ask"
    """A grant: of this call, or one that stands for it."""
    NEVER = "never"
    """It must not be made at all."""


@frozen
class WrittenPolicy:
    """All that the policies of a system, a session and a run say about the run.

    Attributes:
        action: What follows from a violation; None if there is no policy.
        limits: The smallest limit of each kind, by its name.
        parts: Each policy that is not put together from others, as the journal has it.
        gated: Tools that say themselves that somebody has to be asked.
    """

    action: str | None = None
    limits: Mapping[str, float] = field(factory=dict)
    parts: tuple[Mapping[str, Any], ...] = ()
    gated: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        session: Session,
        run: Run,
        system: Mapping[str, Any] | None = None,
        gated: Collection[str] = (),
    ) -> WrittenPolicy:
        """Read the policies of a run.

        Args:
            session: Its session.
            run: Its record.
            system: What `Policy.to_map` gives of the system's policy.
            gated: Tools that say themselves that somebody has to be asked.
        """
        given = (system, session.options.get("policy"), run.options.get("policy"))
        parts = tuple(part for policy in given if policy is not None for part in _plain(policy))
        limits: dict[str, float] = {}
        for part in parts:
            for name, value in (part.get("limits") or {}).items():
                limits[name] = min(value, limits.get(name, value))
        said = {part.get("on_violation") or "cancel" for part in parts}
        action = next((one for one in _STRICTEST if one in said), None)
        return cls(action, limits, parts, frozenset(gated))

    def gate(self, tool: str) -> Gate:
        """Tell what must come before a call of a tool, limits aside."""
        must_ask = tool in self.gated
        is_forbidden = False
        for part in self.parts:
            for rule in part.get("tool_rules") or ():
                is_named = tool in rule["tools"]
                must_ask |= rule["rule"] == "ask" and is_named
                is_forbidden |= (rule["rule"] == "deny" and is_named) or (
                    rule["rule"] == "allow" and not is_named
                )
        if is_forbidden and self.action == "cancel":
            return Gate.NEVER
        if is_forbidden and self.action == "request_approval":
            return Gate.ASK
        return Gate.ASK if must_ask else Gate.FREE

    @property
    def tells_denials(self) -> bool:
        """Whether a run goes on whose call was denied."""
        return all((part.get("on_denied") or "tell") == "tell" for part in self.parts)


def _plain(policy: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    parts = policy.get("parts")
    if not parts:
        yield policy
        return
    for part in parts:
        yield from _plain(part)
