"""`RunResult`: what a caller gets when a run completed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import jsonable, stringify_keys
from asm_actors.runs.run import Run, RunStatus
from asm_actors.structuring import structure

if TYPE_CHECKING:
    from asm_actors.events import Event

__all__ = ["RunResult", "error_of_run"]

T = TypeVar("T")


def _nothing() -> list[Event]:
    return []


@frozen
class RunResult:
    """The outcome of a completed run; it is durable before anybody sees it.

    Attributes:
        run_id: The run.
        session_id: Its session.
        output: What it answered: ``content`` (text), ``stop_reason``, ``tool_calls``, or what the provider gave.
        token_usage: Counts by name (``input_tokens``, ``output_tokens``, ``cache_read_tokens``, …).
        cost_usd: US dollars, or None if nobody knows the price.
        run: The run's final record.
        callback_failures: Times that the caller's ``event_callback`` raised; the run went on.
    """

    run_id: str
    session_id: str
    output: dict[str, Any]
    token_usage: dict[str, Any]
    cost_usd: float | None
    run: Run
    callback_failures: int = 0
    _read_events: Callable[[], Sequence[Event]] = field(default=_nothing, eq=False, repr=False)
    _events: list[Event] = field(factory=list, init=False, eq=False, repr=False)

    @property
    def events(self) -> list[Event]:
        """The run's events in order, read from the journal when first asked for.

        Raises:
            StorageError: The journal cannot be read (any more).
        """
        if not self._events:
            self._events.extend(self._read_events())
        return self._events

    @property
    def status(self) -> RunStatus:
        """The run's final status: ``completed``."""
        return self.run.status

    @property
    def continuation(self) -> dict[str, Any] | None:
        """How it went on from the conversation before it: ``mode used messages``; None if it was not asked to."""
        return self.run.details.get("continuation")

    @property
    def capabilities(self) -> dict[str, Any] | None:
        """What was negotiated: ``status supported unsupported warnings``; None if nothing was asked for."""
        return self.run.details.get("capabilities")

    @property
    def policy(self) -> dict[str, Any] | None:
        """What its policy has to say: ``policy action violations metadata``; None if there is nothing."""
        return self.run.details.get("policy")

    @property
    def workspace(self) -> dict[str, Any] | None:
        """What became of its files; None if it had no workspace."""
        return self.run.details.get("workspace")

    @property
    def routing(self) -> dict[str, Any] | None:
        """Which provider answered, if a router chose it."""
        return self.run.provider_metadata.get("routing")

    @property
    def object(self) -> Any:
        """The answer as a JSON value that fits the run's ``output_schema``; None if it had none."""
        return self.run.details.get("object")

    @property
    def stop_reason(self) -> str | None:
        """Why the provider stopped, in its words."""
        return self.output.get("stop_reason")

    def object_as(self, kind: type[T]) -> T:
        """Return the answer as an instance of a class, such as the one that was given as ``output_schema``.

        The run has seen to it that the answer fits the schema. What else the class asks of its fields, by validators
        of its own or in ``__post_init__``, is found out only here.

        Args:
            kind: An attrs class, dataclass, TypedDict, or any other type that `structuring.structure` can make.

        Raises:
            ValidationError: The answer does not fit the class, or the run had no ``output_schema``.
        """
        if "object" not in self.run.details:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"run {self.run_id} was not asked for an answer that fits a schema",
            )
        made: T = structure(self.object, kind)
        return made

    @classmethod
    def of(cls, run: Run, read_events: Callable[[], Sequence[Event]] = _nothing) -> RunResult:
        """Make the result of a completed run from its record."""
        return cls(
            run_id=run.id,
            session_id=run.session_id,
            output=run.output or {},
            token_usage=run.token_usage,
            cost_usd=run.cost_usd,
            run=run,
            read_events=read_events,
        )

    def to_map(self) -> dict[str, Any]:
        """Return the result as a JSON-ready map, events included."""
        return {
            "run_id": self.run_id,
            "session_id": self.session_id,
            "status": self.status.value,
            "output": stringify_keys(self.output),
            "token_usage": stringify_keys(self.token_usage),
            "cost_usd": jsonable(self.cost_usd),
            "callback_failures": self.callback_failures,
            "details": stringify_keys(self.run.details),
            "events": [event.to_map() for event in self.events],
        }


def error_of_run(run: Run, live: AsmError | None = None) -> AsmError:
    """Return the error that a run's end raises at whoever waits for its result; its ``context`` names the run.

    A failed run raises its own error, a cancelled one ``cancelled``, one that ran out of time ``timeout``.

    Args:
        run: Its final record.
        live: The error itself if it is at hand: it knows more than the record, such as its cause. A copy of it is
            returned, since each who waits raises their own, and a provider may raise one error for several runs.
    """
    context = {"session_id": run.session_id, "run_id": run.id, "status": run.status.value}
    if live is not None:
        # Not with its constructor, which a subclass may have changed.
        error = Exception.__new__(type(live), *live.args)
        error.__dict__.update(live.__dict__, context={**live.context, **context})
        error.__cause__ = live.__cause__
        return error.with_traceback(live.__traceback__)
    record = run.error or {}
    default = {RunStatus.CANCELLED: ErrorCode.CANCELLED, RunStatus.TIMEOUT: ErrorCode.TIMEOUT}
    code = record.get("code") or default.get(run.status, ErrorCode.UNKNOWN_ERROR)
    return AsmError(
        code,
        record.get("message"),
        details=record.get("details"),
        provider_error=record.get("provider_error"),
        context=context,
    )
