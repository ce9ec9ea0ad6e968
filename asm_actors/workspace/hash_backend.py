"""Snapshots of a directory without git: copies of its files, by their digests.

The whole directory is kept, but for the paths that are to be ignored. A rollback brings everything else back:
contents, modes, links and folders, and removes what came later. Not kept: owners, times, extended attributes, hard
links; pipes, sockets and devices are left alone. A file that has not changed since the last snapshot is neither read
nor copied again.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve

from asm_actors.errors import ErrorCode
from asm_actors.serialization import check_id
from asm_actors.workspace.backend import Context, Workspace, storage_errors
from asm_actors.workspace.files import Hasher, Seeing, scan
from asm_actors.workspace.hash_store import HashStore, default_store
from asm_actors.workspace.ignoring import ignoring
from asm_actors.workspace.patching import compare
from asm_actors.workspace.restore import Restoring, not_restored
from asm_actors.workspace.snapshot import Diff, Rollback, Snapshot, displayed
from asm_actors.workspace.tree import Tree

__all__ = ["HashWorkspace"]

_WRITING = "the copies cannot be kept"


class HashWorkspace(Workspace):
    """A directory.

    Args:
        context: What it works with.
        root: The directory, absolute, without links.
    """

    backend = "hash"

    def __init__(self, context: Context, root: Path) -> None:
        super().__init__(context)
        self.path = str(root)
        self._root = root
        config = context.config
        base = default_store() if config.store_path is None else Path(config.store_path).absolute()
        self._store = HashStore(base, root)
        own = os.path.relpath(base, root)
        is_within = own != ".." and not own.startswith("../")
        self._leaves = ignoring(
            config.excluded_roots,
            (*config.ignore_paths, *([own] if is_within else [])),
            config.ignore_globs,
        )
        self._seeing = Seeing(Hasher("sha256"))
        self._store.recall(self._seeing)

    def snapshot(self, label: str = "snapshot") -> Snapshot:
        """Keep the present state; see `Workspace.snapshot`."""
        with storage_errors(ErrorCode.STORAGE_WRITE_FAILED, _WRITING), self._store.locked():
            found = scan(self._root, self._leaves)
            tree = Tree(
                files=self._store.add(found, self._seeing, self._context.check_going),
                folders=found.folders,
                specials=tuple(sorted(found.specials)),
            )
            snapshot = Snapshot(
                id=f"snap_{self._context.new_name()}",
                backend=self.backend,
                path=self.path,
                ref=tree.digest(),
                label=check_id(label, "label"),
                captured_us=self._context.now(),
                metadata={
                    "files": len(tree.files),
                    "bytes": sum(entry.size for entry in tree.files.values()),
                },
            )
            self._store.put(snapshot.id, tree, snapshot.to_map())
            self._store.remember(self._seeing)
        return snapshot

    def diff(self, before: Snapshot, after: Snapshot) -> Diff:
        """Tell what changed; see `Workspace.diff`."""
        self._check(before, after)
        with self._store.locked():
            found = compare(self._store.get(before.id)[0], self._store.get(after.id)[0], self._store.read)
        diff = Diff(
            backend=self.backend,
            from_ref=before.ref,
            to_ref=after.ref,
            changes=found.changes,
            metadata={} if found.is_exact else {"patch_is_exact": False},
        )
        return self._with_patch(diff, lambda _: (found.text, len(found.text)))

    def rollback(self, snapshot: Snapshot) -> Rollback:
        """Bring a state back; see `Workspace.rollback`."""
        self._check(snapshot)
        with (
            storage_errors(ErrorCode.STORAGE_WRITE_FAILED, "the directory cannot be put back"),
            self._store.locked(),
        ):
            tree, _ = self._store.get(snapshot.id)
            restoring = Restoring(self._root, tree, self._seeing, self._store.fetch)
            restoring.put_back()
            found = restoring.remove_later(self._leaves, leaves_repos=False)
        return Rollback(
            snapshot_id=snapshot.id,
            ref=snapshot.ref,
            restored=tuple(sorted(map(displayed, restoring.restored))),
            removed=tuple(sorted(map(displayed, restoring.removed))),
            not_restored=tuple(sorted(map(displayed, not_restored(tree, found, lambda _: None)))),
        )

    def release(self, snapshot: Snapshot) -> None:
        """Keep a state no longer; see `Workspace.release`."""
        self._check(snapshot)
        with storage_errors(ErrorCode.STORAGE_WRITE_FAILED, _WRITING):
            self._store.remove(snapshot.id)

    def find(self, snapshot_id: str) -> Snapshot | None:
        """Return a snapshot by its id; see `Workspace.find`."""
        name = check_id(snapshot_id, "snapshot_id")
        if name not in self._store.names():
            return None
        return evolve(Snapshot.from_map(self._store.get(name)[1]), path=self.path)

    def snapshots(self) -> list[Snapshot]:
        """Return what is kept; see `Workspace.snapshots`."""
        found = [Snapshot.from_map(self._store.get(name)[1]) for name in self._store.names()]
        return sorted(
            (evolve(snapshot, path=self.path) for snapshot in found),
            key=lambda snapshot: (snapshot.captured_us, snapshot.id),
        )
