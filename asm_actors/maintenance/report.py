"""What maintenance tells about its work. Pure values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from attrs import Factory, asdict, define, frozen

__all__ = ["MaintenanceProgress", "MaintenanceReport", "OnProgress", "Tally"]


@frozen
class MaintenanceProgress:
    """How far a long work has come.

    Attributes:
        step: what is being done: ``soft_delete hard_delete prune artifacts export import …``.
        done: units done so far: sessions, or events where a step counts those.
        total: units there are; None if nobody knows yet.
    """

    step: str
    done: int
    total: int | None = None


OnProgress: TypeAlias = Callable[[MaintenanceProgress], None]
"""Called now and then, on the thread that does the work. What it raises ends the work."""


@frozen
class MaintenanceReport:
    """What one execution of a retention policy did, or with a dry run what it would have done.

    Attributes:
        sessions_soft_deleted: sessions that are hidden now.
        sessions_hard_deleted: sessions that are gone.
        events_pruned: events that are gone from sessions which stay; those of sessions that went are not counted.
        artifacts_cleaned: artifacts of sessions that are gone, removed with their bytes.
        orphaned_sequences_cleaned: remains without a session: indexes and counters that a crash or damage left.
        archived: sessions that were exported before something of them went.
        duration_ms: milliseconds it took.
        errors: one sentence per thing that could not be done; all others were.
        is_dry_run: whether nothing was changed.
    """

    sessions_soft_deleted: int = 0
    sessions_hard_deleted: int = 0
    events_pruned: int = 0
    artifacts_cleaned: int = 0
    orphaned_sequences_cleaned: int = 0
    archived: int = 0
    duration_ms: int = 0
    errors: tuple[str, ...] = ()
    is_dry_run: bool = False

    def to_map(self) -> dict[str, Any]:
        """Return the report as a JSON-ready map."""
        return {**asdict(self), "errors": list(self.errors)}


@define
class Tally:
    """A report in the making; see :class:`MaintenanceReport`."""

    sessions_soft_deleted: int = 0
    sessions_hard_deleted: int = 0
    events_pruned: int = 0
    artifacts_cleaned: int = 0
    orphaned_sequences_cleaned: int = 0
    archived: int = 0
    errors: list[str] = Factory(list)
    ended_by: BaseException | None = None
    """What the callback of progress raised."""

    def report(self, duration_ms: int, *, is_dry_run: bool) -> MaintenanceReport:
        """End counting."""
        counts = asdict(self, filter=lambda field, _: field.name != "ended_by")
        counts["errors"] = tuple(self.errors)
        return MaintenanceReport(**counts, duration_ms=duration_ms, is_dry_run=is_dry_run)
