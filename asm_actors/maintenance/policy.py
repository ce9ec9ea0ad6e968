"""What is kept, and for how long. Pure values; `maintenance.planner` tells what follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from attrs import asdict, field, fields, frozen

from asm_actors.config import (
    RETENTION_BATCH_SIZE,
    RETENTION_EXEMPT_STATUSES,
    RETENTION_EXEMPT_TAGS,
    RETENTION_HARD_DELETE_AFTER_DAYS,
    RETENTION_MAX_COMPLETED_AGE_DAYS,
    RETENTION_PRUNE_EVENT_TYPES_FIRST,
)
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EVENT_GROUPS, EventGroup, EventType, parse_event_type
from asm_actors.jsonable import shown
from asm_actors.maintenance.artifact import ArtifactStore
from asm_actors.serialization import check_ids, check_integer, invalid, parse_member
from asm_actors.sessions.session import SessionStatus

__all__ = ["ESSENTIAL", "RetentionPolicy"]

ESSENTIAL: Final[frozenset[EventType]] = frozenset(
    {
        *EVENT_GROUPS[EventGroup.SESSION],
        *EVENT_GROUPS[EventGroup.RUN],
        EventType.ERROR_OCCURRED,
    }
)
"""Types that pruning never takes: without them a session's story could not be told, nor how its runs ended."""


def _bound(value: Any) -> int | None:
    # Infinity is what others write for "no bound"; here that is None.
    return None if value is None or value == math.inf else value


def _statuses(value: Any) -> frozenset[SessionStatus]:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable):
        raise invalid("exempt_statuses", "must be a list of statuses", value)
    return frozenset(parse_member(SessionStatus, name, ErrorCode.VALIDATION_ERROR) for name in value)


def _types(value: Any) -> tuple[EventType, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise invalid("prune_event_types_first", "must be a list of event types", value)
    try:
        found = tuple(dict.fromkeys(parse_event_type(name) for name in value))
    except AsmError as error:
        raise AsmError(ErrorCode.VALIDATION_ERROR, f"prune_event_types_first: {error.message}") from error
    for kind in found:
        if kind in ESSENTIAL:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR, f"prune_event_types_first: events of type {kind} are never pruned"
            )
    return found


def _tags(value: Any) -> frozenset[str]:
    return frozenset(check_ids(value, "exempt_tags"))


def _check_bound(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None or attribute.name == "batch_size":
        check_integer(value, attribute.name, least=1)


@frozen
class RetentionPolicy:
    """What a journal keeps. Every field acts; None is "without a bound" (infinity is taken for it).

    Attributes:
        max_session_age_days: sessions that were created longer ago are deleted softly.
        max_completed_session_age_days: sessions whose record last changed longer ago are deleted softly. With the
            default of `exempt_statuses` these are the ones that are over, and those that never began.
        max_events_per_session: sessions with more events are pruned.
        max_total_events: while the journal has more events, sessions are pruned, the one that was created longest
            ago first.
        hard_delete_after_days: sessions that were deleted softly longer ago are deleted for good.
        archive_before_prune: export a session to `archive_store` before something of it is lost for good: before
            it is pruned, and before it is deleted for good. What cannot be archived stays.
        archive_store: where archives go; needed by `archive_before_prune`.
        exempt_statuses: sessions of these statuses are not deleted softly.
        exempt_tags: sessions with one of these tags are not touched at all.
        prune_event_types_first: types of events that are pruned first, oldest first; the other ones follow only if
            that is not enough, and those of :data:`ESSENTIAL` never.
        batch_size: sessions that one step takes; between two steps others get their turn.

    Raises:
        ValidationError: a field is malformed, or archives are wanted and there is nowhere to put them.
    """

    max_session_age_days: int | None = field(default=None, converter=_bound, validator=_check_bound)
    max_completed_session_age_days: int | None = field(
        default=RETENTION_MAX_COMPLETED_AGE_DAYS, converter=_bound, validator=_check_bound
    )
    max_events_per_session: int | None = field(default=None, converter=_bound, validator=_check_bound)
    max_total_events: int | None = field(default=None, converter=_bound, validator=_check_bound)
    hard_delete_after_days: int | None = field(
        default=RETENTION_HARD_DELETE_AFTER_DAYS, converter=_bound, validator=_check_bound
    )
    archive_before_prune: bool = field(default=False)
    archive_store: ArtifactStore | None = None
    exempt_statuses: frozenset[SessionStatus] = field(default=RETENTION_EXEMPT_STATUSES, converter=_statuses)
    exempt_tags: frozenset[str] = field(default=RETENTION_EXEMPT_TAGS, converter=_tags)
    prune_event_types_first: tuple[EventType, ...] = field(
        default=RETENTION_PRUNE_EVENT_TYPES_FIRST, converter=_types
    )
    batch_size: int = field(default=RETENTION_BATCH_SIZE, validator=_check_bound)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.archive_before_prune, bool):
            raise invalid("archive_before_prune", "must be true or false", self.archive_before_prune)
        if self.archive_store is not None and not isinstance(self.archive_store, ArtifactStore):
            raise invalid("archive_store", "must be an artifact store", self.archive_store)
        if self.archive_before_prune and self.archive_store is None:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                "archive_before_prune needs an archive_store to put the archives into",
                details={"field": "archive_store"},
            )

    @property
    def prunes(self) -> bool:
        """Whether it bounds the number of events."""
        return self.max_events_per_session is not None or self.max_total_events is not None

    def to_map(self) -> dict[str, Any]:
        """Return the policy as a JSON-ready map; `archive_store` is left out."""
        found = asdict(self, filter=lambda attribute, _: attribute.name != "archive_store")
        found["exempt_statuses"] = sorted(status.value for status in self.exempt_statuses)
        found["exempt_tags"] = sorted(self.exempt_tags)
        found["prune_event_types_first"] = [kind.value for kind in self.prune_event_types_first]
        return found

    @classmethod
    def from_map(cls, value: Any, *, archive_store: ArtifactStore | None = None) -> Self:
        """Read what :meth:`to_map` wrote, or what somebody wrote by hand; what is left out has its default.

        Args:
            value: the map.
            archive_store: where archives go, since a map cannot say that.

        Raises:
            ValidationError: a field is malformed, or there is no such field.
        """
        if not isinstance(value, Mapping):
            raise invalid("a retention policy", "is read from a map", value)
        known = {attribute.name for attribute in fields(cls)} - {"archive_store"}
        for name in value:
            if name not in known:
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    f"a retention policy has no field {shown(name)}; there are: {', '.join(sorted(known))}",
                )
        return cls(archive_store=archive_store, **value)
