"""Maintenance beside work: what races with it either comes first or waits, and nothing is torn."""

from __future__ import annotations

import threading

import pytest

import asm_actors as asm
from asm_actors.errors import ErrorCode
from asm_actors.providers.script import Script, stall, text
from asm_actors.testing.promises import live_faults
from asm_actors.testing.system import SimulatedSystem

DAY_S = 86_400.0


def _play(request):
    return Script(text("on "), stall()) if request.input == "stay" else Script(text("hello", size=1))


@pytest.mark.parametrize("seed", range(12))
def test_a_policy_races_with_work_on_the_same_sessions(seed):
    with SimulatedSystem(seed, script=_play) as sim:
        idle = [sim.active_session().id for _ in range(6)]
        for session_id in idle[:3]:
            sim.manager.execute_run(sim.manager.start_run(session_id, "x").id)
        sim.advance(2 * DAY_S)
        policy = asm.RetentionPolicy(
            max_session_age_days=1, exempt_statuses=(), hard_delete_after_days=1, batch_size=2
        )
        sim.steps(seed)
        runs = [sim.operations.submit_run(session_id, "stay") for session_id in idle]
        sim.steps(seed * 5)
        report = sim.system.maintenance.execute(policy)
        sim.settle()
        assert report.errors == ()
        codes = sim.codes(runs)
        assert set(codes) <= {None, ErrorCode.INVALID_OPERATION}
        # Whoever got its run in keeps its session, and the others are told that it was deleted.
        deleted = [session_id for session_id in idle if sim.session(session_id).deleted_us is not None]
        assert deleted == [one for one, code in zip(idle, codes, strict=True) if code is not None]
        assert report.sessions_soft_deleted == len(deleted)
        sim.check_promises()
        sim.advance(2 * DAY_S)
        asked = [sim.operations.get_session(session_id) for session_id in idle]
        late = [sim.operations.activate_session(session_id) for session_id in idle]
        gone = sim.system.maintenance.execute(policy).sessions_hard_deleted
        sim.settle()
        assert gone == report.sessions_soft_deleted
        assert len(sim.store.sessions(include_deleted=True)) == 6 - gone
        assert set(sim.codes(late)) <= {None, ErrorCode.INVALID_OPERATION, ErrorCode.SESSION_NOT_FOUND}
        assert set(sim.codes(asked)) <= {None, ErrorCode.SESSION_NOT_FOUND}
        assert live_faults(sim.services) == []
        assert sim.store.verify().problems == ()


def test_a_system_on_disk_serves_while_it_is_maintained(tmp_path):
    """Runs end, backups and exports are whole, and pruning goes on, all at once."""
    provider = asm.ScriptedProvider(Script(text("hello there", size=1)))
    policy = asm.RetentionPolicy(max_events_per_session=6, batch_size=5)
    failures = []

    with asm.ActorSystem.start(tmp_path / "journal", {"mock": provider}, durability="none") as system:

        def work():
            try:
                for _ in range(15):
                    assert system.sessions.run_once("x").output["content"] == "hello there"
            except BaseException as error:  # told by the test
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        rounds = 0
        while any(thread.is_alive() for thread in threads) or rounds < 2:
            report = system.maintenance.execute(policy)
            assert report.errors == ()
            system.maintenance.export(tmp_path / f"{rounds}.jsonl")
            backup = system.maintenance.backup(tmp_path / f"backup-{rounds}")
            rounds += 1
        for thread in threads:
            thread.join()
        assert failures == []
        system.maintenance.execute(policy)
        assert len(system.sessions.list_sessions(limit=None)) == 60
        for session in system.sessions.list_sessions(limit=None):
            assert len(system.sessions.get_session_events(session.id)) <= 8
        assert system.maintenance.verify().is_sound
        assert system.maintenance.health_check() == []
    copy = asm.LmdbStore(backup.path, readonly=True)
    copy.open()
    assert copy.verify().is_sound
    copy.close()
    with asm.ActorSystem.start(asm.MemoryStore()) as other:
        for number in range(rounds):
            other.maintenance.import_(tmp_path / f"{number}.jsonl", on_conflict="skip")
        assert len(other.sessions.list_sessions(limit=None)) <= 60
        assert other.maintenance.verify(replay=False).is_sound
