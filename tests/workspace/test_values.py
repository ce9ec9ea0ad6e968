"""The values of commands and workspaces: checked when they are made, written as maps and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.command import Command, CommandResult, as_command
from asm_actors.workspace.config import Strategy, WorkspaceConfig
from asm_actors.workspace.ignoring import ignoring
from asm_actors.workspace.snapshot import Change, ChangeKind, Diff, Rollback, Snapshot
from asm_actors.workspace.tree import FILE, Entry, Tree

SNAPSHOT = Snapshot(
    id="snap_1",
    backend="git",
    path="/x",
    ref="abc",
    label="before",
    captured_us=1_700_000_000_000_001,
    metadata={"dirty": True},
)
CHANGES = (
    Change(path="a", kind=ChangeKind.ADDED, new_mode="100644", new_bytes=3, insertions=2),
    Change(
        path="b",
        kind=ChangeKind.RENAMED,
        old_path="c",
        old_mode="100644",
        new_mode="100755",
        old_bytes=1,
        new_bytes=1,
    ),
    Change(path="d", kind=ChangeKind.DELETED, old_mode="100644", old_bytes=9, deletions=4, binary=False),
    Change(path="e", kind=ChangeKind.MODIFIED, binary=True),
)
DIFF = Diff(
    backend="git",
    from_ref="x",
    to_ref="y",
    changes=CHANGES,
    patch="p",
    patch_bytes=1,
    metadata={"patch_is_exact": False},
)
ROLLBACK = Rollback(
    snapshot_id="snap_1", ref="abc", restored=("a",), removed=("b",), not_restored=("c",), head_moved=True
)


@pytest.mark.parametrize(
    "value",
    [
        SNAPSHOT,
        DIFF,
        ROLLBACK,
        *CHANGES,
        WorkspaceConfig(),
        WorkspaceConfig(enabled=True, path="/x", strategy="git", ignore_globs=["*.o"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_written_as_json_and_read_back(value):
    assert type(value).from_map(json.loads(json.dumps(value.to_map()))) == value


@pytest.mark.parametrize("kind", [Snapshot, Diff, Rollback, Change, WorkspaceConfig])
@pytest.mark.parametrize("value", [None, 3, "text", []])
def test_what_is_no_map_is_refused(kind, value):
    if kind is WorkspaceConfig and value is None:
        return
    with pytest.raises(AsmError) as caught:
        kind.from_map(value)
    assert caught.value.code == ErrorCode.VALIDATION_ERROR


def test_a_difference_counts():
    assert DIFF.summary() == {"files_changed": 4, "insertions": 2, "deletions": 4, "has_patch": True}
    assert (DIFF.added, DIFF.modified, DIFF.deleted, DIFF.renamed) == (("a",), ("e",), ("d",), (("c", "b"),))
    assert DIFF.changed_paths == ("a", "b", "c", "d", "e")
    told = DIFF.to_map()
    assert told["changed_paths"] == ["a", "b", "c", "d", "e"] and told["files_changed"] == 4


def test_the_configuration_has_its_defaults():
    config = WorkspaceConfig()
    assert (config.enabled, config.path, config.strategy, config.capture_patch) == (
        False,
        None,
        Strategy.AUTO,
        True,
    )
    assert (config.max_patch_bytes, config.rollback_on_failure) == (1_048_576, False)
    assert WorkspaceConfig(path=Path("/x")).path == "/x"


@pytest.mark.parametrize(
    "fields",
    [
        {"enabled": 1},
        {"path": ""},
        {"path": 3},
        {"path": "a\0b"},
        {"strategy": "svn"},
        {"strategy": None},
        {"capture_patch": "yes"},
        {"max_patch_bytes": -1},
        {"max_patch_bytes": True},
        {"rollback_on_failure": None},
        {"ignore_paths": "deps"},
        {"ignore_globs": [""]},
        {"ignore_globs": [3]},
        {"timeout": 0},
        {"timeout": "long"},
        {"unknown": 1},
    ],
)
def test_a_malformed_configuration_is_refused(fields):
    with pytest.raises(AsmError) as caught:
        WorkspaceConfig.from_map(fields)
    assert caught.value.code == ErrorCode.VALIDATION_ERROR


def test_hash_with_rollback_is_no_error():
    assert WorkspaceConfig(strategy="hash", rollback_on_failure=True).rollback_on_failure


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": []},
        {"argv": [""]},
        {"argv": "echo"},
        {"argv": [3]},
        {"argv": ["a\0b"]},
        {"argv": None},
        {"argv": ["x"], "cwd": 3},
        {"argv": ["x"], "cwd": ""},
        {"argv": ["x"], "env": ["A"]},
        {"argv": ["x"], "env": {"A=B": "c"}},
        {"argv": ["x"], "env": {"": "c"}},
        {"argv": ["x"], "env": {"A": 3}},
        {"argv": ["x"], "inherit": "PATH"},
        {"argv": ["x"], "inherit": [3]},
        {"argv": ["x"], "stdin": 3},
        {"argv": ["x"], "timeout": 0},
        {"argv": ["x"], "timeout": -1},
        {"argv": ["x"], "timeout": float("nan")},
        {"argv": ["x"], "idle_timeout": 0},
        {"argv": ["x"], "max_output_bytes": -1},
        {"argv": ["x"], "grace": -1},
        {"argv": ["x"], "grace": None},
    ],
)
def test_a_malformed_command_is_refused(fields):
    with pytest.raises(AsmError) as caught:
        Command(**fields)
    assert caught.value.code == ErrorCode.VALIDATION_ERROR


def test_a_command_is_made_of_words_and_options():
    assert as_command(["a", "b"], {"timeout": 1}) == Command(argv=("a", "b"), timeout=1.0)
    for command, options in ((["a"], {"unknown": 1}), (Command(argv=["a"]), {"timeout": 1})):
        with pytest.raises(AsmError) as caught:
            as_command(command, options)
        assert caught.value.code == ErrorCode.VALIDATION_ERROR


def test_a_command_does_not_show_its_secrets():
    assert "secret" not in repr(Command(argv=["x"], env={"KEY": "secret"}, stdin="secret"))


def _result(**fields):
    base = {"argv": ("tool",), "cwd": None, "exit_code": 0, "signal": None, "stdout": b"", "stderr": b""}
    return CommandResult(**(base | {"stdout_bytes": 0, "stderr_bytes": 0, "duration_ms": 5} | fields))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"exit_code": 1, "stderr": b"first\nlast\n"}, ErrorCode.COMMAND_FAILED),
        ({"exit_code": 124, "timed_out": True}, ErrorCode.COMMAND_TIMEOUT),
        ({"exit_code": 130, "cancelled": True}, ErrorCode.CANCELLED),
        ({"exit_code": 0, "timed_out": True}, ErrorCode.COMMAND_TIMEOUT),
    ],
)
def test_a_result_that_is_no_success_can_be_made_an_error(fields, code):
    with pytest.raises(AsmError) as caught:
        _result(**fields).check()
    assert caught.value.code == code and caught.value.details["exit_code"] == fields["exit_code"]
    if fields.get("stderr"):
        assert "last" in caught.value.message and caught.value.details["stderr"] == "first\nlast"


def test_which_exit_codes_mean_success_can_be_told():
    assert _result(exit_code=1).check((0, 1)).exit_code == 1
    with pytest.raises(AsmError):
        _result(exit_code=0).check((1,))


@pytest.mark.parametrize(
    ("glob", "fits", "fits_not"),
    [
        ("*.log", ["a.log", "x/y/a.log"], ["a.logs", "a.log/b"]),
        ("build", ["build", "x/build"], ["builds"]),
        ("a/*.o", ["a/x.o"], ["a/b/x.o", "b/a/x.o"]),
        ("a/**/x", ["a/x", "a/b/c/x"], ["b/x"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["ax"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b"]),
        ("?.[ch]", ["x.[ch]"], ["x.c"]),
        ("/top", ["top"], []),
    ],
)
def test_patterns_fit_what_they_say(glob, fits, fits_not):
    is_ignored = ignoring((), (), [glob])
    assert [path for path in fits if not is_ignored(path, False)] == []
    assert [path for path in fits_not if is_ignored(path, False)] == []


def test_a_tree_is_written_and_read_back_whatever_its_names_are():
    tree = Tree(
        files={"\udcff\n": Entry(FILE, 0o644, 1, "ab")},
        folders={"": 0o755, "é": 0o700},
        repos={"r": None},
        specials=("p",),
        ignored=("x/", "y"),
    )
    assert Tree.load(tree.dump(more=1), "it")[0] == tree
    assert Tree.load(tree.dump(more=1), "it")[1]["more"] == 1
