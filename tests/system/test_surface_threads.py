"""Many threads on one manager: everybody gets their own answer, and the journal stays whole."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import asm_actors as asm
from asm_actors import AsmError, EventType, Limits, RunStatus, SessionStatus
from asm_actors.testing.promises import journal_faults

N_THREADS = 100


def together(work, n=N_THREADS):
    """Run `work(number)` on n threads that start at the same moment; return what each returns."""
    gate = threading.Barrier(n)

    def started(number):
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(started, range(n)))


@pytest.fixture
def many(opened, tmp_path):
    limits = Limits(max_parallel_sessions=None, max_parallel_runs=None, max_queued_runs=1000)
    return opened(journal=tmp_path / "j", limits=limits)


def test_a_hundred_threads_each_run_their_own_session(many):
    def work(number):
        result = many.manager.run_once(f"Hello {number}", provider="mock", tags=[f"t{number}"])
        session = many.manager.get_session(result.session_id)
        events = list(many.manager.stream_session_events(session.id))
        return session.tags, session.status, [event.sequence_number for event in events]

    for number, (tags, status, numbers) in enumerate(together(work)):
        assert tags == (f"t{number}",)
        assert status is SessionStatus.COMPLETED
        assert numbers == list(range(1, 11))
    assert journal_faults(many.store) == []


def test_a_hundred_threads_share_one_session(many):
    session = many.session()

    def work(number):
        run = many.manager.submit_run(session.id, f"Hello {number}")
        return many.manager.await_run(run.id).run.input, many.manager.get_run(run.id).status

    outcomes = together(work)
    assert [said for said, _ in outcomes] == [f"Hello {number}" for number in range(N_THREADS)]
    assert {status for _, status in outcomes} == {RunStatus.COMPLETED}
    starts = [event.run_id for event in many.manager.get_session_events(session.id, type="run_started")]
    assert len(set(starts)) == len(starts) == N_THREADS
    assert journal_faults(many.store) == []


def test_a_hundred_threads_race_to_end_one_run_and_it_ends_once(many):
    run = many.streaming_run()

    def work(number):
        if number == 50:
            many.gate.open()
        if number % 2:
            return many.manager.cancel_run(run.id, reason=f"{number}").status
        try:
            return many.manager.await_run(run.id).status
        except AsmError as error:
            return error.code.value

    outcomes = Counter(together(work))
    assert len(outcomes) <= 2
    ends = {EventType.RUN_COMPLETED, EventType.RUN_CANCELLED}
    assert len(many.manager.get_session_events(run.session_id, type=ends)) == 1
    assert journal_faults(many.store) == []


def test_a_hundred_threads_follow_one_session_while_it_is_written(many):
    session = many.session()

    def work(number):
        if number == 0:
            for k in range(20):
                many.manager.execute_run(many.manager.start_run(session.id, f"{k}").id)
            many.manager.complete_session(session.id)
        after = number % 7
        return after, [
            event.sequence_number for event in many.manager.stream_session_events(session.id, after=after)
        ]

    last = 2 + 20 * 7 + 1
    for after, numbers in together(work):
        assert numbers == list(range(after + 1, last + 1))


def test_callbacks_and_handles_work_on_any_thread(many):
    def work(number):
        seen = []
        result = many.manager.run_once("Hello", provider="mock", event_callback=seen.append)
        handle = many.system.run(result.run_id)
        final = handle.ask(asm.messages.CancelRun())
        return seen == result.events, final.status

    assert set(together(work, 40)) == {(True, RunStatus.COMPLETED)}


def test_readers_that_stall_cost_the_writer_nothing(many):
    stalled = [many.manager.subscribe() for _ in range(200)]
    for subscription in stalled:
        subscription.pull(1, 0)
    for _ in range(50):
        many.manager.run_once("Hello", provider="mock")
    first, last = stalled[0], many.store.last_position()
    assert [event.position for event in first.pull(10_000, 0)] == list(range(1, last + 1))
    for subscription in stalled:
        subscription.close()
