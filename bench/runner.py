"""Runs the cases of a bench, each in a fresh process, and side by side.

With repeats the cases take turns, A B C A B C: a machine that grows slower or busier while the
bench runs then does so to all of them, and the ratios, taken within each turn, stay true.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.cases import BENCHES
from bench.harness import Options, Result, median_of, ratio

__all__ = ["CaseError", "run_cases", "run_in_child"]

_ROOT: Final = Path(__file__).resolve().parent.parent

#: The figures by which cases of a bench are compared, best first; a bench has at least one of them.
_COMPARED: Final = ("events_per_s", "messages_per_s", "bytes_per_session", "p50_ms", "wall_s")


class CaseError(Exception):
    """A case's process ended without a result.

    Args:
        case: The case's name.
        reason: What its process said last.
    """

    def __init__(self, case: str, reason: str) -> None:
        super().__init__(f"the case {case} failed: {reason}")
        self.case = case
        self.reason = reason


def run_in_child(case: str, options: Options, *, timeout: float) -> Result:
    """Run a case in a process of its own and return its result.

    Raises:
        CaseError: The process failed, or took more than `timeout` seconds.
    """
    command = [sys.executable, "-m", "bench.child", case, options.to_json()]
    try:
        child = subprocess.run(
            command,
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=None if BENCHES[options.bench].keeps_journal else subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CaseError(case, f"no result after {timeout:g} s") from error
    if child.returncode:
        raise CaseError(case, (child.stderr or "").strip() or f"exit code {child.returncode}")
    result: Result = json.loads(child.stdout.splitlines()[-1])
    return result


def run_cases(
    cases: Sequence[str],
    options: Options,
    *,
    repeat: int = 1,
    timeout: float = 900.0,
    on_start: Callable[[str, int], None] = lambda _case, _turn: None,
) -> list[Result]:
    """Run every case `repeat` times in turns and return one result each, in the order of `cases`.

    A result holds the median of each figure, the number of repeats if there were several, and with
    several cases `ratios`: for each other case, how many times its rate this case reached.

    Args:
        cases: Names of cases of the bench.
        options: What to measure.
        repeat: Turns.
        timeout: Seconds which one run of one case may take.
        on_start: Told the case and the turn, from 1, before each run.

    Raises:
        CaseError: A case gave no result.
    """
    turns: dict[str, list[Result]] = {case: [] for case in cases}
    for turn in range(1, repeat + 1):
        for case, results in turns.items():
            on_start(case, turn)
            results.append(run_in_child(case, options, timeout=timeout))
    merged = []
    for case, results in turns.items():
        result = median_of(results)
        if repeat > 1:
            result["repeat"] = repeat
        key = next((name for name in _COMPARED if name in result), None)
        if key is not None and len(turns) > 1:
            others = {name: ratio(results, theirs, key) for name, theirs in turns.items() if name != case}
            result["compared_by"] = key
            result["ratios"] = {name: value for name, value in others.items() if value is not None}
        merged.append(result)
    return merged
