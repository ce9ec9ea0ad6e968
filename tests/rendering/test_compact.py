"""`CompactRenderer`: each event a token."""

from __future__ import annotations

import pytest

from asm_actors.events import EventType
from asm_actors.rendering.compact import CompactRenderer

PLAIN = CompactRenderer(color=False)


def test_a_whole_run_reads_as_tokens_and_text(event, render):
    text = render(
        PLAIN,
        event("session_created", run=None, agent_id="greeter"),
        event("run_started", model="claude-sonnet-4-5-20250929"),
        event("message_streamed", content="Hel", delta="Hel"),
        event("message_streamed", content="lo", delta="lo"),
        event.call("Read", {"file_path": "a.py"}),
        event.result("Read", "line 1"),
        event("token_usage_updated", input_tokens=12, output_tokens=34, cost_usd=0.01234),
        event("message_received", role="assistant", content="Hello\nthere"),
        event("run_completed", stop_reason="end_turn", total_cost_usd=0.5),
    )
    assert text == (
        "s+ greeter r+ sonnet-4-5 >> Hello\n"
        "t+Read t-Read tr:line 1 tk:12/34 $0.0123 msg Hello there r-:end $0.5\n"
        "9 events, 1 tools\n"
    )


TOKENS = [
    ("session_created", {}, "s+"),
    ("session_forked", {"parent_session_id": "ses_0"}, "s+fork ses_0"),
    ("session_started", {}, "s:started"),
    ("session_paused", {"reason": "lunch"}, "s:paused lunch"),
    ("session_resumed", {}, "s:resumed"),
    ("session_completed", {}, "s-"),
    ("session_failed", {"error_message": "gone"}, "! gone"),
    ("session_cancelled", {}, "! session cancelled"),
    ("session_deleted", {}, "s:deleted"),
    ("run_started", {"provider": "claude"}, "r+ claude"),
    ("run_completed", {}, "r-"),
    ("run_completed", {"stop_reason": "tool_use"}, "r-:tool"),
    ("run_completed", {"stop_reason": "max_tokens"}, "r-:max_tokens"),
    ("run_failed", {"error_message": "it broke"}, "! it broke"),
    ("run_cancelled", {"reason": "user"}, "! cancelled"),
    ("run_timeout", {}, "! timeout"),
    ("run_paused", {"reason": "user"}, "r:paused user"),
    ("run_resumed", {}, "r:resumed"),
    ("run_recovered", {"recoveries": 1}, "r:recovered"),
    ("run_interrupted", {}, "r:interrupted"),
    ("message_sent", {"role": "user", "content": "Hi"}, "<< Hi"),
    ("message_received", {"content": "x" * 121}, "msg " + "x" * 120 + "..."),
    ("tool_call_started", {}, "t+unknown"),
    ("tool_call_completed", {"tool_name": "f"}, "t-f"),
    ("tool_call_completed", {"tool_name": "f", "tool_output": {"a": 1}}, 't-f tr:{"a": 1}'),
    ("tool_call_completed", {"tool_name": "f", "tool_output": "y" * 2001}, "t-f tr:" + "y" * 2000 + "..."),
    ("tool_call_failed", {"tool_name": "f", "error": {"code": "timeout", "message": "late"}}, "t!f late"),
    ("tool_call_failed", {"tool_name": "f", "tool_output": "oh"}, "t!f oh"),
    ("error_occurred", {}, "! unknown error"),
    ("error_occurred", {"error_message": "busy", "retry_in_s": 1.5}, "! busy (again in 1.5s)"),
    ("error_occurred", {"error_message": "gone", "will_retry": True}, "! gone (again soon)"),
    ("error_recovered", {}, "e:recovered"),
    ("token_usage_updated", {}, "tk:0/0"),
    ("turn_completed", {"turn": 2}, "turn 2"),
    ("workspace_snapshot_taken", {"label": "before"}, "w:before"),
    ("workspace_diff_computed", {"files_changed": 2, "insertions": 3, "deletions": 1}, "w:2f+3-1"),
    ("policy_violation", {"policy": "strict", "kind": "tool_denied"}, "p!tool_denied"),
    ("tool_approval_requested", {"tool_name": "rm"}, "a?rm"),
    ("tool_approval_granted", {"tool_name": "rm"}, "a+rm"),
    ("tool_approval_denied", {"tool_name": "rm"}, "a-rm"),
]


@pytest.mark.parametrize(("kind", "data", "token"), TOKENS)
def test_each_type_has_its_token(event, render, kind, data, token):
    made = event(kind, **data)
    if kind == "run_completed" and not data:
        assert render(PLAIN, made, finish=False) == token
    assert render(PLAIN, made, finish=False) == token


def test_every_type_that_can_be_named_has_a_token_of_its_own(event, render):
    silent = {"message_streamed"}
    unknown = [
        kind.value
        for kind in EventType
        if kind.value not in silent and render(PLAIN, event(kind.value), finish=False).startswith("?")
    ]
    assert unknown == []


def test_the_texts_of_two_runs_are_kept_apart(event, render):
    text = render(
        PLAIN,
        event("message_streamed", run="run_1", delta="one"),
        event("message_streamed", run="run_2", delta="two"),
        event("message_streamed", run="run_2", delta="!"),
        finish=False,
    )
    assert text == ">> one\n>> two!"


def test_thinking_and_empty_pieces_leave_no_trace(event, render):
    pieces = (
        event("message_streamed", content="", delta="", thinking="hm"),
        event("message_streamed", content=""),
    )
    assert render(PLAIN, *pieces, finish=False) == ""


def test_the_end_closes_an_open_text(event, render):
    assert render(PLAIN, event("message_streamed", delta="half")) == ">> half\n1 events, 0 tools\n"
    assert render(PLAIN) == "0 events, 0 tools\n"


def test_colours_are_an_option_that_is_on(event, render):
    text = render(CompactRenderer(), event("run_started", model="o3"), event("run_failed"), finish=False)
    assert text == (
        "\x1b[0;34mr+\x1b[0m \x1b[0;35mo3\x1b[0m \x1b[0;31m!\x1b[0m \x1b[2mrun failed\x1b[0m"
    ).replace("run failed", "run failed")


def test_what_a_model_says_cannot_command_the_terminal(event, render):
    text = render(
        PLAIN,
        event("message_streamed", delta="\x1b]0;title\x07a\x1b[31mb\rc\x9b2Jd\u202ee"),
        event.result("f", "\x1b[2Jgone"),
        finish=False,
    )
    assert text == ">> abcde\nt-f tr:gone"
