"""Finding what nothing leads to in an LMDB journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final

from asm_actors.errors import AsmError
from asm_actors.journal.holes import NOBODY
from asm_actors.journal.lmdb_block import Directory, unpack_directory
from asm_actors.journal.lmdb_layout import (
    LOG,
    NAMES,
    OPEN,
    RUN_ID,
    RUNS,
    SESSIONS,
    name_key,
    number_of,
    pair_of,
)
from asm_actors.journal.lmdb_recent import Recent
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.lmdb_view import counters_after

__all__ = ["find_orphans"]

View = Callable[[Callable[[Recent, Tables], Any]], AbstractContextManager[tuple[Any, Tables]]]

_SLICE: Final = 512


def find_orphans(view: View) -> Iterator[str]:
    """Yield one sentence for each thing that nothing leads to.

    Args:
        view: opens a snapshot, as ``LmdbView._view`` does.
    """
    with view(_waiting) as ((sessions, runs, open_runs), tables):
        sessions.update(_numbers(tables, SESSIONS))
        owners = dict(_owners(tables))
        owners.update(runs)
        for number, owner in sorted(owners.items()):
            if owner not in sessions:
                yield f"{RUNS}: the run {number} belongs to the session {owner}, which is not there"
        open_runs.update(pair_of(key) for key in tables.cursor(OPEN).iternext(values=False))
        for owner, number in sorted(open_runs):
            yield from _stuck(tables, owner, number, runs)
        newest = tables.last_block()
        if newest is not None:
            try:
                counters = counters_after(unpack_directory(newest[1], LOG, newest[0]))
            except AsmError as error:
                yield error.message
            else:
                for what, following, last in (
                    (SESSIONS, counters.session, max(sessions, default=0)),
                    (RUNS, counters.run, max(owners, default=0)),
                ):
                    if following <= last:
                        yield f"{LOG}: the next number in {what} is {following}, and there is {last} already"
    yield from _ownerless_events(view)


def _waiting(recent: Recent, _: Tables) -> tuple[set[int], dict[int, int], set[tuple[int, int]]]:
    open_runs = {(owner, number) for owner, numbers in recent.open_of.items() for number in numbers}
    return set(recent.sessions), {number: entry.owner for number, entry in recent.runs.items()}, open_runs


def _numbers(tables: Tables, table: str) -> Iterator[int]:
    return (number_of(key) for key in tables.cursor(table).iternext(values=False))


def _owners(tables: Tables) -> Iterator[tuple[int, int]]:
    for number in _numbers(tables, RUNS):
        try:
            value = tables.get(NAMES, name_key(RUN_ID, tables.run(number).id))
        except AsmError:
            continue  # a damaged record is for the full check to tell
        if value is not None:
            yield pair_of(value)


def _stuck(tables: Tables, owner: int, number: int, recent: dict[int, int]) -> Iterator[str]:
    """Tell of an open run whose session is over: nothing will ever end it."""
    if number in recent or not tables.has_session(owner) or not tables.has_run(number):
        return
    try:
        session, run = tables.session(owner), tables.run(number)
    except AsmError:
        return
    if session.is_terminal and not run.is_terminal:
        yield f"{RUNS}: the run {run.id} is {run.status}, and its session {session.id} is {session.status}"


def _ownerless_events(view: View) -> Iterator[str]:
    counts: dict[int, int] = {}
    after = b""
    while True:
        with view(lambda recent, _: set(recent.sessions)) as (sessions, tables):
            blocks = list(islice(tables.blocks_from(after + b"\0"), _SLICE))
            for key, block in blocks:
                after = key
                try:
                    directory: Directory = unpack_directory(block, LOG, key)
                except AsmError:
                    continue
                for number, count in zip(directory.segments[::4], directory.segments[2::4], strict=True):
                    if number == NOBODY or number in sessions or tables.has_session(number):
                        continue
                    if not tables.is_erased(number):
                        counts[number] = counts.get(number, 0) + count
        if len(blocks) < _SLICE:
            break
    for number, count in sorted(counts.items()):
        yield f"{LOG}: {count} events belong to the session {number}, which is not there"
