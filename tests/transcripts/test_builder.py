"""Which messages events make."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.transcripts.builder import AWAITING_APPROVAL
from asm_actors.transcripts.transcript import Transcript
from asm_actors.transcripts.truncation import Truncation
from tests.transcripts.history import START, make, numbered

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def told(events, **options):
    return Transcript.from_events(events, **options).messages


def short(events):
    """Messages as (role, text), a partial one with an ellipsis; tools as (role, id, name, what went in or out)."""
    found = []
    for message in told(events):
        if message.tool_name is not None or message.tool_call_id is not None:
            value = message.tool_input if message.role == "assistant" else message.tool_output
            found.append((message.role.value, message.tool_call_id, message.tool_name, value))
        else:
            found.append((message.role.value, message.content + "…" * message.is_partial))
    return found


def said(content, **more):
    return "message_received", {"content": content, **more}


def piece(text, run="r1"):
    return "message_streamed", {"content": text, "delta": text}, run


CALL = ("tool_call_started", {"tool_call_id": "c1", "tool_name": "add", "tool_input": {"a": 1}})
DONE = ("tool_call_completed", {"tool_call_id": "c1", "tool_name": "add", "tool_output": 3})
IS_CALL = ("assistant", "c1", "add", {"a": 1})
IS_DONE = ("tool", "c1", "add", 3)


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        pytest.param([("message_sent", {"content": "Hi"})], [("user", "Hi")], id="sent is the user's"),
        pytest.param(
            [("message_sent", {"content": "Hi", "role": "System"})], [("system", "Hi")], id="sent by its role"
        ),
        pytest.param([said("Yo")], [("assistant", "Yo")], id="received is the assistant's"),
        pytest.param([said("out", role="tool")], [("tool", "out")], id="received by its role"),
        pytest.param([said("x", role="critic")], [("assistant", "x")], id="an unknown role is the usual one"),
        pytest.param([("message_sent", {"content": ""}), said("")], [], id="without text no message"),
        pytest.param([("message_sent", {}), said(None), said(7)], [], id="nor with what is no text"),
        pytest.param(
            [said([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}, 3])],
            [("assistant", "ab")],
            id="text blocks are joined",
        ),
        pytest.param([piece("He"), piece("y"), said("Hey!")], [("assistant", "Hey!")], id="received wins"),
        pytest.param(
            [piece("He"), piece("y"), said("")], [("assistant", "Hey")], id="or falls back to the pieces"
        ),
        pytest.param([piece("He"), piece("y")], [("assistant", "Hey…")], id="what nothing closed is partial"),
        pytest.param(
            [("message_streamed", {"content": "a"}), ("message_streamed", {"delta": "b", "content": "x"})],
            [("assistant", "ab…")],
            id="a delta, or else a content",
        ),
        pytest.param(
            [("message_streamed", {"content": "", "delta": "", "thinking": "hm"}), piece("a")],
            [("assistant", "a…")],
            id="thinking adds no text",
        ),
        pytest.param(
            [("message_streamed", {"content": "", "delta": "", "thinking": "hm"})], [], id="nor a message"
        ),
        pytest.param(
            [piece("a"), ("message_sent", {"content": "wait"}), piece("b"), said("B")],
            [("assistant", "a"), ("user", "wait"), ("assistant", "B")],
            id="another message closes",
        ),
        pytest.param(
            [piece("a"), CALL, DONE, piece("b"), said("B")],
            [("assistant", "a"), IS_CALL, IS_DONE, ("assistant", "B")],
            id="a tool closes",
        ),
        pytest.param(
            [piece("a"), said("out", role="tool")],
            [("assistant", "a"), ("tool", "out")],
            id="a tool's message too",
        ),
        pytest.param(
            [("tool_call_failed", {"tool_call_id": "c1", "tool_name": "add", "tool_output": "no"})],
            [("tool", "c1", "add", "no")],
            id="a failed call is an answer",
        ),
        pytest.param(
            [("tool_call_started", {"tool_call_id": "c1", "tool_name": "add", "tool_input": [1]})],
            [("assistant", "c1", "add", None)],
            id="an input is a map",
        ),
        pytest.param(
            [("tool_call_started", {"tool_use_id": "c1", "tool_name": "add", "input": {"a": 1}})],
            [("assistant", None, "add", None)],
            id="other spellings are not read",
        ),
        pytest.param(
            [("tool_approval_requested", {"tool_call_id": "c1", "tool_name": "rm", "policy_name": "p"})],
            [("tool", "c1", "rm", AWAITING_APPROVAL)],
            id="a wait for approval stands for the answer",
        ),
        pytest.param([piece("a"), ("run_cancelled", {})], [("assistant", "a")], id="the run's end closes"),
        pytest.param(
            [piece("a"), ("session_cancelled", {}, None)], [("assistant", "a")], id="the session's end too"
        ),
        pytest.param(
            [piece("a"), ("session_forked", {"at": 1}, None)],
            [("assistant", "a")],
            id="a fork leaves runs behind",
        ),
        pytest.param(
            [piece("lost"), ("run_recovered", {}), piece("new"), said("new")],
            [("assistant", "new")],
            id="a recovered run says it again",
        ),
        pytest.param(
            [piece("a"), CALL, piece("lost"), ("run_recovered", {})],
            [("assistant", "a"), IS_CALL],
            id="what was closed stays",
        ),
        pytest.param(
            [
                ("message_sent", {"content": "Hi"}),
                ("message_sent", {"content": "So?", "role": "assistant"}),
                said("one"),
                CALL,
                DONE,
                ("turn_completed", {}),
                said("lost"),
                piece("lost"),
                ("run_recovered", {"decision": "resume", "discarded_after": 6}),
                said("two"),
            ],
            [
                ("user", "Hi"),
                ("assistant", "So?"),
                ("assistant", "one"),
                IS_CALL,
                IS_DONE,
                ("assistant", "two"),
            ],
            id="a resumed run goes on after its last turn",
        ),
        pytest.param(
            [
                ("message_sent", {"content": "Hi"}),
                ("message_sent", {"content": "So?", "role": "assistant"}),
                said("lost"),
                piece("other", "r2"),
                CALL,
                ("run_recovered", {"decision": "retry", "discarded_after": 4}),
                said("new"),
            ],
            [("user", "Hi"), ("assistant", "So?"), ("assistant", "other…"), ("assistant", "new")],
            id="a retried run answers anew",
        ),
        pytest.param(
            [
                ("message_sent", {"content": "Hi"}),
                ("run_recovered", {"decision": "resume", "discarded_after": 0}),
                said("new"),
            ],
            [("user", "Hi"), ("assistant", "new")],
            id="what it was asked stays",
        ),
        pytest.param(
            [CALL, ("run_recovered", {}), (CALL[0], {**CALL[1], "attempt": 2}), DONE],
            [IS_CALL, IS_DONE],
            id="a call that is begun again is the same",
        ),
        pytest.param(
            [(CALL[0], {**CALL[1], "attempt": 2}), (CALL[0], {**CALL[1], "attempt": 1})],
            [IS_CALL, IS_CALL],
            id="one that is new is not",
        ),
        pytest.param(
            [piece("other", "r2"), piece("lost"), ("run_recovered", {})],
            [("assistant", "other…")],
            id="of others nothing is dropped",
        ),
        pytest.param(
            [piece("lost"), ("error_occurred", {"attempt": 1, "retry_in_s": 0.5}), piece("new")],
            [("assistant", "new…")],
            id="a retried turn says it again",
        ),
        pytest.param(
            [piece("lost"), ("error_occurred", {"attempt": 1, "will_retry": True}), piece("new")],
            [("assistant", "new…")],
            id="and one whose provider came back",
        ),
        pytest.param(
            [piece("a"), ("error_occurred", {"source": "provider", "retry_in_s": 1}), piece("b")],
            [("assistant", "ab…")],
            id="a provider's own retry is not ours",
        ),
        pytest.param(
            [
                piece("a", "r1"),
                piece("b", "r2"),
                piece("a", "r1"),
                ("message_received", {"content": ""}, "r2"),
            ],
            [("assistant", "aa…"), ("assistant", "b")],
            id="runs do not mix",
        ),
        pytest.param(
            [
                piece("a"),
                ("message_sent", {"content": "Hi"}, "r2"),
                ("message_received", {"content": "Yo"}, "r2"),
            ],
            [("assistant", "a…"), ("user", "Hi"), ("assistant", "Yo")],
            id="a partial one stands where its last piece came",
        ),
    ],
)
def test_events_make_messages(specs, expected):
    assert short(numbered(*specs)) == expected


HEARD = {
    "message_sent",
    "message_received",
    "message_streamed",
    "tool_call_started",
    "tool_call_completed",
    "tool_call_failed",
    "tool_approval_requested",
}


@pytest.mark.parametrize("type_", sorted(set(EventType) - HEARD))
def test_every_other_type_makes_no_message(type_):
    data = {"content": "x", "role": "user", "tool_name": "t", "tool_call_id": "c"}
    assert short(numbered((type_, data))) == []


def test_a_message_knows_the_event_that_completed_it(event):
    pieces = [
        event(1, "message_streamed", delta="a", metadata={"x": 1}),
        event(2, "message_streamed", delta="b"),
    ]
    (partial,) = told(pieces)
    assert partial.metadata == {
        "event_id": "evt_2",
        "event_type": "message_streamed",
        "run_id": "r1",
        "timestamp": "2026-01-01T00:00:00.000002Z",
        "sequence_number": 2,
    }
    own = {"x": 2, "run_id": "other"}
    (whole,) = told([*pieces, event(3, "message_received", content="ab", metadata=own)])
    assert whole.metadata["event_id"] == "evt_3"
    assert (whole.metadata["x"], whole.metadata["run_id"]) == (2, "r1"), (
        "what an event is cannot be overwritten"
    )


def test_events_are_taken_in_order():
    """Sequence number, then those without one; time; id; as they came."""

    def one(text, place, *, event_id="e", at=0):
        return make(place, "message_sent", content=text, event_id=event_id, timestamp=START + at)

    ordered = [
        one("first", 1, at=9),
        one("second", 2, at=1),
        one("third", None, at=0),
        one("fourth", None, at=1, event_id="a"),
        one("fifth", None, at=1, event_id="b"),
        one("sixth", None, at=1, event_id="b"),
    ]
    expected = [message.content for message in told(ordered)]
    assert expected == ["first", "second", "third", "fourth", "fifth", "sixth"]
    shuffled = ordered[:5]
    random.Random(3).shuffle(shuffled)
    assert [message.content for message in told([*shuffled, ordered[5]])] == expected


def test_the_session_is_named_or_that_of_the_first_event(event):
    events = [event(2, "message_sent", session="later"), event(1, "message_sent", session="first")]
    assert Transcript.from_events(events).session_id == "first"
    assert Transcript.from_events(events, session_id="mine").session_id == "mine"
    with pytest.raises(AsmError) as caught:
        Transcript.from_events([])
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    empty = Transcript.from_events([], session_id="mine", metadata={"a": 1})
    assert (empty.messages, empty.last_sequence, empty.last_timestamp, empty.metadata) == (
        (),
        None,
        None,
        {"a": 1},
    )


def test_a_transcript_knows_how_far_it_went(event):
    events = [
        event(1, "message_sent", content="a", timestamp=START + 9),
        event(2, "run_started", timestamp=START),
    ]
    transcript = Transcript.from_events(events)
    assert (transcript.last_sequence, transcript.last_timestamp_us) == (2, START + 9)


def test_a_transcript_without_anything_new_is_the_very_same(event):
    transcript = Transcript.from_events([event(1, "message_sent", content="a")])
    assert transcript.updated([]) is transcript
    assert transcript.updated([event(1, "message_sent", content="again")]) is transcript


def test_a_value_survives_its_map(events):
    transcript = Transcript.from_events(events(("message_sent", {"content": "Hi"}), CALL, DONE, piece("par")))
    assert Transcript.from_map(transcript.to_map()) == transcript
    assert transcript.to_map()["messages"][0]["role"] == "user"
    assert len({transcript, Transcript.from_map(transcript.to_map())}) == 1


@pytest.mark.parametrize(
    "bad", [None, {}, {"session_id": "s", "messages": [{}]}, {"session_id": "s", "messages": 3}]
)
def test_a_bad_map_is_refused(bad):
    with pytest.raises(AsmError) as caught:
        Transcript.from_map(bad)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


# --- Any events ------------------------------------------------------------------------------------------------

texts = st.sampled_from(["", "a", "bc", "def"])
payloads = st.fixed_dictionaries(
    {},
    optional={
        "content": texts,
        "delta": texts,
        "role": st.sampled_from(["user", "assistant", "tool"]),
        "tool_name": st.just("add"),
        "tool_call_id": st.sampled_from(["c1", "c2"]),
        "tool_output": texts,
        "retry_in_s": st.just(1.0),
        "attempt": st.sampled_from([1, 2]),
        "discarded_after": st.integers(0, 10),
        "decision": st.sampled_from(["resume", "retry"]),
    },
)
types = st.sampled_from(
    [*HEARD, "run_completed", "run_recovered", "error_occurred", "session_forked", "run_started"]
)
histories = st.lists(st.tuples(types, payloads, st.sampled_from(["r1", "r2", None])), max_size=25)


@SETTINGS
@given(histories, st.data())
def test_going_on_in_any_pieces_leads_to_the_same(specs, data):
    events = numbered(*specs)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=5)))
    transcript = Transcript("ses")
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        transcript = Transcript.from_map(transcript.to_map()).updated(events[begin:end])
    assert transcript == Transcript.from_events(events, session_id="ses")


@SETTINGS
@given(histories)
def test_nothing_that_was_closed_is_ever_changed(specs):
    """A longer history only adds messages, or goes on with partial ones, unless a run is taken up again."""
    events = [event for event in numbered(*specs) if event.type is not EventType.RUN_RECOVERED]
    before = ()
    for end in range(len(events) + 1):
        after = told(events[:end], session_id="ses")
        closed = [message for message in after if not message.is_partial]
        assert closed[: len(before)] == list(before)
        before = closed


@SETTINGS
@given(histories, st.none() | st.integers(0, 6), st.none() | st.integers(0, 12))
def test_what_is_cut_is_the_beginning(specs, max_messages, max_chars):
    whole = told(numbered(*specs), session_id="ses")
    cut = told(numbered(*specs), session_id="ses", truncation=Truncation(max_messages, max_chars))
    assert cut == whole[len(whole) - len(cut) :]


# --- Truncation ------------------------------------------------------------------------------------------------

TALK = [
    ("message_sent", {"content": "12345"}),
    CALL,
    ("tool_call_completed", {"tool_call_id": "c1", "tool_name": "add", "tool_output": "x" * 1000}),
    said("1234567890"),
    ("message_sent", {"content": "123"}),
]


@pytest.mark.parametrize(
    ("bounds", "n_kept"),
    [
        ({}, 5),
        ({"max_messages": 9}, 5),
        ({"max_messages": 2}, 2),
        ({"max_messages": 0}, 0),
        ({"max_chars": 2}, 0),
        ({"max_chars": 3}, 1),
        ({"max_chars": 12}, 1),
        ({"max_chars": 13}, 2),
        ({"max_chars": 18}, 3),  # a tool counts as its name: three characters
        ({"max_chars": 19}, 4),
        ({"max_chars": 24}, 5),
        ({"max_messages": 2, "max_chars": 24}, 2),
        ({"max_tokens_approx": 3}, 1),
        ({"max_tokens_approx": 4}, 3),
        ({"max_tokens_approx": 6}, 5),
        ({"max_tokens_approx": 6, "max_chars": 3}, 1),
    ],
)
def test_the_newest_messages_that_fit_are_kept(bounds, n_kept):
    assert told(numbered(*TALK), truncation=Truncation(**bounds)) == told(numbered(*TALK))[5 - n_kept :]


def test_the_first_message_that_does_not_fit_ends_it():
    """Though an older one would fit: a conversation has no holes."""
    events = numbered(("message_sent", {"content": "a"}), said("x" * 50), ("message_sent", {"content": "b"}))
    assert [message.content for message in told(events, truncation=Truncation(max_chars=10))] == ["b"]


@pytest.mark.parametrize("bad", [{"max_messages": -1}, {"max_chars": "3"}, {"max_tokens_approx": True}])
def test_a_bad_bound_is_refused(bad):
    with pytest.raises(AsmError) as caught:
        Truncation(**bad)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


@SETTINGS
@given(histories, st.integers(0, 4), st.data())
def test_a_transcript_of_the_last_messages_stays_one(specs, n_kept, data):
    """Going on with it, cut each time, keeps what cutting the whole would keep; partial ones aside, which may go."""
    events = [event for event in numbered(*specs) if event.type is not EventType.MESSAGE_STREAMED]
    cut = data.draw(st.integers(0, len(events)))
    truncation = Truncation(max_messages=n_kept)
    first = Transcript.from_events(events[:cut], session_id="ses", truncation=truncation)
    whole = Transcript.from_events(events, session_id="ses", truncation=truncation)
    assert first.updated(events[cut:], truncation=truncation) == whole
