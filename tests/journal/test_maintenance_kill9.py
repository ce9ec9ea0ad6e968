"""A process that is killed while it erases, prunes, compacts or backs up leaves a journal that is whole."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.store_maintenance import Erased

ROOT = Path(__file__).resolve().parents[2]

KEEPER = """
import itertools, random, shutil, sys
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.testing.store_builders import Append, Session, chunks, run_of

path, seed, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dice = random.Random(seed)
store = LmdbStore(path, durability="none", map_size=1 << 18, settle_after=dice.choice([0, 50, 10_000]))
store.open()
print("open", flush=True)
base = store.last_position() + 1 << 20
for round in itertools.count():
    group = []
    for k in range(20):
        name = f"s{seed}-{round}-{k}"
        data = {"content": name * (6_000 if k == 0 else 3)}
        drafts = [draft._replace(data=data) for draft in chunks(6, "r")]
        base += 1
        runs = (run_of(name, "r" + name, input=data),)
        group.append(Append(name, drafts, base << 32, Session(name, "agent", context=data), runs, 0))
    assert not any(isinstance(answer, Exception) for answer in store.commit(group))
    print("made", *(append.session_id for append in group), flush=True)
    known = [session.id for session in store.sessions()]
    if what == "erase":
        ids = dice.sample(known, len(known) // 2)
        print("erasing", *ids, flush=True)
        store.erase_sessions(ids)
        print("erased", *ids, flush=True)
    elif what == "prune":
        for name in dice.sample(known, 5):
            print("pruning", name, flush=True)
            store.prune_events(name, [2, 3, 5])
            print("pruned", name, flush=True)
    elif what == "compact":
        print("erasing", *known[: len(known) // 3], flush=True)
        store.erase_sessions(known[: len(known) // 3])
        print("erased", *known[: len(known) // 3], flush=True)
        store.compact()
    else:
        store.backup(path + f"-copy-{seed}-{round}", compact=dice.random() < 0.5)
        print("copied", path + f"-copy-{seed}-{round}", flush=True)
"""


class Claims:
    """What the keeper said."""

    def __init__(self):
        self.made, self.erased, self.erasing, self.pruned, self.copies = set(), set(), set(), set(), set()

    def take(self, lines):
        for line in lines:
            word, *names = line.split()
            if word == "made":
                self.made.update(names)
            elif word == "erasing":
                self.erasing.update(names)
            elif word == "erased":
                self.erased.update(names)
            elif word == "pruned":
                self.pruned.update(names)
            elif word == "copied":
                self.copies.update(names)


@pytest.mark.parametrize("what", ["erase", "prune", "compact", "backup"])
def test_a_killed_keeper_leaves_a_whole_journal(tmp_path, what):
    dice = random.Random(what)
    journal = tmp_path / "journal"
    claims = Claims()
    for life in range(6):
        command = [sys.executable, "-c", KEEPER, str(journal), str(life), what]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            lines = [child.stdout.readline() for _ in range(dice.randint(2, 8))]
            assert all(lines), "it ended by itself"
            # By now it is somewhere in the next operation; some milliseconds more for the longer ones.
            with suppress(subprocess.TimeoutExpired):
                child.wait(dice.random() * 0.03)
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read()
        # The last line may be cut.
        claims.take([*lines, *rest.splitlines()[: None if rest.endswith("\n") else -1]])
        check(journal, claims)


def check(journal, claims):
    store = LmdbStore(journal, durability="none")
    store.open()
    try:
        report = store.verify()
        assert report.problems == ()
        assert store.orphans() == ()
        there = {session.id for session in store.sessions()}
        assert not there & claims.erased
        assert claims.made - claims.erased - claims.erasing <= there
        for session in store.sessions():
            found = [event.sequence_number for event in store.read_session(session.id)]
            assert found in ([1, 2, 3, 4, 5, 6], [1, 4, 6])
            assert found == [1, 4, 6] or session.id not in claims.pruned
            assert [run.id for run in store.runs(session.id)] == ["r" + session.id]
        assert store.erase_sessions([]) == Erased()
    finally:
        store._let_go()
    while claims.copies:
        copy = LmdbStore(claims.copies.pop(), durability="none")
        copy.open()
        assert copy.verify().problems == ()
        copy.close()
