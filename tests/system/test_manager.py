"""The session manager: both surfaces are one, sessions, and ids and keys that callers choose."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor

import pytest

from asm_actors import AsmError, RunStatus, SessionStatus
from asm_actors.sessions.manager import AsyncSessionManager, SessionManager

# --- Both surfaces are one -----------------------------------------------------------------------------------------


def operations(manager):
    return {name for name, _ in inspect.getmembers(manager, callable) if not name.startswith("_")}


def test_both_surfaces_have_the_same_operations():
    assert operations(SessionManager) == operations(AsyncSessionManager)


@pytest.mark.parametrize("name", sorted(operations(SessionManager)))
def test_an_operation_takes_the_same_on_both_surfaces(name):
    blocking = inspect.signature(getattr(SessionManager, name))
    awaited = inspect.signature(getattr(AsyncSessionManager, name))
    assert list(blocking.parameters.values()) == list(awaited.parameters.values())


@pytest.mark.parametrize(
    "name", sorted(operations(SessionManager) - {"subscribe", "stream_session", "stream_session_events"})
)
def test_an_operation_is_a_coroutine_function_on_the_asyncio_surface_and_documented(name):
    assert inspect.iscoroutinefunction(getattr(AsyncSessionManager, name))
    for manager in (SessionManager, AsyncSessionManager):
        assert getattr(manager, name).__doc__
        assert getattr(manager, name).__name__ == name
        assert "Future" not in str(inspect.signature(getattr(manager, name)).return_annotation)


# --- Sessions ------------------------------------------------------------------------------------------------------


def test_a_session_goes_from_pending_over_active_and_paused_to_completed(o):
    session = o.manager.start_session(
        agent_id="my-agent",
        provider="mock",
        context={"system_prompt": "Be brief."},
        metadata={"correlation_id": "c-1", "who": "me"},
        tags=["demo"],
    )
    assert (session.status, session.agent_id, session.tags) == (SessionStatus.PENDING, "my-agent", ("demo",))
    assert o.manager.get_session(session.id).to_map() == session.to_map()
    assert o.manager.activate_session(session.id).status is SessionStatus.ACTIVE
    assert o.manager.pause_session(session.id, reason="lunch").status is SessionStatus.PAUSED
    assert o.manager.resume_session(session.id).status is SessionStatus.ACTIVE
    done = o.manager.complete_session(session.id)
    assert done.status is SessionStatus.COMPLETED
    assert o.manager.get_session(session.id) == done
    events = o.manager.get_session_events(session.id)
    assert [event.type.value for event in events] == [
        "session_created",
        "session_started",
        "session_paused",
        "session_resumed",
        "session_completed",
    ]
    assert [event.sequence_number for event in events] == [1, 2, 3, 4, 5]
    assert {event.correlation_id for event in events} == {"c-1"}


def test_a_session_can_fail_or_be_cancelled(o):
    failed = o.manager.fail_session(o.session().id, "no money left")
    assert failed.status is SessionStatus.FAILED
    by_error = o.manager.fail_session(o.session().id, AsmError("provider_quota_exceeded", "no more"))
    assert o.manager.get_session_events(by_error.id)[-1].data["error_code"] == "provider_quota_exceeded"
    cancelled = o.manager.cancel_session(o.session().id, reason="user")
    assert cancelled.status is SessionStatus.CANCELLED
    assert o.manager.get_session_events(cancelled.id)[-1].data["reason"] == "user"


def test_asking_for_the_state_one_is_in_changes_nothing(o):
    session = o.session()
    assert o.manager.activate_session(session.id).to_map() == session.to_map()
    done = o.manager.complete_session(session.id)
    assert o.manager.complete_session(session.id).to_map() == done.to_map()
    assert len(o.types(session.id)) == 3


def test_an_illegal_change_raises_and_changes_nothing(o, raises):
    session = o.manager.start_session(agent_id="a")
    for change in (o.manager.pause_session, o.manager.complete_session):
        with raises("invalid_transition"):
            change(session.id)
    with raises("invalid_operation"):
        o.manager.resume_session(session.id)
    o.manager.cancel_session(session.id)
    with raises("invalid_transition"):
        o.manager.activate_session(session.id)
    assert o.types(session.id) == ["session_created", "session_cancelled"]


def test_what_is_missing_or_malformed_is_a_validation_error(o, raises):
    for arguments in (
        {},
        {"agent_id": ""},
        {"agent_id": "a", "tags": 1},
        {"agent_id": "a", "provider": "nobody"},
    ):
        with raises("validation_error"):
            o.manager.start_session(**arguments)
    with raises("validation_error"):
        o.manager.get_session("")
    assert o.manager.list_sessions() == []


def test_an_unknown_session_is_not_found(o, raises):
    calls = [
        lambda: o.manager.get_session("ses_x"),
        lambda: o.manager.activate_session("ses_x"),
        lambda: o.manager.start_run("ses_x", "Hello", provider="mock"),
        lambda: o.manager.start_run("ses_x", "Hello", provider="mock", idempotency_key="k"),
        lambda: o.manager.get_session_events("ses_x"),
        lambda: o.manager.get_session_runs("ses_x"),
        lambda: o.stream("ses_x"),
        lambda: o.manager.status("ses_x"),
    ]
    for call in calls:
        with raises("session_not_found"):
            call()


def test_sessions_are_listed_newest_first_by_status_agent_tag_and_provider(o, raises):
    first = o.manager.start_session(agent_id="a", tags=["x"], provider="mock")
    second = o.session(agent_id="b", tags=["x", "y"], provider="gated")
    third = o.session(agent_id="b")
    ids = lambda **wanted: [session.id for session in o.manager.list_sessions(**wanted)]
    assert ids() == [third.id, second.id, first.id]
    assert ids(newest_first=False, limit=2) == [first.id, second.id]
    assert ids(status="active") == [third.id, second.id]
    assert ids(agent_id="a") == [first.id]
    assert ids(tags=["x"], provider="gated") == [second.id]
    assert ids(after=third.id) == [second.id, first.id]
    with raises("invalid_status"):
        ids(status="sleepy")
    with raises("invalid_cursor"):
        ids(after="ses_x")


# --- Ids and keys that the caller chooses --------------------------------------------------------------------------


def test_a_chosen_id_is_taken_once(o, raises):
    session = o.manager.start_session(agent_id="a", id="mine")
    assert session.id == "mine"
    with raises("already_exists"):
        o.manager.start_session(agent_id="a", id="mine")
    o.manager.cancel_session("mine")
    with raises("already_exists"):
        o.manager.start_session(agent_id="a", id="mine")
    assert o.types("mine") == ["session_created", "session_cancelled"]


def test_a_repeated_start_with_one_key_gives_the_same_session(o):
    first = o.manager.start_session(agent_id="a", idempotency_key="k")
    assert o.manager.start_session(agent_id="other", idempotency_key="k").to_map() == first.to_map()
    assert len(o.manager.list_sessions()) == 1


def test_racing_starts_with_one_key_give_one_session(o):
    with ThreadPoolExecutor(16) as pool:
        made = list(
            pool.map(lambda _: o.manager.start_session(agent_id="a", idempotency_key="k").id, range(64))
        )
    assert len(set(made)) == 1
    assert len(o.manager.list_sessions()) == 1


def test_racing_starts_with_one_id_make_it_once(o):
    def start(_):
        try:
            return o.manager.start_session(agent_id="a", id="mine").id
        except AsmError as error:
            return error.code.value

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(start, range(32)))
    assert sorted(outcomes) == ["already_exists"] * 31 + ["mine"]


def test_a_run_with_a_chosen_id_is_made_once_and_a_finished_one_is_never_overwritten(o, raises):
    session = o.session()
    run = o.manager.start_run(session.id, "Hello", id="run-1")
    with raises("already_exists"):
        o.manager.start_run(session.id, "again", id="run-1")
    o.manager.execute_run(run.id)
    for other in (session, o.session()):
        with raises("already_exists"):
            o.manager.start_run(other.id, "again", id="run-1")
    assert o.manager.get_run("run-1").status is RunStatus.COMPLETED
    assert o.manager.status()["sessions"]["live"] == 2, "nobody crashed"


def test_a_repeated_run_with_one_key_is_the_same_run_open_or_over(o):
    session = o.session()
    run = o.manager.submit_run(session.id, "Hello", idempotency_key="k")
    assert o.manager.submit_run(session.id, "Hello", idempotency_key="k").id == run.id
    o.manager.await_run(run.id)
    assert o.manager.start_run(session.id, "Hello", idempotency_key="k").status is RunStatus.COMPLETED
    assert o.manager.start_run(o.session().id, "Hello", idempotency_key="k").id != run.id
    with ThreadPoolExecutor(8) as pool:
        made = set(
            pool.map(lambda _: o.manager.start_run(session.id, "x", idempotency_key="other").id, range(32))
        )
    assert len(made) == 1
