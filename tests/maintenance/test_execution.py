"""Carrying a retention policy out on a journal: each field acts, and what must stay stays."""

from __future__ import annotations

import gzip
import io

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.cursors import NamedCursor
from asm_actors.maintenance.artifact import Artifact
from asm_actors.maintenance.execution import Execution
from asm_actors.maintenance.file_artifacts import FileArtifactStore
from asm_actors.maintenance.imports import import_from
from asm_actors.maintenance.policy import RetentionPolicy
from asm_actors.sessions.session import SessionStatus

NOW = 1_700_000_000_000_000
RUN = (
    "session_created",
    "run_started",
    "message_sent",
    *["message_streamed"] * 5,
    "message_received",
    "run_completed",
)
TALK = RUN[2:-1]
"""Of no run, and of no session that says how it began: its records may say what they like."""
NOTHING = {"max_completed_session_age_days": None, "hard_delete_after_days": None}


def counts(report):
    found = report.to_map()
    return {name: value for name, value in found.items() if value and name != "duration_ms"}


@pytest.fixture
def archive(tmp_path):
    return FileArtifactStore(tmp_path / "archive")


def archives(store):
    return sorted(store.root.iterdir())


# --- Deletion ---------------------------------------------------------------------------------------------------


def test_old_sessions_are_hidden_and_old_hidden_ones_go(journal):
    journal.session("old", age=100)
    journal.session("fresh", age=1)
    journal.session("active", age=100, status=SessionStatus.ACTIVE)
    journal.session("pinned", age=100, tags=("pinned",))
    journal.session("hidden", age=100, deleted=20)
    journal.session("gone", kinds=RUN, age=100, deleted=31, runs=[("r", "completed")])
    report = journal.execute(RetentionPolicy())
    assert counts(report) == {"sessions_soft_deleted": 1, "sessions_hard_deleted": 1}
    assert journal.names() == ["fresh", "active", "pinned"]
    assert journal.names(include_deleted=True) == ["old", "fresh", "active", "pinned", "hidden"]
    deleted = journal.store.session("old")
    assert (deleted.deleted_us, deleted.updated_us) == (NOW, NOW)
    assert journal.types("old") == ["message_sent", "session_deleted"]
    assert not journal.store.has_run("r")
    assert journal.store.verify(replay=False).is_sound
    assert counts(journal.execute(RetentionPolicy())) == {}


def test_age_since_creation_is_a_bound_of_its_own(journal):
    journal.session("old", age=11, quiet=0)
    journal.session("active", age=11, quiet=0, status=SessionStatus.ACTIVE)
    assert journal.execute(RetentionPolicy(max_session_age_days=10)).sessions_soft_deleted == 1
    policy = RetentionPolicy(max_session_age_days=10, exempt_statuses=[])
    assert journal.execute(policy).sessions_soft_deleted == 1
    assert journal.names() == []


def test_sessions_with_open_runs_are_never_touched(journal):
    journal.session("a", kinds=RUN, age=100, runs=[("r", "running")])
    journal.session("b", kinds=RUN, age=100, deleted=50, runs=[("s", "pending")])
    policy = RetentionPolicy(max_events_per_session=1, max_total_events=1)
    assert counts(journal.execute(policy)) == {}
    assert (journal.types("a"), journal.types("b")) == (list(RUN), list(RUN))


def test_work_goes_in_batches_with_pauses_and_progress(journal):
    for number in range(7):
        journal.session(f"s{number}", age=100)
    steps = []
    report = journal.execute(RetentionPolicy(batch_size=3), progress=steps.append)
    assert report.sessions_soft_deleted == 7
    assert [(step.step, step.done, step.total) for step in steps] == [
        ("soft_delete", 3, 7),
        ("soft_delete", 6, 7),
        ("soft_delete", 7, 7),
    ]
    assert len(journal.around.pauses) == 2


def test_a_parent_stays_as_long_as_a_fork_shares_its_history(journal):
    journal.session("parent", kinds=RUN, age=100, deleted=50)
    journal.session("fork", parent_session_id="parent", forked_at=5)
    assert counts(journal.execute(RetentionPolicy())) == {}
    assert journal.types("fork")[:5] == list(RUN[:5])


def test_parent_and_fork_go_together(journal):
    journal.session("parent", kinds=RUN, age=100, deleted=50)
    journal.session("fork", parent_session_id="parent", forked_at=5, age=100, deleted=50)
    for batch_size in (1, 100):
        assert journal.execute(RetentionPolicy(batch_size=batch_size)).sessions_hard_deleted in (0, 2)
    assert journal.names(include_deleted=True) == []


# --- Pruning ----------------------------------------------------------------------------------------------------


def test_long_sessions_are_pruned_expendable_events_first(journal):
    journal.session("a", kinds=RUN)
    journal.session("pinned", kinds=RUN, tags=("pinned",))
    journal.session("short", kinds=RUN[:4])
    report = journal.execute(RetentionPolicy(max_events_per_session=7))
    assert counts(report) == {"events_pruned": 3}
    assert journal.sequences("a") == [1, 2, 3, 7, 8, 9, 10]
    assert journal.types("pinned") == list(RUN)
    assert counts(journal.execute(RetentionPolicy(max_events_per_session=7))) == {}
    assert journal.execute(RetentionPolicy(max_events_per_session=1)).events_pruned == 4 + 2
    assert journal.types("a") == ["session_created", "run_started", "run_completed"]
    assert journal.store.head("a") == 10


