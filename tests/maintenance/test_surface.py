"""`system.maintenance` and `system.artifacts` on running systems."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import io

import pytest

import asm_actors as asm
from asm_actors.errors import ErrorCode
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.store_maintenance import VerifyReport
from asm_actors.maintenance.lines import UNFINISHED
from asm_actors.maintenance.live import Live
from asm_actors.maintenance.registry import ArtifactRegistry, AsyncArtifactRegistry
from asm_actors.maintenance.surface import AsyncMaintenance, Maintenance
from asm_actors.providers.script import Script, stall, text
from asm_actors.testing.promises import live_faults
from asm_actors.testing.system import SimulatedSystem

DAY_S = 86_400.0


def code_of(call):
    with pytest.raises(asm.AsmError) as caught:
        call()
    return caught.value.code


@pytest.fixture
def sim():
    with SimulatedSystem(script=Script(text("hello there", size=2))) as made:
        yield made
        made.settle()
        assert live_faults(made.services) == []
        assert made.store.verify().problems == ()


def over(sim, **options):
    """A session with a run, that is over."""
    session = sim.active_session(**options)
    sim.manager.execute_run(sim.manager.start_run(session.id, "hello").id)
    return sim.manager.complete_session(session.id)


# --- Policies ---------------------------------------------------------------------------------------------------


def test_sessions_that_live_and_those_that_do_not_are_deleted_alike(sim):
    gone = over(sim)
    lives = sim.manager.start_session(agent_id="agent")
    active = sim.active_session()
    sim.advance(91 * DAY_S)
    report = sim.system.maintenance.execute(asm.RetentionPolicy())
    assert (report.sessions_soft_deleted, report.errors) == (2, ())
    assert [session.id for session in sim.manager.list_sessions()] == [active.id]
    for one in (gone, lives):
        assert sim.types(one.id)[-1] == "session_deleted"
    sim.advance(31 * DAY_S)
    sim.manager.pause_session(active.id)
    report = sim.system.maintenance.execute()
    assert (report.sessions_hard_deleted, report.errors) == (2, ())
    assert code_of(lambda: sim.manager.get_session(gone.id)) is ErrorCode.SESSION_NOT_FOUND


def test_a_busy_session_is_left_to_the_next_execution():
    with SimulatedSystem(script=Script(text("on "), stall())) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "hello")
        sim.advance(200 * DAY_S)
        policy = asm.RetentionPolicy(max_session_age_days=1, exempt_statuses=(), max_events_per_session=1)
        before = sim.types(session.id)
        assert sim.system.maintenance.execute(policy).sessions_soft_deleted == 0
        assert sim.types(session.id) == before
        sim.manager.cancel_run(run.id)
        assert sim.system.maintenance.execute(policy).sessions_soft_deleted == 1
        sim.check_promises()


def test_a_live_session_is_pruned_when_it_is_at_rest(sim):
    session = sim.active_session()
    sim.manager.execute_run(sim.manager.start_run(session.id, "hello").id)
    policy = asm.RetentionPolicy(max_events_per_session=6)
    count = len(sim.events(session.id))
    assert sim.system.maintenance.prune_session_events(session.id, policy) == count - 6
    assert len(sim.events(session.id)) == 6
    run = sim.manager.start_run(session.id, "again")
    assert sim.manager.execute_run(run.id).output["content"] == "hello there"


def test_bad_arguments_are_refused(sim):
    maintenance = sim.system.maintenance
    for call in (
        lambda: maintenance.execute({"max_total_events": 5}),
        lambda: maintenance.execute(artifact_store="a directory"),
        lambda: maintenance.delete_for_good(""),
        lambda: maintenance.prune_session_events("a", "policy"),
        lambda: maintenance.clean_orphaned_artifacts(None),
        lambda: maintenance.import_("x", on_conflict="both"),
    ):
        assert code_of(call) in (ErrorCode.VALIDATION_ERROR, ErrorCode.NOT_FOUND)


@pytest.mark.parametrize("place", [None, "", 5, "a\x00b", b"x", "\ud800", ["x"], {"a": 1}, io.BytesIO()])
def test_what_is_no_place_is_refused_before_anything_begins(sim, place):
    maintenance = sim.system.maintenance
    for call in (maintenance.backup, maintenance.export, maintenance.import_):
        assert code_of(lambda call=call: call(place)) is ErrorCode.VALIDATION_ERROR


def test_what_cannot_be_called_is_no_progress(sim, tmp_path):
    maintenance = sim.system.maintenance
    for call in (
        lambda: maintenance.backup(tmp_path / "backup", progress=5),
        lambda: maintenance.export(tmp_path / "export", progress="x"),
        lambda: maintenance.import_(tmp_path / "import", progress=[]),
        lambda: maintenance.verify(5),
        lambda: maintenance.compact(5),
        lambda: maintenance.execute(progress=5),
        lambda: maintenance.export(tmp_path / "export", session_id=5),
    ):
        assert code_of(call) is ErrorCode.VALIDATION_ERROR
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_is_an_error_of_storage(sim, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / ("n" * 300), tmp_path / "file" / "below"):
        call = lambda path=path: sim.system.maintenance.export(path)
        assert code_of(call) is ErrorCode.STORAGE_WRITE_FAILED


# --- Single sessions --------------------------------------------------------------------------------------------


def test_a_session_can_be_deleted_for_good_at_once(sim):
    done, active = over(sim), sim.active_session()
    kept = over(sim)
    erased = sim.system.maintenance.delete_for_good(done.id)
    assert (erased.sessions, erased.runs) == (1, 1)
    assert sim.system.maintenance.delete_for_good(active.id).sessions == 1
    assert [session.id for session in sim.manager.list_sessions(include_deleted=True)] == [kept.id]
    assert code_of(lambda: sim.manager.activate_session(active.id)) is ErrorCode.SESSION_NOT_FOUND
    assert code_of(lambda: sim.system.maintenance.delete_for_good(done.id)) is ErrorCode.SESSION_NOT_FOUND
    assert sim.system.maintenance.verify().is_sound


def test_a_session_whose_history_a_fork_shares_stays_as_it_is(sim):
    parent = over(sim)
    fork = sim.manager.fork_session(parent.id)
    before = sim.types(parent.id)
    with pytest.raises(asm.AsmError) as caught:
        sim.system.maintenance.delete_for_good(parent.id)
    assert caught.value.details["forks"] == [fork.id]
    assert sim.session(parent.id) == parent
    assert sim.types(parent.id) == before


def test_a_fork_or_a_run_that_comes_meanwhile_keeps_its_session_as_it_is(sim, monkeypatch):
    parent, active = over(sim), sim.active_session()
    at_rest, meanwhile = Live.at_rest, []

    def late(self, session_id, work):
        meanwhile.append(
            sim.manager.fork_session(parent.id)
            if session_id == parent.id
            else sim.manager.start_run(active.id, "hello")
        )
        return at_rest(self, session_id, work)

    monkeypatch.setattr(Live, "at_rest", late)
    for session_id in (parent.id, active.id):
        delete = lambda session_id=session_id: sim.system.maintenance.delete_for_good(session_id)
        assert code_of(delete) is ErrorCode.INVALID_OPERATION
        assert sim.session(session_id).deleted_us is None
    assert len(meanwhile) == 2
    assert sim.session(parent.id) == parent


def test_who_follows_a_session_that_is_deleted_for_good_does_not_wait_for_ever(sim):
    session = sim.active_session()
    with sim.manager.subscribe(session.id, after="now") as subscription:
        sim.system.maintenance.delete_for_good(session.id)
        assert code_of(lambda: subscription.pull(timeout=60)) is ErrorCode.SESSION_NOT_FOUND


def test_a_session_with_open_runs_stays(sim):
    session = sim.active_session()
    sim.manager.start_run(session.id, "hello")
    delete = sim.system.maintenance.delete_for_good
    assert code_of(lambda: delete(session.id)) is ErrorCode.INVALID_OPERATION
    assert sim.session(session.id).deleted_us is None


# --- Looking and copying ----------------------------------------------------------------------------------------


def test_a_healthy_journal_has_nothing_to_tell(sim):
    over(sim)
    sim.manager.start_run(sim.active_session().id, "hello")
    sim.advance(2 * DAY_S)
    assert sim.system.maintenance.health_check() == []
    assert sim.system.maintenance.health_check(deep=True) == []


def test_what_is_not_as_it_should_be_is_told(sim):
    session = over(sim)
    artifact = sim.system.artifacts.register(
        session_id=session.id,
        key="k",
        byte_size=1,
        checksum_sha256="a" * 64,
        storage_backend="file",
        storage_ref="/x",
    )
    sim.system.maintenance.delete_for_good(session.id)
    (found,) = sim.system.maintenance.health_check()
    assert found.startswith("1 artifacts belong to sessions that are gone")
    assert sim.store.artifact(artifact.id) is not None


def test_a_sound_journal_needs_no_repair(sim):
    over(sim)
    report = sim.system.maintenance.repair()
    assert (report.mended, report.unmended) == ((), ())


def test_what_is_left_over_is_set_right_while_the_system_runs(sim):
    over(sim)
    half = asm.Session(id="half", agent_id="agent", metadata={UNFINISHED: True}, deleted_us=1)
    done = asm.Session(id="done", agent_id="agent", status=asm.SessionStatus.FAILED)
    run = asm.Run(id="r", session_id="done", status=asm.RunStatus.RUNNING)
    cursor = asm.NamedCursor("mine", {"session_id": "gone"}, 1, 0, 0)
    sim.store.save_cursors({"mine": cursor})
    for session, runs in ((half, ()), (done, (run,))):
        sim.store.commit([Append(session.id, (), 1, session, runs, 0)])
    tried = sim.system.maintenance.repair(dry_run=True)
    assert (len(tried.mended), tried.dry_run) == (3, True)
    assert sim.store.has_session("half")
    report = sim.system.maintenance.repair()
    assert report.mended == tried.mended
    sim.settle()
    assert not sim.store.has_session("half")
    assert sim.run("r").status == "failed"
    assert sim.store.cursors() == []
    sim.system.maintenance.delete_for_good("done")


def test_what_needs_the_journal_for_itself_is_told(sim, monkeypatch):
    found = VerifyReport(1, 1, 1, ("the record 7 in sessions cannot be read",))
    with monkeypatch.context() as damaged:
        damaged.setattr(sim.store, "verify", lambda: found)
        (text,) = sim.system.maintenance.repair().unmended
    assert text.endswith("cannot be read: stop the system and use asm journal repair")


def test_export_and_import_between_systems_that_run(sim, tmp_path):
    session = over(sim)
    path = tmp_path / "all.jsonl.gz"
    assert sim.system.maintenance.export(path).sessions == 1
    with SimulatedSystem(seed=3) as other:
        subscription = other.manager.subscribe(timeout=0.0)
        assert other.system.maintenance.import_(path).events == len(sim.events(session.id))
        other.settle()
        with subscription:
            seen = [event.id for event in subscription]
        assert seen == [event.id for event in sim.events(session.id)]
        assert other.session(session.id) == sim.session(session.id)
        assert code_of(lambda: other.system.maintenance.import_(path)) is ErrorCode.ALREADY_EXISTS
        assert other.system.maintenance.import_(path, on_conflict="skip").skipped == 1
        other.active_session(id="own")
        other.check_promises()


def test_work_on_the_committing_thread_comes_between_commits(sim):
    session = sim.active_session(id="a")
    hands = sim.system.maintenance._operations._hands
    subscription = sim.manager.subscribe(timeout=0.0)

    def work():
        draft = Draft(asm.EventType.MESSAGE_STREAMED, 1, None, {"content": "x"})
        made = asm.Session(id="b", agent_id="agent")
        return sim.store.commit([Append("b", (draft,), 1 << 90, made, expect=0)])

    waiting = sim.operations.submit_run(session.id, "hello")
    (answer,) = hands.write(work)
    sim.settle()
    assert answer.count == 1
    assert waiting.get().session_id == "a"
    with subscription:
        seen = [event.position for event in subscription]
    assert seen == list(range(1, sim.store.last_position() + 1))
    assert code_of(lambda: hands.write(lambda: sim.store.session("nobody"))) is ErrorCode.SESSION_NOT_FOUND
    with pytest.raises(ZeroDivisionError):
        hands.write(lambda: 1 // 0)
    hands.write(lambda: sim.store.erase_sessions(["b"]))


# --- Artifacts --------------------------------------------------------------------------------------------------


def test_artifacts_are_registered_listed_counted_and_deleted(sim, tmp_path):
    registry, files = sim.system.artifacts, asm.FileArtifactStore(tmp_path)
    session = over(sim)
    first = registry.put(files, session.id, "a", b"one")
    second = registry.put(files, session.id, "b", b"three")
    assert first.id.startswith("art_")
    assert (first.byte_size, first.storage_backend) == (3, "file")
    assert first.checksum_sha256 == hashlib.sha256(b"one").hexdigest()
    assert registry.get_by_key("a") == first
    assert registry.get_by_key("nothing") is None
    assert registry.list_by_session(session.id) == [first, second]
    assert registry.session_stats(session.id) == asm.ArtifactStats(2, 8)
    assert registry.put(files, session.id, "a", b"one") == first
    assert code_of(lambda: registry.put(files, session.id, "a", b"other")) is ErrorCode.ALREADY_EXISTS
    assert files.get("a") == b"one"
    gone = registry.delete(first.id)
    assert registry.delete(first.id) == gone
    assert registry.list_by_session(session.id) == [second]
    assert registry.session_stats(session.id) == asm.ArtifactStats(1, 5)
    assert code_of(lambda: registry.delete("art_none")) is ErrorCode.NOT_FOUND
    sim.restart()
    assert sim.system.artifacts.list_by_session(session.id, include_deleted=True) == [gone, second]
    assert type(gone).from_map(gone.to_map()) == gone


@pytest.mark.parametrize(
    "name", ["session_id", "key", "byte_size", "checksum_sha256", "storage_backend", "storage_ref"]
)
def test_every_field_of_an_artifact_is_required(sim, name):
    fields = {
        "session_id": over(sim).id,
        "key": "k",
        "byte_size": 1,
        "checksum_sha256": "a" * 64,
        "storage_backend": "file",
        "storage_ref": "/x",
    }
    del fields[name]
    assert code_of(lambda: sim.system.artifacts.register(**fields)) is ErrorCode.VALIDATION_ERROR
    assert sim.store.artifacts() == []


def test_an_artifact_needs_a_session_that_is_there(sim, tmp_path):
    files = asm.FileArtifactStore(tmp_path)
    put = sim.system.artifacts.put
    assert code_of(lambda: put(files, "nobody", "k", b"x")) is ErrorCode.SESSION_NOT_FOUND
    assert list(tmp_path.iterdir()) == []


def test_orphaned_artifacts_are_cleaned(sim, tmp_path):
    files, session = asm.FileArtifactStore(tmp_path), over(sim)
    sim.system.artifacts.put(files, session.id, "k", b"x")
    sim.system.maintenance.delete_for_good(session.id)
    assert sim.system.maintenance.clean_orphaned_artifacts(files) == 1
    assert (list(tmp_path.iterdir()), sim.store.artifacts(include_deleted=True)) == ([], [])


# --- Both surfaces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "awaited"), [(Maintenance, AsyncMaintenance), (ArtifactRegistry, AsyncArtifactRegistry)]
)
def test_both_surfaces_have_the_same_operations(plain, awaited):
    names = [name for name in vars(plain) if not name.startswith("_")]
    assert names == [name for name in vars(awaited) if not name.startswith("_")]
    for name in names:
        left, right = getattr(plain, name), getattr(awaited, name)
        assert inspect.signature(left) == inspect.signature(right)
        assert left.__doc__ == right.__doc__
        assert inspect.iscoroutinefunction(right)


async def _use(path, files):
    async with asm.AsyncActorSystem.start(path, {"mock": asm.ScriptedProvider()}) as system:
        result = await system.sessions.run_once("hello")
        other = await system.sessions.run_once("hello")
        await system.artifacts.put(files, result.session_id, "k", b"x")
        await system.maintenance.export(path.parent / "all.jsonl")
        erased = await system.maintenance.delete_for_good(result.session_id)
        assert (erased.sessions, await system.maintenance.clean_orphaned_artifacts(files)) == (1, 1)
        report = await system.maintenance.import_(path.parent / "all.jsonl", on_conflict="skip")
        assert (report.sessions, report.skipped) == (1, 1)
        assert (await system.sessions.delete_session(other.session_id)).deleted_at is not None
        backup = await system.maintenance.backup(path.parent / "backup")
        assert (await system.maintenance.verify()).is_sound
        assert await system.maintenance.health_check() == []
        return backup


def test_a_system_on_disk_is_maintained_from_an_event_loop(tmp_path):
    files = asm.FileArtifactStore(tmp_path / "files")
    backup = asyncio.run(_use(tmp_path / "journal", files))
    copy = asm.LmdbStore(backup.path, readonly=True)
    copy.open()
    try:
        assert copy.verify().is_sound
        assert len(copy.sessions(include_deleted=True)) == 2
    finally:
        copy.close()


def test_a_stopped_system_executes_no_policy():
    system = asm.ActorSystem.start(asm.MemoryStore())
    system.stop()
    with pytest.raises(asm.AsmError) as refused:
        system.maintenance.execute()
    assert refused.value.code == "invalid_operation"
