"""Answers that have to fit a JSON Schema: read out of a text, checked, and what the model is told of a misfit. Pure.

1. The text is JSON and nothing else, or it holds exactly one fenced block, whose content is JSON; what stands around
   that block does not count.
2. JSON is what the standard says: no NaN, no infinities, no name twice in one object.
3. What is wrong with an answer is told to the model in its next turn, as often as the run allows; then the run fails
   with ``invalid_format``.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.json_schema import Checker
from asm_actors.serialization import json_value

__all__ = ["MAX_OUTPUT_RETRIES", "Answer", "correction", "misfit", "read_answer"]

MAX_OUTPUT_RETRIES: Final = 2
"""How many times a model is told what is wrong with its answer, unless the run says otherwise."""

_FENCE: Final = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_SHOWN: Final = 80


class Answer(NamedTuple):
    """What a text says."""

    value: Any
    """The JSON value; None if it holds none."""
    faults: tuple[str, ...]
    """What is wrong with it; empty if it fits."""


def read_answer(text: str, checker: Checker) -> Answer:
    """Read the answer out of a model's text, and check it."""
    body = text.strip()
    if not body:
        return Answer(None, ("the answer is empty",))
    try:
        value = _load(body)
    except ValueError as error:
        blocks = _FENCE.findall(f"{text}\n")
        if not blocks:
            return Answer(None, (f"the answer is not JSON: {error}",))
        if len(blocks) > 1:
            return Answer(None, (f"the answer has {len(blocks)} fenced blocks instead of one",))
        try:
            value = _load(blocks[0].strip())
        except ValueError as inner:
            return Answer(None, (f"the fenced block is not JSON: {inner}",))
    return Answer(value, tuple(checker.faults(value)))


def correction(faults: tuple[str, ...]) -> str:
    """What the model is told whose answer does not fit."""
    listed = "\n".join(f"- {fault}" for fault in faults)
    return (
        f"The answer does not fit the required JSON Schema:\n{listed}\n"
        "Answer again with the whole corrected JSON value and nothing else."
    )


def misfit(faults: tuple[str, ...], attempts: int, run_id: str) -> AsmError:
    """How a run ends whose answer never fitted.

    Args:
        faults: What is wrong with the last one.
        attempts: How many answers there were.
        run_id: The run.
    """
    answers = "1 answer" if attempts == 1 else f"{attempts} answers"
    return AsmError(
        ErrorCode.INVALID_FORMAT,
        f"run {run_id} gave no answer that fits its output_schema in {answers}: {'; '.join(faults)}",
        details={"faults": list(faults), "attempts": attempts},
        context={"run_id": run_id},
    )


def _load(text: str) -> Any:
    """Read JSON that a record can keep.

    Raises:
        ValueError: It is none.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
        return json_value(value, "the value")
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except AsmError as error:
        raise ValueError(error.message) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:_SHOWN]!r} occurs twice in one object")
    return found
