"""What searches and sums must give: all of a model is looked at, one after the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from asm_actors.events import Event
from asm_actors.journal.pricing import PricingTable
from asm_actors.journal.query import EventFilter
from asm_actors.journal.search import EventSearch, RunSearch, SessionSearch
from asm_actors.journal.store import Store
from asm_actors.journal.usage import RunSelection
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus
from tests.journal.machine.model import Model, is_wanted
from tests.journal.machine.wishes import PROVIDERS, SESSIONS, TAGS, TYPES

PRICES = PricingTable.of(
    {"p": {"big": {"input": 0.5, "output": 1.0}}, "unknown": {"input": 2.0, "output": 0.0}}
)
_LIMITS = (1, 2, 5, 50)
_MOST_PAGES = 2_000


# --- What is asked ----------------------------------------------------------------------------------------------------


def _some(rng: random.Random, values: Iterable[Any], chance: float = 0.3) -> Any:
    found = list(values)
    if rng.random() > chance:
        return None
    return rng.choice(found) if rng.random() < 0.6 else rng.sample(found, 2)


def _one(rng: random.Random, values: Iterable[Any], chance: float = 0.3) -> Any:
    return rng.choice(list(values)) if rng.random() < chance else None


def session_search(rng: random.Random) -> dict[str, Any]:
    """Draw a search for sessions."""
    return {
        "agent_id": _one(rng, "xyz"),
        "status": _some(rng, SessionStatus),
        "provider": _one(rng, PROVIDERS),
        "tags": _some(rng, TAGS),
        "created_after": _one(rng, range(13)),
        "created_before": _one(rng, range(13)),
        "include_deleted": rng.random() < 0.5,
        "order_by": rng.choice(("updated_at_desc", "created_at_asc", "created_at_desc")),
        "limit": rng.choice(_LIMITS),
    }


def run_search(rng: random.Random) -> dict[str, Any]:
    """Draw a search for runs."""
    return {
        "session_id": _one(rng, SESSIONS, 0.2),
        "provider": _one(rng, PROVIDERS),
        "status": _some(rng, RunStatus),
        "started_after": _one(rng, range(13)),
        "started_before": _one(rng, range(13)),
        "min_tokens": _one(rng, (0, 3, 5, 20)),
        "order_by": rng.choice(("started_at_desc", "started_at_asc", "token_usage_desc")),
        "limit": rng.choice(_LIMITS),
    }


def event_search(rng: random.Random) -> dict[str, Any]:
    """Draw a search for events."""
    return {
        "session_ids": _some(rng, [*SESSIONS, "nobody"]),
        "run_ids": _some(rng, ["s0r0", "s1r0", "s1r1", "?"], 0.2),
        "types": _some(rng, TYPES),
        "providers": _some(rng, [*PROVIDERS, "other"]),
        "since": _one(rng, range(13)),
        "until": _one(rng, range(13)),
        "correlation_id": _one(rng, ("c1", "c9")),
        "order_by": rng.choice(("sequence_asc", "timestamp_asc", "timestamp_desc")),
        "limit": rng.choice(_LIMITS),
    }


def selection(rng: random.Random) -> RunSelection:
    """Draw whose runs are summed up."""
    return RunSelection(
        session_id=_one(rng, SESSIONS, 0.2),
        agent_id=_one(rng, "xyz"),
        provider=_one(rng, PROVIDERS),
        since=_one(rng, range(13)),
        until=_one(rng, range(13)),
    )


# --- What must be found -----------------------------------------------------------------------------------------------


def _within(value: int, least: int | None, most: int | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _started(run: Run) -> int:
    return run.created_us if run.started_us is None else run.started_us


def _tokens(run: Run) -> tuple[int, int, int]:
    sent, made = run.token_usage.get("input_tokens", 0), run.token_usage.get("output_tokens", 0)
    return sent, made, sent + made or run.token_usage.get("total_tokens", 0)


def _ordered(model: Model, items: list[Any], value: Callable[[Any], int], *, descending: bool) -> list[Any]:
    return sorted(items, key=lambda item: (value(item), model.numbers[item.id]), reverse=descending)


def sessions_found(model: Model, search: SessionSearch) -> list[Session]:
    """All sessions of a search, in order."""
    users = {run.session_id for run in model.runs.values() if run.provider == search.provider}
    found = [
        model.record(session.id)
        for session in model.sessions.values()
        if (search.include_deleted or session.deleted_us is None)
        and (search.status is None or session.status in search.status)
        and search.agent_id in (None, session.agent_id)
        and (search.provider in (None, session.provider) or session.id in users)
        and search.tags <= set(session.tags)
        and _within(session.created_us, search.created_after, search.created_before)
    ]
    by_update = search.order_by == "updated_at_desc"
    return _ordered(
        model,
        found,
        lambda session: session.updated_us if by_update else session.created_us,
        descending=search.order_by != "created_at_asc",
    )


def runs_found(model: Model, search: RunSearch) -> list[Run]:
    """All runs of a search, in order."""
    found = [
        run
        for run in model.runs.values()
        if search.session_id in (None, run.session_id)
        and search.provider in (None, run.provider)
        and (search.status is None or run.status in search.status)
        and _within(_started(run), search.started_after, search.started_before)
        and _tokens(run)[2] >= (search.min_tokens or 0)
    ]
    by_tokens = search.order_by == "token_usage_desc"
    return _ordered(
        model,
        found,
        lambda run: _tokens(run)[2] if by_tokens else _started(run),
        descending=search.order_by != "started_at_asc",
    )


def events_found(model: Model, search: EventSearch) -> list[Event]:
    """All events of a search, in order."""
    wanted = EventFilter(
        run_ids=search.run_ids,
        types=search.types,
        since=search.since,
        until=search.until,
        providers=search.providers,
        correlation_id=search.correlation_id,
    )
    names = set(model.sessions) if search.session_ids is None else search.session_ids
    if search.run_ids is not None:
        names = {model.runs[name].session_id for name in search.run_ids if name in model.runs} & names
    found = [event for event in model.events() if event.session_id in names and is_wanted(event, wanted)]
    if search.order_by != "sequence_asc":
        found.sort(
            key=lambda event: (event.timestamp_us, event.position),
            reverse=search.order_by == "timestamp_desc",
        )
    return found


def sums(model: Model, chosen: RunSelection) -> tuple[dict[str, Any], dict[str, Any]]:
    """What runs used, and what they cost, as maps."""
    runs = [
        run
        for run in model.runs.values()
        if chosen.session_id in (None, run.session_id)
        and chosen.agent_id in (None, model.sessions[run.session_id].agent_id)
        and chosen.provider in (None, run.provider)
        and _within(_started(run), chosen.since, chosen.until)
    ]
    providers = {run.provider or "unknown" for run in runs}
    models = {run.provider_metadata.get("model", "unknown") for run in runs}
    by_provider = {
        name: _usage([run for run in runs if (run.provider or "unknown") == name]) for name in providers
    }
    usage = {**_usage(runs), "by_provider": by_provider}
    costs = {run.id: _cost(run) for run in runs}
    cost = {
        "total_cost_usd": sum(found or 0.0 for found in costs.values()),
        "run_count": len(runs),
        "unmapped_runs": sum(found is None for found in costs.values()),
        "by_provider": {
            name: {
                "cost_usd": sum(costs[run.id] or 0.0 for run in runs if (run.provider or "unknown") == name),
                "run_count": by_provider[name]["run_count"],
            }
            for name in providers
        },
        "by_model": {
            name: {
                "cost_usd": sum(costs[run.id] or 0.0 for run in runs if _model(run) == name),
                "total_tokens": sum(_tokens(run)[2] for run in runs if _model(run) == name),
            }
            for name in models
        },
    }
    return usage, cost


def _model(run: Run) -> str:
    return str(run.provider_metadata.get("model", "unknown"))


def _usage(runs: list[Run]) -> dict[str, int]:
    sent, made, total = (sum(_tokens(run)[k] for run in runs) for k in range(3))
    return {"input_tokens": sent, "output_tokens": made, "total_tokens": total, "run_count": len(runs)}


def _cost(run: Run) -> float | None:
    if run.cost_usd is not None:
        return run.cost_usd
    sent, made, _ = _tokens(run)
    if run.provider == "p" and _model(run) == "big-1":
        return 0.5 * sent + 1.0 * made
    return 2.0 * sent if run.provider is None else None


def stats(model: Model, name: str) -> dict[str, Any]:
    """What is in a session, as `SessionStats` has it."""
    events, runs = model.own(name), model.runs_of(name)
    statuses = [run.status.value for run in runs]
    return {
        "event_count": len(events),
        "run_count": len(runs),
        "token_totals": tuple(sum(_tokens(run)[k] for run in runs) for k in range(3)),
        "providers_used": tuple(sorted({run.provider for run in runs if run.provider is not None})),
        "first_event_us": events[0].timestamp_us if events else None,
        "last_event_us": events[-1].timestamp_us if events else None,
        "status_counts": {status: statuses.count(status) for status in set(statuses)},
    }


# --- Asking -----------------------------------------------------------------------------------------------------------


def pages(ask: Callable[[Any], Any], kind: Any, search: dict[str, Any]) -> list[Any]:
    """All pages of a search, up to the empty one."""
    found = [ask(kind(**search))]
    while found[-1].cursor is not None:
        found.append(ask(kind(**search, cursor=found[-1].cursor)))
        assert len(found) < _MOST_PAGES, "the pages have no end"
    return found


def read_all(store: Store, after: int, limit: int, scan_limit: int, **options: Any) -> list[Event]:
    """Read on, page by page, to the end of the journal."""
    last, found = store.last_position(), []
    while after < last:
        page = store.read_all(after=after, limit=limit, scan_limit=scan_limit, **options)
        assert page.position > after, "a page does not lead on"
        assert len(page.events) <= limit, "a page is too long"
        found += page.events
        after = page.position
    return found
