"""One git work tree: look at it, keep it as a commit that no branch has, put it back.

Repositories inside are not its business; `git_nested` and `git_rollback` see to these.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import evolve

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.backend import Context
from asm_actors.workspace.files import Seeing, scan
from asm_actors.workspace.git_objects import TreeWriter, Uploader, fetch_from, read_blobs
from asm_actors.workspace.git_repository import Head, Repository
from asm_actors.workspace.restore import Restoring, not_restored
from asm_actors.workspace.snapshot import Snapshot, displayed
from asm_actors.workspace.tree import Tree, ignored_in

__all__ = ["Held", "Looked", "PuttingBack", "WorkTree", "at_work"]

_NOBODY: Final = "asm <asm@localhost>"


class Looked(NamedTuple):
    """A work tree as it was looked at; its contents are in the object database."""

    tree: Tree
    head: Head
    index_file: tuple[bytes, int] | None
    """The index and its time, or None if there is none."""
    excludes: bytes
    """Patterns of ignored files that are not in the work tree."""
    is_staged: bool
    staged: set[str]
    """Contents that only the index has."""


class Held(NamedTuple):
    """What a snapshot holds of one work tree."""

    tree: Tree
    state: dict[str, Any]
    index_file: bytes | None
    told: dict[str, Any] | None
    """What the snapshot says of itself."""
    nested: bytes | None
    """What it says of the repositories inside."""


class WorkTree:
    """A work tree.

    Args:
        context: What it works with.
        repository: The work tree.
        seeing: What is remembered of its files.
    """

    def __init__(self, context: Context, repository: Repository, seeing: Seeing) -> None:
        self._context = context
        self.repository = repository
        self.git = repository.git
        self.seeing = seeing

    # Keeping.

    def look(self, scratch: Path) -> Looked:
        """Look at everything, and write the contents into the object database."""
        repository = self.repository
        copy = scratch / "index"
        copy.unlink(missing_ok=True)
        index = repository.index_copy(copy)
        excludes = repository.excludes()
        includes_ignored = self._context.config.include_ignored
        ignored = () if includes_ignored else self._ignored(scratch, copy, excludes)
        found = scan(repository.root, _leaves(ignored), leaves_repos=True)
        head = repository.head()
        tree = Tree(
            files=Uploader(self.git, repository.root, self.seeing).upload(found, scratch),
            folders=found.folders,
            repos={path: repository.head_of(path) for path in sorted(found.repos)},
            specials=tuple(sorted(found.specials)),
            ignored=ignored,
        )
        self._context.check_going()
        is_staged, staged = repository.staged(copy, head)
        return Looked(tree, head, index, excludes, is_staged, staged)

    def keep(
        self,
        looked: Looked,
        snapshot: Snapshot,
        scratch: Path,
        name: str,
        parts: Mapping[str, bytes] | None = None,
        *,
        is_new: bool = True,
    ) -> Snapshot:
        """Write the commits and the ref.

        Args:
            looked: What is to be kept.
            snapshot: What is known of it so far.
            scratch: A directory for files of the moment.
            name: The ref.
            parts: What else is to be kept.
            is_new: Whether the ref must not be there yet; else it is written over.

        Returns:
            The snapshot with what is known only now.
        """
        repository, tree, head = self.repository, looked.tree, looked.head
        uploader = Uploader(self.git, repository.root, self.seeing)
        trees = TreeWriter(repository.name_of)
        root = trees.add(
            {path: (entry.git_mode, entry.content) for path, entry in tree.files.items()}
            | {path: ("160000", commit) for path, commit in tree.repos.items() if commit is not None}
        )
        is_dirty = looked.is_staged or root != (head.tree or repository.empty_tree)
        snapshot = evolve(
            snapshot,
            metadata={
                "head_ref": head.commit,
                "branch": head.branch and displayed(head.branch),
                "dirty": is_dirty,
                "includes_untracked": True,
                "includes_ignored": self._context.config.include_ignored,
            },
        )
        state = tree.dump(
            index_time_ns=None if looked.index_file is None else looked.index_file[1],
            head=list(head),
            excludes=looked.excludes.decode("utf-8", "surrogateescape"),
        )
        kept_parts = {"state": state, "snapshot": json.dumps(evolve(snapshot, ref="0").to_map()).encode()}
        kept_parts |= {} if looked.index_file is None else {"index": looked.index_file[0]}
        kept_parts |= parts or {}
        names = dict(zip(kept_parts, uploader.upload_bytes(list(kept_parts.values()), scratch), strict=True))
        kept = {part: ("100644", blob) for part, blob in names.items()}
        memory = trees.add(kept | {f"staged/{blob}": ("100644", blob) for blob in looked.staged})
        trees.write(self.git)
        seconds = snapshot.captured_us // 1_000_000
        behind = _commit(memory, (), "what a tree cannot hold", seconds)
        behind_name = repository.name_of(b"commit %d\0" % len(behind) + behind)
        above = [] if head.commit is None else [head.commit]
        commit = _commit(root, (*above, behind_name), f"{snapshot.id}\n\n{snapshot.label}", seconds)
        ref = uploader.upload_bytes([behind, commit], scratch, "commit")[1]
        old = ("0" * len(ref),) if is_new else ()
        self.git.run("update-ref", "--no-deref", name, ref, *old)
        return evolve(snapshot, ref=ref)

    def read(self, ref: str) -> Held:
        """Read what a snapshot keeps besides its tree. It is the last parent."""
        lines = self.git.text("cat-file", "commit", ref).partition("\n\n")[0].split("\n")
        parents = [line[7:] for line in lines if line.startswith("parent ")]
        behind = parents[-1] if parents else ref
        state, index, told, nested = read_blobs(
            self.git, [f"{behind}:{name}" for name in ("state", "index", "snapshot", "nested")]
        )
        if state is None:
            raise AsmError(ErrorCode.STORAGE_READ_FAILED, f"{ref} is no snapshot")
        tree, found = Tree.load(state, f"the snapshot {ref}")
        return Held(tree, found, index, None if told is None else json.loads(told), nested)

    # The index.

    @contextmanager
    def index_lock(self) -> Iterator[Path]:
        """Keep other git commands from changing the index meanwhile."""
        index = self.repository.index
        lock = index.with_name(f"{index.name}.lock")
        try:
            handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise at_work(lock) from error
        os.close(handle)
        try:
            yield lock
        finally:
            with contextlib.suppress(FileNotFoundError):
                lock.unlink()

    def put_index(self, lock: Path, content: bytes | None, time_ns: int | None) -> None:
        """Let the lock become the index; one that is as it was stays, with what git knows about the files' times."""
        index = self.repository.index
        try:
            now, mode = index.read_bytes(), index.stat().st_mode & 0o7777
        except FileNotFoundError:
            now, mode = None, 0o644
        if content is None:
            index.unlink(missing_ok=True)
        elif content != now:
            lock.write_bytes(content)
            lock.chmod(mode)
            if time_ns is not None:
                os.utime(lock, ns=(time_ns, time_ns))
            lock.replace(index)

    def _ignored(self, scratch: Path, index: Path, excludes: bytes) -> tuple[str, ...]:
        patterns = scratch / "patterns"
        patterns.write_bytes(excludes)
        return self.repository.ignored(index, patterns)


