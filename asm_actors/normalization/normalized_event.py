"""What a provider reported, in the common form, before it becomes an event of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from attrs import evolve, frozen

from asm_actors.errors import AsmError
from asm_actors.events import Event, EventType, validate
from asm_actors.serialization import Fields, check_id, check_optional_id

__all__ = ["GENERIC_PROVIDER", "NormalizedEvent"]

GENERIC_PROVIDER: Final = "generic"
"""The provider of what nobody signed."""


@frozen
class NormalizedEvent(Event):
    """An event as a provider reported it. Unlike a journal event it always belongs to a run.

    Attributes:
        parent_event_id: the event this one answers or is part of, if any.
        provider_event_id: the provider's own id for it, if it gave one.
    """

    parent_event_id: str | None = None
    provider_event_id: str | None = None

    @classmethod
    def new(
        cls,
        *,
        id: str,  # noqa: A002 - the field's name is the argument's
        now: int,
        type: EventType | str | None = None,  # noqa: A002 - as above
        session_id: str | None = None,
        run_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        provider: str | None = GENERIC_PROVIDER,
        correlation_id: str | None = None,
        parent_event_id: str | None = None,
        provider_event_id: str | None = None,
    ) -> Self:
        """Check what a caller gives and copy it; ``type``, ``session_id`` and ``run_id`` are required.

        Raises:
            ValidationError: a field is missing or malformed; the message names it.
            StateError: ``invalid_event_type``.
        """
        event = super().new(
            id=id,
            now=now,
            type=type,
            session_id=session_id,
            run_id=check_id(run_id, "run_id"),
            data=data,
            metadata=metadata,
            provider=provider or GENERIC_PROVIDER,
            correlation_id=correlation_id,
        )
        return evolve(
            event,
            parent_event_id=check_optional_id(parent_event_id, "parent_event_id"),
            provider_event_id=check_optional_id(provider_event_id, "provider_event_id"),
        )

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def is_valid(self) -> bool:
        """Whether it could be stored: also tells of events built with the bare constructor."""
        try:
            validate(self)
            check_id(self.run_id, "run_id")
        except AsmError:
            return False
        return True

    def same_context(self, other: Event) -> bool:
        """Tell whether both belong to the same run of the same session."""
        return self.session_id == other.session_id and self.run_id == other.run_id

    def to_map(self) -> dict[str, Any]:
        """Return the event as a JSON-ready map."""
        return {
            **super().to_map(),
            "parent_event_id": self.parent_event_id,
            "provider_event_id": self.provider_event_id,
        }

    @classmethod
    def _read(cls, fields: Fields) -> dict[str, Any]:
        return {
            **super()._read(fields),
            "run_id": fields.id("run_id"),
            "provider": fields.optional_id("provider") or GENERIC_PROVIDER,
            "parent_event_id": fields.optional_id("parent_event_id"),
            "provider_event_id": fields.optional_id("provider_event_id"),
        }
