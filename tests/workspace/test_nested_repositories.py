"""Repositories inside a work tree, submodules among them: kept, compared and put back like the one around them."""

from __future__ import annotations

import json
import shutil

import pytest

from asm_actors.workspace.snapshot import ChangeKind, Snapshot


def _told(repo):
    """What git tells, but for the configuration, in which submodules are noted."""
    return {name: text for name, text in repo.told().items() if name != "config"}


def _restores(repo, *inner, change):
    """Take a snapshot, change things, roll back; all must be as it was. Returns snapshot, difference, rollback."""
    workspace = repo.open()
    files, told = repo.files(), [_told(each) for each in (repo, *inner)]
    snapshot = workspace.snapshot("before")
    assert (repo.files(), [_told(each) for each in (repo, *inner)]) == (files, told), (
        "a snapshot changes nothing"
    )
    assert Snapshot.from_map(json.loads(json.dumps(snapshot.to_map()))) == snapshot
    assert workspace.find(snapshot.id) == snapshot
    change()
    after = workspace.snapshot("after")
    diff = workspace.diff(snapshot, after)
    rollback = workspace.rollback(snapshot)
    assert repo.files() == files
    assert [_told(each) for each in (repo, *inner)] == told
    again = repo.open().rollback(snapshot)
    assert (again.restored, again.removed, again.not_restored) == ((), (), ())
    workspace.release(after)
    workspace.release(snapshot)
    for each in (repo, *inner):
        assert each.git("for-each-ref", "refs/asm") == ""
    return snapshot, diff, rollback


def _changes(diff):
    return {change.path: change for change in diff.changes}


# --- Submodules ------------------------------------------------------------------------------------------------------


def test_a_clean_submodule_is_brought_back(repo, submodule):
    snapshot, diff, rollback = _restores(repo, submodule, change=submodule.wreck)
    head = submodule.git("rev-parse", "HEAD").strip()
    told = snapshot.nested["vendor"]
    assert (told["head_ref"], told["branch"], told["dirty"]) == (head, "refs/heads/main", False)
    assert len(told["ref"]) == 40 and snapshot.metadata["dirty"] is False
    assert {"vendor/code.py", "vendor/run.sh"} <= set(rollback.restored)
    assert "vendor/new.txt" in rollback.removed
    assert rollback.not_restored == () and not rollback.head_moved
    assert set(diff.changed_paths) == {
        "vendor/code.py",
        "vendor/code.py/now/a/folder.txt",
        "vendor/new.txt",
        "vendor/run.sh",
    }
    assert (diff.insertions, diff.deletions) == (2, 2) and "+++ b/vendor/new.txt\n" in diff.patch


def test_work_in_progress_in_a_submodule_is_brought_back(repo, submodule):
    submodule.write("code.py", "staged\n")
    submodule.git("add", "code.py")
    submodule.write("code.py", "in progress\n")
    submodule.write("untracked.txt", "mine\n", 0o600)
    (submodule.root / "run.sh").chmod(0o700)
    snapshot, diff, _ = _restores(repo, submodule, change=submodule.wreck)
    assert snapshot.nested["vendor"]["dirty"] is True
    assert "vendor/untracked.txt" in diff.deleted
    assert submodule.git("show", ":code.py") == "staged\n"


def test_a_submodule_that_has_moved_on_has_its_files_again_and_is_named(repo, submodule):
    files = repo.files()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    old = submodule.git("rev-parse", "HEAD").strip()
    submodule.write("code.py", "moved on\n")
    new = submodule.commit("moved on")
    diff = workspace.diff(snapshot, workspace.snapshot())
    link = _changes(diff)["vendor"]
    assert (link.kind, link.old_mode, link.new_mode) == (ChangeKind.MODIFIED, "160000", "160000")
    assert diff.changed_paths == ("vendor", "vendor/code.py")
    assert f"-Subproject commit {old}\n+Subproject commit {new}\n" in diff.patch
    assert repo.git("diff", "--submodule=short", "--full-index", "vendor") in diff.patch
    rollback = workspace.rollback(snapshot)
    assert repo.files() == files
    assert rollback.not_restored == ("vendor",)
    assert submodule.git("rev-parse", "HEAD").strip() == new, "commits are kept, HEAD is left alone"


