"""Part of a run's core: its last turn, and whether it is the last one. Pure; rules in `runs.state`.

1. That an answer does not fit its schema is told to the model in a further turn. The correction stands in
   `turn_completed`, so a run that is rebuilt has the same conversation.
2. The last turn of a run with files is journalled by a `turn_completed` of its own, with the run's record, before its
   files are seen to (`runs.finishing`); of any other run it is told by its end alone.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import Effect
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.json_schema import compile_schema
from asm_actors.runs.calls import messages_of_turn
from asm_actors.runs.execution import (
    RunState,
    append,
    cost_so_far,
    draft,
    end,
    fail,
    turn_cost,
    usage_draft,
)
from asm_actors.runs.run import Run
from asm_actors.runs.structured import MAX_OUTPUT_RETRIES, correction, misfit, read_answer
from asm_actors.runs.turn import Turn
from asm_actors.runs.unfinished import must_finish

__all__ = ["boundary", "closed", "complete", "thread_of", "too_many_turns", "with_correction"]


def complete(state: RunState, drafts: list[Draft], now: int) -> list[Effect] | None:
    """End a run whose model has come to an answer.

    Args:
        state: Changed in place.
        drafts: What the turn said last.
        now: Microseconds since the epoch.

    Returns:
        What is to be done; None if the answer does not fit and the next turn is to be asked for, which
        `with_correction` prepares.
    """
    details = state.run.details
    if "output_schema" in state.run.options:
        answer = read_answer(state.turn.content(), compile_schema(state.run.options["output_schema"]))
        state.faults = answer.faults
        if answer.faults:
            limit = state.run.options.get("max_output_retries", MAX_OUTPUT_RETRIES)
            if state.n_corrections < limit:
                return None
            return fail(state, drafts, misfit(answer.faults, state.n_corrections + 1, state.run.id), now)
        details = {**details, "object": answer.value, "object_attempts": state.n_corrections + 1}
    return _completed(state, drafts, details, now)


def _completed(state: RunState, drafts: list[Draft], details: dict[str, Any], now: int) -> list[Effect]:
    turn = state.turn
    run = state.run.with_output(
        turn.output(),
        now,
        token_usage=turn.usage,
        turn_count=state.run.turn_count + 1,
        provider_metadata=turn.provider_metadata(state.provider),
        cost_usd=cost_so_far(state),
        details=details,
    )
    drafts += usage_draft(state, now)
    if must_finish(run):
        drafts.append(boundary(state, now, is_last=True))
    drafts.append(draft(state, EventType.RUN_COMPLETED, now, turn.completed_data(run)))
    return end(state, drafts, run, None)


def with_correction(state: RunState, drafts: list[Draft], now: int) -> list[Effect]:
    """Close a turn whose answer does not fit, and make the request of the next one.

    Returns:
        What is to be done before the provider is asked.
    """
    error = too_many_turns(state)
    if error is not None:
        return fail(state, drafts, error, now)
    text = correction(state.faults)
    run = closed(state)
    state.n_corrections += 1
    run = run.replace(details={**run.details, "object_attempts": state.n_corrections})
    drafts += usage_draft(state, now)
    drafts.append(boundary(state, now, output_faults=list(state.faults), correction=text))
    added = (*messages_of_turn(state.turn.said, ()), {"role": "user", "content": text})
    state.past += added
    state.run, request = run, state.request
    state.request = request._replace(
        turn=request.turn + 1,
        attempt=1,
        messages=(*request.messages, *added),
        provider_session_id=thread_of(state),
    )
    state.turn = Turn(host_tools=state.tools)
    return [append(state, drafts, run)]


def thread_of(state: RunState) -> str | None:
    """The provider's name of the conversation with which its next turn goes on, if it goes on with one of its own."""
    known = state.request.provider_session_id
    return None if known is None else state.turn.provider_session_id or known


def too_many_turns(state: RunState) -> AsmError | None:
    """Why no further turn may be asked for; None if one may."""
    if state.request.turn < state.max_turns:
        return None
    return AsmError(
        ErrorCode.POLICY_VIOLATION,
        f"run {state.run.id} took {state.request.turn} turns and wants another one; its max_turns allows "
        f"{state.max_turns}",
        details={"kind": "budget_exceeded", "limit": "max_turns", "max_turns": state.max_turns},
        context={"run_id": state.run.id},
    )


def closed(state: RunState) -> Run:
    """The run's record after a turn that another one follows."""
    turn = state.turn
    run = state.run.replace(
        turn_count=state.run.turn_count + 1,
        provider_metadata=turn.provider_metadata(state.provider),
        cost_usd=cost_so_far(state),
    )
    return run.with_token_usage(turn.usage) if turn.usage else run


def boundary(state: RunState, now: int, **more: Any) -> Draft:
    """The `turn_completed` of the present turn."""
    data = state.turn.boundary_data(state.request.turn)
    cost = turn_cost(state)
    if cost is not None:
        data["cost_usd"] = cost
    return draft(state, EventType.TURN_COMPLETED, now, {**data, **more})
