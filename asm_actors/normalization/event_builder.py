"""From what somebody else reported to an event that the journal can take: resolved, redacted, enriched, checked. Pure.

For events that come from outside: another system's log, a script. What providers say comes as typed items, and is right
by construction; here a payload of an unusual shape is kept, and says so in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from attrs import evolve, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, shape_warnings
from asm_actors.jsonable import jsonable, stringify_keys
from asm_actors.normalization.normalizer import resolve_type, time_or
from asm_actors.serialization import invalid

__all__ = ["WARNINGS", "BuildContext", "Redacts", "build_event", "build_events"]

WARNINGS: Final = "_validation_warnings"
"""Key in the metadata of an event whose payload lacks something of the shape that its type promises."""


class Redacts(Protocol):
    """Takes secrets out of a map; a `Redactor` does."""

    def map(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the map without its secrets."""
        ...


@frozen
class BuildContext:
    """What a raw event does not say, or is not believed to know.

    Attributes:
        session_id: The session it belongs to.
        now: Microseconds since the epoch, for events without a readable time of their own.
        ids: Their names, one for each, in order.
        run_id: The run they belong to, if any.
        provider: Who reports them; stands over what they say.
        correlation_id: The caller's key; likewise.
        redactor: Takes secrets out; None: nothing is taken out.
    """

    session_id: str
    now: int
    ids: tuple[str, ...]
    run_id: str | None = None
    provider: str | None = None
    correlation_id: str | None = None
    redactor: Redacts | None = None


def build_event(raw: Mapping[Any, Any], context: BuildContext, *, index: int = 0) -> Event:
    """Make an event of a raw one.

    Args:
        raw: ``type`` (one that is not ours, or none, makes it an ``error_occurred``), ``timestamp``, ``data`` and
            ``metadata`` (anything but a map counts as an empty one).
        context: Where it belongs.
        index: Its place in the context's ids.

    Raises:
        ValidationError: It is no map, there is no id for it, or the context is malformed.
    """
    if not isinstance(raw, Mapping):
        raise invalid("a raw event", "must be a map", raw)
    if not 0 <= index < len(context.ids):
        raise invalid("ids", "must have one for each raw event", len(context.ids))
    # Keys may be members of somebody's enumeration; all of them become text first.
    given = stringify_keys({key: value for key, value in raw.items() if key != "timestamp"})
    data, metadata = _map(given.get("data")), _map(given.get("metadata"))
    if context.redactor is not None:
        data, metadata = context.redactor.map(data), context.redactor.map(metadata)
    event = Event.new(
        id=context.ids[index],
        now=time_or(raw.get("timestamp"), context.now),
        type=resolve_type(given.get("type")),
        session_id=context.session_id,
        run_id=context.run_id,
        data=data,
        metadata=metadata,
        provider=context.provider,
        correlation_id=context.correlation_id,
    )
    warnings = shape_warnings(event.type, event.data)
    return evolve(event, metadata={**event.metadata, WARNINGS: list(warnings)}) if warnings else event


def build_events(raws: Iterable[Mapping[Any, Any]], context: BuildContext) -> tuple[Event, ...]:
    """Make events of raw ones, in their order: all of them, or none.

    Raises:
        ValidationError: At least one is bad; ``details["errors"]`` has ``index``, ``raw`` and ``error`` of each.
    """
    events: list[Event] = []
    errors: list[dict[str, Any]] = []
    for index, raw in enumerate(raws):
        try:
            events.append(build_event(raw, context, index=index))
        except AsmError as error:
            errors.append({"index": index, "raw": jsonable(raw), "error": error.to_map()})
    if errors:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR,
            f"{len(errors)} of {len(errors) + len(events)} raw events cannot be taken",
            details={"errors": errors},
        )
    return tuple(events)


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