def test_what_goes_first_can_be_chosen(journal):
    journal.session("a", kinds=RUN)
    journal.execute(RetentionPolicy(max_events_per_session=9, prune_event_types_first=["message_received"]))
    assert "message_received" not in journal.types("a")


def test_what_a_fork_shares_is_not_pruned(journal):
    journal.session("parent", kinds=RUN)
    journal.session("fork", parent_session_id="parent", forked_at=6)
    journal.execute(RetentionPolicy(max_events_per_session=1))
    assert journal.sequences("parent") == [1, 2, 3, 4, 5, 6, 10]


def test_the_whole_is_bounded_oldest_sessions_first(journal):
    for name in "abc":
        journal.session(name, kinds=RUN)
    policy = RetentionPolicy(max_total_events=22)
    assert journal.execute(policy).events_pruned == 8
    assert [len(journal.types(name)) for name in "abc"] == [5, 7, 10]
    assert counts(journal.execute(policy)) == {}
    # Expendable events of all sessions go before any other one.
    assert journal.execute(RetentionPolicy(max_total_events=14)).events_pruned == 8
    assert [len(journal.types(name)) for name in "abc"] == [4, 5, 5]
    assert journal.execute(RetentionPolicy(max_total_events=1)).events_pruned == 5
    assert [len(journal.types(name)) for name in "abc"] == [3, 3, 3]


def test_a_single_session_can_be_pruned(journal):
    journal.session("a", kinds=RUN)
    journal.session("b", kinds=RUN)
    work = Execution(journal.hands, RetentionPolicy(max_events_per_session=8), journal.around)
    assert work.prune_one("a") == 2
    assert journal.types("b") == list(RUN)
    with pytest.raises(AsmError) as caught:
        work.prune_one("nobody")
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
    journal.session("busy", kinds=RUN, runs=[("r", "running")])
    with pytest.raises(AsmError) as caught:
        work.prune_one("busy")
    assert caught.value.code is ErrorCode.INVALID_OPERATION


# --- Archives ---------------------------------------------------------------------------------------------------


def test_a_session_is_archived_before_something_of_it_goes(journal, archive, another):
    journal.session("gone", kinds=TALK, age=100, deleted=31)
    journal.session("long", kinds=TALK)
    journal.session("fresh")
    policy = RetentionPolicy(max_events_per_session=4, archive_before_prune=True, archive_store=archive)
    report = journal.execute(policy)
    assert counts(report) == {"sessions_hard_deleted": 1, "events_pruned": 3, "archived": 2}
    target = another()
    for path in archives(archive):
        text = gzip.decompress(path.read_bytes()).decode()
        import_from(target.hands, io.StringIO(text), target.around)
    assert sorted(target.names(include_deleted=True)) == ["gone", "long"]
    assert (target.types("gone"), target.types("long")) == (list(TALK), list(TALK))


def test_what_cannot_be_archived_stays(journal, archive, monkeypatch):
    journal.session("gone", kinds=RUN, age=100, deleted=31)
    journal.session("long", kinds=RUN)

    def fail(key, data):
        raise AsmError(ErrorCode.STORAGE_ERROR, "no room")

    monkeypatch.setattr(archive, "put", fail)
    policy = RetentionPolicy(max_events_per_session=7, archive_before_prune=True, archive_store=archive)
    report = journal.execute(policy)
    assert report.errors == ("archive of gone: no room", "prune of long: no room")
    assert (report.sessions_hard_deleted, report.events_pruned, report.archived) == (0, 0, 0)
    assert (journal.types("gone"), journal.types("long")) == (list(RUN), list(RUN))


# --- Errors, dry runs, remains ----------------------------------------------------------------------------------


def test_a_step_that_fails_is_noted_and_the_next_ones_are_taken(journal, monkeypatch):
    journal.session("old", age=100)
    journal.session("gone", age=100, deleted=31)
    failing = AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")

    def fail(*_):
        raise failing

    monkeypatch.setattr(journal.store, "erase_sessions", fail)
    report = journal.execute(RetentionPolicy())
    assert report.errors == ("hard_delete: the disk is full",)
    assert (report.sessions_soft_deleted, report.sessions_hard_deleted) == (1, 0)


def test_a_dry_run_counts_and_changes_nothing(journal, archive, tmp_path):
    journal.session("old", kinds=RUN, age=100)
    journal.session("gone", kinds=RUN, age=100, deleted=31)
    journal.session("long", kinds=RUN)
    policy = RetentionPolicy(max_events_per_session=7, archive_before_prune=True, archive_store=archive)
    position = journal.store.last_position()
    report = journal.execute(policy, is_dry_run=True)
    assert report.is_dry_run
    assert (report.sessions_soft_deleted, report.sessions_hard_deleted, report.events_pruned) == (1, 1, 3)
    assert (journal.store.last_position(), archives(archive)) == (position, [])
    assert journal.names(include_deleted=True) == ["old", "gone", "long"]


