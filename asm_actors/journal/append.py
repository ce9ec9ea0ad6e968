"""What a writer hands to the journal, and what it gets back.

An :class:`Append` is one atomic unit: its events and the records they lead to are committed in one
transaction, or none of them is. These are tuples, because one is built for every event of every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from asm_actors.events import EventType
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["EMPTY", "Append", "Appended", "Draft", "Packed"]

EMPTY: Final[dict[str, Any]] = {}
"""The shared empty map for drafts without metadata. Nobody ever changes it."""


class Draft(NamedTuple):
    """An event before the store gives it its place."""

    type: EventType
    """What happened."""

    timestamp_us: int
    """When, in microseconds since the epoch."""

    run_id: str | None = None
    """The run it belongs to, or None for an event of the session itself."""

    data: dict[str, Any] = EMPTY
    """Its payload, JSON; never changed after it was handed over."""

    metadata: dict[str, Any] = EMPTY
    """Facts about the event, JSON; never changed after it was handed over."""

    provider: str | None = None
    """Who reported it."""

    correlation_id: str | None = None
    """The caller's key that ties it to other work."""

    id: str | None = None
    """The event's id if a caller chose it; else it follows from the append's block."""


class Packed:
    """Drafts in their stored form: what a writer makes of them as soon as it lets them go.

    A thousand runs that wait for a commit would else keep tens of thousands of small objects alive, which costs the
    garbage collector more than writing them. ``asm_actors.journal.codec.pack_drafts`` makes it.
    """

    __slots__ = ("body", "count", "large")

    def __init__(self, count: int, body: bytes, large: Mapping[bytes, bytes] | None = None) -> None:
        self.count = count
        self.body = body
        # Payloads too large for the body, encoded, by their digest; the body refers to them.
        self.large = large

    @property
    def n_bytes(self) -> int:
        """Their size in memory, about."""
        return len(self.body) if self.large is None else len(self.body) + sum(map(len, self.large.values()))

    def __len__(self) -> int:
        return self.count


class Append(NamedTuple):
    """One atomic unit of one session."""

    session_id: str
    """The session whose events and records these are."""

    drafts: Sequence[Draft] | Packed
    """The events, in order; may be empty when only records change. Packed ones need ``expect``."""

    base_id: int
    """The 128-bit block from which the events are named: see ``asm_actors.ids.event_id``."""

    session: Session | None = None
    """The session's new record, or None if it is unchanged."""

    runs: Sequence[Run] = ()
    """The new records of runs of this session."""

    expect: int | None = None
    """The last sequence number the writer knows. The first draft gets the next one, and if another writer was
    faster the append is refused. None: the store decides, and drops events whose id it already has."""


class Appended(NamedTuple):
    """What became of an append."""

    first_sequence: int
    """The sequence number of its first event; the others follow without gaps."""

    first_position: int
    """The place of its first event in the whole journal."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    """How many events were written: 0 if it held records only, or every event was there already."""
