"""`VerboseRenderer`: each event a line."""

from __future__ import annotations

import pytest

from asm_actors.events import EventType
from asm_actors.rendering.verbose import VerboseRenderer

PLAIN = VerboseRenderer(color=False)


def test_a_whole_run_is_lines_with_its_text_between(event, render):
    text = render(
        PLAIN,
        event("run_started", model="claude-haiku-4-5", provider="claude"),
        event("message_streamed", delta="Hel"),
        event("message_streamed", delta="lo"),
        event.call("Read", {"file_path": "a.py"}),
        event.result("Read", "one\ntwo"),
        event("token_usage_updated", input_tokens=12, output_tokens=34, cost_usd=0.0123456),
        event("message_received", role="assistant", content="Hello"),
        event(
            "run_completed",
            stop_reason="end_turn",
            num_turns=2,
            token_usage={"input_tokens": 12, "output_tokens": 34},
            total_cost_usd=0.25,
        ),
    )
    assert text == (
        "[run_started] model=claude-haiku-4-5 session_id=ses_1 run_id=run_1 provider=claude\n"
        "Hello\n"
        '[tool_call_started] name=Read id=call_1 input={"file_path": "a.py"}\n'
        "[tool_call_completed] name=Read output=one\\ntwo\n"
        "[token_usage] input=12 output=34 cost=$0.012346\n"
        "[message_received] role=assistant content=Hello\n"
        "[run_completed] stop_reason=end_turn tokens=12/34 turns=2 cost=$0.25\n"
        "--- 8 events, 1 tools ---\n"
    )


LINES = [
    ("session_created", {"agent_id": "a", "provider": "mock"}, "[session_created] agent_id=a provider=mock"),
    (
        "session_failed",
        {"error_code": "timeout", "error_message": "m"},
        "[session_failed] error_code=timeout error_message=m",
    ),
    ("run_started", {}, "[run_started] model=unknown session_id=ses_1 run_id=run_1 provider=mock"),
    ("run_completed", {}, "[run_completed] stop_reason=end_turn"),
    ("run_failed", {}, "[run_failed] error_code=unknown error_message=unknown error"),
    ("run_cancelled", {"reason": "user"}, "[run_cancelled] reason=user"),
    ("run_paused", {"reason": "user", "by": "ann"}, "[run_paused] reason=user by=ann"),
    ("run_resumed", {}, "[run_resumed]"),
    ("run_recovered", {"mode": "resume"}, "[run_recovered] mode=resume"),
    ("message_sent", {"role": "user", "content": "Hi"}, "[message_sent] role=user content=Hi"),
    (
        "tool_call_started",
        {"tool_name": "f", "tool_call_id": "c", "tool_input": {}},
        "[tool_call_started] name=f id=c",
    ),
    ("tool_call_completed", {"tool_name": "f", "tool_output": ""}, "[tool_call_completed] name=f"),
    (
        "tool_call_failed",
        {"tool_name": "f", "tool_call_id": "c", "tool_output": "oh"},
        "[tool_call_failed] name=f id=c error=oh",
    ),
    (
        "error_occurred",
        {"error_code": "provider_timeout", "error_message": "late", "retry_in_s": 2},
        "[error] error_code=provider_timeout error_message=late (again in 2.0s)",
    ),
    (
        "token_usage_updated",
        {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3},
        "[token_usage] input=1 output=2 cache_read=3",
    ),
    (
        "turn_completed",
        {"turn": 1, "stop_reason": "tool_use", "token_usage": {}},
        "[turn_completed] turn=1 stop_reason=tool_use",
    ),
    (
        "policy_violation",
        {"policy": "p", "kind": "tool_denied", "action": "cancel", "details": {"rule": "deny"}},
        '[policy_violation] policy=p kind=tool_denied action=cancel details={"rule": "deny"}',
    ),
    (
        "tool_approval_requested",
        {
            "tool_name": "rm",
            "tool_call_id": "c",
            "tool_input": {"path": "x"},
            "policy_name": "p",
            "reason": "why",
        },
        '[tool_approval_requested] name=rm id=c input={"path": "x"} policy=p reason=why',
    ),
    (
        "tool_approval_granted",
        {"tool_name": "rm", "by": "ann"},
        "[tool_approval_granted] tool_name=rm by=ann",
    ),
    (
        "workspace_snapshot_taken",
        {"label": "before", "ref": "abc"},
        "[workspace_snapshot_taken] label=before ref=abc",
    ),
    (
        "workspace_diff_computed",
        {"files_changed": 2, "insertions": 3, "deletions": 0, "has_patch": True},
        "[workspace_diff_computed] files=2 insertions=3 deletions=0 patch=true",
    ),
]


@pytest.mark.parametrize(("kind", "data", "line"), LINES)
def test_each_type_has_its_line(event, render, kind, data, line):
    assert render(PLAIN, event(kind, **data), finish=False) == line + "\n"


def test_every_other_type_tells_all_of_its_payload(event, render):
    for kind in EventType:
        if kind is not EventType.MESSAGE_STREAMED:
            text = render(PLAIN, event(kind.value, reason="r"), finish=False)
            assert text.startswith("["), kind
            assert text.count("\n") == 1, kind


def test_thinking_is_marked_and_the_texts_of_two_runs_are_kept_apart(event, render):
    text = render(
        PLAIN,
        event("message_streamed", content="", thinking="hm, "),
        event("message_streamed", content="", thinking="well"),
        event("message_streamed", delta="Yes"),
        event("message_streamed", run="run_2", delta="No"),
    )
    assert text == "[thinking] hm, well\nYes\nNo\n--- 4 events, 0 tools ---\n"


def test_colours_are_an_option_that_is_on(event, render):
    assert (
        render(VerboseRenderer(), event("run_cancelled"), finish=False)
        == "\x1b[0;31m[run_cancelled]\x1b[0m\n"
    )


def test_long_values_are_cut(event, render):
    text = render(PLAIN, event.call("f", {"a": "x" * 200}), event.result("f", "y" * 2001), finish=False)
    assert text.splitlines()[0].endswith("x" * 113 + "...")
    assert text.splitlines()[1].endswith("y" * 2000 + "...")
