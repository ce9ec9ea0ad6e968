"""What must hold of a run's limits, as its events tell them: none is exceeded without a word.

A call that begins, and a run that completes, while a limit is exceeded must have been allowed to: the policy warns and
has said so, or somebody granted this call, or lifted the limit for the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import define, field

from asm_actors.events import Event, EventType
from asm_actors.runs.run import Run
from asm_actors.testing.written_policy import WrittenPolicy

__all__ = ["limit_faults"]

_LITTLE_USD: Final = 1e-9


def limit_faults(
    run: Run,
    events: Sequence[Event],
    policy: WrittenPolicy,
    rates: tuple[float, float] | None = None,
    late_s: float | None = None,
) -> Iterator[str]:
    """Check one run.

    Args:
        run: Its record.
        events: Its events, all of them, in order.
        policy: What its policies say.
        rates: What a token of a request and one of an answer cost, in US dollars; None: costs are not looked at.
        late_s: How much later than it should a timer may fire; None: the time is not looked at.
    """
    if not policy.limits:
        return
    reader = _Reader(run.id, policy, rates, late_s)
    for event in events:
        yield from reader.take(event)


@define
class _Reader:
    run_id: str
    policy: WrittenPolicy
    rates: tuple[float, float] | None
    late_s: float | None
    started_us: int | None = None
    tokens: int = 0
    cost: float = 0.0
    n_calls: int = 0
    n_turns: int = 0
    is_last: bool = False
    told: set[str] = field(factory=set)
    lifted: set[str] = field(factory=set)
    granted: set[str] = field(factory=set)

    def take(self, event: Event) -> Iterator[str]:
        data = event.data
        match event.type:
            case EventType.RUN_STARTED if self.started_us is None:
                self.started_us = event.timestamp_us
            case EventType.TOKEN_USAGE_UPDATED:
                self._used(data)
            case EventType.TURN_COMPLETED:
                self.n_turns += 1
                self.granted = set()
                self.is_last = bool(data.get("is_last"))
            case EventType.POLICY_VIOLATION if data.get("kind") == "budget_exceeded":
                self.told.add(data["details"]["metric"])
            case EventType.TOOL_APPROVAL_GRANTED:
                self.granted.add(data["tool_call_id"])
                self.lifted |= set(data.get("lifts") or ())
            case EventType.TOOL_CALL_STARTED if data.get("attempt"):
                self.n_calls += data["attempt"] == 1
                yield from self._begun(event)
            case EventType.RUN_COMPLETED:
                yield from self._completed(event)

    def _used(self, data: dict[str, Any]) -> None:
        self.tokens += data.get("input_tokens", 0) + data.get("output_tokens", 0)
        if self.rates is not None:
            self.cost += data.get("input_tokens", 0) * self.rates[0]
            self.cost += data.get("output_tokens", 0) * self.rates[1]

    def _exceeded(self, n_turns: int) -> list[str]:
        """Metrics whose limits are exceeded, and which nobody has lifted."""
        used: dict[str, float] = {
            "total_tokens": self.tokens,
            "tool_calls": self.n_calls,
            "turns": n_turns,
        }
        if self.rates is not None:
            used["cost_usd"] = self.cost - _LITTLE_USD
        limits = self.policy.limits
        return [
            metric
            for metric, amount in used.items()
            if f"max_{metric}" in limits and amount > limits[f"max_{metric}"] and metric not in self.lifted
        ]

    def _begun(self, event: Event) -> Iterator[str]:
        call_id = event.data["tool_call_id"]
        # A further turn follows the calls, and counts by then.
        for metric in self._exceeded(self.n_turns + 1):
            named = f"{call_id} of {self.run_id} (event {event.sequence_number})"
            if metric not in self.told:
                yield f"{named} is begun with more {metric} than allowed, without a word"
            elif self.policy.action == "cancel":
                yield f"{named} is begun, and the run had to end: it has exceeded {metric}"
            elif self.policy.action == "request_approval" and call_id not in self.granted:
                yield f"{named} is begun with more {metric} than allowed, and nobody was asked"

    def _completed(self, event: Event) -> Iterator[str]:
        # The last turn is told by the end alone, but for a run with files.
        exceeded = self._exceeded(self.n_turns + (not self.is_last))
        limit = self.policy.limits.get("max_duration_ms")
        if limit is not None and self.late_s is not None and self.started_us is not None:
            over = (event.timestamp_us - self.started_us) / 1000 - limit
            if over > self.late_s * 1000 and "duration_ms" not in self.lifted:
                exceeded.append("duration_ms")
        for metric in exceeded:
            if metric not in self.told:
                yield f"{self.run_id} was completed with more {metric} than allowed, without a word"
            elif self.policy.action == "cancel":
                yield f"{self.run_id} was completed, and had to end by its policy: {metric}"
