"""Workspaces without git: copies by digest, exact rollback, patches that git can apply."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.config import WorkspaceConfig
from asm_actors.workspace.snapshot import Snapshot
from asm_actors.workspace.workspace import open_workspace


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def filled(folder):
    folder.write("kept.txt", "kept\n")
    folder.write("folder/inner.txt", "inner\n")
    folder.write("run.sh", "#!/bin/sh\n", 0o755)
    folder.write("binary", bytes(range(256)))
    (folder.root / "dangling").symlink_to("nowhere")
    (folder.root / "empty").mkdir()
    return folder


def _objects(store):
    return [path for path in store.rglob("objects/*/*") if path.is_file()]


def test_everything_is_brought_back_and_what_came_later_is_removed(filled, store):
    workspace = filled.open(strategy="hash", store_path=str(store))
    files = filled.look()
    snapshot = workspace.snapshot("before")
    assert filled.look() == files
    assert snapshot.metadata == {"files": 5, "bytes": 5 + 6 + 10 + 256 + 7}
    shutil.rmtree(filled.root / "folder")
    filled.write("folder", "a file now\n")
    (filled.root / "dangling").unlink()
    filled.write("dangling/now/a/folder")
    (filled.root / "run.sh").chmod(0o600)
    (filled.root / "empty").rmdir()
    filled.write("later.txt")
    rollback = workspace.rollback(snapshot)
    assert filled.look() == files
    assert set(rollback.restored) == {"dangling", "empty", "folder", "folder/inner.txt", "run.sh"}
    assert rollback.removed == ("later.txt",)
    again = workspace.rollback(snapshot)
    assert (again.restored, again.removed) == ((), ())


def test_equal_states_have_equal_refs_and_share_their_copies(filled, store):
    workspace = filled.open(strategy="hash", store_path=str(store))
    first, second = workspace.snapshot(), workspace.snapshot()
    assert first.ref == second.ref and first.id != second.id
    assert len(_objects(store)) == 5
    workspace.release(first)
    assert len(_objects(store)) == 5
    filled.write("kept.txt", "changed\n")
    workspace.rollback(second)
    assert (filled.root / "kept.txt").read_text() == "kept\n"
    workspace.release(second)
    workspace.release(second)
    assert _objects(store) == [] and workspace.snapshots() == []


def test_the_ref_is_the_digest_of_paths_and_contents(folder, store):
    from hashlib import sha256

    folder.write("b", "2")
    folder.write("a", "1")
    snapshot = folder.open(strategy="hash", store_path=str(store)).snapshot()
    lines = f"a:{sha256(b'1').hexdigest()}\nb:{sha256(b'2').hexdigest()}\n"
    assert snapshot.ref == sha256(lines.encode()).hexdigest()


def test_some_roots_and_whatever_is_asked_for_are_left_alone(folder, store):
    alone = (
        ".git/config",
        "deps/x",
        "_build/x",
        "node_modules/x/y",
        "own/secret",
        "deep/tmp.bak",
        "deep/cache/x",
        "a/b/c.tmp",
    )
    seen = ("src/node_modules/x", "src/deps", "mine/own/secret", "deep/tmp.baks")
    for path in (*alone, *seen):
        folder.write(path, "before\n")
    options = {"ignore_paths": ["own/"], "ignore_globs": ["*.bak", "cache", "a/**/*.tmp"]}
    workspace = folder.open(strategy="hash", store_path=str(store), **options)
    snapshot = workspace.snapshot()
    for path in (*alone, *seen, ".git/later", "own/later"):
        folder.write(path, "after\n")
    rollback = workspace.rollback(snapshot)
    assert rollback.restored == tuple(sorted(seen)) and rollback.removed == ()
    assert {(folder.root / path).read_text() for path in alone} == {"after\n"}


def test_a_store_inside_the_directory_is_left_alone(filled):
    workspace = filled.open(strategy="hash", store_path=str(filled.root / "var/store"))
    first = workspace.snapshot()
    second = workspace.snapshot()
    assert first.ref == second.ref
    workspace.rollback(first)
    assert len(workspace.snapshots()) == 2


def test_copies_are_in_the_users_state_directory_unless_told_otherwise(filled, tmp_path, monkeypatch):
    filled.open(strategy="hash").snapshot()
    place = tmp_path / "home/.local/state/asm/workspaces"
    assert len(_objects(place)) == 5
    assert {path.stat().st_mode & 0o077 for path in place.iterdir()} == {0}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    filled.open(strategy="hash").snapshot()
    assert len(_objects(tmp_path / "state/asm/workspaces")) == 5


def test_a_store_that_cannot_be_written_is_an_error(filled, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AsmError) as caught:
        filled.open(strategy="hash", store_path=str(tmp_path / "file/store")).snapshot()
    assert caught.value.code == ErrorCode.STORAGE_WRITE_FAILED


def test_snapshots_outlive_the_process_and_unchanged_files_are_not_read_again(filled, store, monkeypatch):
    from asm_actors.workspace.files import Hasher

    for path in filled.root.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    options = {"strategy": "hash", "store_path": str(store)}
    monkeypatch.setattr("asm_actors.workspace.files._SETTLED_NS", -(10**12))
    snapshot = filled.open(now=lambda: 5, **options).snapshot("before")
    read = []
    real = Hasher.of_file

    def of_file(self, path, copy=None):
        read.append(path)
        return real(self, path, copy)

    monkeypatch.setattr(Hasher, "of_file", of_file)
    workspace = filled.open(**options)
    assert workspace.snapshots() == [snapshot]
    assert workspace.snapshot().ref == snapshot.ref and read == []
    filled.write("kept.txt", "changed\n")
    workspace.rollback(Snapshot.from_map(snapshot.to_map()))
    assert (filled.root / "kept.txt").read_text() == "kept\n"


def test_a_damaged_copy_is_never_written_back(filled, store):
    workspace = filled.open(strategy="hash", store_path=str(store))
    snapshot = workspace.snapshot()
    filled.write("kept.txt", "changed\n")
    for path in _objects(store):
        path.chmod(0o600)
        path.write_bytes(b"damaged")
    with pytest.raises(AsmError) as caught:
        workspace.rollback(snapshot)
    assert caught.value.code == ErrorCode.STORAGE_READ_FAILED
    assert (filled.root / "kept.txt").read_text() == "changed\n"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 2}', b"[]"])
def test_a_damaged_snapshot_is_an_error(filled, store, damage):
    workspace = filled.open(strategy="hash", store_path=str(store))
    snapshot = workspace.snapshot()
    next(store.rglob("snap_*.json")).write_bytes(damage)
    with pytest.raises(AsmError) as caught:
        workspace.rollback(snapshot)
    assert caught.value.code == ErrorCode.STORAGE_READ_FAILED


@pytest.mark.parametrize("path", ["../outside", "/outside", "a/../../outside", "a//b", "."])
def test_a_snapshot_that_leads_out_of_the_directory_is_refused(filled, store, path):
    workspace = filled.open(strategy="hash", store_path=str(store))
    snapshot = workspace.snapshot()
    place = next(store.rglob("snap_*.json"))
    found = json.loads(place.read_text())
    found["files"][path] = found["files"]["kept.txt"]
    place.write_text(json.dumps(found))
    with pytest.raises(AsmError) as caught:
        workspace.rollback(snapshot)
    assert caught.value.code == ErrorCode.STORAGE_READ_FAILED
    assert not (filled.root.parent / "outside").exists()


def test_a_snapshot_that_was_released_is_not_found(filled, store):
    workspace = filled.open(strategy="hash", store_path=str(store))
    snapshot = workspace.snapshot()
    workspace.release(snapshot)
    with pytest.raises(AsmError) as caught:
        workspace.rollback(snapshot)
    assert caught.value.code == ErrorCode.NOT_FOUND


def test_a_file_that_grows_while_it_is_read_is_kept_as_it_was_at_some_time(filled, store, monkeypatch):
    from asm_actors.workspace import files

    real = os.fdopen
    place = filled.write("log", "x" * 10)
    monkeypatch.setattr(files, "PIECE", 4)
    pieces = []

    class Growing:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def close(self):
            self._file.close()

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, piece):
            if piece.startswith(b"x") and len(pieces) < 5:
                pieces.append(piece)
                with place.open("a") as log:
                    log.write("xxx")
            return self._file.write(piece)

    monkeypatch.setattr("asm_actors.workspace.hash_store.os.fdopen", lambda *args: Growing(real(*args)))
    workspace = filled.open(strategy="hash", store_path=str(store))
    snapshot = workspace.snapshot()
    monkeypatch.undo()
    filled.write("log", "later")
    workspace.rollback(snapshot)
    assert set(place.read_text()) == {"x"} and len(place.read_text()) >= 10


def test_patches_make_the_later_state_out_of_the_earlier_one(folder, store):
    folder.write("text", "".join(f"{n}\n" for n in range(30)))
    folder.write("endless", "no line end")
    folder.write("moved", "moved\n")
    folder.write("gone", "gone\n")
    folder.write("type", "a file\n")
    folder.write('qu"oted\n', "x\n")
    folder.write("mode", "x\n")
    folder.write("crlf", b"a\r\nb\r\n")
    folder.write("empty", "")
    workspace = folder.open(strategy="hash", store_path=str(store))
    before = workspace.snapshot()
    folder.write("text", "".join(f"{n if n % 7 else 'x'}\n" for n in range(30)))
    folder.write("endless", "no line end, still")
    (folder.root / "moved").rename(folder.root / "moved there")
    (folder.root / "gone").unlink()
    (folder.root / "type").unlink()
    (folder.root / "type").symlink_to("text")
    folder.write('qu"oted\n', "y\n")
    (folder.root / "mode").chmod(0o755)
    folder.write("crlf", b"a\r\nc\r\n")
    folder.write("added/deep", "new\n")
    folder.write("added/empty", "")
    files = folder.look()
    diff = workspace.diff(before, workspace.snapshot())
    assert diff.renamed == (("moved", "moved there"),)
    assert diff.added == ("added/deep", "added/empty") and diff.deleted == ("gone",)
    text = next(change for change in diff.changes if change.path == "text")
    assert (text.insertions, text.deletions) == (5, 5)
    workspace.rollback(before)
    subprocess.run(["git", "apply", "-"], input=diff.patch.encode(), cwd=folder.root, check=True)
    assert folder.look() == files


def test_binary_and_very_large_files_are_named_and_not_compared(folder, store):
    folder.write("binary", b"\0\1")
    folder.write("large", "x\n" * 300_000)
    workspace = folder.open(strategy="hash", store_path=str(store))
    before = workspace.snapshot()
    folder.write("binary", b"\0\2")
    folder.write("large", "y\n" * 300_000)
    diff = workspace.diff(before, workspace.snapshot())
    assert [change.binary for change in diff.changes] == [True, True] and diff.insertions == 0
    assert "Binary files a/binary and b/binary differ\n" in diff.patch and diff.metadata == {
        "patch_is_exact": False
    }


def test_ten_thousand_files_are_kept_in_reasonable_time(folder, store):
    for number in range(10_000):
        place = folder.root / f"{number % 100}"
        if number < 100:
            place.mkdir()
        (place / f"{number}").write_text(f"{number}\n")
    started = time.perf_counter()
    workspace = folder.open(strategy="hash", store_path=str(store))
    snapshot = workspace.snapshot()
    shutil.rmtree(folder.root / "7")
    workspace.rollback(snapshot)
    assert len(list((folder.root / "7").iterdir())) == 100
    assert time.perf_counter() - started < 30


def test_a_large_file_does_not_fill_the_memory(folder, store):
    import tracemalloc

    with (folder.root / "large").open("wb") as file:
        for number in range(64):
            file.write(bytes([number]) * (1 << 20))
    workspace = folder.open(strategy="hash", store_path=str(store))
    tracemalloc.start()
    snapshot = workspace.snapshot()
    (folder.root / "large").unlink()
    workspace.rollback(snapshot)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert (folder.root / "large").stat().st_size == 64 << 20


# --- Which kind it is -------------------------------------------------------------------------------------------------


def test_the_kind_of_a_workspace_is_found_out(repo, folder, tmp_path):
    repo.write("untracked/file")
    (repo.root / "link").symlink_to("folder")
    cases = {
        repo.root: ("git", repo.root),
        repo.root / "folder": ("git", repo.root),
        repo.root / "link": ("git", repo.root),
        repo.root / "untracked": ("hash", repo.root / "untracked"),
        folder.root: ("hash", folder.root),
    }
    for path, expected in cases.items():
        workspace = open_workspace(WorkspaceConfig(path=path, store_path=tmp_path / "store"))
        assert (workspace.backend, workspace.path) == (expected[0], str(expected[1]))
    assert open_workspace(WorkspaceConfig(path=repo.root / "untracked", strategy="git")).path == str(
        repo.root
    )


def test_this_process_own_directory_is_the_default(folder, monkeypatch):
    monkeypatch.chdir(folder.root)
    assert open_workspace(WorkspaceConfig()).path == str(folder.root)


def test_git_that_is_asked_for_and_not_there_is_an_error(folder, repo, monkeypatch):
    for root, code in (
        (folder.root, ErrorCode.VALIDATION_ERROR),
        (folder.root / "absent", ErrorCode.VALIDATION_ERROR),
    ):
        with pytest.raises(AsmError) as caught:
            open_workspace(WorkspaceConfig(path=root, strategy="git"))
        assert caught.value.code == code
    monkeypatch.setenv("PATH", "/nowhere")
    for root, strategy in ((folder.root, "git"), (repo.root, "auto"), (repo.root / "folder", "auto")):
        with pytest.raises(AsmError) as caught:
            open_workspace(WorkspaceConfig(path=root, strategy=strategy))
        assert caught.value.code == ErrorCode.DEPENDENCY_NOT_AVAILABLE and "git" in caught.value.message
    assert open_workspace(WorkspaceConfig(path=folder.root)).backend == "hash"
    assert open_workspace(WorkspaceConfig(path=repo.root, strategy="hash")).backend == "hash"


def test_a_bare_repository_and_the_inside_of_git_are_no_work_tree(new_repo, repo):
    bare = new_repo("bare", "--bare")
    for path in (bare.root, repo.root / ".git"):
        with pytest.raises(AsmError) as caught:
            open_workspace(WorkspaceConfig(path=path, strategy="git"))
        assert caught.value.code == ErrorCode.VALIDATION_ERROR


def test_a_repository_that_git_refuses_is_an_error_and_no_directory_without_git(repo):
    repo.write(".git/config", "[core\n")
    with pytest.raises(AsmError) as caught:
        open_workspace(WorkspaceConfig(path=repo.root))
    assert caught.value.code == ErrorCode.COMMAND_FAILED


def test_a_loop_lets_a_thread_of_its_pool_take_snapshots(repo):
    async def work():
        loop = asyncio.get_running_loop()
        workspace = await loop.run_in_executor(None, repo.open)
        snapshot = await loop.run_in_executor(None, workspace.snapshot, "before")
        repo.write("kept.txt", "changed\n")
        await loop.run_in_executor(None, workspace.rollback, snapshot)
        await loop.run_in_executor(None, workspace.release, snapshot)

    asyncio.run(work())
    assert (repo.root / "kept.txt").read_text() == "kept\n"
