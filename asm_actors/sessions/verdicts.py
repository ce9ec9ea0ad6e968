"""What becomes of a run that was under way when its process ended, or its actor crashed: one decision. Pure.

1. The run's own `on_restart` decides, else the system's: ``resume`` after the last completed step, ``retry`` from the
   input, or ``fail``.
2. A crash counts, an orderly stop does not. A run that has survived as many crashes as the system allows ends with the
   next one: nothing recovers for ever.
3. What may have had an effect is not done again by guess. A turn in which the provider called tools of its own is
   repeated only if the provider says that it may; a call of the host's tool whose outcome is unknown only if the tool
   says so, or somebody outside (`on_unknown_outcome`).
4. A write that the journal refused ends the run with that error: to do it again would be refused again.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from asm_actors.config import ON_RESTART
from asm_actors.errors import AsmError, ErrorCategory, ErrorCode
from asm_actors.runs.execution import CALLED
from asm_actors.runs.request import provider_of
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run
from asm_actors.sessions.state import SessionState

__all__ = ["INTERRUPTED_BY", "Verdict", "verdict_on"]

INTERRUPTED_BY: Final = "interrupted_by"
"""Key in the options of a run's record that was under way when its system stopped in order; gone when it goes on."""
_REFUSED: Final = frozenset(
    {ErrorCategory.STORAGE, ErrorCategory.RESOURCE, ErrorCategory.STATE, ErrorCategory.VALIDATION}
)


class Verdict(NamedTuple):
    """What becomes of a run."""

    run: Run
    """Its record when it goes on, or waits; unchanged if it ends."""
    progress: Progress | None
    """How far it had come, as far as that counts."""
    data: dict[str, Any]
    """Payload of `run_recovered`."""
    error: AsmError | None = None
    """How it ends, if it does not go on."""
    must_ask: bool = False
    """Whether it waits for somebody to decide about calls whose outcome is unknown."""


def verdict_on(state: SessionState, run: Run, progress: Progress | None, cause: AsmError | None) -> Verdict:
    """Decide.

    Args:
        state: Its session's.
        run: Its record.
        progress: How far it had come; None if its record tells that nothing was completed and nothing called.
        cause: What ended its last life, if that was in this process.
    """
    rules = state.rules
    wanted = run.options.get("on_restart")
    on_restart = wanted if wanted in ON_RESTART else rules.on_restart
    is_crash = cause is not None or run.options.get(INTERRUPTED_BY) != "stop"
    if cause is not None and cause.category in _REFUSED:
        return _ends(run, progress, cause)
    if on_restart == "fail":
        return _ends(run, progress, _interrupted(run, cause, on_restart, "its on_restart is fail"))
    if is_crash and run.recoveries >= rules.max_recoveries:
        text = f"it was recovered {run.recoveries} times already"
        return _ends(run, progress, _interrupted(run, cause, on_restart, text))
    recovered = _recovered(run, is_crash=is_crash)
    data: dict[str, Any] = {
        "decision": on_restart,
        "on_restart": on_restart,
        "reason": _reason(run, cause, is_crash=is_crash),
        "recovery": recovered.recoveries,
        "interrupted_by": "crash" if is_crash else "stop",
    }
    if on_restart == "retry":
        recovered = recovered.replace(attempt=run.attempt + 1)
        data |= {"from_turn": 1, **_told(progress)}
        return Verdict(recovered, None, data)
    if progress is None:
        data |= {"from_turn": 1, "discarded_after": run.from_sequence or 0}
        return Verdict(recovered, None, data)
    return _resumes(state, run, recovered, progress, cause, data)


def _resumes(
    state: SessionState,
    run: Run,
    recovered: Run,
    progress: Progress,
    cause: AsmError | None,
    data: dict[str, Any],
) -> Verdict:
    provider = state.rules.providers.get(provider_of(state.session, run, state.rules.default_provider) or "")
    if progress.has_called and not (provider is not None and provider.resumable):
        text = "its provider had called tools of its own in the turn that was cut, which must not be repeated"
        return _ends(run, progress, _interrupted(run, cause, "resume", text))
    data |= {"from_turn": progress.next_turn, **_told(progress)}
    undecided = progress.undecided
    if not undecided:
        return Verdict(recovered, progress, data)
    policy = run.options.get("on_unknown_outcome")
    if policy == "report":
        return Verdict(recovered, progress, data)
    if policy == "ask":
        return Verdict(recovered, progress, data | {"decision": "ask"}, must_ask=True)
    calls = [{"id": call.id, "name": call.name, "input": call.input} for call in undecided]
    named = ", ".join(f"{call.name} ({call.id})" for call in undecided)
    error = AsmError(
        ErrorCode.OUTCOME_UNKNOWN,
        f"run {run.id} was interrupted while it called {named}; whether that had its effect is not known",
        details={"tool_calls": calls, "recoveries": run.recoveries},
        context={"session_id": run.session_id, "run_id": run.id},
    )
    error.__cause__ = cause
    return _ends(run, progress, error)


def _told(progress: Progress | None) -> dict[str, Any]:
    """What `run_recovered` tells of the past."""
    if progress is None:
        return {}
    data: dict[str, Any] = {"discarded_after": progress.after}
    if progress.n_discarded:
        data["discarded_events"] = progress.n_discarded
    repeated = [
        call.id for call in progress.calls if call.is_started and call.answer is None and call.may_begin
    ]
    if repeated:
        data["repeated_tool_calls"] = repeated
    if progress.unknown:
        data["unknown_tool_calls"] = [call.id for call in progress.unknown]
    return data


def _recovered(run: Run, *, is_crash: bool) -> Run:
    changes: dict[str, Any] = {}
    if is_crash:
        changes["recoveries"] = run.recoveries + 1
    if CALLED in run.provider_metadata:
        changes["provider_metadata"] = _without(run.provider_metadata, CALLED)
    if INTERRUPTED_BY in run.options:
        changes["options"] = _without(run.options, INTERRUPTED_BY)
    return run.replace(**changes)


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _ends(run: Run, progress: Progress | None, error: AsmError) -> Verdict:
    return Verdict(run, progress, {}, error)


def _reason(run: Run, cause: AsmError | None, *, is_crash: bool) -> str:
    if cause is not None:
        return cause.message
    return "its process ended" if is_crash else "its system was stopped"


def _interrupted(run: Run, cause: AsmError | None, on_restart: str, why: str) -> AsmError:
    details = {"on_restart": on_restart, "recoveries": run.recoveries, "reason": why}
    if cause is not None:
        error = AsmError(
            cause.code,
            cause.message,
            details={**cause.details, **details},
            context=cause.context,
            retryable=cause.retryable,
        )
        error.__cause__ = cause.__cause__
        return error
    return AsmError(
        ErrorCode.INTERRUPTED,
        f"run {run.id} was {run.status.value} when its process ended, and {why}",
        details=details,
        context={"session_id": run.session_id, "run_id": run.id},
    )
