"""Runs that look after files, in a whole system, on real repositories and directories."""

from __future__ import annotations

import subprocess

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.maintenance.file_artifacts import FileArtifactStore
from asm_actors.providers.script import Script, fail, stall, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.tool import Tool
from asm_actors.workspace.config import WorkspaceConfig

COMPLETED = [
    "workspace_snapshot_taken",
    "message_sent",
    "run_started",
    "message_streamed",
    "message_received",
    "token_usage_updated",
    "turn_completed",
    "workspace_snapshot_taken",
    "workspace_diff_computed",
    "run_completed",
]


class Editor:
    """A provider that edits files while it answers; `plays` says how it goes on."""

    def __init__(self, place):
        self.place = place
        self.plays = (text("done"),)
        self.requests = []
        self.after = lambda: None
        self.provider = ScriptedProvider(self._script)

    def _script(self, request):
        self.requests.append(request)
        self.place.write("kept.txt", "changed\n")
        self.place.write("later.txt", "new\n")
        self.after()
        return Script(*self.plays)


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "journal")


@pytest.fixture(params=["git", "hash"])
def place(request):
    """A repository, or a directory without git; each with a file."""
    made = request.getfixturevalue("repo" if request.param == "git" else "folder")
    if request.param == "hash":
        made.write("kept.txt", "kept\n")
    made.backend = request.param
    return made


@pytest.fixture
def editor(place):
    return Editor(place)


@pytest.fixture
def sim(editor, store):
    with SimulatedSystem(providers={"mock": editor.provider}, store=store) as simulated:
        yield simulated


def options(place, **more):
    return {"enabled": True, "path": str(place.root), **more}


def submit(sim, place, **more):
    session = sim.active_session()
    return sim.manager.submit_run(session.id, "edit", workspace=options(place, **more))


def snapshots(place):
    return [snapshot.label for snapshot in place.open(strategy=place.backend).snapshots()]


# --- Completed -------------------------------------------------------------------------------------------------------


def test_a_run_tells_what_it_changed(sim, place):
    run = submit(sim, place)
    result = sim.manager.await_run(run.id)
    assert sim.types_of(run.id) == COMPLETED
    told = result.workspace
    assert told["backend"] == place.backend
    assert told["before_snapshot"]["label"] == "before"
    assert told["after_snapshot"]["label"] == "after"
    assert told["before_ref"] == told["diff"]["from_ref"] == told["before_snapshot"]["ref"]
    assert told["after_ref"] == told["diff"]["to_ref"]
    assert told["diff"]["changed_paths"] == ["kept.txt", "later.txt"]
    assert "+changed" in told["diff"]["patch"]
    assert "ending" not in result.run.details
    taken = [one.data for one in sim.events_of(run.id) if one.type == "workspace_snapshot_taken"]
    assert [one["label"] for one in taken] == ["before", "after"]
    (diff,) = [one.data for one in sim.events_of(run.id) if one.type == "workspace_diff_computed"]
    assert diff == {"files_changed": 2, "insertions": 2, "deletions": 1, "has_patch": True}
    sim.check_promises()


def test_snapshots_of_a_completed_run_are_given_back(sim, place):
    result = sim.manager.await_run(submit(sim, place).id)
    assert result.workspace["released"] == ["before", "after"]
    assert snapshots(place) == []


def test_snapshots_are_kept_if_asked_for_and_undo_what_the_run_did(sim, place):
    files = place.look()
    result = sim.manager.await_run(submit(sim, place, keep_snapshots=True).id)
    assert sorted(snapshots(place)) == ["after", "before"]
    workspace = place.open(strategy=place.backend)
    before = workspace.find(result.workspace["before_snapshot"]["id"])
    workspace.rollback(before)
    assert place.look() == files


def test_a_config_may_be_given_as_a_value(sim, place):
    session = sim.active_session()
    config = WorkspaceConfig(enabled=True, path=str(place.root), capture_patch=False)
    run = sim.manager.submit_run(session.id, "edit", workspace=config)
    assert sim.manager.await_run(run.id).workspace["diff"]["patch"] is None


def test_a_run_without_a_workspace_or_with_a_disabled_one_has_none(sim, place):
    session = sim.active_session()
    for given in (None, {"path": str(place.root)}):
        run = sim.manager.submit_run(session.id, "edit", workspace=given)
        assert sim.manager.await_run(run.id).workspace is None
        assert "workspace_snapshot_taken" not in sim.types_of(run.id)


