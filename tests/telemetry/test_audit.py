"""`AuditLog`: a view of the journal's events, with who and how they stand."""

from __future__ import annotations

import asyncio

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, fail, text
from asm_actors.telemetry.audit import AUDIT_TYPES
from asm_actors.testing.system import SimulatedSystem


def _script(request):
    return Script(fail("provider_error", "broke")) if request.input == "fail" else Script(text("hello"))


@pytest.fixture
def sim():
    """Session of ``good`` completed with a run; session of ``bad`` still active with a run that failed."""
    with SimulatedSystem(script=_script) as made:
        good = made.active_session("good")
        made.manager.execute_run(made.manager.start_run(good.id, "Hi").id)
        made.manager.complete_session(good.id)
        made.advance(10)
        bad = made.active_session("bad")
        made.manager.submit_run(bad.id, "fail")
        made.settle()
        made.good, made.bad = good, bad
        yield made


def _told(page):
    return [(record.event.type.value, record.agent_id, record.status) for record in page.records]


def test_it_tells_who_did_what_and_what_became_of_it(sim):
    assert _told(sim.system.audit.get_audit_log(sim.good.id)) == [
        ("session_created", "good", "pending"),
        ("session_started", "good", "active"),
        ("run_started", "good", "running"),
        ("token_usage_updated", "good", None),
        ("run_completed", "good", "completed"),
        ("session_completed", "good", "completed"),
    ]
    page = sim.system.audit.get_audit_log(sim.bad.id, types="run_failed")
    [record] = page.records
    assert (record.session_status, record.run_status) == ("active", "failed")
    assert record.event.data["error_code"] == "provider_error"


def test_all_sessions_are_read_in_the_order_of_the_journal(sim):
    page = sim.system.audit.get_audit_log()
    positions = [record.event.position for record in page.records]
    assert positions == sorted(positions)
    assert {record.agent_id for record in page.records} == {"good", "bad"}


def test_pages_follow_each_other(sim):
    whole, pages, cursor = sim.system.audit.get_audit_log().records, [], None
    while True:
        page = sim.system.audit.get_audit_log(limit=4, cursor=cursor)
        if not page.records:
            break
        pages += page.records
        cursor = page.cursor
    assert tuple(pages) == whole


def test_filters_must_all_hold(sim):
    audit = sim.system.audit
    later = sim.session(sim.bad.id).created_us
    assert {record.event.session_id for record in audit.get_audit_log(since=later).records} == {sim.bad.id}
    assert {record.event.session_id for record in audit.get_audit_log(until=later - 1).records} == {
        sim.good.id
    }
    assert audit.get_audit_log(sim.good.id, types=["run_failed"]).records == ()
    run = sim.manager.get_session_runs(sim.good.id)[0]
    assert {record.event.run_id for record in audit.get_audit_log(run_id=run.id).records} == {run.id}
    first = audit.get_audit_log(order_by="timestamp_desc", limit=1).records[0]
    assert first.event.session_id == sim.bad.id


def test_messages_are_left_out_unless_they_are_asked_for(sim):
    assert not {kind for kind in AUDIT_TYPES if kind.startswith("message_")}
    page = sim.system.audit.get_audit_log(sim.good.id, types="message_received")
    assert len(page.records) == 1


def test_a_record_is_json_ready(sim):
    page = sim.system.audit.get_audit_log(sim.good.id, limit=1).to_map()
    [record] = page["records"]
    assert record["type"] == "session_created"
    assert (record["agent_id"], record["status"], record["session_status"], record["run_status"]) == (
        "good",
        "pending",
        "completed",
        None,
    )
    assert page["cursor"]


def test_nothing_is_written_by_reading(sim):
    before = sim.store.last_position()
    sim.system.audit.get_audit_log()
    assert sim.store.last_position() == before


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"types": "run_begun"}, "invalid_event_type"),
        ({"limit": 0}, "validation_error"),
        ({"cursor": "x"}, "invalid_cursor"),
        ({"session_id": 3}, "validation_error"),
    ],
)
def test_malformed_questions_are_refused(sim, options, code):
    with pytest.raises(asm.AsmError) as caught:
        sim.system.audit.get_audit_log(**options)
    assert caught.value.code == code


def test_the_asyncio_surface_has_it_too():
    async def read():
        async with asm.AsyncActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
            result = await system.sessions.run_once({"prompt": "Hi"}, provider="mock", agent_id="greeter")
            return await system.audit.get_audit_log(result.session_id)

    page = asyncio.run(read())
    assert page.records[-1].event.type == "session_completed"
    assert {record.agent_id for record in page.records} == {"greeter"}


def test_the_configuration_can_switch_it_off():
    config = asm.Config(audit_logging_enabled=False)
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}, config=config) as system:
        assert not system.audit.enabled
        with pytest.raises(asm.ConcurrencyError) as caught:
            system.audit.get_audit_log()
    assert caught.value.code == "invalid_operation"
