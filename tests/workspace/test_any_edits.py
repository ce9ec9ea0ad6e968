"""Whatever is done to a work tree, a rollback makes it what it was: every byte, mode, link, and all that git tells."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "b/a", "b/a/é", "sp ace", "c\n", "x.log", "a/x.log", "d.LOG", ".hidden/a"]
)
CONTENTS = st.sampled_from([b"", b"one\n", b"two\n", b"one\r\n", b"\x00\xff" * 50, b"no line end"])
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o000])
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, CONTENTS),
        st.tuples(st.just("write"), NAMES, CONTENTS),
        st.tuples(st.just("remove"), NAMES, st.none()),
        st.tuples(st.just("folder"), NAMES, st.none()),
        st.tuples(st.just("link"), NAMES, st.sampled_from(["nowhere", "a", "..", "/etc/passwd"])),
        st.tuples(st.just("move"), NAMES, NAMES),
        st.tuples(st.just("mode"), NAMES, MODES),
        st.tuples(st.just("stage"), NAMES, st.none()),
        st.tuples(st.just("unstage"), NAMES, st.none()),
    ),
    max_size=12,
)


def _clear(place):
    if place.is_dir() and not place.is_symlink():
        for folder, _, _ in os.walk(place):
            Path(folder).chmod(0o755)
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _make_room(root, path):
    """Make the folders above a path, whatever is there."""
    place = root
    for part in Path(path).parts[:-1]:
        place /= part
        if place.is_symlink() or not place.is_dir():
            _clear(place)
            place.mkdir()
        place.chmod(place.stat().st_mode | 0o700)
    return root / path


def _edit(repo, has_git, action, path, more):
    place = repo.root / path
    is_within = all(not above.is_symlink() for above in place.parents if above.is_relative_to(repo.root))
    if action in {"write", "folder", "link"}:
        place = _make_room(repo.root, path)
        _clear(place)
        if action == "write":
            place.write_bytes(more)
        elif action == "folder":
            place.mkdir()
        else:
            place.symlink_to(more)
    elif not is_within or not os.path.lexists(place):
        if action == "unstage" and has_git:
            repo.git("rm", "-q", "-r", "--cached", "--ignore-unmatch", "--", path, check=False)
    elif action == "remove":
        _clear(place)
    elif (
        action == "move"
        and not more.startswith(f"{path}/")
        and not path.startswith(f"{more}/")
        and more != path
    ):
        target = _make_room(repo.root, more)
        if os.path.lexists(place):
            _clear(target)
            place.rename(target)
    elif action == "mode" and not place.is_symlink():
        place.chmod(more | (0o700 if stat.S_ISDIR(place.stat().st_mode) else 0o400))
    elif action == "stage" and has_git:
        repo.git("add", "-f", "--", path, check=False)
    elif action == "unstage" and has_git:
        repo.git("rm", "-q", "-r", "--cached", "--ignore-unmatch", "--", path, check=False)


def _state(repo, has_git):
    return (repo.look(), repo.told() if has_git else None)


def _check(folder, strategy, first, second, third):
    has_git = strategy == "git"
    with tempfile.TemporaryDirectory(dir=folder.root) as name:
        repo = type(folder)(Path(name) / "work", folder.environment)
        repo.root.mkdir()
        if has_git:
            repo.git("init", "-q", "-b", "main")
            repo.git("config", "user.name", "somebody")
            repo.git("config", "user.email", "somebody@example.org")
            repo.write(".gitignore", "*.log\n")
            repo.write("a/b", "committed\n")
            repo.write("b", "committed\n", 0o755)
            repo.commit()
        workspace = repo.open(strategy=strategy, include_ignored=True, store_path=f"{name}/store")
        taken = []
        for edits in (first, second, third):
            for edit in edits:
                _edit(repo, has_git, *edit)
            state = _state(repo, has_git)
            taken.append((state, workspace.snapshot()))
            assert _state(repo, has_git) == state
        for state, snapshot in (taken[0], taken[2], taken[1], taken[0]):
            workspace.rollback(snapshot)
            assert _state(repo, has_git) == state
        for _, snapshot in taken:
            workspace.release(snapshot)
        assert workspace.snapshots() == []


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(first=EDITS, second=EDITS, third=EDITS)
def test_any_edits_of_a_git_work_tree_are_taken_back(folder, first, second, third):
    _check(folder, "git", first, second, third)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(first=EDITS, second=EDITS, third=EDITS)
def test_any_edits_of_a_directory_are_taken_back(folder, first, second, third):
    _check(folder, "hash", first, second, third)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(first=EDITS, second=EDITS)
def test_any_edits_of_a_repository_inside_are_taken_back(folder, first, second):
    with tempfile.TemporaryDirectory(dir=folder.root) as name:
        outer = type(folder)(Path(name) / "work", folder.environment)
        inner = type(folder)(outer.root / "x/in", folder.environment)
        for repo in (outer, inner):
            repo.root.mkdir(parents=True)
            repo.git("init", "-q", "-b", "main")
            repo.git("config", "user.name", "somebody")
            repo.git("config", "user.email", "somebody@example.org")
            repo.write(".gitignore", "*.log\n")
            repo.write("b", "committed\n", 0o755)
        for repo in (inner, outer):
            repo.commit()
        workspace = outer.open(include_ignored=True)
        taken = []
        for edits in (first, second):
            for edit in edits:
                _edit(inner, True, *edit)
            taken.append(((outer.files(), inner.told()), workspace.snapshot()))
        for state, snapshot in (taken[0], taken[1], taken[0]):
            assert workspace.rollback(snapshot).not_restored == ()
            assert (outer.files(), inner.told()) == state
        for _, snapshot in taken:
            workspace.release(snapshot)
        assert inner.git("for-each-ref", "refs/asm") == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("strategy", ["git", "hash"])
def test_very_many_edits_are_taken_back(folder, strategy, number):
    examples = 25 if strategy == "git" else 500

    @seed(number)
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(first=EDITS, second=EDITS, third=EDITS)
    def check(first, second, third):
        _check(folder, strategy, first, second, third)

    check()
