"""Git workspaces: a snapshot changes nothing that anybody sees, and a rollback brings everything back."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.snapshot import Snapshot
from asm_actors.workspace.watching import Stop


def _wreck(repo):
    """Do much of what a failed run may have done."""
    for path in sorted(repo.root.iterdir()):
        if path.name == ".git":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    repo.write("new.txt", "new\n")
    repo.write("deep/er/new.txt", "new\n")
    (repo.root / "deep" / "empty").mkdir()
    repo.git("add", "-A")


def _restores(repo, change=_wreck, **config):
    """Take a snapshot, change things, roll back; all must be as it was. Returns the snapshot and the rollback."""
    workspace = repo.open(**config)
    files, told = repo.look(), repo.told()
    snapshot = workspace.snapshot("before")
    assert (repo.look(), repo.told()) == (files, told), "a snapshot changes nothing"
    change(repo)
    rollback = workspace.rollback(snapshot)
    assert repo.look() == files
    assert repo.told() == told
    again = workspace.rollback(snapshot)
    assert (again.restored, again.removed) == ((), ()), "doing it again does nothing"
    assert (repo.look(), repo.told()) == (files, told)
    workspace.release(snapshot)
    assert repo.git("for-each-ref", "refs/asm") == ""
    return snapshot, rollback


# --- What is brought back --------------------------------------------------------------------------------------------


def test_a_clean_work_tree_is_brought_back(repo):
    snapshot, rollback = _restores(repo)
    assert snapshot.metadata["dirty"] is False
    assert snapshot.metadata["head_ref"] == repo.git("rev-parse", "HEAD").strip()
    assert snapshot.metadata["branch"] == "refs/heads/main"
    assert set(rollback.restored) >= {"kept.txt", "folder", "folder/inner.txt", "run.sh", ".gitignore"}
    assert set(rollback.removed) == {"new.txt", "deep", "deep/er", "deep/er/new.txt", "deep/empty"}
    assert not rollback.head_moved and rollback.not_restored == ()


def test_what_was_staged_is_staged_again_and_what_was_not_is_not(repo):
    repo.write("kept.txt", "staged\n")
    repo.write("added.txt", "added\n")
    repo.git("add", "kept.txt", "added.txt")
    repo.git("rm", "-q", "--cached", "run.sh")
    repo.git("rm", "-q", "folder/inner.txt")
    repo.write("kept.txt", "not staged\n")
    snapshot, _ = _restores(repo)
    assert snapshot.metadata["dirty"] is True
    assert repo.git("show", ":kept.txt") == "staged\n"


def test_what_only_the_index_holds_survives_garbage_collection(repo):
    repo.write("kept.txt", "staged only\n")
    repo.git("add", "kept.txt")
    repo.write("kept.txt", "kept\n")

    def change(repo):
        repo.git("reset", "-q", "--hard")
        repo.git("reflog", "expire", "--expire=all", "--all")
        repo.git("gc", "-q", "--prune=now")

    workspace = repo.open()
    told = repo.told()
    snapshot = workspace.snapshot()
    change(repo)
    workspace.rollback(snapshot)
    assert repo.told() | {"reflog": ""} == told | {"reflog": ""}
    assert repo.git("show", ":kept.txt") == "staged only\n"


def test_intent_to_add_and_bits_of_the_index_come_back(repo):
    repo.write("intended.txt", "later\n")
    repo.git("add", "--intent-to-add", "intended.txt")
    repo.git("update-index", "--assume-unchanged", "run.sh")
    repo.git("update-index", "--skip-worktree", "folder/inner.txt")
    repo.write("run.sh", "changed behind git's back\n")
    _restores(repo)


def test_untracked_files_are_brought_back_with_their_content(repo):
    repo.write("untracked.txt", "mine\n")
    repo.write("notes/deep/er.txt", "mine too\n")

    def change(repo):
        repo.write("untracked.txt", "theirs\n")
        shutil.rmtree(repo.root / "notes")

    _restores(repo, change)


def test_ignored_files_are_left_alone(repo):
    repo.write("old.log", "old\n")
    repo.write("build/out.o", "old\n")
    workspace = repo.open()
    snapshot = workspace.snapshot()
    repo.write("old.log", "new\n")
    repo.write("build/out.o", "new\n")
    repo.write("later.log", "later\n")
    repo.write("came/later.log", "later\n")
    repo.write("came/later.txt", "later\n")
    rollback = workspace.rollback(snapshot)
    assert (repo.root / "old.log").read_text() == (repo.root / "build/out.o").read_text() == "new\n"
    assert (repo.root / "later.log").exists() and (repo.root / "came/later.log").exists()
    assert rollback.removed == ("came/later.txt",)


def test_ignored_files_are_brought_back_if_asked_for(repo):
    repo.write("old.log", "old\n")
    repo.write("build/out.o", "old\n")

    def change(repo):
        (repo.root / "old.log").unlink()
        repo.write("build/out.o", "new\n")
        repo.write("later.log", "later\n")

    snapshot, rollback = _restores(repo, change, include_ignored=True)
    assert snapshot.metadata["includes_ignored"] and rollback.removed == ("later.log",)


def test_the_rules_of_the_snapshots_time_say_what_is_ignored(repo, tmp_path):
    repo.write("old.log", "old\n")
    (repo.root / ".venv").mkdir()
    repo.write(".venv/.gitignore", "*\n")
    repo.write(".venv/lib/python", "old\n")
    repo.write(".git/info/exclude", "secret\n")
    repo.write("secret", "old\n")
    (tmp_path / "home/.config/git").mkdir(parents=True)
    (tmp_path / "home/.config/git/ignore").write_text("*.swp\n")
    repo.write("a.swp", "old\n")
    files = repo.look()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    # Nothing is ignored any more, so that all that was could pass for new; and what is new hides behind new rules.
    repo.write(".gitignore", "evil*\n")
    (repo.root / ".venv/.gitignore").unlink()
    repo.write(".git/info/exclude", "bad*\n")
    (tmp_path / "home/.config/git/ignore").write_text("worse*\n")
    for name in ("evil1", "bad1", "worse1", "folder/evil2"):
        repo.write(name)
    workspace.rollback(snapshot)
    del files[b".venv/.gitignore"]  # ignored itself
    assert repo.look() == files


def test_tracked_files_that_are_ignored_are_brought_back(repo):
    repo.write("tracked.log", "kept\n")
    repo.git("add", "-f", "tracked.log")
    repo.git("commit", "-qm", "tracked")

    def change(repo):
        repo.write("tracked.log", "changed\n")

    _restores(repo, change)


def test_modes_are_brought_back_all_of_them(repo):
    repo.write("private", "secret\n", 0o600)
    repo.write("shared", "open\n", 0o666)
    (repo.root / "run.sh").chmod(0o700)
    (repo.root / "folder").chmod(0o750)

    def change(repo):
        for name in ("private", "shared", "kept.txt", "run.sh"):
            (repo.root / name).chmod(0o644)
        (repo.root / "folder").chmod(0o777)

    _, rollback = _restores(repo, change)
    assert (
        rollback.restored == ("kept.txt", "private", "run.sh", "shared")
        or "kept.txt" not in rollback.restored
    )


def test_read_only_files_and_folders_are_no_obstacle(repo):
    repo.write("locked/readonly.txt", "kept\n", 0o444)
    repo.write("locked/gone.txt", "kept\n", 0o400)
    (repo.root / "locked").chmod(0o555)

    def change(repo):
        locked = repo.root / "locked"
        locked.chmod(0o755)
        (locked / "gone.txt").unlink()
        repo.write("locked/readonly.txt.new", "x").replace(locked / "readonly.txt")
        repo.write("locked/later/later.txt", "later\n", 0o400)
        (locked / "later").chmod(0o000)
        (repo.root / "kept.txt").chmod(0o000)
        locked.chmod(0o500)

    _restores(repo, change)


def test_links_are_brought_back_and_never_followed(repo, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched\n")
    for name, target in (
        ("dangling", "nowhere"),
        ("absolute", str(outside / "victim")),
        ("up", "../outside"),
        ("inner", "folder"),
        ("idle", ".//folder/./inner.txt"),
    ):
        (repo.root / name).symlink_to(target)
    os.symlink(".//folder/./", repo.root / "slashes")  # noqa: PTH211 - a Path would tidy it up
    repo.git("add", "inner", "dangling")

    def change(repo):
        (repo.root / "dangling").unlink()
        (repo.root / "dangling").symlink_to("elsewhere")
        (repo.root / "absolute").unlink()
        repo.write("absolute", "a file now\n")
        # What was a folder leads out of the work tree now: nothing may be written or removed there.
        shutil.rmtree(repo.root / "folder")
        (repo.root / "folder").symlink_to(outside)
        (repo.root / "kept.txt").unlink()
        (repo.root / "kept.txt").symlink_to(outside / "victim")
        (repo.root / "later").symlink_to(outside)

    _restores(repo, change)
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"victim": "untouched\n"}


def test_a_file_that_became_a_folder_and_a_folder_that_became_a_file_are_brought_back(repo):
    def change(repo):
        (repo.root / "kept.txt").unlink()
        repo.write("kept.txt/in/side.txt")
        repo.write("kept.txt/ignored.log")
        shutil.rmtree(repo.root / "folder")
        repo.write("folder", "a file\n")
        repo.git("add", "-A")

    _restores(repo, change)


def test_empty_folders_are_brought_back(repo):
    (repo.root / "empty/nested").mkdir(parents=True)
    (repo.root / "folder/also").mkdir()

    def change(repo):
        shutil.rmtree(repo.root / "empty")
        (repo.root / "folder/also").rmdir()
        (repo.root / "later").mkdir()

    _restores(repo, change)


def test_all_names_that_a_file_can_have_are_brought_back(repo):
    names = (
        *(
            "with space",
            "  ",
            "ünï-çødé",
            "日本語",
            "new\nline",
            "tab\t",
            'quo"te',
            "back\\slash",
            '"quoted"',
            "cr\r",
        ),
        *(
            "\x01",
            "-dash",
            "--",
            ":(glob)x",
            "*",
            "?",
            "[a]",
            "#",
            "!x",
            "~",
            "COM1",
            "git~1",
            ".GIT",
            ".gitmodules",
        ),
        *("\udcff\udcfe", "a" * 255),
    )
    for number, name in enumerate(names):
        repo.write(name, f"{number}\n")
        repo.write(f"in/{name}/file", f"{number}\n")
    (repo.root / "link\nto\nlines").symlink_to("new\nline")
    files = repo.look()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    for name in names:
        (repo.root / name).unlink()
        shutil.rmtree(repo.root / "in" / name)
        repo.write(f"later {name[:200]}")
    changed = workspace.diff(snapshot, workspace.snapshot())
    assert {"with space", "new\nline", "\\xff\\xfe"} <= set(changed.deleted) | {
        old for old, _ in changed.renamed
    }
    workspace.rollback(snapshot)
    assert repo.look() == files


def test_names_that_differ_in_case_only_are_different(repo):
    repo.write("Readme", "upper\n")
    repo.write("readme", "lower\n")

    def change(repo):
        (repo.root / "Readme").rename(repo.root / "README")
        repo.write("readme", "upper\n")

    _restores(repo, change)


def test_binary_empty_and_large_files_are_brought_back(repo):
    repo.write("empty", b"")
    repo.write("binary", bytes(range(256)) * 10)
    repo.write("large", os.urandom(1 << 20) * 12)
    repo.write("crlf.txt", b"one\r\ntwo\r\n")

    def change(repo):
        for name in ("empty", "binary", "large", "crlf.txt"):
            repo.write(name, "changed\n")

    _restores(repo, change)


def test_a_change_of_the_same_size_in_the_same_moment_is_seen(repo):
    place = repo.write("kept.txt", "aaaa\n")
    os.utime(place, ns=(1, 1))
    workspace = repo.open()
    snapshot = workspace.snapshot()
    for text in ("bbbb\n", "cccc\n"):
        repo.write("kept.txt", text)
        os.utime(place, ns=(1, 1))
        assert workspace.diff(snapshot, workspace.snapshot()).changed_paths == ("kept.txt",)
        workspace.rollback(snapshot)
        assert place.read_text() == "aaaa\n"


@pytest.mark.parametrize(
    "setting", ["core.autocrlf=true", "core.fileMode=false", "core.symlinks=false", "core.safecrlf=true"]
)
def test_bytes_count_and_not_what_git_would_make_of_them(repo, setting):
    name, value = setting.split("=")
    repo.git("config", name, value)
    repo.write(
        ".gitattributes",
        "*.txt text eol=crlf\n*.id ident\n*.enc working-tree-encoding=UTF-16\n*.rot filter=rot\n",
    )
    repo.git("config", "filter.rot.clean", "tr a-z b-za")
    repo.git("config", "filter.rot.smudge", "tr b-za a-z")
    repo.write("unix.txt", b"unix\nmixed\r\n")
    repo.write("x.id", "$Id: anything$\n")
    repo.write("x.enc", "wide\n".encode("utf-16"))
    repo.write("x.rot", "abc\n")
    (repo.root / "link").symlink_to("kept.txt")
    files = repo.look()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    _wreck(repo)
    workspace.rollback(snapshot)
    assert repo.look() == files


# --- Where HEAD and the repository are ------------------------------------------------------------------------------


def test_a_repository_without_a_commit_is_brought_back(new_repo):
    repo = new_repo()
    repo.write("untracked.txt")
    snapshot, _ = _restores(repo)
    assert snapshot.metadata["head_ref"] is None and snapshot.metadata["branch"] == "refs/heads/main"
    repo.write("staged.txt")
    repo.git("add", "staged.txt")
    _restores(repo)


def test_an_empty_repository_is_brought_back(new_repo):
    snapshot, _ = _restores(new_repo())
    assert snapshot.metadata["dirty"] is False


def test_a_detached_head_stays_where_it_is(repo):
    repo.git("checkout", "-q", "--detach")
    snapshot, _ = _restores(repo)
    assert snapshot.metadata["branch"] is None


def test_commits_and_branches_made_since_stay_and_head_is_not_moved(repo):
    files = repo.look()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    repo.write("kept.txt", "committed\n")
    commit = repo.commit("by the run")
    repo.git("checkout", "-q", "-b", "other")
    rollback = workspace.rollback(snapshot)
    assert rollback.head_moved
    assert repo.look() == files
    assert repo.git("rev-parse", "HEAD", "main").split() == [commit, commit]
    assert repo.git("symbolic-ref", "HEAD").strip() == "refs/heads/other"
    assert repo.git("show", ":kept.txt") == "kept\n"


def test_a_merge_with_conflicts_is_brought_back(repo):
    repo.git("checkout", "-q", "-b", "other")
    repo.write("kept.txt", "theirs\n")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.write("kept.txt", "ours\n")
    repo.commit()
    repo.git("merge", "other", check=False)
    assert "UU" in repo.git("status", "--porcelain")

    def change(repo):
        repo.write("kept.txt", "resolved\n")
        repo.git("add", "-A")

    _restores(repo, change)
    assert (repo.root / ".git/MERGE_HEAD").exists()
    assert len(repo.git("ls-files", "-u").splitlines()) == 3


def test_a_rebase_with_conflicts_is_brought_back(repo):
    repo.git("checkout", "-q", "-b", "other")
    repo.write("kept.txt", "theirs\n")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.write("kept.txt", "ours\n")
    repo.commit()
    repo.git("rebase", "other", check=False)
    _restores(repo)
    assert (repo.root / ".git/rebase-merge").exists()


def test_a_linked_work_tree_is_a_workspace_of_its_own(repo, new_folder):
    linked = new_folder("linked")
    repo.git("worktree", "add", "-q", "-b", "side", str(linked.root))
    linked.write("kept.txt", "staged\n")
    linked.git("add", "-A")
    linked.write("untracked.txt")
    main = repo.told(), repo.look()
    _restores(linked, lambda repo: repo.write("kept.txt", "changed\n"))
    assert (repo.told(), repo.look()) == main


def test_a_split_index_is_brought_back(repo):
    repo.git("update-index", "--split-index")
    repo.write("kept.txt", "staged\n")
    repo.git("add", "kept.txt")

    def change(repo):
        _wreck(repo)
        for path in (repo.root / ".git").glob("sharedindex.*"):
            os.utime(path, (1, 1))
        repo.git("update-index", "--split-index")

    _restores(repo, change)


def test_a_repository_with_long_digests_is_brought_back(new_repo):
    repo = new_repo("long", "--object-format=sha256")
    repo.write("kept.txt")
    repo.commit()
    repo.write("untracked.txt")
    snapshot, _ = _restores(repo)
    assert len(snapshot.ref) == 64


def test_a_sparse_work_tree_stays_sparse(repo):
    repo.write("other/file.txt")
    repo.commit()
    repo.git("sparse-checkout", "set", "folder")
    assert not (repo.root / "other").exists()
    _restores(repo, lambda repo: repo.write("folder/inner.txt", "changed\n"))


# --- Pipes and sockets ------------------------------------------------------------------------------------------------


def test_pipes_and_sockets_are_left_alone_and_removed_if_they_came_later(repo):
    os.mkfifo(repo.root / "pipe")
    files = repo.look()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    os.mkfifo(repo.root / "later")
    (repo.root / "kept.txt").unlink()
    os.mkfifo(repo.root / "kept.txt")
    assert workspace.rollback(snapshot).not_restored == ()
    assert repo.look() == files
    (repo.root / "pipe").unlink()
    assert workspace.rollback(snapshot).not_restored == ("pipe",)


# --- What a snapshot does not do --------------------------------------------------------------------------------------


def test_no_hook_no_filter_no_watcher_and_no_variable_has_a_say(repo, monkeypatch, tmp_path):
    trace = tmp_path / "ran"
    for hook in ("pre-commit", "reference-transaction", "post-index-change", "post-checkout", "commit-msg"):
        repo.write(f".git/hooks/{hook}", f"#!/bin/sh\necho {hook} >> {trace}\n", 0o755)
    program = repo.write(".git/program", f"#!/bin/sh\necho program $* >> {trace}\ncat\n", 0o755)
    for name in (
        "core.fsmonitor",
        "diff.external",
        "core.pager",
        "filter.spy.clean",
        "filter.spy.smudge",
        "diff.spy.textconv",
    ):
        repo.git("config", name, str(program))
    repo.git("config", "core.logAllRefUpdates", "always")
    repo.git("config", "commit.gpgSign", "true")
    repo.git("config", "diff.noprefix", "true")
    repo.git("config", "color.ui", "always")
    repo.write(".git/info/attributes", "* filter=spy diff=spy\n")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(program))
    workspace = repo.open()
    first = workspace.snapshot()
    repo.write("kept.txt", "changed\n")
    patch = workspace.diff(first, workspace.snapshot()).patch
    workspace.rollback(first)
    workspace.release(first)
    assert not trace.exists()
    assert "--- a/kept.txt\n+++ b/kept.txt\n" in patch
    assert not (repo.root / ".git/logs/refs/asm").exists()
    assert (repo.root / "kept.txt").read_text() == "kept\n"


def test_the_stash_the_index_file_and_head_are_not_touched(repo):
    repo.write("kept.txt", "stashed\n")
    repo.git("stash", "-q")
    index = (repo.root / ".git/index").read_bytes()
    workspace = repo.open()
    workspace.snapshot()
    assert (repo.root / ".git/index").read_bytes() == index
    assert repo.git("stash", "list").count("\n") == 1
    assert sorted(path.name for path in (repo.root / ".git").glob("*.lock")) == []


def test_a_file_that_changes_during_the_snapshot_is_kept_as_it_was_at_some_time(repo, monkeypatch):
    from asm_actors.workspace.git_objects import Uploader

    contents = []
    real = Uploader._hash

    def busy(self, paths, kind="blob"):
        paths = list(paths)
        if kind == "blob" and "kept.txt" in paths:
            contents.append(f"{'x' * len(contents)}\n")
            found = real(self, paths, kind)
            repo.write("kept.txt", contents[-1])
            if (repo.root / "run.sh").exists():
                (repo.root / "run.sh").unlink()
            return found
        return real(self, paths, kind)

    monkeypatch.setattr(Uploader, "_hash", busy)
    workspace = repo.open()
    snapshot = workspace.snapshot()
    monkeypatch.undo()
    repo.write("kept.txt", "later\n")
    workspace.rollback(snapshot)
    assert (repo.root / "kept.txt").read_text() in ("kept\n", *contents)
    assert not (repo.root / "run.sh").exists()


def test_a_file_that_goes_during_the_snapshot_is_left_out(repo, monkeypatch):
    from asm_actors.workspace import git_worktree

    real = git_worktree.scan

    def scan(*args, **options):
        found = real(*args, **options)
        (repo.root / "kept.txt").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(git_worktree, "scan", scan)
    workspace = repo.open()
    before = workspace.snapshot()
    assert "kept.txt" in repo.git("ls-tree", "-r", "HEAD")
    assert "kept.txt" not in repo.git("ls-tree", "-r", before.ref)
    assert "folder/inner.txt" in repo.git("ls-tree", "-r", before.ref)


# --- Differences ------------------------------------------------------------------------------------------------------


def test_a_difference_tells_what_came_went_changed_and_moved(repo):
    repo.write("moved.txt", "".join(f"line {n}\n" for n in range(50)))
    workspace = repo.open()
    before = workspace.snapshot()
    (repo.root / "moved.txt").rename(repo.root / "folder/moved.txt")
    repo.write("kept.txt", "kept\nmore\n")
    repo.write("added.bin", bytes(range(256)))
    (repo.root / "run.sh").chmod(0o644)
    (repo.root / "folder/inner.txt").unlink()
    (repo.root / "folder/inner.txt").symlink_to("moved.txt")
    diff = workspace.diff(before, workspace.snapshot())
    assert diff.added == ("added.bin",)
    assert diff.modified == ("folder/inner.txt", "kept.txt", "run.sh")
    assert diff.renamed == (("moved.txt", "folder/moved.txt"),)
    assert diff.changed_paths == (
        "added.bin",
        "folder/inner.txt",
        "folder/moved.txt",
        "kept.txt",
        "moved.txt",
        "run.sh",
    )
    by_path = {change.path: change for change in diff.changes}
    assert (by_path["kept.txt"].insertions, by_path["kept.txt"].old_bytes, by_path["kept.txt"].new_bytes) == (
        1,
        5,
        10,
    )
    assert by_path["added.bin"].binary and by_path["added.bin"].insertions == 0
    assert (by_path["run.sh"].old_mode, by_path["run.sh"].new_mode) == ("100755", "100644")
    assert by_path["folder/inner.txt"].new_mode == "120000"
    assert diff.patch_bytes == len(diff.patch.encode())


def test_a_patch_makes_the_later_state_out_of_the_earlier_one(repo):
    repo.write("binary", bytes(range(256)))
    repo.commit()
    workspace = repo.open()
    before = workspace.snapshot()
    repo.write("binary", bytes(reversed(range(256))))
    repo.write("kept.txt", "changed without line end")
    repo.write("with space.txt")
    repo.write("ünïcode\n.txt")
    (repo.root / "folder/inner.txt").unlink()
    (repo.root / "run.sh").chmod(0o644)
    (repo.root / "kept.txt").rename(repo.root / "folder/kept.txt")
    files = repo.look()
    diff = workspace.diff(before, workspace.snapshot())
    workspace.rollback(before)
    repo.git("apply", "-", input=diff.patch.encode())
    assert repo.look() == files


def test_equal_states_have_no_difference(repo):
    workspace = repo.open()
    diff = workspace.diff(workspace.snapshot(), workspace.snapshot())
    assert (diff.changes, diff.patch, diff.patch_bytes, diff.has_patch) == ((), None, None, False)


def test_a_patch_that_is_too_long_is_told_and_not_kept(repo):
    workspace = repo.open(max_patch_bytes=200)
    before = workspace.snapshot()
    repo.write("kept.txt", "line\n" * 1_000)
    diff = workspace.diff(before, workspace.snapshot())
    assert (diff.patch, diff.patch_ref, diff.patch_truncated) == (None, None, True)
    assert diff.patch_bytes > 5_000 and diff.insertions == 1_000


def test_no_patch_is_made_if_none_is_wanted(repo):
    workspace = repo.open(capture_patch=False)
    before = workspace.snapshot()
    repo.write("kept.txt", "changed\n")
    diff = workspace.diff(before, workspace.snapshot())
    assert diff.patch is None and not diff.patch_truncated and diff.files_changed == 1


def test_patches_go_to_an_artifact_store_if_there_is_one(repo, tmp_path):
    from asm_actors.maintenance.file_artifacts import FileArtifactStore

    artifacts = FileArtifactStore(tmp_path / "artifacts")
    workspace = repo.open(max_patch_bytes=10, artifacts=artifacts, new_name=lambda: "0" * 32)
    with pytest.raises(AsmError):
        workspace.snapshot().ref + workspace.snapshot().ref  # the same name twice is refused
    workspace = repo.open(max_patch_bytes=10, artifacts=artifacts)
    before = workspace.snapshot()
    repo.write("kept.txt", "line\n" * 1_000)
    after = workspace.snapshot()
    diff = workspace.diff(before, after)
    assert diff.patch is None and not diff.patch_truncated and diff.has_patch
    assert diff.patch_ref.startswith(f"patch_{before.ref}_{after.ref}_")
    assert len(artifacts.get(diff.patch_ref)) == diff.patch_bytes


def test_a_patch_that_is_no_text_says_so(repo):
    workspace = repo.open()
    before = workspace.snapshot()
    repo.write("kept.txt", "café\n".encode("latin-1"))
    diff = workspace.diff(before, workspace.snapshot())
    assert "caf\ufffd" in diff.patch and diff.metadata == {"patch_is_exact": False}


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_snapshots_outlive_the_process_and_are_found_again(repo):
    files = repo.look()
    snapshot = repo.open(now=lambda: 1_700_000_000_000_000).snapshot("before")
    _wreck(repo)
    workspace = repo.open()
    found = workspace.snapshots()
    assert found == [snapshot]
    workspace.rollback(Snapshot.from_map(snapshot.to_map()))
    assert repo.look() == files


def test_a_snapshot_that_was_released_is_not_found_and_releasing_again_does_nothing(repo):
    workspace = repo.open()
    snapshot = workspace.snapshot()
    workspace.release(snapshot)
    workspace.release(snapshot)
    for refused in (lambda: workspace.rollback(snapshot), lambda: workspace.diff(snapshot, snapshot)):
        with pytest.raises(AsmError) as caught:
            refused()
        assert caught.value.code == ErrorCode.NOT_FOUND


def test_a_snapshot_of_another_workspace_is_refused(repo, new_repo):
    other = new_repo("other")
    snapshot = other.open().snapshot()
    for refused in (repo.open().rollback, repo.open().release):
        with pytest.raises(AsmError) as caught:
            refused(snapshot)
        assert caught.value.code == ErrorCode.VALIDATION_ERROR


def test_a_rollback_waits_for_nobody_who_holds_the_index(repo):
    workspace = repo.open()
    snapshot = workspace.snapshot()
    lock = repo.write(".git/index.lock", "")
    repo.write("kept.txt", "changed\n")
    with pytest.raises(AsmError) as caught:
        workspace.rollback(snapshot)
    assert caught.value.code == ErrorCode.INVALID_OPERATION and caught.value.retryable
    assert lock.exists() and (repo.root / "kept.txt").read_text() == "changed\n"


def test_a_rollback_that_fails_can_be_completed(repo, monkeypatch):
    from asm_actors.workspace.restore import Write

    files, told = repo.look(), repo.told()
    workspace = repo.open()
    snapshot = workspace.snapshot()
    _wreck(repo)
    real = Write.finish
    done = []

    def finish(self):
        if len(done) == 2:
            raise OSError(28, "No space left on device", "somewhere")
        done.append(self.path)
        real(self)

    monkeypatch.setattr(Write, "finish", finish)
    with pytest.raises(AsmError) as caught:
        workspace.rollback(snapshot)
    assert caught.value.code == ErrorCode.STORAGE_WRITE_FAILED
    assert list((repo.root / ".git").glob("*.lock")) == []
    monkeypatch.undo()
    workspace.rollback(snapshot)
    assert (repo.look(), repo.told()) == (files, told)


def test_a_workspace_that_is_told_to_stop_stops(repo):
    stop = Stop()
    workspace = repo.open(stop=stop)
    stop.set()
    with pytest.raises(AsmError) as caught:
        workspace.snapshot()
    assert caught.value.code == ErrorCode.CANCELLED


def test_mode_bits_of_a_file_that_is_private_survive_a_rewrite(repo):
    place = repo.write("private", "secret\n", 0o600)
    workspace = repo.open()
    snapshot = workspace.snapshot()
    place.unlink()
    workspace.rollback(snapshot)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600 and place.read_text() == "secret\n"