def test_a_patch_goes_to_the_systems_artifact_store_if_asked_for(editor, place, store, tmp_path):
    kept = FileArtifactStore(tmp_path / "artifacts")
    with SimulatedSystem(providers={"mock": editor.provider}, store=store, artifact_store=kept) as sim:
        result = sim.manager.await_run(submit(sim, place, artifacts=True).id)
        diff = result.workspace["diff"]
        assert diff["patch"] is None
        assert b"+changed" in kept.get(diff["patch_ref"])
        (artifact,) = sim.store.artifacts(result.session_id)
        assert (artifact.key, artifact.byte_size) == (diff["patch_ref"], diff["patch_bytes"])


def test_a_patch_without_an_artifact_store_is_refused_before_the_provider_is_called(sim, place, editor):
    run = submit(sim, place, artifacts=True)
    with pytest.raises(AsmError, match="without one") as caught:
        sim.manager.await_run(run.id)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert editor.requests == []


# --- Not completed ---------------------------------------------------------------------------------------------------


def test_a_failed_run_keeps_the_way_back_unless_it_was_rolled_back(sim, place, editor):
    editor.plays = (text("well"), fail(AsmError(ErrorCode.PROVIDER_ERROR, "boom")))
    run = submit(sim, place)
    sim.settle()
    told = sim.run(run.id).details["workspace"]
    assert sim.run(run.id).status == "failed"
    assert told["after_snapshot"]["label"] == "after_failure"
    assert "rollback" not in told
    assert snapshots(place) == ["before"]
    sim.check_promises()


def ends(sim, run, how):
    sim.settle()
    if how == "cancelled":
        sim.manager.cancel_run(run.id)
    elif how == "timeout":
        sim.advance(61)
    sim.settle()


@pytest.mark.parametrize("how", ["failed", "cancelled", "timeout"])
def test_a_run_that_did_not_complete_is_rolled_back_if_asked_for(sim, place, editor, how):
    files = place.look()
    last = fail(AsmError(ErrorCode.PROVIDER_ERROR, "boom")) if how == "failed" else stall()
    editor.plays = (text("well"), last)
    session = sim.active_session()
    run = sim.manager.submit_run(
        session.id,
        "edit",
        workspace=options(place, rollback_on_failure=True),
        deadline=60 if how == "timeout" else None,
    )
    ends(sim, run, how)
    record = sim.run(run.id)
    assert record.status == how
    assert place.look() == files
    told = record.details["workspace"]
    assert told["rollback"]["removed"] == ["later.txt"]
    assert told["rollback"]["restored"] == ["kept.txt"]
    assert told["diff"]["changed_paths"] == ["kept.txt", "later.txt"]
    assert sim.types_of(run.id)[-3:] == ["workspace_snapshot_taken", "workspace_diff_computed", f"run_{how}"]
    assert snapshots(place) == []
    sim.check_promises()


def test_what_a_rolled_back_run_did_is_kept_if_no_whole_patch_of_it_is(sim, place, editor):
    editor.plays = (fail(AsmError(ErrorCode.PROVIDER_ERROR, "boom")),)
    run = submit(sim, place, rollback_on_failure=True, max_patch_bytes=5)
    sim.settle()
    assert sim.run(run.id).details["workspace"]["diff"]["patch_truncated"]
    assert snapshots(place) == ["after_failure"]


def test_a_run_that_completed_is_not_rolled_back(sim, place):
    sim.manager.await_run(submit(sim, place, rollback_on_failure=True).id)
    assert (place.root / "later.txt").exists()


# --- What cannot be done ---------------------------------------------------------------------------------------------


def test_a_directory_that_is_not_there_fails_the_run_before_the_provider_is_called(sim, editor, tmp_path):
    session = sim.active_session()
    run = sim.manager.submit_run(
        session.id, "edit", workspace={"enabled": True, "path": str(tmp_path / "nowhere")}
    )
    sim.settle()
    assert sim.run(run.id).error["code"] == "validation_error"
    assert sim.types_of(run.id) == ["run_failed"]
    assert editor.requests == []
    sim.check_promises()


def test_a_directory_that_is_gone_when_the_run_completed_fails_it(sim, editor, place):
    away = place.root.with_name("away")
    editor.after = lambda: place.root.rename(away)
    run = submit(sim, place)
    sim.settle()
    record = sim.run(run.id)
    assert record.status == "failed"
    assert record.error["code"] == "validation_error"
    assert record.output["content"] == "done"
    assert sim.types_of(run.id)[-1] == "run_failed"
    sim.check_promises()