def test_a_submodule_on_another_branch_is_named(repo, submodule):
    workspace = repo.open()
    snapshot = workspace.snapshot()
    submodule.git("checkout", "-q", "-b", "other")
    assert workspace.rollback(snapshot).not_restored == ("vendor",)


@pytest.mark.parametrize("way", ["folder", "git file", "repository in its place", "link in its place"])
def test_a_submodule_that_was_removed_is_brought_back(repo, submodule, tmp_path, way):
    submodule.write("untracked.txt", "mine\n")

    def change():
        if way == "git file":
            (submodule.root / ".git").unlink()
            submodule.write("code.py", "changed\n")
            return
        shutil.rmtree(submodule.root)
        if way == "repository in its place":
            submodule.root.mkdir()
            submodule.git("init", "-q")
            submodule.write("other.txt")
        elif way == "link in its place":
            (tmp_path / "outside").mkdir()
            (tmp_path / "outside/victim").write_text("untouched\n")
            submodule.root.symlink_to(tmp_path / "outside")

    _, diff, rollback = _restores(repo, submodule, change=change)
    assert rollback.not_restored == () and "vendor" in rollback.restored
    assert "vendor/code.py" in diff.changed_paths
    if way == "link in its place":
        assert [path.name for path in (tmp_path / "outside").iterdir()] == ["victim"]


def test_a_submodule_that_was_not_there_yet_is_empty_again(repo, submodule):
    repo.git("submodule", "deinit", "-q", "-f", "vendor")
    files = repo.look()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    assert snapshot.nested == {}
    repo.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")
    diff = workspace.diff(snapshot, workspace.snapshot())
    assert diff.added == ("vendor", "vendor/code.py", "vendor/run.sh")
    rollback = workspace.rollback(snapshot)
    assert repo.look() == files and rollback.not_restored == ()


# --- Other repositories ----------------------------------------------------------------------------------------------


def test_a_repository_inside_is_brought_back(repo, nested):
    def change():
        nested.wreck()
        nested.write("old.log", "left alone\n")
        nested.write("old.log", "ignored\n")
        repo.write("kept.txt", "changed\n")

    snapshot, diff, rollback = _restores(repo, nested, change=change)
    assert snapshot.nested["theirs"]["dirty"] is True
    assert "theirs/notes/untracked.txt" in diff.deleted and "kept.txt" in diff.modified
    assert {"kept.txt", "theirs/notes/untracked.txt", "theirs/link"} <= set(rollback.restored)


def test_a_repository_without_a_commit_is_brought_back(repo, inside):
    empty = inside("empty")
    first = inside("first")
    first.write("file.txt")

    def change():
        empty.write("later.txt")
        (first.root / "file.txt").unlink()

    snapshot, diff, _ = _restores(repo, empty, first, change=change)
    assert snapshot.nested["first"]["head_ref"] is None
    assert diff.renamed == (("first/file.txt", "empty/later.txt"),), "over the borders of repositories"


def test_repositories_inside_each_other_are_brought_back(repo, submodule, inside):
    middle = inside("vendor/middle")
    middle.write("m.txt", "middle\n")
    middle.commit()
    deep = inside("vendor/middle/x/deep")
    deep.write("d.txt", "deep\n")

    def change():
        deep.write("d.txt", "changed\n")
        middle.write("m.txt", "changed\n")
        submodule.write("code.py", "changed\n")
        inside("vendor/middle/x/later").write("l.txt")
        shutil.rmtree(repo.root / "vendor/middle/x/later/.git")
        inside("vendor/middle/y/later").write("l.txt")

    snapshot, diff, rollback = _restores(repo, submodule, middle, deep, change=change)
    assert list(snapshot.nested) == ["vendor", "vendor/middle", "vendor/middle/x/deep"]
    assert diff.modified == ("vendor/code.py", "vendor/middle/m.txt", "vendor/middle/x/deep/d.txt")
    assert "vendor/middle/y/later" in rollback.removed and rollback.not_restored == ()


def test_a_repository_that_came_later_is_removed(repo, inside):
    def change():
        later = inside("later/one")
        later.write("file.txt", "later\n")
        later.commit()
        repo.git("init", "-q", cwd=repo.root / "folder")
        repo.write("folder/inner.txt", "changed\n")
        repo.write("folder/more.txt", "later\n")

    snapshot, diff, rollback = _restores(repo, change=change)
    assert snapshot.nested == {}
    assert diff.added == ("folder/more.txt", "later/one", "later/one/file.txt")
    assert diff.modified == ("folder/inner.txt",), (
        "it was tracked around, and is in a repository of its own now"
    )
    assert "later/one" in rollback.removed and rollback.not_restored == ()