class PuttingBack:
    """One work tree that is put back. Two steps, as in `Restoring`.

    Args:
        work_tree: The work tree.
        held: What it is to be.
        lock: The lock on its index, which is held.

    Attributes:
        restored: paths that were written anew.
        removed: paths that came later.
        left: paths that may not be as they were, but for repositories inside.
    """

    def __init__(self, work_tree: WorkTree, held: Held, lock: Path) -> None:
        self.work_tree = work_tree
        self.held = held
        self._lock = lock
        repository = work_tree.repository
        self._restoring = Restoring(repository.root, held.tree, work_tree.seeing, fetch_from(work_tree.git))
        self.restored = self._restoring.restored
        self.removed = self._restoring.removed
        self.left: tuple[str, ...] = ()

    def put_back(self) -> None:
        """Make every file that is held be what it was."""
        self._restoring.put_back()

    def finish(self, scratch: Path, spared: Collection[str], *, includes_ignored: bool) -> None:
        """Remove what came later, and bring back the index.

        Args:
            scratch: A directory for files of the moment.
            spared: Folders that are left alone.
            includes_ignored: Whether the snapshot holds what is ignored.
        """
        tree, state, index = self.held.tree, self.held.state, self.held.index_file
        copy = scratch / "index"
        copy.unlink(missing_ok=True)
        if index is not None:
            copy.write_bytes(index)
        ignored = tree.ignored
        if not includes_ignored:
            excludes = str(state["excludes"]).encode("utf-8", "surrogateescape")
            ignored += self.work_tree._ignored(scratch, copy, excludes)
        ignored += tuple(f"{path}/" for path in spared)
        found = self._restoring.remove_later(_leaves(ignored), leaves_repos=True)
        self.work_tree.put_index(self._lock, index, state["index_time_ns"])
        self.left = tuple(not_restored(evolve(tree, repos={}), found, lambda _: None))


def at_work(lock: Path) -> AsmError:
    """Make the error that tells that git's lock on an index is there."""
    return AsmError(
        ErrorCode.INVALID_OPERATION,
        f"git is at work there, or was killed: {displayed(str(lock))} is there",
        retryable=True,
    )


def _leaves(ignored: tuple[str, ...]) -> Any:
    is_ignored = ignored_in(ignored)
    return lambda path, is_folder: path == ".git" or is_ignored(path, is_folder)


def _commit(tree: str, parents: tuple[str, ...], text: str, seconds: int) -> bytes:
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"{role} {_NOBODY} {seconds} +0000" for role in ("author", "committer")]
    return ("\n".join(lines) + f"\n\n{text}\n").encode()
