"""Messages for a provider: paired, finished, in the order of the runs, whatever was cut."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.providers.anthropic_request import api_messages
from asm_actors.providers.base import messages_from_input
from asm_actors.transcripts.builder import AWAITING_APPROVAL
from asm_actors.transcripts.mending import NO_RESULT, by_runs, turn_messages
from asm_actors.transcripts.transcript import Transcript
from asm_actors.transcripts.truncation import Truncation
from tests.transcripts.history import numbered

SETTINGS = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def asked(text, run="r1"):
    return "message_sent", {"content": text}, run


def said(text, run="r1", **more):
    return "message_received", {"content": text, **more}, run


def call(id_, run="r1", **given):
    return "tool_call_started", {"tool_call_id": id_, "tool_name": "add", "tool_input": given}, run


def answer(id_, output, run="r1", kind="completed"):
    return f"tool_call_{kind}", {"tool_call_id": id_, "tool_name": "add", "tool_output": output}, run


def question(id_, run="r1", **given):
    return "tool_approval_requested", {"tool_call_id": id_, "tool_name": "add", "tool_input": given}, run


def short(*specs):
    """Messages as (role, text); calls as (call, id, input), answers as (answer, id, output), failed ones with !."""
    transcript = Transcript.from_events(numbered(*specs), session_id="ses")
    found = []
    for message in turn_messages(transcript.messages):
        if message["role"] == "assistant" and "tool_call_id" in message:
            found.append(("call", message["tool_call_id"], message["tool_input"]))
        elif "tool_call_id" in message:
            kind = "answer!" if message.get("is_error") else "answer"
            found.append((kind, message["tool_call_id"], message["tool_output"]))
        else:
            found.append((message["role"], message["content"]))
    return found


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        pytest.param([asked("Hi"), said("Yo")], [("user", "Hi"), ("assistant", "Yo")], id="plain"),
        pytest.param(
            [asked("Hi"), ("message_streamed", {"delta": "par"})],
            [("user", "Hi")],
            id="what goes on is left out",
        ),
        pytest.param(
            [call("c1", a=1), answer("c1", 3)], [("call", "c1", {"a": 1}), ("answer", "c1", 3)], id="a pair"
        ),
        pytest.param(
            [call("c1")], [("call", "c1", {}), ("answer!", "c1", NO_RESULT)], id="without an answer"
        ),
        pytest.param([answer("c1", 3), said("x")], [("assistant", "x")], id="without its call"),
        pytest.param(
            [call("c1"), answer("c1", "no", kind="failed")],
            [("call", "c1", {}), ("answer!", "c1", "no")],
            id="a failure",
        ),
        pytest.param(
            [call("c1"), call("c2"), answer("c2", 2), answer("c1", 1)],
            [("call", "c1", {}), ("call", "c2", {}), ("answer", "c1", 1), ("answer", "c2", 2)],
            id="answers in the order of the calls",
        ),
        pytest.param(
            [call("c1"), asked("wait"), answer("c1", 1)],
            [("call", "c1", {}), ("answer", "c1", 1), ("user", "wait")],
            id="an answer comes before whatever is said meanwhile",
        ),
        pytest.param(
            [call("c1"), answer("c1", 1), call("c1"), answer("c1", 2)],
            [("call", "c1", {}), ("answer", "c1", 1), ("call", "c1-2", {}), ("answer", "c1-2", 2)],
            id="an id that is used again",
        ),
        pytest.param(
            [call("c1"), answer("c1", 1), call("c1", "r2"), answer("c1", 2, "r2")],
            [("call", "c1", {}), ("answer", "c1", 1), ("call", "c1-2", {}), ("answer", "c1-2", 2)],
            id="by another run too",
        ),
        pytest.param(
            [asked("A"), asked("B", "r2"), said("a"), said("b", "r2")],
            [("user", "A"), ("assistant", "a"), ("user", "B"), ("assistant", "b")],
            id="runs one after the other",
        ),
        pytest.param(
            [call("c1"), call("c1", "r2"), answer("c1", 2, "r2"), answer("c1", 1)],
            [("call", "c1", {}), ("answer", "c1", 1), ("call", "c1-2", {}), ("answer", "c1-2", 2)],
            id="each with its own calls",
        ),
        pytest.param(
            [asked("note", None), asked("A"), asked("more", None), said("a")],
            [("user", "note"), ("user", "A"), ("assistant", "a"), ("user", "more")],
            id="what no run said",
        ),
        pytest.param(
            [call("c1"), question("c1")],
            [("call", "c1", {}), ("answer", "c1", AWAITING_APPROVAL)],
            id="somebody is being asked",
        ),
        pytest.param(
            [question("c1", a=1)],
            [("call", "c1", {"a": 1}), ("answer", "c1", AWAITING_APPROVAL)],
            id="before the call began",
        ),
        pytest.param(
            [question("c1", a=1), question("c1", a=1), answer("c1", "denied", kind="failed")],
            [("call", "c1", {"a": 1}), ("answer!", "c1", "denied")],
            id="and it was denied",
        ),
        pytest.param(
            [question("c1", a=1), call("c1", a=2), answer("c1", 3)],
            [("call", "c1", {"a": 2}), ("answer", "c1", 3)],
            id="or granted",
        ),
        pytest.param([said("out", role="tool")], [("tool", "out")], id="what a command printed"),
        pytest.param(
            [call("c1"), answer("c1", None)],
            [("call", "c1", {}), ("answer", "c1", "")],
            id="an answer of nothing",
        ),
        pytest.param(
            [("tool_call_started", {"tool_name": "add"}), ("tool_call_completed", {"tool_output": 1})],
            [],
            id="a call without an id",
        ),
    ],
)
def test_events_make_messages_for_a_provider(specs, expected):
    assert short(*specs) == expected


histories = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "message_sent",
                "message_received",
                "message_streamed",
                "tool_call_started",
                "tool_call_completed",
                "tool_call_failed",
                "tool_approval_requested",
                "run_completed",
            ]
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "content": st.sampled_from(["", "a", "bc"]),
                "role": st.sampled_from(["user", "assistant", "tool", "system"]),
                "tool_name": st.sampled_from(["add", "sub"]),
                "tool_call_id": st.sampled_from(["c1", "c2", "c1-2", None]),
                "tool_input": st.sampled_from([{}, {"a": 1}, None, "x"]),
                "tool_output": st.sampled_from(["", "out", 3, None, {"x": 1}]),
            },
        ),
        st.sampled_from(["r1", "r2", None]),
    ),
    max_size=25,
)
bounds = st.none() | st.integers(0, 12)


def cut(specs, max_messages, max_chars):
    transcript = Transcript.from_events(numbered(*specs), session_id="ses")
    return turn_messages(Truncation(max_messages, max_chars).cut(by_runs(transcript.messages)))


@SETTINGS
@given(histories, bounds, bounds)
def test_each_call_is_answered_once_and_at_once_whatever_is_cut(specs, max_messages, max_chars):
    open_calls: list[str] = []
    seen: Counter[str] = Counter()
    for message in cut(specs, max_messages, max_chars):
        call_id = message.get("tool_call_id")
        if call_id is not None and message["role"] == "tool":
            assert open_calls, "an answer without its call"
            assert open_calls.pop(0) == call_id, "answers come in the order of the calls"
            continue
        assert not open_calls or message["role"] == "assistant", (
            "somebody speaks before the answers are there"
        )
        if call_id is not None:
            seen[call_id] += 1
            open_calls.append(call_id)
        else:
            assert message["content"]
    assert not open_calls, "a call without its answer"
    assert all(count == 1 for count in seen.values()), "ids are unique"


@SETTINGS
@given(histories, bounds, bounds)
def test_messages_are_in_the_form_of_a_request(specs, max_messages, max_chars):
    messages = cut(specs, max_messages, max_chars)
    assert list(messages_from_input({"messages": messages}, strict=False)) == [
        {key: value for key, value in message.items() if value is not None} for message in messages
    ]


@SETTINGS
@given(histories, bounds, bounds)
def test_the_messages_api_takes_them(specs, max_messages, max_chars):
    sent = api_messages([*cut(specs, max_messages, max_chars), {"role": "user", "content": "And now?"}])
    assert sent[0]["role"] == "user"
    assert all(before["role"] != after["role"] for before, after in pairwise(sent))
    open_calls: list[str] = []
    for message in sent:
        blocks = message["content"] if isinstance(message["content"], list) else []
        results = [block for block in blocks if block["type"] == "tool_result"]
        assert [block["tool_use_id"] for block in results] == open_calls
        assert not any(
            "is not known" in str(block["content"]) for block in results if not block.get("is_error")
        )
        open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert not open_calls


@SETTINGS
@given(histories)
def test_nothing_that_was_said_is_lost(specs):
    messages = Transcript.from_events(numbered(*specs), session_id="ses").messages
    texts = [
        one.content for one in messages if one.content and not one.is_partial and one.tool_call_id is None
    ]
    sent = [one["content"] for one in turn_messages(messages) if "tool_call_id" not in one]
    assert Counter(sent) == Counter(texts)
