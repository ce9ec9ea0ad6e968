"""What is asked in a random program: of both stores, and of another process that reads the one on disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from attrs import asdict
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from asm_actors.errors import AsmError
from asm_actors.journal.query import EventFilter
from asm_actors.journal.search import EventSearch, RunSearch, SessionSearch
from asm_actors.runs.run import RunStatus
from asm_actors.sessions.session import SessionStatus
from tests.journal.machine import searching
from tests.journal.machine.agreement import WHOLE, differences, expected
from tests.journal.machine.model import is_wanted
from tests.journal.machine.program import Program
from tests.journal.machine.wishes import PROVIDERS, SESSIONS, TAGS, TYPES, varieties

QUESTIONS = (
    "read",
    "read_pages",
    "list_records",
    "search",
    "sum_up",
    "find_small_things",
    "ask_for_what_is_not_there",
)


class _There:
    """The other process, with the methods of a store."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self._ask(name, *args, **options)


class Questions(Program):
    """See the module."""

    def asked(self) -> Iterator[tuple[str, Any]]:
        """All that can be asked, with names."""
        yield from self.stores
        if self.elsewhere.is_open:
            yield "another process", _There(self.elsewhere.ask)

    @rule()
    def look_at_everything(self) -> None:
        """Every plain question at once."""
        self.demand_all()

    @rule(what=st.sampled_from(QUESTIONS), variety=varieties)
    def ask(self, what: str, variety: int) -> None:
        """Ask one kind of question."""
        getattr(self, what)(random.Random(variety))

    def read(self, rng: random.Random) -> None:
        """Read sessions with filters, bounds and a limit."""
        wanted = _filter(rng)
        end = WHOLE if wanted.before is None else wanted.before
        for name in self.model.sessions:
            events = [
                event
                for event in self.model.history(name)
                if is_wanted(event, wanted) and (wanted.after or 0) < (event.sequence_number or 0) < end
            ][: wanted.limit]
            for who, store in self.asked():
                assert store.read_session(name, wanted) == events, (who, name, wanted)

    def read_pages(self, rng: random.Random) -> None:
        """Read the journal, or a session's own events, page by page."""
        after, limit, scan_limit = rng.randrange(30), rng.choice((1, 3, 100)), rng.choice((1, 4, 10_000))
        wanted = _filter(rng, bounded=False)
        for name in (None, *rng.sample(list(self.model.sessions), min(2, len(self.model.sessions)))):
            events = [
                event
                for event in self.model.events()
                if (event.position or 0) > after
                and name in (None, event.session_id)
                and is_wanted(event, wanted)
            ]
            for who, store in self.asked():
                found = searching.read_all(store, after, limit, scan_limit, filter=wanted, session_id=name)
                assert found == events, (who, name, wanted)

    def list_records(self, rng: random.Random) -> None:
        """List sessions and runs by what they are."""
        asked: dict[str, Any] = {
            "status": rng.choice((None, None, rng.choice(list(SessionStatus)), ["active", "paused"])),
            "agent_id": rng.choice((None, None, "x", "z")),
            "tags": rng.choice((None, [rng.choice(TAGS)], list(TAGS))),
            "provider": rng.choice((None, None, *PROVIDERS)),
            "include_deleted": rng.random() < 0.5,
            "parent_session_id": rng.choice((None, None, None, *SESSIONS)),
            "newest_first": rng.random() < 0.5,
            "limit": rng.choice((None, None, 1, 3)),
            "after": rng.choice((None, *self.model.sessions)),
        }
        wanted = self._listed(asked)
        status = rng.choice((None, rng.choice(list(RunStatus))))
        owner = rng.choice((None, *self.model.sessions))
        runs = [
            run
            for run in self.model.runs.values()
            if status in (None, run.status) and owner in (None, run.session_id)
        ][: asked["limit"]]
        for who, store in self.asked():
            assert [session.id for session in store.sessions(**asked)] == wanted, (who, asked)
            assert store.runs(owner, status=status, limit=asked["limit"]) == runs, (who, owner, status)

    def _listed(self, asked: dict[str, Any]) -> list[str]:
        statuses = [asked["status"]] if isinstance(asked["status"], str) else asked["status"]
        found = [
            session.id
            for session in self.model.sessions.values()
            if (asked["include_deleted"] or session.deleted_us is None)
            and (statuses is None or session.status in statuses)
            and asked["agent_id"] in (None, session.agent_id)
            and set(asked["tags"] or ()) <= set(session.tags)
            and asked["provider"] in (None, session.provider)
            and asked["parent_session_id"] in (None, session.parent_session_id)
        ]
        ids = list(self.model.sessions)
        if asked["newest_first"]:
            found, ids = found[::-1], ids[::-1]
        if asked["after"] is not None:
            passed = ids[: ids.index(asked["after"]) + 1]
            found = [name for name in found if name not in passed]
        return found[: asked["limit"]]

    def search(self, rng: random.Random) -> None:
        """Search sessions, runs and events: all pages."""
        for what, kind, search, found_in in (
            ("sessions", SessionSearch, searching.session_search(rng), searching.sessions_found),
            ("runs", RunSearch, searching.run_search(rng), searching.runs_found),
            ("events", EventSearch, searching.event_search(rng), searching.events_found),
        ):
            wanted: list[Any] = found_in(self.model, kind(**search))
            cursors = []
            for who, store in self.asked():
                found = searching.pages(getattr(store, f"search_{what}"), kind, search)
                items = [item for page in found for item in getattr(page, what)]
                if search["order_by"] == "token_usage_desc":  # it has one page
                    assert items == wanted[: search["limit"]], (who, search)
                else:
                    assert items == wanted, (who, search)
                if what == "sessions":
                    assert {page.total_count for page in found} == {len(wanted)}, (who, search)
                if what == "events":
                    assert store.count_events(kind(**search)) == len(wanted), (who, search)
                cursors.append([page.cursor for page in found])
            assert all(one == cursors[0] for one in cursors), (what, search)

    def sum_up(self, rng: random.Random) -> None:
        """Sum up what runs used and cost, and what is in each session."""
        chosen = searching.selection(rng)
        usage, cost = searching.sums(self.model, chosen)
        for who, store in self.asked():
            assert store.usage_summary(chosen).to_map() == usage, (who, chosen)
            assert store.cost_summary(chosen, searching.PRICES).to_map() == cost, (who, chosen)
            for name in self.model.sessions:
                found = asdict(store.session_stats(name), recurse=False)
                assert found == searching.stats(self.model, name), (who, name)

    def find_small_things(self, rng: random.Random) -> None:
        """Artifacts by key and page by page; cursors by name."""
        after, limit = rng.choice((None, "art_1", "art_9")), rng.choice((None, 0, 1))
        there = sorted(self.model.artifacts.values(), key=lambda one: one.id)
        listed = [one for one in there if one.deleted_us is None and one.id > (after or "")][:limit]
        by_key = {one.key: one for one in there if one.deleted_us is None}
        for who, store in self.asked():
            assert store.artifacts(after=after, limit=limit) == listed, (who, after, limit)
            for k in range(5):
                assert store.artifact_by_key(f"key{k}") == by_key.get(f"key{k}"), (who, k)
                assert store.artifact(f"art_{k}") == self.model.artifacts.get(f"art_{k}"), (who, k)
            for name in ("a", "b", "z/1", "nobody"):
                assert store.cursor(name) == self.model.cursors.get(name), (who, name)

    def ask_for_what_is_not_there(self, rng: random.Random) -> None:
        """What is unknown is told alike by all, and is no more than that."""
        gone = [name for name in SESSIONS if name not in self.model.sessions]
        name = rng.choice(gone) if gone else "nobody"
        method = rng.choice(("head", "session", "read_session", "runs", "open_runs", "session_stats", "run"))
        codes = set()
        for who, store in self.asked():
            assert (store.has_session(name), store.has_run(name)) == (False, False)
            assert (store.forks_of(name), store.session_by_key("?"), store.run_by_key(name, "?")) == (
                [],
                None,
                None,
            )
            try:
                getattr(store, method)(name)
            except AsmError as error:
                codes.add(error.code)
            else:
                raise AssertionError(f"{method} of {who} knows {name}")
        assert codes == {"run_not_found" if method == "run" else "session_not_found"}

    # --- Another process -----------------------------------------------------------------------------------------

    @precondition(lambda self: not self.elsewhere.is_open)
    @rule()
    def another_process_opens(self) -> None:
        """Another process opens the journal, and keeps it open."""
        self.elsewhere.open(self.path)

    @precondition(lambda self: self.elsewhere.is_open)
    @rule(stays=st.booleans())
    def another_process_looks(self, stays: bool) -> None:
        """It sees what is committed, settled or not."""
        wrong = differences(self.elsewhere.ask("look"), expected(self.model))
        assert not wrong, "another process:\n" + "\n".join(wrong)
        if not stays:
            self.elsewhere.close()


def _filter(rng: random.Random, *, bounded: bool = True) -> EventFilter:
    bounds: dict[str, Any] = {}
    if bounded:
        bounds = {
            "after": rng.choice((None, rng.randrange(12), rng.randrange(60))),
            "before": rng.choice((None, None, rng.randrange(60))),
            "limit": rng.choice((None, 0, 1, 7)),
        }
    return EventFilter(
        run_ids=rng.choice((None, None, None, "s0r0", ["s1r0", "s1r1"])),
        types=rng.choice((None, None, rng.choice(TYPES))),
        since=rng.choice((None, None, None, rng.randrange(13))),
        until=rng.choice((None, None, None, rng.randrange(13))),
        providers=rng.choice((None, None, None, rng.choice(PROVIDERS))),
        correlation_id=rng.choice((None, None, None, "c1")),
        **bounds,
    )
