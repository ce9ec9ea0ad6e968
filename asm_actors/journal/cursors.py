"""Named cursors: where a durable subscriber stands, kept by the journal under the subscriber's name."""

from __future__ import annotations

from typing import Any, Self

from attrs import evolve, frozen

from asm_actors.serialization import Fields, iso_from_us

__all__ = ["NamedCursor", "SubscriptionInfo"]


@frozen
class NamedCursor:
    """Where a named subscription stands.

    Attributes:
        name: Its name.
        scope: What it follows, as a JSON map (`journal.subscription.Scope.to_map`).
        cursor: Everything up to here was acknowledged: a sequence number if it follows one session, else a position.
        created_us: When it was made, in microseconds since the epoch.
        updated_us: When the cursor last moved, likewise.
    """

    name: str
    scope: dict[str, Any]
    cursor: int
    created_us: int
    updated_us: int

    @property
    def session_id(self) -> str | None:
        """The session it follows; None if it follows the journal."""
        found: str | None = self.scope.get("session_id")
        return found

    def moved(self, cursor: int, now: int) -> Self:
        """The same subscription further on; it never goes back."""
        return self if cursor <= self.cursor else evolve(self, cursor=cursor, updated_us=now)

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map; times are ISO-8601 text in UTC."""
        return {
            "name": self.name,
            "scope": dict(self.scope),
            "cursor": self.cursor,
            "created_at": iso_from_us(self.created_us),
            "updated_at": iso_from_us(self.updated_us),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what `to_map` wrote.

        Raises:
            ValidationError: A field is missing or malformed.
        """
        fields = Fields(value, "cursor")
        return cls(
            name=fields.id("name"),
            scope=fields.map("scope"),
            cursor=fields.integer("cursor", least=0),
            created_us=fields.time("created_at"),
            updated_us=fields.time("updated_at"),
        )


@frozen
class SubscriptionInfo:
    """A named subscription at one moment.

    Attributes:
        cursor: What is kept of it.
        lag: Events beyond its cursor, those that its filter does not want included; 0 if its session is gone.
        is_open: Whether a consumer has it open now.
    """

    cursor: NamedCursor
    lag: int
    is_open: bool

    @property
    def name(self) -> str:
        """Its name."""
        return self.cursor.name

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map: the fields of its cursor, ``lag`` and ``is_open``."""
        return {**self.cursor.to_map(), "lag": self.lag, "is_open": self.is_open}
