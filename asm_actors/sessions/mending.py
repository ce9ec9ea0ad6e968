"""What a provider says is kept even if the journal cannot hold it as it is: it is made storable. Pure.

A lone surrogate in a text, an integer beyond 64 bits, an object in a tool's result: each would make an event that no
store can take. Losing the run for it would be worse than a question mark in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from asm_actors.effects import Reply, Then
from asm_actors.journal.append import Draft
from asm_actors.jsonable import jsonable, stringify_keys
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run

__all__ = ["mended_answers", "mended_drafts", "mended_runs"]


def mended_answers(then: Sequence[Then], runs: Sequence[Run]) -> list[Then]:
    """Return the answers with these records in them: callers see what is stored, and nothing else."""
    by_id = {run.id: run for run in runs}
    return [_answer(one, by_id) for one in then]


def _answer(one: Then, by_id: dict[str, Run]) -> Then:
    if type(one) is Reply and type(one.value) is RunResult and one.value.run_id in by_id:
        return Reply(one.to, RunResult.of(by_id[one.value.run_id]))
    if type(one) is Reply and type(one.value) is Run and one.value.id in by_id:
        return Reply(one.to, by_id[one.value.id])
    return one


def mended_drafts(drafts: Sequence[Draft]) -> list[Draft]:
    """Return the drafts with payloads that can be stored."""
    return [
        draft._replace(data=stringify_keys(draft.data), metadata=stringify_keys(draft.metadata))
        for draft in drafts
    ]


def mended_runs(runs: Sequence[Run]) -> list[Run]:
    """Return the records with what came from the provider made storable."""
    return [
        run.replace(
            output=None if run.output is None else stringify_keys(run.output),
            error=None if run.error is None else stringify_keys(run.error),
            token_usage=stringify_keys(run.token_usage),
            provider_metadata=stringify_keys(run.provider_metadata),
            cost_usd=jsonable(run.cost_usd),
        )
        for run in runs
    ]
