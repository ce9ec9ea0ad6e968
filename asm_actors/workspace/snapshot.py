"""What a workspace is asked to be, and what it tells: snapshots, differences, rollbacks. Pure values."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from attrs import Factory, asdict, evolve, frozen

from asm_actors.errors import ErrorCode
from asm_actors.serialization import (
    Fields,
    iso_from_us,
    json_map,
    time_from_us,
)

__all__ = [
    "Change",
    "ChangeKind",
    "Diff",
    "Rollback",
    "Snapshot",
    "displayed",
]


class ChangeKind(StrEnum):
    """What became of a file between two snapshots."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"


@frozen(kw_only=True)
class Snapshot:
    """The state of a workspace at one time.

    Attributes:
        id: its name, ``snap_`` and 32 hex digits.
        backend: ``git`` or ``hash``.
        path: the workspace's directory, absolute.
        ref: the state itself: a commit that no branch has, or the digest of all paths and contents. Equal contents
            have equal digests, but never equal commits.
        label: what it was taken for, such as ``before``, ``after`` and ``after_failure``.
        captured_us: when it was taken, in microseconds since the epoch; :attr:`captured_at` shows it.
        metadata: git: ``head_ref branch dirty includes_untracked includes_ignored``; hash: ``files bytes``.
        nested: git: the repositories inside, submodules among them, at any depth, by path. Each has a commit of its
            own in its own repository: ``ref head_ref branch dirty``. One that could not be kept has a ``ref`` of None
            and a ``reason``.
    """

    id: str
    backend: str
    path: str
    ref: str
    label: str
    captured_us: int
    metadata: dict[str, Any] = Factory(dict)
    nested: dict[str, Any] = Factory(dict)

    @property
    def captured_at(self) -> datetime:
        """When it was taken (aware, UTC)."""
        return time_from_us(self.captured_us)

    def to_map(self) -> dict[str, Any]:
        """Return the snapshot as a JSON-ready map."""
        return {
            "id": self.id,
            "backend": self.backend,
            "path": displayed(self.path),
            "ref": self.ref,
            "label": self.label,
            "captured_at": iso_from_us(self.captured_us),
            "metadata": json_map(self.metadata, "metadata"),
            "nested": json_map(self.nested, "nested"),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
        """
        fields = Fields(value, "snapshot")
        return cls(
            id=fields.id("id"),
            backend=fields.id("backend"),
            path=fields.optional_text("path") or "",
            ref=fields.id("ref"),
            label=fields.optional_text("label") or "",
            captured_us=fields.time("captured_at"),
            metadata=fields.map("metadata"),
            nested=fields.map("nested"),
        )


@frozen(kw_only=True)
class Change:
    r"""What became of one file.

    Attributes:
        path: where it is; where it was if it was deleted. Slashes; bytes that are no UTF-8 are shown as ``\xNN``.
        kind: what became of it.
        old_path: where it was before, if it was renamed.
        old_mode: octal mode as git writes it (``100644 100755 120000 160000``), or None if it is new.
        new_mode: likewise, or None if it was deleted.
        old_bytes: its size before, or None.
        new_bytes: its size after, or None.
        insertions: lines that came; 0 for a binary file.
        deletions: lines that went; 0 for a binary file.
        binary: whether lines could not be counted.
    """

    path: str
    kind: ChangeKind
    old_path: str | None = None
    old_mode: str | None = None
    new_mode: str | None = None
    old_bytes: int | None = None
    new_bytes: int | None = None
    insertions: int = 0
    deletions: int = 0
    binary: bool = False

    def to_map(self) -> dict[str, Any]:
        """Return the change as a JSON-ready map."""
        return asdict(self) | {"kind": self.kind.value}

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
        """
        fields = Fields(value, "change")
        return cls(
            path=fields.optional_text("path") or "",
            kind=fields.member("kind", ChangeKind, ErrorCode.VALIDATION_ERROR),
            old_path=fields.optional_text("old_path"),
            old_mode=fields.optional_text("old_mode"),
            new_mode=fields.optional_text("new_mode"),
            old_bytes=fields.optional_integer("old_bytes", least=0),
            new_bytes=fields.optional_integer("new_bytes", least=0),
            insertions=fields.integer("insertions", least=0, default=0),
            deletions=fields.integer("deletions", least=0, default=0),
            binary=fields.boolean("binary", default=False),
        )


@frozen(kw_only=True)
class Diff:
    """What changed between two snapshots of one workspace.

    Attributes:
        backend: ``git`` or ``hash``.
        from_ref: the earlier state.
        to_ref: the later state.
        changes: one for each file that changed, by path.
        patch: what ``git apply`` takes, or None: nothing changed, no patch is wanted, it is too long, or it lies in
            the artifact store.
        patch_ref: the key of the patch in the artifact store, or None.
        patch_bytes: its size, or None if there is none.
        patch_truncated: whether the patch was too long to be kept.
        metadata: more facts. ``patch_is_exact`` is False if the patch does not tell all: it holds bytes that are no
            text, which are replaced, or it leaves out what these name: ``not_counted`` lists repositories inside whose
            contents are gone with them, so that only paths and sizes are told; ``not_compared`` those of which one of
            the snapshots holds nothing.
    """

    backend: str
    from_ref: str
    to_ref: str
    changes: tuple[Change, ...] = ()
    patch: str | None = None
    patch_ref: str | None = None
    patch_bytes: int | None = None
    patch_truncated: bool = False
    metadata: dict[str, Any] = Factory(dict)

    def _of(self, kind: ChangeKind) -> tuple[str, ...]:
        return tuple(change.path for change in self.changes if change.kind == kind)

    @property
    def added(self) -> tuple[str, ...]:
        """Paths of files that came."""
        return self._of(ChangeKind.ADDED)

    @property
    def modified(self) -> tuple[str, ...]:
        """Paths of files whose content, mode or kind changed."""
        return self._of(ChangeKind.MODIFIED)

    @property
    def deleted(self) -> tuple[str, ...]:
        """Paths of files that went."""
        return self._of(ChangeKind.DELETED)

    @property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """Old and new paths of files that moved."""
        return tuple(
            (change.old_path or "", change.path) for change in self.changes if change.old_path is not None
        )

    @property
    def changed_paths(self) -> tuple[str, ...]:
        """All paths at which something changed, sorted."""
        paths = {change.path for change in self.changes}
        return tuple(
            sorted(paths | {change.old_path for change in self.changes if change.old_path is not None})
        )

    @property
    def files_changed(self) -> int:
        """How many files changed."""
        return len(self.changes)

    @property
    def insertions(self) -> int:
        """Lines that came, over all files."""
        return sum(change.insertions for change in self.changes)

    @property
    def deletions(self) -> int:
        """Lines that went, over all files."""
        return sum(change.deletions for change in self.changes)

    @property
    def has_patch(self) -> bool:
        """Whether there is a patch, here or in the artifact store."""
        return self.patch is not None or self.patch_ref is not None

    def replace(self, **changes: Any) -> Diff:
        """Return a copy with some fields changed."""
        return evolve(self, **changes)

    def summary(self) -> dict[str, Any]:
        """Return what an event tells: ``files_changed insertions deletions has_patch``."""
        return {
            "files_changed": self.files_changed,
            "insertions": self.insertions,
            "deletions": self.deletions,
            "has_patch": self.has_patch,
        }

    def to_map(self) -> dict[str, Any]:
        """Return the difference as a JSON-ready map; counts and ``changed_paths`` are there for readers."""
        return {
            "backend": self.backend,
            "from_ref": self.from_ref,
            "to_ref": self.to_ref,
            **self.summary(),
            "changed_paths": list(self.changed_paths),
            "changes": [change.to_map() for change in self.changes],
            "patch": self.patch,
            "patch_ref": self.patch_ref,
            "patch_bytes": self.patch_bytes,
            "patch_truncated": self.patch_truncated,
            "metadata": json_map(self.metadata, "metadata"),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
        """
        fields = Fields(value, "diff")
        return cls(
            backend=fields.id("backend"),
            from_ref=fields.id("from_ref"),
            to_ref=fields.id("to_ref"),
            changes=tuple(Change.from_map(item) for item in fields.items("changes")),
            patch=fields.optional_text("patch"),
            patch_ref=fields.optional_id("patch_ref"),
            patch_bytes=fields.optional_integer("patch_bytes", least=0),
            patch_truncated=fields.boolean("patch_truncated", default=False),
            metadata=fields.map("metadata"),
        )


@frozen(kw_only=True)
class Rollback:
    """What putting a workspace back has done.

    Attributes:
        snapshot_id: the snapshot whose state it has again.
        ref: its state.
        restored: paths that were written anew, or whose mode was set back; sorted.
        removed: paths that were removed since they came later; sorted.
        not_restored: what is not, or perhaps not, as it was; sorted. Nested repositories that are gone with all that
            was kept in them, that could not be kept, or whose HEAD has moved on (their files are as they were);
            pipes and sockets that have gone.
        head_moved: git: whether HEAD names another commit or branch than it did. It is never moved back: commits
            made since are kept.
    """

    snapshot_id: str
    ref: str
    restored: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    not_restored: tuple[str, ...] = ()
    head_moved: bool = False

    def to_map(self) -> dict[str, Any]:
        """Return the rollback as a JSON-ready map."""
        return asdict(self) | {
            name: list(getattr(self, name)) for name in ("restored", "removed", "not_restored")
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
        """
        fields = Fields(value, "rollback")
        return cls(
            snapshot_id=fields.id("snapshot_id"),
            ref=fields.id("ref"),
            restored=fields.texts("restored"),
            removed=fields.texts("removed"),
            not_restored=fields.texts("not_restored"),
            head_moved=fields.boolean("head_moved", default=False),
        )


def displayed(path: str) -> str:
    r"""Return a path for readers: bytes that are no UTF-8 become ``\xNN``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
