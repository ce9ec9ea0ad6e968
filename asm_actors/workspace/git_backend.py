"""Snapshots of a git work tree, kept in its own object database.

**A snapshot** is a commit on top of HEAD that no branch has, kept by a ref of its own below ``refs/asm/snapshots/``.
Its tree is the work tree byte by byte, without filters and line end conversion: tracked files, untracked ones, and
ignored ones if asked for. A second parent holds the index as it is, the contents that only the index has, and what
git's trees cannot tell: modes, empty folders, which paths were ignored. Index, HEAD, branches, stash, reflogs and
configuration are not touched, no hook runs.

**Repositories inside**, submodules that are checked out among them, at any depth, are kept and put back in the same
way, each by a commit and a ref (``refs/asm/nested/``) in its own repository; see `git_nested` and `git_rollback`. A
submodule that is not checked out is the empty folder that it is. Where git sees no work tree, or fails, nothing can be
kept: the snapshot gives the reason, and a rollback always names it among what it did not restore.

**A rollback** brings back the work tree and the index, so that what was staged is staged again. HEAD and branches
stay where they are, commits made since are kept, and so is a merge or rebase that has begun or ended since. It holds
git's own lock on the index meanwhile. A repository inside that came later is removed like all that came later.

**Left alone:** ignored paths (by the rules of the snapshot's time), pipes, sockets, devices. **Not kept:** owners,
times, extended attributes, hard links.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import evolve

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_id
from asm_actors.workspace.backend import Context, Workspace, storage_errors
from asm_actors.workspace.files import Hasher, Seeing
from asm_actors.workspace.git_combined import Combined, Side
from asm_actors.workspace.git_diff import changes_between, patch_between
from asm_actors.workspace.git_nested import (
    Inner,
    keep_nested,
    nested_of,
    part_of,
    release_nested,
    told_of,
)
from asm_actors.workspace.git_repository import Repository
from asm_actors.workspace.git_rollback import PuttingAllBack
from asm_actors.workspace.git_worktree import Looked, WorkTree
from asm_actors.workspace.snapshot import Diff, Rollback, Snapshot, displayed

__all__ = ["GitWorkspace"]

_REFS: Final = "refs/asm/snapshots"


class GitWorkspace(Workspace):
    """A git work tree.

    Args:
        context: What it works with.
        repository: The work tree.
    """

    backend = "git"

    def __init__(self, context: Context, repository: Repository) -> None:
        super().__init__(context)
        self.path = str(repository.root)
        self._repository = repository
        self._git = repository.git
        self._seeings: dict[tuple[str, str], Seeing] = {}
        self._top = WorkTree(context, repository, self._seeing_of("", repository.digest))

    def snapshot(self, label: str = "snapshot") -> Snapshot:
        """Keep the present state; see `Workspace.snapshot`."""
        with self._scratch() as scratch:
            looked = self._top.look(scratch)
            snapshot = Snapshot(
                id=f"snap_{self._context.new_name()}",
                backend=self.backend,
                path=self.path,
                ref="",
                label=check_id(label, "label"),
                captured_us=self._context.now(),
            )
            name = f"{_REFS}/{snapshot.id}"
            if not looked.tree.repos:
                return self._top.keep(looked, snapshot, scratch, name)
            return self._keep_all(looked, snapshot, scratch, name)

    def diff(self, before: Snapshot, after: Snapshot) -> Diff:
        """Tell what changed; see `Workspace.diff`."""
        self._check(before, after)
        for snapshot in (before, after):
            self._demand(snapshot)
        diff = Diff(backend=self.backend, from_ref=before.ref, to_ref=after.ref)
        if not before.nested and not after.nested:
            diff = diff.replace(changes=changes_between(self._git, before.ref, after.ref))
            return self._with_patch(
                diff, lambda bound: patch_between(self._git, before.ref, after.ref, bound)
            )
        with self._scratch() as scratch:
            sides = self._side(before), self._side(after)
            found = Combined(self._git, self._repository.name_of, *sides, scratch)
            diff = diff.replace(changes=found.changes, metadata=found.metadata)
            return self._with_patch(diff, found.patch)

    def rollback(self, snapshot: Snapshot) -> Rollback:
        """Bring a state back; see `Workspace.rollback`."""
        self._check(snapshot)
        self._demand(snapshot)
        held = self._top.read(snapshot.ref)
        before = self._repository.head()
        all_of_it = PuttingAllBack(self._context, self._top, held, snapshot.ref, self._seeing_of)
        with (
            storage_errors(ErrorCode.STORAGE_WRITE_FAILED, "the work tree cannot be put back"),
            self._scratch() as scratch,
        ):
            all_of_it.run(scratch, includes_ignored=bool(snapshot.metadata.get("includes_ignored")))
        head = held.state["head"]
        return Rollback(
            snapshot_id=snapshot.id,
            ref=snapshot.ref,
            restored=tuple(sorted(map(displayed, all_of_it.restored))),
            removed=tuple(sorted(map(displayed, all_of_it.removed))),
            not_restored=tuple(sorted(map(displayed, all_of_it.left))),
            head_moved=[before.commit, before.branch] != [head[0], head[2]],
        )

    def release(self, snapshot: Snapshot) -> None:
        """Keep a state no longer; see `Workspace.release`."""
        self._check(snapshot)
        name = f"{_REFS}/{snapshot.id}"
        if snapshot.nested and (ref := self._git.maybe("rev-parse", "-q", "--verify", name)) is not None:
            held = self._top.read(ref)
            release_nested(self._top, nested_of(held, ref), held.tree.ignored)
        self._git.run("update-ref", "--no-deref", "-d", name)

    def snapshots(self) -> list[Snapshot]:
        """Return what is kept; see `Workspace.snapshots`."""
        told = self._git.text("for-each-ref", "--format=%(objectname)", f"{_REFS}/").split()
        found = [snapshot for ref in told if (snapshot := self._told(ref)) is not None]
        return sorted(found, key=lambda snapshot: (snapshot.captured_us, snapshot.id))

    def find(self, snapshot_id: str) -> Snapshot | None:
        """Return a snapshot by its id; see `Workspace.find`."""
        name = check_id(snapshot_id, "snapshot_id")
        ref = self._git.maybe("rev-parse", "-q", "--verify", f"{_REFS}/{name}")
        return None if ref is None else self._told(ref)

    def _told(self, ref: str) -> Snapshot | None:
        """What a snapshot says of itself."""
        told = self._top.read(ref).told
        return evolve(Snapshot.from_map(told), ref=ref, path=self.path) if isinstance(told, dict) else None

    def _demand(self, snapshot: Snapshot) -> None:
        """Raise ``not_found`` if a snapshot is no longer kept."""
        found = self._git.maybe("rev-parse", "-q", "--verify", f"{_REFS}/{snapshot.id}")
        if found != snapshot.ref:
            raise AsmError(ErrorCode.NOT_FOUND, f"the snapshot {snapshot.id} is not kept any more")

    def _keep_all(self, looked: Looked, snapshot: Snapshot, scratch: Path, name: str) -> Snapshot:
        """Keep the repositories inside, and the work tree with the list of them."""
        if self._git.maybe("rev-parse", "-q", "--verify", name) is not None:
            # What is kept in the repositories inside has the names of what would be kept now.
            raise AsmError(ErrorCode.INVALID_OPERATION, f"the snapshot {snapshot.id} is kept already")
        nested: dict[str, Inner] = {}
        repos = looked.tree.repos
        try:
            keep_nested(self._context, self._top, repos, snapshot, scratch, self._seeing_of, nested)
            snapshot = evolve(snapshot, nested=told_of(nested))
            return self._top.keep(looked, snapshot, scratch, name, {"nested": part_of(nested)})
        except BaseException:
            release_nested(self._top, nested)
            raise

    def _side(self, snapshot: Snapshot) -> Side:
        held = self._top.read(snapshot.ref)
        return Side(held.tree, nested_of(held, snapshot.ref))

    def _seeing_of(self, path: str, digest: str) -> Seeing:
        """What is remembered of the files in the work tree, or in a repository inside."""
        found = self._seeings.get((path, digest))
        if found is None:
            found = self._seeings[path, digest] = Seeing(Hasher(digest, as_blob=True))
        return found

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="asm-workspace-", ignore_cleanup_errors=True) as name:
            yield Path(name).resolve()
