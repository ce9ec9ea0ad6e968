"""What runs used: values, and the sums that make them.

Token counts are what a run's ``token_usage`` tells: ``input_tokens`` and ``output_tokens``, their sum (or
``total_tokens`` where neither is told), ``cache_read_tokens`` and ``cache_creation_tokens``. What is missing, negative
or no number counts as 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from attrs import Factory, asdict, field, frozen

from asm_actors.runs.run import Run
from asm_actors.serialization import (
    check_optional_id,
    check_time,
    iso_from_us,
    time_from_us,
    us_from_time,
)

# fmt: off
__all__ = [
    "INT64_MAX", "INT64_MIN", "UNKNOWN", "ProviderUsage", "RunSelection", "SessionStats", "Tokens", "UsageSummary",
    "answered_by", "count_of", "model_of", "session_stats_of", "started_us_of", "tokens_of", "usage_summary_of",
]
# fmt: on

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

UNKNOWN: Final = "unknown"
"""Stands for the provider or the model of runs that name none."""


class Tokens(NamedTuple):
    """Counts of tokens."""

    input: int
    output: int
    total: int


def tokens_of(run: Run) -> Tokens:
    """Return what a run used."""
    usage = run.token_usage
    sent, made = count_of(usage, "input_tokens"), count_of(usage, "output_tokens")
    total = sent + made or count_of(usage, "total_tokens")
    return Tokens(sent, made, min(total, INT64_MAX))


def count_of(usage: Mapping[str, Any], name: str) -> int:
    """Return one count of a usage map."""
    value = usage.get(name, 0)
    return int(value) if type(value) in (int, float) and value > 0 else 0


def started_us_of(run: Run) -> int:
    """Return when a run started; one that has not counts by when it was asked for."""
    return run.created_us if run.started_us is None else run.started_us


def model_of(run: Run) -> str | None:
    """Return the model that a run used, as its provider told it, else as its caller asked for it."""
    options = run.options.get("adapter_opts")
    for source in (run.provider_metadata, run.metadata, options if isinstance(options, Mapping) else {}):
        model = source.get("model")
        if isinstance(model, str) and model:
            return model
    return None


def answered_by(run: Run) -> str | None:
    """Return the provider that answered a run: the one a router chose, else the run's own, else its session's."""
    metadata = run.provider_metadata
    routing = metadata.get("routing")
    routed = routing.get("routed_provider") if isinstance(routing, Mapping) else None
    found = routed or run.provider or metadata.get("provider")
    return found if isinstance(found, str) else None


def _instant(value: datetime | int | None) -> int | None:
    if value is None:
        return None
    return (
        check_time(value, "since or until") if type(value) is int else us_from_time(value, "since or until")
    )


def _name(value: str | None) -> str | None:
    return check_optional_id(value, "an id or a provider's name")


@frozen(kw_only=True)
class RunSelection:
    """Whose runs a summary is about. Everything given must hold.

    Attributes:
        session_id: runs of this session.
        agent_id: runs of sessions with this agent.
        provider: runs of this provider.
        since: started at this instant or later (see :func:`started_us_of`): an aware ``datetime``, or microseconds.
        until: started at this instant or earlier, likewise.

    Raises:
        ValidationError: a field is malformed.
    """

    session_id: str | None = field(default=None, converter=_name)
    agent_id: str | None = field(default=None, converter=_name)
    provider: str | None = field(default=None, converter=_name)
    since: int | None = field(default=None, converter=_instant)
    until: int | None = field(default=None, converter=_instant)

    def takes(self, run: Run) -> bool:
        """Tell whether a summary is about a run; its session's agent is not looked at."""
        start = started_us_of(run)
        return (
            (self.session_id is None or run.session_id == self.session_id)
            and (self.provider is None or run.provider == self.provider)
            and (self.since is None or start >= self.since)
            and (self.until is None or start <= self.until)
        )


@frozen
class ProviderUsage:
    """What the runs of one provider used."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    run_count: int


@frozen
class UsageSummary:
    """What runs used.

    Attributes:
        input_tokens: sum over the runs.
        output_tokens: sum over the runs.
        total_tokens: sum over the runs.
        run_count: how many runs these are.
        by_provider: the same of each provider; ``unknown`` stands for runs that name none.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    run_count: int
    by_provider: dict[str, ProviderUsage]

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return asdict(self)


def usage_summary_of(runs: Iterable[Run]) -> UsageSummary:
    """Sum up what runs used."""
    sums: dict[str, list[int]] = {}
    for run in runs:
        mine = sums.setdefault(run.provider or UNKNOWN, [0, 0, 0, 0])
        for index, count in enumerate((*tokens_of(run), 1)):
            mine[index] += count
    sent, made, total, count = [sum(column) for column in zip(*sums.values(), strict=True)] or [0, 0, 0, 0]
    by_provider = {name: ProviderUsage(*mine) for name, mine in sorted(sums.items())}
    return UsageSummary(sent, made, total, count, by_provider)


@frozen
class SessionStats:
    """What is in a session.

    Attributes:
        event_count: its own events; those that a fork shares with its parent are the parent's.
        run_count: its runs.
        token_totals: what its runs used.
        providers_used: providers of its runs, sorted.
        first_event_us: when its first event happened, in microseconds since the epoch, or None if it has none.
        last_event_us: when its last event happened, or None.
        status_counts: how many of its runs have each status; statuses that none has are left out.
    """

    event_count: int
    run_count: int
    token_totals: Tokens
    providers_used: tuple[str, ...] = ()
    first_event_us: int | None = None
    last_event_us: int | None = None
    status_counts: dict[str, int] = Factory(dict)

    @property
    def first_event_at(self) -> datetime | None:
        """When its first event happened (aware, UTC), or None."""
        return None if self.first_event_us is None else time_from_us(self.first_event_us)

    @property
    def last_event_at(self) -> datetime | None:
        """When its last event happened (aware, UTC), or None."""
        return None if self.last_event_us is None else time_from_us(self.last_event_us)

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map; times are ISO-8601 text in UTC."""
        first, last = self.first_event_us, self.last_event_us
        return {
            "event_count": self.event_count,
            "run_count": self.run_count,
            "token_totals": self.token_totals._asdict(),
            "providers_used": list(self.providers_used),
            "first_event_at": None if first is None else iso_from_us(first),
            "last_event_at": None if last is None else iso_from_us(last),
            "status_counts": dict(self.status_counts),
        }


def session_stats_of(
    event_count: int, first_event_us: int | None, last_event_us: int | None, runs: Iterable[Run]
) -> SessionStats:
    """Sum up a session.

    Args:
        event_count: how many events it has.
        first_event_us: when the first of them happened.
        last_event_us: when the last of them happened.
        runs: its runs.
    """
    found = list(runs)
    totals = [sum(column) for column in zip(*map(tokens_of, found), strict=True)] or [0, 0, 0]
    statuses = Counter(run.status.value for run in found)
    return SessionStats(
        event_count,
        len(found),
        Tokens(*totals),
        tuple(sorted({run.provider for run in found if run.provider is not None})),
        first_event_us,
        last_event_us,
        dict(sorted(statuses.items())),
    )
