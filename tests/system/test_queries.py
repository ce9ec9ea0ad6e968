"""`system.queries` on both surfaces, over a journal that a running system writes."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

import asm_actors as asm
from asm_actors.queries import QueryOperations

OPERATIONS = {name for name in vars(QueryOperations) if not name.startswith("_")}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_query_takes_the_same_on_both_surfaces_and_is_documented(name):
    blocking, awaited = getattr(asm.Queries, name), getattr(asm.AsyncQueries, name)
    assert inspect.iscoroutinefunction(awaited)
    assert list(inspect.signature(blocking).parameters) == list(inspect.signature(awaited).parameters)
    assert blocking.__doc__
    assert "Future" not in str(inspect.signature(blocking).return_annotation)


@pytest.fixture(params=["memory", "disk"])
def journal(request, tmp_path):
    return asm.MemoryStore() if request.param == "memory" else tmp_path / "journal"


@pytest.fixture
def system(journal):
    with asm.ActorSystem.start(
        journal, {"mock": asm.ScriptedProvider(), "other": asm.ScriptedProvider()}
    ) as system:
        yield system


def test_what_ran_is_found_and_summed_up(system):
    first = system.sessions.run_once({"prompt": "Hello"}, provider="mock", agent_id="greeter", tags=["kept"])
    second = system.sessions.run_once({"prompt": "Bye"}, provider="other", agent_id="leaver")
    queries = system.queries
    found = queries.search_sessions(tags=["kept"], status="completed")
    assert ([one.id for one in found.sessions], found.total_count) == ([first.session_id], 1)
    assert {one.id for one in queries.search_sessions().sessions} == {first.session_id, second.session_id}
    assert [run.id for run in queries.search_runs(provider="other").runs] == [second.run_id]
    types = [event.type for event in queries.search_events(session_ids=first.session_id).events]
    assert (types[0], types[-1]) == ("session_created", "session_completed")
    assert queries.count_events(run_ids=[second.run_id], types="run_completed") == 1
    stats = queries.get_session_stats(first.session_id)
    assert (stats.event_count, stats.run_count, stats.status_counts) == (len(types), 1, {"completed": 1})
    usage = queries.get_usage_summary(provider="mock")
    assert (usage.run_count, usage.total_tokens) == (1, stats.token_totals.total)
    table = {"mock": {"default": {"input": 1.0, "output": 1.0}}}
    costs = queries.get_cost_summary(pricing_table=table)
    assert (costs.run_count, costs.unmapped_runs) == (2, 1)
    assert costs.total_cost_usd == stats.token_totals.total
    assert (
        queries.get_cost_summary(agent_id="leaver", pricing_table=table).by_provider["other"].run_count == 1
    )


def test_a_session_is_exported_whole(system):
    result = system.sessions.run_once({"prompt": "Hello"}, provider="mock")
    export = system.queries.export_session(result.session_id)
    assert export.session == system.sessions.get_session(result.session_id)
    assert [run.id for run in export.runs] == [result.run_id]
    assert list(export.events) == system.sessions.get_session_events(result.session_id)
    assert export.artifacts is None
    assert set(export.to_map()) == {"session", "runs", "events"}
    assert (
        system.queries.export_session(result.session_id, include_artifacts=True).to_map()["artifacts"] == []
    )


def test_pages_lead_from_one_to_the_next(system):
    made = [system.sessions.start_session(agent_id=f"a{n}", provider="mock").id for n in range(5)]
    seen, cursor = [], None
    while True:
        page = system.queries.search_sessions(order_by="created_at_asc", limit=2, cursor=cursor)
        assert page.total_count == 5
        seen += [session.id for session in page.sessions]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == made


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda q: q.search_sessions(limit=0), "validation_error"),
        (lambda q: q.search_sessions(status="asleep"), "invalid_status"),
        (lambda q: q.search_sessions(cursor="bm90IG9uZQ"), "invalid_cursor"),
        (lambda q: q.search_runs(min_tokens=-1), "query_error"),
        (lambda q: q.search_events(types="nothing"), "invalid_event_type"),
        (lambda q: q.get_session_stats("ses_none"), "session_not_found"),
        (lambda q: q.export_session("ses_none"), "session_not_found"),
        (lambda q: q.get_cost_summary(pricing_table={"p": {"m": {"input": 1}}}), "validation_error"),
        (
            lambda q: q.get_cost_summary(pricing_table={"p": {"m": {"input": 1, "output": -1}}}),
            "validation_error",
        ),
        (lambda q: q.get_usage_summary(since="yesterday"), "validation_error"),
    ],
)
def test_what_cannot_be_asked_is_a_typed_error(system, ask, code):
    with pytest.raises(asm.AsmError) as caught:
        ask(system.queries)
    assert caught.value.code == code


def test_an_awaited_query_reads_off_the_callers_loop():
    threads = []

    class Watched(asm.MemoryStore):
        def search_sessions(self, search):
            threads.append(threading.current_thread())
            return super().search_sessions(search)

    async def main():
        async with asm.AsyncActorSystem.start(Watched(), {"mock": asm.ScriptedProvider()}) as system:
            made = await system.sessions.start_session(agent_id="agent")
            found = await system.queries.search_sessions(agent_id="agent")
            assert [one.id for one in found.sessions] == [made.id]
            assert await system.queries.count_events(session_ids=[made.id]) == 1
            return found.to_map()

    found = asyncio.run(main())
    assert found["total_count"] == 1
    assert threads
    assert threading.main_thread() not in threads
    assert not any(thread.name.startswith("asm-dispatcher") for thread in threads)
