"""A run that ends its process each time is given up: neither it nor those behind it do so for ever."""

from __future__ import annotations

from pathlib import Path

from asm_actors.journal.lmdb_store import LmdbStore

POISON = Path(__file__).parent / "poison.py"
LIVES = 10


def test_runs_that_end_their_process_at_once_are_given_up_after_so_many_recoveries(nursery, tmp_path):
    journal = tmp_path / "journal"
    said = []
    for life in range(LIVES):
        child = nursery.begin(POISON, [str(journal), "begin" if life == 0 else "go on"])
        child.read_for(30.0)
        said = child.lines
        child.kill()
        if len(said) == 2:
            break
    assert len(said) == 2
    assert all(line.split()[1:] == [b"interrupted", b"1"] for line in said)
    # The first: called once, recovered once. The second had waited: it is called once more before it counts.
    assert 3 <= life <= 5

    store = LmdbStore(journal, readonly=True)
    store.open()
    try:
        assert store.open_runs() == []
        for run in store.runs():
            assert run.recoveries == 1
            types = [
                event.type.value for event in store.read_session(run.session_id) if event.run_id == run.id
            ]
            assert types == ["message_sent", "run_started", "run_recovered", "run_failed"]
    finally:
        store.close()