def test_git_that_fails_fails_the_run(sim, repo, editor):
    subprocess.run(["rm", "-rf", str(repo.root / ".git" / "objects")], check=True)
    session = sim.active_session()
    run = sim.manager.submit_run(session.id, "edit", workspace={**options(repo), "strategy": "git"})
    sim.settle()
    assert sim.run(run.id).error["code"] in ("command_failed", "validation_error")
    assert editor.requests == []


# --- Ended without its actor -----------------------------------------------------------------------------------------


def test_a_run_whose_process_ended_and_which_is_not_to_go_on_is_rolled_back(sim, place, editor):
    files = place.look()
    editor.plays = (text("well"), stall())
    session = sim.active_session()
    run = sim.manager.submit_run(
        session.id, "edit", workspace=options(place, rollback_on_failure=True), on_restart="fail"
    )
    sim.settle()
    assert (place.root / "later.txt").exists()
    sim.kill()
    sim.settle()
    record = sim.run(run.id)
    assert (record.status, record.error["code"]) == ("failed", "interrupted")
    assert place.look() == files
    assert record.details["workspace"]["rollback"]["removed"] == ["later.txt"]
    assert sim.types_of(run.id)[-1] == "run_failed"
    sim.check_promises()


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_run_that_waits_for_somebody_and_is_cancelled_is_rolled_back(place, editor, store, is_killed):
    files = place.look()
    editor.plays = (text("well"), tool_call("call_1", "pay", {}))
    tool = Tool("pay", "Pays", {"type": "object"}, lambda: "paid", requires_approval=True)
    with SimulatedSystem(providers={"mock": editor.provider}, store=store, tools=[tool]) as sim:
        run = submit(sim, place, rollback_on_failure=True)
        sim.settle()
        assert sim.run(run.id).status == "awaiting_approval"
        assert (place.root / "later.txt").exists()
        if is_killed:
            sim.kill()
            sim.settle()
        sim.manager.cancel_run(run.id)
        sim.settle()
        assert sim.run(run.id).status == "cancelled"
        assert place.look() == files
        assert sim.types_of(run.id)[-1] == "run_cancelled"
        sim.check_promises()


def test_a_paused_run_takes_no_second_snapshot_when_it_goes_on(place, editor, store):
    editor.plays = (text("well"), tool_call("call_1", "look", {}))

    def script(request):
        editor.requests.append(request)
        if request.turn > 1:
            return Script(text("done"))
        editor.place.write("kept.txt", "changed\n")
        return Script(*editor.plays)

    tool = Tool("look", "Looks", {"type": "object"}, lambda: "seen", requires_approval=True)
    providers = {"mock": ScriptedProvider(script)}
    with SimulatedSystem(providers=providers, store=store, tools=[tool]) as sim:
        run = submit(sim, place)
        sim.settle()
        sim.manager.grant_approval(run.id, "call_1")
        result = sim.manager.await_run(run.id)
        assert result.workspace["diff"]["changed_paths"] == ["kept.txt"]
        labels = [
            one.data["label"] for one in sim.events_of(run.id) if one.type == "workspace_snapshot_taken"
        ]
        assert labels == ["before", "after"]
        sim.check_promises()


def test_a_session_that_is_cancelled_ends_behind_the_rollback_of_its_run(sim, place, editor):
    files = place.look()
    editor.plays = (text("well"), stall())
    run = submit(sim, place, rollback_on_failure=True)
    sim.settle()
    sim.manager.cancel_session(run.session_id)
    sim.settle()
    assert place.look() == files
    assert sim.session(run.session_id).status == "cancelled"
    sim.check_promises()


# --- By hand ---------------------------------------------------------------------------------------------------------


def test_workspaces_are_used_by_hand_through_the_public_door(place):
    workspace = asm.open_workspace(
        asm.WorkspaceConfig(enabled=True, path=str(place.root), strategy=place.backend)
    )
    before = workspace.snapshot("mine")
    assert isinstance(workspace, asm.Workspace)
    assert isinstance(before, asm.Snapshot)
    assert workspace.find(before.id) == before
    assert workspace.find("snap_unknown") is None
    place.write("later.txt")
    after = workspace.snapshot("then")
    assert isinstance(workspace.diff(before, after), asm.Diff)
    assert workspace.rollback(before).removed == ("later.txt",)
    workspace.release(before)
    assert workspace.find(before.id) is None
    ran = asm.Exec().run(asm.Command(argv=("true",), cwd=str(place.root)))
    assert isinstance(ran, asm.CommandResult)
