"""A writer that is killed at any moment loses nothing that it was told is durable."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asm_actors.journal.lmdb_store import LmdbStore

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import itertools, random, sys
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.runs.run import RunStatus
from asm_actors.testing.store_builders import Append, Session, chunks, run_of

path, seed, durability = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dice = random.Random(seed)
store = LmdbStore(path, durability=durability, map_size=1 << 18, settle_after=dice.choice([0, 20, 1000]))
store.open()
heads = {session.id: session.last_sequence for session in store.sessions()}
print("open", store.last_position(), flush=True)
for block in itertools.count(store.last_position() + 1):
    group = []
    for k in range(dice.randint(1, 8)):
        name = f"s{dice.randint(0, 30)}"
        new = None if name in heads else Session(name, "agent", tags=("t",))
        run = run_of(name, f"{name}-{dice.randint(0, 2)}", status=dice.choice(list(RunStatus)))
        n = dice.randint(0, 6)
        expect = heads.get(name, 0)
        group.append(Append(name, chunks(n, start=expect), (block << 64) + (k << 32), new, (run,), expect))
        heads[name] = expect + n
    answers = store.commit(group)
    assert not any(isinstance(answer, Exception) for answer in answers), answers
    if dice.random() < 0.2:
        store.settle(dice.randint(1, 30))
    print("acknowledged", store.last_position(), flush=True)
"""


@pytest.mark.parametrize("durability", ["commit", "none"])
def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path, durability):
    dice = random.Random(20)
    acknowledged = 0
    for life in range(10 if durability == "none" else 4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "journal"), str(life), durability],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        with writer:
            begun, position = writer.stdout.readline().split()
            assert begun == "open"
            assert int(position) >= acknowledged
            for _ in range(dice.randint(1, 60)):
                writer.stdout.readline()
            # By now it is somewhere in one of the next commits.
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().splitlines()
            acknowledged = max(
                [acknowledged, *(int(line.split()[1]) for line in lines if line[-1:].isdigit())]
            )
        check(tmp_path / "journal", acknowledged, durability)


def check(path, acknowledged, durability):
    store = LmdbStore(path, durability=durability, settle_after=1000)
    store.open()
    try:
        assert store.last_position() >= acknowledged
        assert store.verify().problems == ()
        events = store.read_all(limit=10**6, scan_limit=10**6).events
        assert [event.position for event in events] == list(range(1, store.last_position() + 1))
        for session in store.sessions():
            texts = [event.data["content"] for event in store.read_session(session.id)]
            assert texts == [f"chunk {k}" for k in range(session.last_sequence)]
        assert [run.id for run in store.open_runs()] == [
            run.id for run in store.runs() if not run.is_terminal
        ]
    finally:
        # Leave what was not settled to the next life.
        store._let_go()
