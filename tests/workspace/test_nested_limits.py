"""Repositories inside a work tree: their patches, what cannot be done and how that is said, keeping and releasing."""

from __future__ import annotations

import shutil
from hashlib import sha256

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.snapshot import Snapshot

# --- Patches ---------------------------------------------------------------------------------------------------------


def test_a_patch_makes_the_later_state_of_all_repositories(repo, submodule, nested):
    workspace = repo.open()
    before = workspace.snapshot()
    submodule.write("code.py", "changed\n")
    submodule.write("binary", bytes(range(256)))
    (nested.root / "run.sh").rename(repo.root / "moved.sh")
    repo.write("kept.txt", "changed\n")
    (nested.root / "link").unlink()
    submodule.git("commit", "-qam", "moved on")
    files = repo.files()
    diff = workspace.diff(before, workspace.snapshot())
    assert diff.patch_bytes == len(diff.patch.encode())
    workspace.rollback(before)
    assert repo.files() != files
    repo.git("apply", "-", input=diff.patch.encode())
    assert repo.files() == files


def test_the_bound_counts_for_all_patches_together(repo, nested, inside):
    workspace = repo.open(max_patch_bytes=1_000)
    before = workspace.snapshot()
    nested.write("code.py", "line\n" * 150)
    repo.write("kept.txt", "line\n" * 150)
    diff = workspace.diff(before, workspace.snapshot())
    assert (diff.patch, diff.patch_truncated, diff.insertions) == (None, True, 300)
    assert diff.patch_bytes > 1_000


# --- What cannot be done is said -------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["empty", "file", "bare"])
def test_a_broken_repository_is_named_always_and_left_alone(repo, inside, broken):
    made = inside("broken")
    made.write("file.txt", "one\n")
    if broken == "bare":
        made.git("config", "core.bare", "true")
    else:
        shutil.rmtree(made.root / ".git")
        if broken == "empty":
            (made.root / ".git").mkdir()
        else:
            made.write(".git", "gitdir: nowhere\n")
    workspace = repo.open()
    snapshot = workspace.snapshot()
    assert snapshot.nested["broken"]["ref"] is None and snapshot.nested["broken"]["reason"]
    repo.write("kept.txt", "changed\n")
    made.write("file.txt", "two\n")
    diff = workspace.diff(snapshot, workspace.snapshot())
    assert diff.changed_paths == ("kept.txt",)
    assert diff.metadata == {"not_compared": ["broken"], "patch_is_exact": False}
    assert workspace.rollback(snapshot).not_restored == ("broken",)
    assert (made.root / "file.txt").read_text() == "two\n"
    assert (repo.root / "kept.txt").read_text() == "kept\n"
    workspace.release(snapshot)


@pytest.mark.parametrize("is_gone", [False, True])
def test_nothing_is_changed_while_git_is_at_work_in_one_of_them(repo, submodule, nested, is_gone):
    workspace = repo.open()
    snapshot = workspace.snapshot()
    lock = repo.write(".git/modules/vendor/index.lock", "")
    for each in (repo, nested):
        each.write("kept.txt", "changed\n")
    if is_gone:
        shutil.rmtree(submodule.root)
    with pytest.raises(AsmError) as caught:
        workspace.rollback(snapshot)
    assert caught.value.code == ErrorCode.INVALID_OPERATION and caught.value.retryable
    for each in (repo, nested):
        assert (each.root / "kept.txt").read_text() == "changed\n"
        assert not (each.root / ".git/index.lock").exists()
    lock.unlink()
    assert workspace.rollback(snapshot).not_restored == ()


def test_a_merge_inside_is_brought_back(repo, nested):
    nested.git("reset", "-q", "--hard")
    nested.git("checkout", "-q", "-b", "other")
    nested.write("code.py", "theirs\n")
    nested.commit()
    nested.git("checkout", "-q", "main")
    nested.write("code.py", "ours\n")
    nested.commit()
    nested.git("merge", "other", check=False)

    def change():
        nested.write("code.py", "resolved\n")
        nested.git("add", "-A")

    files, told = repo.files(), nested.told()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    change()
    workspace.rollback(snapshot)
    assert (repo.files(), nested.told()) == (files, told)
    assert (nested.root / ".git/MERGE_HEAD").exists()


def test_a_snapshot_that_fails_keeps_nothing_inside(repo, nested, monkeypatch):
    from asm_actors.workspace import git_backend

    def fail(_):
        raise AsmError(ErrorCode.CANCELLED, "stopped")

    monkeypatch.setattr(git_backend, "part_of", fail)
    with pytest.raises(AsmError):
        repo.open().snapshot()
    assert nested.git("for-each-ref", "refs/asm") == repo.git("for-each-ref", "refs/asm") == ""