def test_a_callback_that_raises_ends_the_work(journal):
    journal.session("old", age=100)

    def enough(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.execute(RetentionPolicy(), progress=enough)


def _artifact(number, session_id, **fields):
    given = {"key": f"k{number}", "storage_backend": "file", **fields}
    return Artifact(
        f"art_{number}",
        session_id,
        given["key"],
        1,
        "a" * 64,
        given["storage_backend"],
        "/x",
        NOW,
        given.get("deleted_us"),
    )


def test_artifacts_of_sessions_that_are_gone_go_with_their_bytes(journal, tmp_path):
    files = FileArtifactStore(tmp_path / "files")
    for key in ("k1", "k2", "k3", "k4"):
        files.put(key, b"x")
    journal.session("gone", age=100, deleted=31)
    journal.session("fresh")
    month = 31 * 86_400_000_000
    journal.store.save_artifacts(
        [
            _artifact(1, "gone"),
            _artifact(2, "fresh"),
            _artifact(3, "fresh", deleted_us=NOW - month),
            _artifact(4, "gone", storage_backend="s3"),
            _artifact(5, "fresh", key="k2b", deleted_us=NOW),
        ]
    )
    assert journal.execute(RetentionPolicy()).artifacts_cleaned == 0
    report = journal.execute(RetentionPolicy(), artifact_store=files)
    assert (report.artifacts_cleaned, report.errors) == (2, ())
    found = [artifact.id for artifact in journal.store.artifacts(include_deleted=True)]
    assert found == ["art_2", "art_4", "art_5"]
    assert len(list(files.root.iterdir())) == 2


def test_bytes_that_another_artifact_took_over_stay(journal, tmp_path):
    files = FileArtifactStore(tmp_path / "files")
    journal.session("a")
    journal.store.save_artifacts([_artifact(1, "gone", key="k", deleted_us=NOW), _artifact(2, "a", key="k")])
    files.put("k", b"new")
    assert journal.execute(RetentionPolicy(), artifact_store=files).artifacts_cleaned == 1
    assert files.get("k") == b"new"


def test_bytes_that_cannot_be_removed_keep_their_record(journal, tmp_path):
    files = FileArtifactStore(tmp_path / "files")
    files.path_of("k1").mkdir()
    journal.store.save_artifacts([_artifact(1, "gone")])
    report = journal.execute(RetentionPolicy(), artifact_store=files)
    assert report.artifacts_cleaned == 0
    assert len(report.errors) == 1
    assert journal.store.artifact("art_1") is not None


def test_cursors_to_sessions_that_are_gone_are_cleaned(journal):
    journal.session("a")
    cursors = [
        NamedCursor(name, {"session_id": target}, 1, NOW, NOW)
        for name, target in (("stays", "a"), ("goes", "gone"), ("all", None))
    ]
    journal.store.save_cursors({cursor.name: cursor for cursor in cursors})
    assert journal.execute(RetentionPolicy()).orphaned_sequences_cleaned == 1
    assert [cursor.name for cursor in journal.store.cursors()] == ["all", "stays"]


def test_the_event_of_a_deletion_tells_why(journal):
    journal.session("old", age=100)
    journal.execute(RetentionPolicy())
    event = journal.store.read_session("old")[-1]
    assert (event.type, event.data) == (EventType.SESSION_DELETED, {"reason": "retention policy"})


class Broken:
    """A store of artifacts that somebody else wrote."""

    backend = "broken"

    def put(self, key, data):
        raise OSError("the share is gone")

    def delete(self, key):
        raise OSError("the share is gone")

    get = delete


def test_whatever_a_foreign_store_of_artifacts_raises_is_noted(journal):
    journal.session("gone", kinds=RUN, age=100, deleted=31)
    journal.session("long", kinds=RUN)
    policy = RetentionPolicy(max_events_per_session=7, archive_before_prune=True, archive_store=Broken())
    report = journal.execute(policy)
    assert counts(report).keys() == {"errors"}
    assert [error.partition(":")[2].strip() for error in report.errors] == [
        f"session {name} cannot be archived: OSError: the share is gone" for name in ("gone", "long")
    ]
    assert journal.names(include_deleted=True) == ["gone", "long"]


def test_an_artifact_that_a_foreign_store_does_not_give_up_is_noted(journal):
    artifact = Artifact("art_1", "nobody", "key", 3, "a" * 64, "broken", "/x", created_us=NOW)
    journal.store.save_artifacts([artifact])
    report = journal.execute(RetentionPolicy(**NOTHING), artifact_store=Broken())
    assert report.errors == ("artifact art_1: OSError: the share is gone",)
    assert report.artifacts_cleaned == 0


def test_what_the_callback_of_progress_raises_ends_the_execution(journal):
    journal.session("gone", age=100, deleted=31)

    def fail(_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        journal.execute(RetentionPolicy(), progress=fail)
