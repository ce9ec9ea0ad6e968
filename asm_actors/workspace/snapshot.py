"""What a workspace is asked to be, and what it tells: snapshots, differences, rollbacks. Pure values."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from attrs import Factory, asdict, evolve, field, frozen

from asm_actors.config import MAX_PATCH_BYTES
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import (
    Fields,
    check_integer,
    check_number,
    check_text,
    invalid,
    iso_from_us,
    json_map,
    parse_member,
    time_from_us,
)

__all__ = [
    "WORKSPACE_TIMEOUT",
    "Change",
    "ChangeKind",
    "Diff",
    "Rollback",
    "Snapshot",
    "Strategy",
    "WorkspaceConfig",
    "displayed",
]

WORKSPACE_TIMEOUT: Final = 300.0
"""Seconds that one command of a workspace may take: the first look at a large tree takes its time."""


class Strategy(StrEnum):
    """How a workspace keeps its snapshots; ``auto`` chooses between the others."""

    AUTO = "auto"
    GIT = "git"
    HASH = "hash"


class ChangeKind(StrEnum):
    """What became of a file between two snapshots."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"


def _strategy(value: object) -> Strategy:
    return parse_member(Strategy, value, ErrorCode.VALIDATION_ERROR)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise invalid("an ignore list", "must be a list of strings", value)
    found = tuple(check_text(item, "an item of an ignore list") for item in value)
    if not all(found):
        raise AsmError(ErrorCode.VALIDATION_ERROR, "an item of an ignore list cannot be empty")
    return found


def _path(value: Any) -> str | None:
    if value is None:
        return None
    if hasattr(value, "__fspath__"):
        value = value.__fspath__()
    text = check_text(value, "a path")
    if not text or "\0" in text:
        raise invalid("a path", "must not be empty nor hold NUL", text)
    return text


def _boolean(_: Any, attribute: Any, value: object) -> None:
    if not isinstance(value, bool):
        raise invalid(attribute.name, "must be true or false", value)


@frozen(kw_only=True)
class WorkspaceConfig:
    """What is to be done about the files that a run works on. Checked when it is made.

    Attributes:
        enabled: whether anything is.
        path: the directory; None for this process's own.
        strategy: ``git``: the whole work tree that the directory belongs to; ``hash``: the directory; ``auto``: git where the
            directory is the top of a repository or has tracked files in it, else hash.
        capture_patch: whether differences hold a patch.
        max_patch_bytes: the longest patch that is kept with a difference.
        rollback_on_failure: whether the files of a failed run are put back.
        include_ignored: git: whether snapshots hold what git ignores, too.
        ignore_paths: hash: paths below the directory that are left alone, besides ``config.EXCLUDED_WORKSPACE_ROOTS``.
        ignore_globs: hash: the same by patterns with ``*``, ``?`` and ``**``; one without ``/`` fits base names anywhere.
        store_path: hash: where copies are kept; None for ``asm/workspaces`` in the user's state directory.
        timeout: seconds that one command may take.

    Raises:
        ValidationError: a field is malformed; the message names it.
    """

    enabled: bool = field(default=False, validator=_boolean)
    path: str | None = field(default=None, converter=_path)
    strategy: Strategy = field(default=Strategy.AUTO, converter=_strategy)
    capture_patch: bool = field(default=True, validator=_boolean)
    max_patch_bytes: int = MAX_PATCH_BYTES
    rollback_on_failure: bool = field(default=False, validator=_boolean)
    include_ignored: bool = field(default=False, validator=_boolean)
    ignore_paths: tuple[str, ...] = field(default=(), converter=_texts)
    ignore_globs: tuple[str, ...] = field(default=(), converter=_texts)
    store_path: str | None = field(default=None, converter=_path)
    timeout: float = WORKSPACE_TIMEOUT

    def __attrs_post_init__(self) -> None:
        check_integer(self.max_patch_bytes, "max_patch_bytes", least=0)
        if check_number(self.timeout, "timeout") <= 0:
            raise invalid("timeout", "must be more than 0 seconds", self.timeout)

    def to_map(self) -> dict[str, Any]:
        """Return the configuration as a JSON-ready map."""
        return asdict(self) | {
            "strategy": self.strategy.value,
            "ignore_paths": list(self.ignore_paths),
            "ignore_globs": list(self.ignore_globs),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote, or what was written by hand: an absent field has its default.

        Raises:
            ValidationError: no map, an unknown name, or a malformed field.
        """
        found = json_map(value, "workspace")
        known = [each.name for each in cls.__attrs_attrs__]  # type: ignore[attr-defined]
        for name in found:
            if name not in known:
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    f"a workspace has no field {name!r:.80}; it has {', '.join(known)}",
                    details={"field": "workspace"},
                )
        return cls(**found)


@frozen(kw_only=True)
class Snapshot:
    """The state of a workspace at one time.

    Attributes:
        id: its name, ``snap_`` and 32 hex digits.
        backend: ``git`` or ``hash``.
        path: the workspace's directory, absolute.
        ref: the state itself: a commit that no branch has, or the digest of all paths and contents. Equal contents have
            equal digests, but never equal commits.
        label: what it was taken for, such as ``before``, ``after`` and ``after_failure``.
        captured_us: when it was taken, in microseconds since the epoch; :attr:`captured_at` shows it.
        metadata: git: ``head_ref branch dirty includes_untracked includes_ignored``; hash: ``files bytes``.
    """

    id: str
    backend: str
    path: str
    ref: str
    label: str
    captured_us: int
    metadata: dict[str, Any] = Factory(dict)

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
        )


@frozen(kw_only=True)
class Change:
    """What became of one file.

    Attributes:
        path: where it is; where it was if it was deleted. Slashes; bytes that are no UTF-8 are shown as ``\\xNN``.
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
        patch: what ``git apply`` takes, or None: nothing changed, no patch is wanted, it is too long, or it lies in the artifact
            store.
        patch_ref: the key of the patch in the artifact store, or None.
        patch_bytes: its size, or None if there is none.
        patch_truncated: whether the patch was too long to be kept.
        metadata: more facts, such as ``patch_is_exact``: False if the patch holds bytes that are no text, which are replaced.
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
        return tuple((change.old_path or "", change.path) for change in self.changes if change.old_path is not None)

    @property
    def changed_paths(self) -> tuple[str, ...]:
        """All paths at which something changed, sorted."""
        paths = {change.path for change in self.changes}
        return tuple(sorted(paths | {change.old_path for change in self.changes if change.old_path is not None}))

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
        not_restored: paths that a snapshot knows of and does not hold: nested repositories that have gone or have moved on,
            pipes and sockets that have gone; sorted.
        head_moved: git: whether HEAD names another commit or branch than it did. It is never moved back: commits made since
            are kept.
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
    """Return a path for readers: bytes that are no UTF-8 become ``\\xNN``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