def test_a_repository_that_was_moved_is_moved_back(repo, nested):
    def change():
        (repo.root / "kept.txt").unlink()
        (repo.root / "kept.txt").mkdir()
        nested.root.rename(repo.root / "kept.txt/mine")
        repo.write("kept.txt/mine/code.py", "changed\n")
        repo.write("theirs/code.py", "another\n")

    _, diff, rollback = _restores(repo, nested, change=change)
    assert rollback.not_restored == () and "theirs" in rollback.restored
    assert ("theirs/run.sh", "kept.txt/mine/run.sh") in diff.renamed


def test_a_repository_that_is_gone_with_its_objects_is_named(repo, nested):
    files = repo.files()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    shutil.rmtree(nested.root)
    repo.write("kept.txt", "changed\n")
    diff = workspace.diff(snapshot, workspace.snapshot())
    assert "theirs" in diff.deleted and "theirs/code.py" in diff.deleted and diff.modified == ("kept.txt",)
    assert diff.metadata == {"not_counted": ["theirs"], "patch_is_exact": False}
    assert _changes(diff)["theirs/code.py"].old_bytes == len("not staged\n")
    for _ in range(2):
        assert workspace.rollback(snapshot).not_restored == ("theirs",)
    assert repo.files() == {path: each for path, each in files.items() if not path.startswith(b"theirs")}
    workspace.release(snapshot)


def test_files_whose_repository_is_gone_are_left_alone_and_named(repo, nested):
    workspace = repo.open()
    snapshot = workspace.snapshot()
    shutil.rmtree(nested.root / ".git")
    nested.write("code.py", "all that is left\n")
    diff = workspace.diff(snapshot, workspace.snapshot())
    assert diff.modified == ("theirs/code.py",) and "theirs" in diff.deleted
    assert workspace.rollback(snapshot).not_restored == ("theirs",)
    assert (nested.root / "code.py").read_text() == "all that is left\n"


def test_a_linked_work_tree_inside_is_brought_back(repo, inside):
    repo.git("worktree", "add", "-q", "-b", "side", "trees/side")
    linked = inside("trees/side", is_new=False)
    linked.write("kept.txt", "staged\n")
    linked.git("add", "-A")

    def change():
        linked.write("kept.txt", "changed\n")
        linked.write("later.txt")

    snapshot, diff, _ = _restores(repo, linked, change=change)
    assert diff.changed_paths == ("trees/side/kept.txt", "trees/side/later.txt")
    assert snapshot.nested["trees/side"]["branch"] == "refs/heads/side"


def test_a_repository_with_other_digests_is_brought_back_and_compared_by_path(repo, inside):
    other = inside("other")
    shutil.rmtree(other.root / ".git")
    other.git("init", "-q", "-b", "main", "--object-format=sha256")
    other.write("file.txt", "one\n")
    _, diff, _ = _restores(repo, other, change=lambda: other.write("file.txt", "two\n"))
    assert diff.modified == ("other/file.txt",) and diff.metadata["not_counted"] == ["other"]


def test_names_that_need_quotes_are_no_obstacle(repo, inside):
    odd = inside('a "b":\\\n\udcff')
    odd.write("c\nd", "one\n")
    odd.commit()

    def change():
        odd.write("c\nd", "two\n")
        odd.commit()

    workspace = repo.open()
    files = repo.files()
    snapshot = workspace.snapshot()
    assert Snapshot.from_map(json.loads(json.dumps(snapshot.to_map()))) == snapshot
    change()
    diff = workspace.diff(snapshot, workspace.snapshot())
    assert diff.changed_paths == ('a "b":\\\n\\xff', 'a "b":\\\n\\xff/c\nd')
    assert workspace.rollback(snapshot).not_restored == ('a "b":\\\n\\xff',)
    assert repo.files() == files


def test_ignored_repositories_are_left_alone(repo, inside):
    hidden = inside("build/hidden")
    hidden.write("file.txt", "one\n")
    workspace = repo.open()
    snapshot = workspace.snapshot()
    hidden.write("file.txt", "two\n")
    assert workspace.rollback(snapshot).not_restored == () and snapshot.nested == {}
    assert (hidden.root / "file.txt").read_text() == "two\n"