def test_a_name_that_is_taken_is_refused_before_anything_inside_is_written_over(repo, nested):
    workspace = repo.open(new_name=lambda: "0" * 32)
    snapshot = workspace.snapshot()
    refs = nested.git("for-each-ref", "refs/asm")
    nested.write("code.py", "changed\n")
    with pytest.raises(AsmError) as caught:
        workspace.snapshot()
    assert caught.value.code == ErrorCode.INVALID_OPERATION
    assert nested.git("for-each-ref", "refs/asm") == refs
    workspace.rollback(snapshot)
    assert (nested.root / "code.py").read_text() == "not staged\n"


def test_what_an_interrupted_snapshot_left_inside_is_written_over(repo, nested):
    nested.git("update-ref", "refs/asm/nested/snap_" + _inner_name("0" * 32, "theirs"), "HEAD")
    workspace = repo.open(new_name=lambda: "0" * 32)
    snapshot = workspace.snapshot()
    assert nested.git("for-each-ref", "--format=%(objectname)", "refs/asm").split() == [
        snapshot.nested["theirs"]["ref"]
    ]


def _inner_name(name, path):
    return sha256(f"snap_{name}\0{path}".encode()).hexdigest()[:32]


# --- Keeping and releasing -------------------------------------------------------------------------------------------


def test_what_is_kept_inside_survives_garbage_collection(repo, submodule, nested):
    files = repo.files()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    for each in (submodule, nested):
        each.wreck()
        each.write("old.log", "ignored\n")
        each.git("reset", "-q")
        each.git("reflog", "expire", "--expire=all", "--all")
        each.git("gc", "-q", "--prune=now")
    workspace.rollback(snapshot)
    assert repo.files() == files
    assert nested.git("show", ":code.py") == "staged\n"


def test_releasing_one_snapshot_leaves_the_others(repo, submodule, nested):
    workspace = repo.open()
    first = workspace.snapshot()
    second = workspace.snapshot()
    workspace.release(first)
    workspace.release(first)
    for each, path in ((submodule, "vendor"), (nested, "theirs")):
        refs = each.git("for-each-ref", "--format=%(objectname)", "refs/asm").split()
        assert refs == [second.nested[path]["ref"]]
    assert nested.open().snapshots() == [], "what is kept for the one around is no snapshot of its own"
    shutil.rmtree(submodule.root)
    workspace.release(second)
    for each in (repo, nested):
        assert each.git("for-each-ref", "refs/asm") == ""
    where = ("--git-dir=.git/modules/vendor", "--work-tree=.")
    assert repo.git(*where, "for-each-ref", "refs/asm") == ""


def test_snapshots_of_an_earlier_version_are_read(repo, nested, monkeypatch):
    """They knew where repositories inside were, and what commit HEAD named."""
    from asm_actors.workspace import git_backend

    workspace = repo.open()
    with monkeypatch.context() as patched:
        patched.setattr(
            git_backend.GitWorkspace,
            "_keep_all",
            lambda self, looked, snapshot, scratch, name: self._top.keep(looked, snapshot, scratch, name),
        )
        taken = workspace.snapshot()
    told = taken.to_map()
    del told["nested"]
    snapshot = Snapshot.from_map(told)
    assert snapshot == taken and snapshot.nested == {}
    nested.write("code.py", "changed\n")
    repo.write("kept.txt", "changed\n")
    diff = workspace.diff(snapshot, workspace.snapshot())
    assert diff.changed_paths == ("kept.txt",) and diff.metadata["not_compared"] == ["theirs"]
    assert workspace.rollback(snapshot).not_restored == ("theirs",), "whether it is as it was nobody can tell"
    assert (nested.root / "code.py").read_text() == "changed\n"
    assert (repo.root / "kept.txt").read_text() == "kept\n"
    workspace.release(snapshot)


def test_without_repositories_inside_git_is_called_no_more_often(repo, monkeypatch):
    from asm_actors.workspace.git_calls import Git

    calls = []
    real = Git.run
    monkeypatch.setattr(
        Git, "run", lambda self, *words, **more: calls.append(words) or real(self, *words, **more)
    )
    workspace = repo.open()
    counts = []
    for step in (
        workspace.snapshot,
        lambda: workspace.diff(*workspace.snapshots()[:1] * 2),
        lambda: workspace.rollback(workspace.snapshots()[0]),
        lambda: workspace.release(workspace.snapshots()[0]),
    ):
        calls.clear()
        step()
        counts.append(len(calls))
    assert counts == [11, 6, 9, 4]
