"""What becomes of a run that was under way when its process ended, or its actor crashed: one decision. Pure.

1. The run's own `on_restart` decides, else the system's: ``resume`` after the last completed step, ``retry`` from the
   input, or ``fail``.
2. A crash counts, an orderly stop does not. A run that has survived as many crashes as the system allows ends with the
   next one: nothing recovers for ever.
3. What may have had an effect is not done again by guess. A turn in which the provider called tools of its own is
   repeated only if the provider says that it may; a call of the host's tool whose outcome is unknown only if the tool
   says so, or somebody outside (`on_unknown_outcome`). That holds for ``retry`` too: a run with such a call fails, or
   begins again if somebody grants it, or is resumed where the model is told. What has its end on record may be done
   again by a run that is begun again.
4. A write that the journal refused ends the run with that error: to do it again would be refused again.
5. A run that is over but for what is to be done about its files is neither repeated nor resumed: that is done.
6. A run that ends names the calls that were under way (`unknown_tool_calls`): somebody may have to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from attrs import evolve

from asm_actors.config import ON_RESTART
from asm_actors.errors import AsmError, ErrorCategory, ErrorCode
from asm_actors.runs.calls import Call
from asm_actors.runs.execution import CALLED
from asm_actors.runs.request import provider_of
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run
from asm_actors.runs.unfinished import ENDING
from asm_actors.sessions.state import SessionState

__all__ = [
    "INTERRUPTED_BY",
    "Verdict",
    "begun_again",
    "is_final",
    "naming",
    "outcome_unknown",
    "verdict_on",
]

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
    if cause is not None and is_final(cause):
        return _ends(run, progress, cause)
    is_over = ENDING in run.details
    if on_restart == "fail" and not is_over:
        return _interrupted(run, progress, cause, on_restart, "its on_restart is fail")
    if is_crash and run.recoveries >= rules.max_recoveries:
        text = f"it was recovered {run.recoveries} times already"
        return _interrupted(run, progress, cause, on_restart, text)
    recovered = _recovered(run, is_crash=is_crash)
    data: dict[str, Any] = {
        "decision": on_restart,
        "on_restart": on_restart,
        "reason": _reason(run, cause, is_crash=is_crash),
        "recovery": recovered.recoveries,
        "interrupted_by": "crash" if is_crash else "stop",
    }
    if is_over:
        data |= {"decision": "finish", "discarded_after": run.from_sequence or 0}
        return Verdict(recovered, progress, data)
    unknown = [] if progress is None else [*progress.lost, *progress.unknown]
    if on_restart == "retry" and not unknown:
        recovered = recovered.replace(attempt=run.attempt + 1)
        data |= {"from_turn": 1, **_told(progress)}
        return Verdict(recovered, None if progress is None else progress.anew, data)
    if progress is None:
        data |= {"from_turn": 1, "discarded_after": run.from_sequence or 0}
        return Verdict(recovered, None, data)
    if on_restart == "retry":
        data["decision"] = "resume"
        data["reason"] += f"; it is resumed, not begun again: the outcome of {_named(unknown)} is not known"
    return _resumes(state, run, recovered, progress, cause, data)


def is_final(cause: AsmError) -> bool:
    """Whether a run whose life was ended by this is over, whatever it had come to."""
    return cause.category in _REFUSED


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
        return _interrupted(run, progress, cause, "resume", text)
    data |= {"from_turn": progress.next_turn, **_told(progress)}
    # Calls that somebody is being asked about wait, and the run goes on with the others.
    unknown = [call for call in progress.undecided if not call.waits]
    if not unknown:
        return Verdict(recovered, progress, data)
    policy = run.options.get("on_unknown_outcome")
    if policy == "report":
        return Verdict(recovered, progress, data)
    if policy == "ask":
        asks_to_retry = data["on_restart"] == "retry" and not progress.lost
        if asks_to_retry:
            data["reason"] = _reason(run, cause, is_crash=data["interrupted_by"] == "crash")
        data["decision"] = "ask"
        return Verdict(recovered, evolve(progress, begins_again=asks_to_retry), data, must_ask=True)
    error = outcome_unknown(run, unknown)
    error.__cause__ = cause
    return _ends(run, progress, error)


def outcome_unknown(run: Run, calls: Sequence[Call], *, is_denied: bool = False) -> AsmError:
    """How a run ends that must not repeat calls which may have had their effect.

    Args:
        run: Its record.
        calls: The calls.
        is_denied: Whether somebody was asked, and denied it.
    """
    what = f"run {run.id} was interrupted while it called {_named(calls)}"
    why = ", and to begin again was denied" if is_denied else ""
    return AsmError(
        ErrorCode.OUTCOME_UNKNOWN,
        f"{what}; whether that had its effect is not known{why}",
        details={
            "tool_calls": [{"id": call.id, "name": call.name, "input": call.input} for call in calls],
            "recoveries": run.recoveries,
        },
        context={"session_id": run.session_id, "run_id": run.id},
    )


def begun_again(run: Run, progress: Progress) -> tuple[Run, dict[str, Any]]:
    """Return a run that was granted to begin again from its input, and the payload of its `run_recovered`."""
    data: dict[str, Any] = {
        "decision": "retry",
        "on_restart": "retry",
        "reason": "the calls whose outcome is not known may be made again",
        "recovery": run.recoveries,
        "from_turn": 1,
        **_told(progress),
    }
    return run.replace(attempt=run.attempt + 1), data


def naming(error: AsmError, progress: Progress | None) -> AsmError:
    """Return the error that ends a run with the ids of the calls that were under way, if there are any."""
    if progress is None or not progress.begun:
        return error
    return _copy(error, {"unknown_tool_calls": [call.id for call in progress.begun]})


def _named(calls: Sequence[Call]) -> str:
    return ", ".join(f"{call.name} ({call.id})" for call in calls)


def _told(progress: Progress | None) -> dict[str, Any]:
    """What `run_recovered` tells of the past."""
    if progress is None:
        return {}
    data: dict[str, Any] = {"discarded_after": progress.after}
    if progress.n_discarded:
        data["discarded_events"] = progress.n_discarded
    repeated = [call.id for call in progress.begun if call.may_begin]
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
    return Verdict(run, progress, {}, naming(error, progress))


def _reason(run: Run, cause: AsmError | None, *, is_crash: bool) -> str:
    if cause is not None:
        return cause.message
    return "its process ended" if is_crash else "its system was stopped"


def _interrupted(
    run: Run, progress: Progress | None, cause: AsmError | None, on_restart: str, why: str
) -> Verdict:
    details = {"on_restart": on_restart, "recoveries": run.recoveries, "reason": why}
    if cause is not None:
        return _ends(run, progress, _copy(cause, details))
    begun = progress.begun if progress is not None else []
    doing = f", while it called {_named(begun)}" if begun else ""
    error = AsmError(
        ErrorCode.INTERRUPTED,
        f"run {run.id} was {run.status.value} when its process ended{doing}, and {why}",
        details=details,
        context={"session_id": run.session_id, "run_id": run.id},
    )
    return _ends(run, progress, error)


def _copy(error: AsmError, details: dict[str, Any]) -> AsmError:
    """An error of this run alone: others may have ended by the same one."""
    copy = AsmError(
        error.code,
        error.message,
        details={**error.details, **details},
        provider_error=error.provider_error,
        context=error.context,
        retry_after=error.retry_after,
        retryable=error.retryable,
        timestamp=error.timestamp,
    )
    copy.__cause__ = error.__cause__
    return copy
