"""Snapshots of a git work tree, kept in its own object database.

**A snapshot** is a commit on top of HEAD that no branch has, kept by a ref of its own below ``refs/asm/snapshots/``.
Its tree is the work tree byte by byte, without filters and line end conversion: tracked files, untracked ones, and
ignored ones if asked for. A second parent holds the index as it is, the contents that only the index has, and what
git's trees cannot tell: modes, empty folders, which paths were ignored. Index, HEAD, branches, stash, reflogs and
configuration are not touched, no hook runs.

**A rollback** brings back the work tree and the index, so that what was staged is staged again. HEAD and branches
stay where they are, commits made since are kept, and so is a merge or rebase that has begun or ended since. It holds
git's own lock on the index meanwhile.

**Left alone:** ignored paths (by the rules of the snapshot's time), repositories inside, submodules among them
(their commit is recorded, a repository that came later is removed), pipes, sockets, devices. **Not kept:** owners,
times, extended attributes, hard links.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_id
from asm_actors.workspace.backend import Context, Workspace, storage_errors
from asm_actors.workspace.files import Hasher, Seeing, scan
from asm_actors.workspace.git_diff import changes_between, patch_between
from asm_actors.workspace.git_objects import TreeWriter, Uploader, fetch_from, read_blobs
from asm_actors.workspace.git_repository import Head, Repository
from asm_actors.workspace.restore import Restoring, not_restored
from asm_actors.workspace.snapshot import Diff, Rollback, Snapshot, displayed
from asm_actors.workspace.tree import Tree, ignored_in

__all__ = ["GitWorkspace"]

_REFS: Final = "refs/asm/snapshots"
_NOBODY: Final = "asm <asm@localhost>"


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
        self._seeing = Seeing(Hasher(repository.digest, as_blob=True))

    def snapshot(self, label: str = "snapshot") -> Snapshot:
        """Keep the present state; see `Workspace.snapshot`."""
        repository = self._repository
        with self._scratch() as scratch:
            copy = scratch / "index"
            index = repository.index_copy(copy)
            excludes = repository.excludes()
            ignored = () if self.config.include_ignored else self._ignored(scratch, copy, excludes)
            found = scan(repository.root, _leaves(ignored), leaves_repos=True)
            head = repository.head()
            tree = Tree(
                files=Uploader(self._git, repository.root, self._seeing).upload(found, scratch),
                folders=found.folders,
                repos={path: repository.head_of(path) for path in sorted(found.repos)},
                specials=tuple(sorted(found.specials)),
                ignored=ignored,
            )
            self._context.check_going()
            is_staged, staged = repository.staged(copy, head)
            state = tree.dump(
                index_time_ns=None if index is None else index[1],
                head=list(head),
                excludes=excludes.decode("utf-8", "surrogateescape"),
            )
            snapshot = Snapshot(
                id=f"snap_{self._context.new_name()}",
                backend=self.backend,
                path=self.path,
                ref="",
                label=check_id(label, "label"),
                captured_us=self._context.now(),
                metadata={
                    "head_ref": head.commit,
                    "branch": head.branch and displayed(head.branch),
                    "includes_untracked": True,
                    "includes_ignored": self.config.include_ignored,
                },
            )
            parts = {"state": state} | ({} if index is None else {"index": index[0]})
            return self._keep(snapshot, tree, head, parts, staged, scratch, is_staged=is_staged)

    def diff(self, before: Snapshot, after: Snapshot) -> Diff:
        """Tell what changed; see `Workspace.diff`."""
        self._check(before, after)
        for snapshot in (before, after):
            self._demand(snapshot)
        diff = Diff(
            backend=self.backend,
            from_ref=before.ref,
            to_ref=after.ref,
            changes=changes_between(self._git, before.ref, after.ref),
        )
        return self._with_patch(diff, lambda bound: patch_between(self._git, before.ref, after.ref, bound))

    def rollback(self, snapshot: Snapshot) -> Rollback:
        """Bring a state back; see `Workspace.rollback`."""
        self._check(snapshot)
        self._demand(snapshot)
        tree, state, index = self._read(snapshot.ref)
        repository = self._repository
        before = repository.head()
        with (
            storage_errors(ErrorCode.STORAGE_WRITE_FAILED, "the work tree cannot be put back"),
            self._scratch() as scratch,
            self._index_lock() as lock,
        ):
            restoring = Restoring(repository.root, tree, self._seeing, fetch_from(self._git))
            restoring.put_back()
            if index is not None:
                (scratch / "index").write_bytes(index)
            ignored = tree.ignored
            if not snapshot.metadata.get("includes_ignored"):
                excludes = str(state["excludes"]).encode("utf-8", "surrogateescape")
                ignored += self._ignored(scratch, scratch / "index", excludes)
            found = restoring.remove_later(_leaves(ignored), leaves_repos=True)
            self._put_index(lock, index, state["index_time_ns"])
        heads = not_restored(tree, found, repository.head_of)
        return Rollback(
            snapshot_id=snapshot.id,
            ref=snapshot.ref,
            restored=tuple(sorted(map(displayed, restoring.restored))),
            removed=tuple(sorted(map(displayed, restoring.removed))),
            not_restored=tuple(sorted(map(displayed, heads))),
            head_moved=[before.commit, before.branch] != [state["head"][0], state["head"][2]],
        )

    def release(self, snapshot: Snapshot) -> None:
        """Keep a state no longer; see `Workspace.release`."""
        self._check(snapshot)
        self._git.run("update-ref", "--no-deref", "-d", f"{_REFS}/{snapshot.id}")

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
        told = self._read(ref)[1].get("snapshot")
        return evolve(Snapshot.from_map(told), ref=ref, path=self.path) if isinstance(told, dict) else None

    # Keeping.

    def _keep(
        self,
        snapshot: Snapshot,
        tree: Tree,
        head: Head,
        parts: dict[str, bytes],
        staged: set[str],
        scratch: Path,
        *,
        is_staged: bool,
    ) -> Snapshot:
        """Write the commits and the ref; return the snapshot with what is known only now."""
        repository = self._repository
        uploader = Uploader(self._git, repository.root, self._seeing)
        trees = TreeWriter(repository.name_of)
        root = trees.add(
            {path: (entry.git_mode, entry.content) for path, entry in tree.files.items()}
            | {path: ("160000", commit) for path, commit in tree.repos.items() if commit is not None}
        )
        metadata = snapshot.metadata | {"dirty": is_staged or root != (head.tree or repository.empty_tree)}
        told = evolve(snapshot, metadata=metadata, ref="0").to_map()
        parts = parts | {"snapshot": json.dumps(told).encode()}
        names = dict(zip(parts, uploader.upload_bytes(list(parts.values()), scratch), strict=True))
        kept = {name: ("100644", blob) for name, blob in names.items()}
        memory = trees.add(kept | {f"staged/{name}": ("100644", name) for name in staged})
        trees.write(self._git)
        seconds = snapshot.captured_us // 1_000_000
        behind = _commit(memory, (), "what a tree cannot hold", seconds)
        behind_name = repository.name_of(b"commit %d\0" % len(behind) + behind)
        above = [] if head.commit is None else [head.commit]
        commit = _commit(root, (*above, behind_name), f"{snapshot.id}\n\n{snapshot.label}", seconds)
        ref = uploader.upload_bytes([behind, commit], scratch, "commit")[1]
        self._git.run("update-ref", "--no-deref", f"{_REFS}/{snapshot.id}", ref, "0" * len(ref))
        return evolve(snapshot, ref=ref, metadata=metadata)

    def _read(self, ref: str) -> tuple[Tree, dict[str, Any], bytes | None]:
        """Read what a snapshot keeps besides its tree. It is the last parent."""
        parents = [line[7:] for line in self._commit_lines(ref) if line.startswith("parent ")]
        behind = parents[-1] if parents else ref
        state, index, told = read_blobs(
            self._git, [f"{behind}:{name}" for name in ("state", "index", "snapshot")]
        )
        if state is None:
            raise AsmError(ErrorCode.STORAGE_READ_FAILED, f"{ref} is no snapshot")
        tree, found = Tree.load(state, f"the snapshot {ref}")
        if told is not None:
            found["snapshot"] = json.loads(told)
        return tree, found, index

    def _commit_lines(self, ref: str) -> list[str]:
        return self._git.text("cat-file", "commit", ref).partition("\n\n")[0].split("\n")

    def _demand(self, snapshot: Snapshot) -> None:
        """Raise ``not_found`` if a snapshot is no longer kept."""
        found = self._git.maybe("rev-parse", "-q", "--verify", f"{_REFS}/{snapshot.id}")
        if found != snapshot.ref:
            raise AsmError(ErrorCode.NOT_FOUND, f"the snapshot {snapshot.id} is not kept any more")

    # What is ignored.

    def _ignored(self, scratch: Path, index: Path, excludes: bytes) -> tuple[str, ...]:
        patterns = scratch / "patterns"
        patterns.write_bytes(excludes)
        return self._repository.ignored(index, patterns)

    # The index.

    @contextmanager
    def _index_lock(self) -> Iterator[Path]:
        """Keep other git commands from changing the index meanwhile."""
        index = self._repository.index
        lock = index.with_name(f"{index.name}.lock")
        try:
            handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise AsmError(
                ErrorCode.INVALID_OPERATION,
                f"git is at work there, or was killed: {displayed(str(lock))} is there",
                retryable=True,
            ) from error
        os.close(handle)
        try:
            yield lock
        finally:
            with contextlib.suppress(FileNotFoundError):
                lock.unlink()

    def _put_index(self, lock: Path, content: bytes | None, time_ns: int | None) -> None:
        """Let the lock become the index; one that is as it was stays, with what git knows about the files' times."""
        index = self._repository.index
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

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="asm-workspace-", ignore_cleanup_errors=True) as name:
            yield Path(name).resolve()


def _leaves(ignored: tuple[str, ...]) -> Any:
    is_ignored = ignored_in(ignored)
    return lambda path, is_folder: path == ".git" or is_ignored(path, is_folder)


def _commit(tree: str, parents: tuple[str, ...], text: str, seconds: int) -> bytes:
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"{role} {_NOBODY} {seconds} +0000" for role in ("author", "committer")]
    return ("\n".join(lines) + f"\n\n{text}\n").encode()
