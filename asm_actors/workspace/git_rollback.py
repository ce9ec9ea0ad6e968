"""Put back a work tree and the repositories inside it.

1. Before anything is changed, git's lock is taken on the index of the work tree and of each repository inside that is
   there. If one is taken already, nothing is done.
2. A repository inside that is not where it was is brought back if it can be: one that was moved within the work tree
   is moved back, and one whose objects lie elsewhere (a submodule, a linked work tree) gets its ``.git`` file again.
   One that is gone with its objects is named, and what lies in its place is left alone.
3. All are put back: those around others first, since they make the folders that the others lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.backend import Context
from asm_actors.workspace.files import Seeing, make_writable
from asm_actors.workspace.git_nested import (
    Inner,
    digest_of,
    git_dir_of,
    is_kept,
    is_real_folder,
    nested_of,
    opened,
    repositories_in,
)
from asm_actors.workspace.git_repository import Repository
from asm_actors.workspace.git_worktree import Held, PuttingBack, WorkTree, at_work
from asm_actors.workspace.restore import clear
from asm_actors.workspace.tree import parents_of

__all__ = ["PuttingAllBack"]

_MOVED: Final = ".asm-restoring"


class PuttingAllBack:
    """One rollback.

    Args:
        context: What the workspace works with.
        top: The work tree.
        held: What it is to be.
        ref: The snapshot.
        seeing_of: Given a path and a kind of digest, returns what is remembered of the files there.

    Attributes:
        restored: paths that were written anew.
        removed: paths that came later.
        left: paths that may not be as they were.
    """

    def __init__(
        self,
        context: Context,
        top: WorkTree,
        held: Held,
        ref: str,
        seeing_of: Callable[[str, str], Seeing],
    ) -> None:
        self._context = context
        self._top = top
        self._held = held
        self._root = top.repository.root
        self._seeing_of = seeing_of
        nested = nested_of(held, ref)
        self._inners: Mapping[str, Inner] = {
            path: each for path, each in nested.items() if each.ref is not None
        }
        self._parts: dict[str, PuttingBack] = {}
        self._moved: dict[str, Path] = {}
        self.restored: set[str] = set()
        self.removed: set[str] = set()
        self.left = set(nested.keys() - self._inners.keys())

    def run(self, scratch: Path, *, includes_ignored: bool) -> None:
        """Do it.

        Args:
            scratch: A directory for files of the moment.
            includes_ignored: Whether the snapshot holds what is ignored.

        Raises:
            AsmError: ``invalid_operation``: git is at work in one of the repositories.
        """
        with ExitStack() as locks:
            self._lock(locks)
            self._set_aside()
            self._parts[""].put_back()
            for path, inner in self._inners.items():
                part = self._parts.get(path) or self._brought_back(path, inner, locks)
                if part is None:
                    self.left.add(path)
                    if path in self._moved:
                        self.left.add(self._moved[path].name)
                else:
                    part.put_back()
            for path, part in self._parts.items():
                within = f"{path}/" if path else ""
                spared = [each.removeprefix(within) for each in self.left if each.startswith(within)]
                part.finish(scratch, spared, includes_ignored=includes_ignored)
        for path, part in self._parts.items():
            within = f"{path}/" if path else ""
            for mine, all_of_them in (
                (part.restored, self.restored),
                (part.removed, self.removed),
                (part.left, self.left),
            ):
                all_of_them.update(within + each if each else path for each in mine)
            if path and self._has_moved_on(path, part):
                self.left.add(path)

    # Before anything is changed.

    def _lock(self, locks: ExitStack) -> None:
        lock = locks.enter_context(self._top.index_lock())
        self._parts[""] = PuttingBack(self._top, self._held, lock)
        missing: dict[str, Inner] = {}
        for path, inner in self._inners.items():
            git_dir = self._at_its_place(path, inner)
            if git_dir is None:
                missing[path] = inner
            else:
                self._add(path, inner, git_dir, locks)
        if not missing:
            return
        lost = {path: inner for path, inner in missing.items() if self._elsewhere(path, inner) is None}
        if lost:
            self._look_for(lost)
        for path, inner in missing.items():
            found = self._elsewhere(path, inner)
            if path in self._moved:
                found = self._moved[path] / ".git"
            if found is not None and (found / "index.lock").exists():
                raise at_work(found / "index.lock")

    def _add(self, path: str, inner: Inner, git_dir: Path, locks: ExitStack) -> PuttingBack:
        seeing = self._seeing_of(path, digest_of(inner.ref or ""))
        work_tree = opened(self._context, self._top, path, git_dir, inner, seeing)
        held = work_tree.read(inner.ref or "")
        part = PuttingBack(work_tree, held, locks.enter_context(work_tree.index_lock()))
        self._parts[path] = part
        return part

    def _at_its_place(self, path: str, inner: Inner) -> Path | None:
        """The repository whose work tree is there, if it is the one that was."""
        if not is_real_folder(self._root, path):
            return None
        git_dir = git_dir_of(self._root / path)
        return git_dir if git_dir is not None and is_kept(self._top.git, git_dir, inner) else None

    def _elsewhere(self, path: str, inner: Inner) -> Path | None:
        """The repository by what its ``.git`` file said, if it is still there."""
        if inner.git_file is None:
            return None
        git_dir = git_dir_of(self._root / path, inner.git_file)
        return git_dir if git_dir is not None and is_kept(self._top.git, git_dir, inner) else None

    def _look_for(self, lost: Mapping[str, Inner]) -> None:
        """Find those that lie elsewhere in the work tree now."""
        for place in repositories_in(self._root, self._held.tree.ignored, opens=True):
            if place in self._parts or any(
                self._root / above in self._moved.values() for above in parents_of(place)
            ):
                continue
            git_dir = self._root / place / ".git"
            if git_dir.is_symlink() or not git_dir.is_dir():
                continue  # its objects lie elsewhere, and others may share them
            for path, inner in lost.items():
                around = [each for each in parents_of(path) if each in self._inners]
                is_within_known = all(each in self._parts or each in self._moved for each in around)
                if (
                    is_within_known
                    and inner.git_file is None
                    and path not in self._moved
                    and is_kept(self._top.git, git_dir, inner)
                ):
                    self._moved[path] = self._root / place
                    break

    # Bringing back.

    def _set_aside(self) -> None:
        """Let those that were moved not be in the way of what is put back."""
        for path, place in self._moved.items():
            aside = self._root / f"{_MOVED}-{self._inners[path].id}"
            if place != aside:
                make_writable(place.parent)
                make_writable(self._root)
                place.rename(aside)
            self._moved[path] = aside

    def _brought_back(self, path: str, inner: Inner, locks: ExitStack) -> PuttingBack | None:
        place = self._root / path
        if not is_real_folder(self._root, path.rpartition("/")[0]):
            return None
        if is_real_folder(self._root, path):
            make_writable(place)
        git_dir = self._at_its_place(path, inner)
        if git_dir is None and path in self._moved:
            clear(place)
            self._moved[path].rename(place)
            self.restored.add(path)
            git_dir = self._at_its_place(path, inner)
        if git_dir is None and (git_dir := self._elsewhere(path, inner)) is not None:
            if not is_real_folder(self._root, path):
                clear(place)
                place.mkdir(0o700)
            make_writable(place)
            clear(place / ".git")
            (place / ".git").write_bytes((inner.git_file or "").encode("utf-8", "surrogateescape"))
            self.restored.add(path)
        return None if git_dir is None else self._add(path, inner, git_dir, locks)

    def _has_moved_on(self, path: str, part: PuttingBack) -> bool:
        """Whether HEAD is elsewhere, or git does not see what was brought back."""
        repository, inner = part.work_tree.repository, self._inners[path]
        head = repository.head()
        if (head.commit, head.branch) != (inner.head, inner.branch):
            return True
        if path not in self.restored:
            return False
        try:
            found = Repository.find(repository.root, self._top.git.elsewhere(repository.root))
        except AsmError as error:
            if error.code != ErrorCode.COMMAND_FAILED:
                raise
            return True
        return found is None or found.root != repository.root
