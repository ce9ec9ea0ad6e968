"""How a run may go on from the conversation before it: what is legal, and what it means. Pure.

What :func:`check_mode` and :func:`check_continuation_opts` return is JSON, stands in a run's record under
``continuation`` and ``continuation_opts``, and is left as it is when it is checked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

from attrs import Factory, frozen

from asm_actors.config import CHARS_PER_TOKEN
from asm_actors.journal.query import EventFilter
from asm_actors.serialization import check_integer, invalid, iso_from_us, us_from_iso, us_from_time
from asm_actors.transcripts.truncation import Truncation

__all__ = [
    "COMPACTION",
    "CONTINUATION_MODES",
    "KEEP_LAST",
    "NATIVE_CONTINUATION",
    "ContinuationOptions",
    "check_continuation_opts",
    "check_mode",
]

CONTINUATION_MODES: Final = (False, "auto", "replay", "native")
"""Not at all; as it can be; the earlier messages are sent again; the provider goes on with its own conversation."""

COMPACTION: Final = "compaction"
"""What a run is for (its option ``purpose``) that sums up the conversation instead of going on with it."""

NATIVE_CONTINUATION: Final = "native_continuation"
"""What the capability is called of a provider that can go on with a conversation of its own."""

KEEP_LAST: Final = 10
"""Messages which a compaction leaves as they are unless it is told otherwise."""


def check_mode(value: Any) -> bool | str:
    """Return a mode of continuation as a run's record keeps it.

    Raises:
        ValidationError: it is none of :data:`CONTINUATION_MODES`; ``True`` is none.
    """
    if value is False:
        return False
    if isinstance(value, str) and value in CONTINUATION_MODES:
        return str(value)
    raise invalid("continuation", "must be False, 'auto', 'replay' or 'native'", value)


def check_continuation_opts(value: Any) -> dict[str, Any]:
    """Return options of a continuation as a run's record keeps them; what is None is left out.

    Args:
        value: a map with any of ``run_id`` and ``type`` (one or several), ``since`` (an aware ``datetime``, or
            ISO-8601 text), ``limit after before max_messages max_chars max_tokens_approx`` (see ``transcript``), and
            ``compact_over_tokens keep_last`` (see `ContinuationOptions`).

    Raises:
        ValidationError: it is no map, or something in it is unknown or malformed.
        StateError: ``invalid_event_type``.
    """
    if not isinstance(value, Mapping):
        raise invalid("continuation_opts", "must be a map", value)
    found: dict[str, Any] = {}
    for name, option in value.items():
        if name not in _CHECKS:
            near = get_close_matches(str(name), _CHECKS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(_CHECKS)}"
            raise invalid("continuation_opts", f"has no such option ({hint})", name)
        if option is not None:
            found[name] = _CHECKS[name](option)
    return found


@frozen
class ContinuationOptions:
    """The options of a continuation, ready for use.

    Attributes:
        wanted: which events of the session count.
        truncation: how much of the conversation may be sent.
        compact_over_tokens: if the conversation has more tokens than this, a run sums it up first; None: never.
        keep_last: how many of the newest messages that leaves as they are, at least.
    """

    wanted: EventFilter = Factory(EventFilter)
    truncation: Truncation = Factory(Truncation)
    compact_over_tokens: int | None = None
    keep_last: int = KEEP_LAST

    @classmethod
    def of(cls, value: Mapping[str, Any], chars_per_token: int = CHARS_PER_TOKEN) -> ContinuationOptions:
        """Read what :func:`check_continuation_opts` returned, or may return.

        Args:
            value: that.
            chars_per_token: how many characters a token has, roughly.

        Raises:
            AsmError: as that.
        """
        opts = check_continuation_opts(value)
        since = opts.get("since")
        return cls(
            EventFilter(
                run_ids=opts.get("run_id"),
                types=opts.get("type"),
                since=None if since is None else us_from_iso(since, "since"),
                after=opts.get("after"),
                before=opts.get("before"),
                limit=opts.get("limit"),
            ),
            Truncation(
                opts.get("max_messages"),
                opts.get("max_chars"),
                opts.get("max_tokens_approx"),
                chars_per_token,
            ),
            opts.get("compact_over_tokens"),
            opts.get("keep_last", KEEP_LAST),
        )

    @property
    def takes_all(self) -> bool:
        """Whether every event before the run counts."""
        wanted = self.wanted
        return wanted.takes_all and wanted.after is None and wanted.before is None and wanted.limit is None


def _run_ids(value: Any) -> str | list[str]:
    found = sorted(EventFilter(run_ids=value).run_ids or ())
    return found[0] if isinstance(value, str) else found


def _types(value: Any) -> str | list[str]:
    found = sorted(kind.value for kind in EventFilter(types=value).types or ())
    return found[0] if isinstance(value, str) else found


def _since(value: Any) -> str:
    if isinstance(value, str):
        return iso_from_us(us_from_iso(value, "since"))
    if not isinstance(value, datetime):
        raise invalid("since", "must be an aware datetime, or ISO-8601 text", value)
    return iso_from_us(us_from_time(value, "since"))


def _integer(name: str, least: int = 0) -> Callable[[Any], int]:
    return lambda value: check_integer(value, name, least=least)


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "run_id": _run_ids,
    "type": _types,
    "since": _since,
    "limit": _integer("limit"),
    "after": _integer("after"),
    "before": _integer("before"),
    "max_messages": _integer("max_messages"),
    "max_chars": _integer("max_chars"),
    "max_tokens_approx": _integer("max_tokens_approx"),
    "compact_over_tokens": _integer("compact_over_tokens", 1),
    "keep_last": _integer("keep_last"),
}
"""What options there are, and what makes JSON of each."""
