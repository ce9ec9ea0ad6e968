"""What a step of a workflow is asked to do, and what came of it. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, Self

from attrs import field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.runs.options import RunOptions
from asm_actors.runs.result import RunResult
from asm_actors.serialization import check_id, invalid
from asm_actors.sessions.callbacks import EventCallback, check_callback

__all__ = ["AGENT_ID", "SESSION_ENDS", "Step", "StepResult"]

AGENT_ID: Final = "workflow-agent"
"""The agent of a session that a step makes, if nobody names one."""

SESSION_ENDS: Final = ("completed", "failed")
"""How a workflow may end its session."""

_OF_RUN: Final = frozenset(RunOptions.__annotations__) | {
    "required_capabilities",
    "optional_capabilities",
    "metadata",
}
_OF_SESSION: Final = frozenset({"agent_id", "context", "tags"})
_OF_BOTH: Final = frozenset({"provider", "deadline"})
_OWN: Final = frozenset({"input", "session_id", "event_callback", "idempotency_key"})


@frozen
class Step:
    """One step: a run in a session that is there, or in one of its own.

    Attributes:
        input: What to answer.
        session_id: The session; None: one is made for it, and ends with it.
        event_callback: Is told each event of the run.
        idempotency_key: A step that is carried out again with the same key gives the result of the first time.
        options: Of the run.
        of_session: Of the session that is made.
        deadline: Seconds it may take.
        provider: Who answers.
    """

    input: Any
    session_id: str | None
    event_callback: EventCallback | None
    idempotency_key: str | None
    options: dict[str, Any]
    of_session: dict[str, Any]
    deadline: float | None
    provider: str | None

    @classmethod
    def of(cls, params: Mapping[str, Any] | None, more: Mapping[str, Any]) -> Self:
        """Check the parameters of a step.

        Args:
            params: As a map.
            more: As keywords; they stand over the map.

        Raises:
            ValidationError: One is unknown, or does not go with the others.
        """
        if not isinstance(params, Mapping | None):
            raise invalid("params", "must be a map of parameters", params)
        given = {name: value for name, value in {**(params or {}), **more}.items() if value is not None}
        for name in given:
            if name not in _OF_RUN | _OF_SESSION | _OF_BOTH | _OWN:
                raise _unknown(name)
        session_id, key = given.get("session_id"), given.get("idempotency_key")
        of_session = {name: given[name] for name in _OF_SESSION if name in given}
        if session_id is not None:
            check_id(session_id, "session_id")
            for name in of_session:
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    f"{name} is for a step that makes its session; this one names session {session_id}",
                    details={"field": name},
                )
        elif key is not None:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                "idempotency_key is for a step in a session that is there: give its session_id",
                details={"field": "idempotency_key"},
            )
        if (callback := given.get("event_callback")) is not None:
            check_callback(callback)
        return cls(
            given.get("input"),
            session_id,
            callback,
            key,
            {name: given[name] for name in _OF_RUN if name in given},
            {"agent_id": AGENT_ID, **of_session},
            given.get("deadline"),
            given.get("provider"),
        )

    @property
    def for_once(self) -> dict[str, Any]:
        """The options of `run_once`."""
        found = {**self.options, **self.of_session, "event_callback": self.event_callback}
        return {**found, "deadline": self.deadline, "provider": self.provider}

    @property
    def for_start(self) -> dict[str, Any]:
        """The options of `start_run`."""
        return {**self.options, "provider": self.provider, "idempotency_key": self.idempotency_key}

    @property
    def for_execution(self) -> dict[str, Any]:
        """The options of `execute_run`."""
        return {"deadline": self.deadline, "event_callback": self.event_callback}


def _unknown(name: Any) -> AsmError:
    known = sorted(_OF_RUN | _OF_SESSION | _OF_BOTH | _OWN)
    near = get_close_matches(str(name), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return AsmError(
        ErrorCode.VALIDATION_ERROR,
        f"a step has no parameter {str(name)!r:.80}; {hint}",
        details={"field": "params"},
    )


@frozen
class StepResult:
    """What came of a step.

    Attributes:
        output: What the run answered.
        content: The text in it, or None.
        token_usage: Counts by name.
        session_id: Where it ran.
        run_id: The run.
        stop_reason: Why the provider stopped, in its words.
        tool_calls: Calls that it made and that the output tells of.
        persistence_failures: Events that could not be stored: always 0, since such a run fails.
        workspace: What became of its files, or None.
        policy: What its policy has to say, or None.
        cost_usd: US dollars, or None if nobody knows.
        retryable: Whether it should be done again: False, for it has succeeded (see `classify_error` for errors).
        result: The run's whole result.
    """

    output: dict[str, Any]
    content: Any
    token_usage: dict[str, Any]
    session_id: str
    run_id: str
    stop_reason: str | None
    tool_calls: tuple[Any, ...]
    workspace: dict[str, Any] | None
    policy: dict[str, Any] | None
    cost_usd: float | None
    result: RunResult = field(repr=False, eq=False)
    persistence_failures: int = 0
    retryable: bool = False

    @property
    def has_tool_calls(self) -> bool:
        """Whether there are any."""
        return bool(self.tool_calls)

    @property
    def events(self) -> list[Event]:
        """The run's events, read when first asked for."""
        return self.result.events

    @classmethod
    def of(cls, result: RunResult) -> Self:
        """Make it of a run's result."""
        return cls(
            output=result.output,
            content=result.output.get("content"),
            token_usage=result.token_usage,
            session_id=result.session_id,
            run_id=result.run_id,
            stop_reason=result.stop_reason,
            tool_calls=tuple(result.output.get("tool_calls") or ()),
            workspace=result.workspace,
            policy=result.policy,
            cost_usd=result.cost_usd,
            result=result,
        )

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map, events included."""
        whole = self.result.to_map()
        return {
            "output": whole["output"],
            "content": self.content,
            "token_usage": whole["token_usage"],
            "session_id": self.session_id,
            "run_id": self.run_id,
            "events": whole["events"],
            "stop_reason": self.stop_reason,
            "tool_calls": list(self.tool_calls),
            "has_tool_calls": self.has_tool_calls,
            "persistence_failures": self.persistence_failures,
            "workspace": self.workspace,
            "policy": self.policy,
            "cost_usd": whole["cost_usd"],
            "retryable": self.retryable,
        }
