"""What a run goes on from, read from a store that was written by hand."""

from __future__ import annotations

import pytest

from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.providers.anthropic_request import build_body
from asm_actors.providers.base import TurnRequest
from asm_actors.runs.run import RunStatus
from asm_actors.transcripts.builder import AWAITING_APPROVAL
from asm_actors.transcripts.continuation import can_continue_natively
from asm_actors.transcripts.mending import NO_RESULT
from tests.continuation.past import PLAIN, Past, rolled_back


@pytest.fixture
def past():
    made = Past()
    yield made
    made.store.close()


def texts(found):
    return [message["content"] for message in found.messages]


# --- Native, or not ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "can"),
    [
        ([], False),
        (["chat"], False),
        (["native_continuation"], True),
        (["resume"], True),
        (["pause", "resume"], False),
        (["pause", "resume", "native_continuation"], True),
    ],
)
def test_which_providers_can_go_on_by_themselves(names, can):
    offers = [{"name": name, "type": "sampling"} for name in names]
    assert can_continue_natively(Manifest.new("p", "1", capabilities=offers)) is can
    off = [{**offer, "enabled": False} for offer in offers]
    assert not can_continue_natively(Manifest.new("p", "1", capabilities=off))


@pytest.mark.parametrize("used", ["native", "replay", "none", None])
def test_a_provider_that_answered_alone_goes_on_by_itself(past, used):
    past.answered("r1", used=used)
    found = past.now()
    assert (found.messages, found.provider_session_id) == ((), "conv")
    assert found.data == {"mode": "auto", "used": "native", "messages": 0}


@pytest.mark.parametrize("used", ["native", "replay"])
def test_one_that_went_on_from_what_was_before_knows_all(past, used):
    past.answered("r1", provider="q", conversation="other")
    past.answered("r2", used=used)
    assert past.now().data["used"] == "native"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lambda past: None, "nothing", id="no past"),
        pytest.param(
            lambda past: past.answered("r1", conversation="old"), "another", id="another conversation"
        ),
        pytest.param(lambda past: past.answered("r1", status=RunStatus.FAILED), "failed", id="failed"),
        pytest.param(
            lambda past: past.answered("r1", status=RunStatus.CANCELLED), "cancelled", id="cancelled"
        ),
        pytest.param(
            lambda past: (past.answered("r1"), past.answered("r2", used="none")), "before", id="began anew"
        ),
        pytest.param(
            lambda past: (past.answered("r1"), past.answered("r2", used=None)), "before", id="asked alone"
        ),
        pytest.param(
            lambda past: (past.answered("r1"), past.answered("r2", conversation="x")),
            "another",
            id="another provider",
        ),
        pytest.param(
            lambda past: (past.answered("r1"), past.run("r2", status=RunStatus.RUNNING)),
            "running",
            id="one goes on",
        ),
        pytest.param(lambda past: (past.answered("r1"), rolled_back(past)), "begun since", id="rolled back"),
        pytest.param(
            lambda past: (past.answered("r1"), said_by_nobody(past)), "said last", id="said by no run"
        ),
    ],
)
def test_in_doubt_everything_is_told_again(past, spoil, reason):
    spoil(past)
    found = past.now()
    assert found.provider_session_id is None
    assert found.data["used"] in ("replay", "none")
    assert reason in found.data["reason"]


def said_by_nobody(past):
    past._commit([Draft(EventType.MESSAGE_SENT, 2, None, {"content": "note"})])


@pytest.mark.parametrize("cut", [{"recoveries": 1}, {"attempt": 1}])
def test_a_run_that_was_cut_is_told_everything_again(past, cut):
    past.answered("r1")
    found = past.now(**cut)
    assert found.data["used"] == "replay"
    assert "cut" in found.data["reason"]


def test_without_a_known_conversation_native_is_replay_and_says_so(past):
    past.answered("r1")
    found = past.now("native", session=past.session.replace(metadata={}))
    assert (found.data["mode"], found.data["used"]) == ("native", "replay")
    assert "no conversation" in found.data["reason"]


def test_where_the_provider_cannot_native_is_refused_and_auto_is_replay(past):
    past.answered("r1")
    with pytest.raises(AsmError) as caught:
        past.now("native", PLAIN)
    assert caught.value.code is ErrorCode.CAPABILITY_NOT_SUPPORTED
    assert past.now("auto", PLAIN).data["used"] == "replay"


# --- Replay ------------------------------------------------------------------------------------------------------


def test_it_ends_where_the_run_begins(past):
    past.answered("r1")
    place = past.store.head("ses")
    before = past.now("replay")
    past.answered("r2")
    assert past.now("replay", from_sequence=place) == before
    assert texts(past.now("replay", from_sequence=None)) == ["ask r1", "answer r1", "ask r2", "answer r2"]


def test_it_never_begins_before_its_past_is_there(past):
    with pytest.raises(AsmError) as caught:
        past.now("replay", from_sequence=past.store.head("ses") + 1)
    assert caught.value.code is ErrorCode.INTERNAL_ERROR


@pytest.mark.parametrize("at", [0, 1])
def test_before_the_first_message_there_is_nothing(past, at):
    found = past.now("replay", from_sequence=at)
    assert (found.messages, found.data["used"]) == ((), "none")


def test_runs_that_are_under_way_are_left_out(past):
    past.answered("r1")
    past.run("r2", ("message_streamed", {"delta": "hm"}), status=RunStatus.RUNNING)
    past.run("r3", ("message_received", {"content": "so far"}), status=RunStatus.RUNNING)
    assert texts(past.now("replay")) == ["ask r1", "answer r1"]


def test_what_was_said_before_an_end_that_was_none_stays(past):
    past.run("r1", ("message_streamed", {"delta": "half"}), status=RunStatus.FAILED)
    past.run("r2", ("message_streamed", {"delta": "of it"}), status=RunStatus.CANCELLED)
    assert texts(past.now("replay")) == ["ask r1", "half", "ask r2", "of it"]


def test_a_run_that_waits_for_an_approval_says_so(past):
    call = {"tool_call_id": "c1", "tool_name": "rm", "tool_input": {"path": "x"}}
    past.run("r1", ("tool_approval_requested", call), status=RunStatus.AWAITING_APPROVAL)
    user, asked, answer = past.now("replay").messages
    assert user["content"] == "ask r1"
    assert (asked["tool_name"], asked["tool_input"]) == ("rm", {"path": "x"})
    assert answer["tool_output"] == AWAITING_APPROVAL


def test_the_model_is_sent_a_conversation_that_its_api_takes(past):
    call = {"tool_call_id": "c1", "tool_name": "look", "tool_input": {"at": "x"}}
    past.run("r1", ("tool_call_started", call), status=RunStatus.CANCELLED)
    done = {"tool_call_id": "c1", "tool_name": "look", "tool_output": {"seen": 1}}
    past.run(
        "r2",
        ("tool_call_started", call),
        ("tool_call_completed", done),
        ("message_received", {"content": "ok"}),
    )
    found = past.now("replay")
    own = {"role": "user", "content": "And?"}
    body = build_body(TurnRequest("ses", "now", messages=(*found.messages, own)), model="m", max_tokens=9)
    assert body["messages"] == [
        {"role": "user", "content": "ask r1"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": NO_RESULT, "is_error": True},
                {"type": "text", "text": "ask r2"},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1-2", "name": "look", "input": {"at": "x"}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c1-2", "content": '{"seen": 1}'}],
        },
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "And?"},
    ]
