"""`StudioRenderer`: a session as one would tell it."""

from __future__ import annotations

import pytest

from asm_actors.errors import ValidationError
from asm_actors.events import EventType
from asm_actors.rendering.studio import StudioRenderer

PLAIN = StudioRenderer(color=False)
TTY = StudioRenderer(color=False, tty=True)
OVER = "\r\x1b[2K"


def test_a_whole_run(event, render):
    text = render(
        PLAIN,
        event("session_created", run=None, agent_id="a"),
        event("message_sent", role="user", content="Please look"),
        event("run_started", model="claude-haiku-4-5"),
        event("message_streamed", delta="I'll look.\nAt "),
        event("message_streamed", delta="all\n\nof it."),
        event.call("Read", {"file_path": "a.py"}),
        event.result("Read", "1\n2"),
        event.call("bash", {"command": "make test"}),
        event.result("bash", "x" * 156, after_ms=3200),
        event("token_usage_updated", input_tokens=800, output_tokens=300),
        event("token_usage_updated", input_tokens=47, output_tokens=12),
        event("message_received", content="I'll look."),
        event("run_completed", stop_reason="end_turn"),
    )
    assert text == (
        "  » Please look\n"
        "\n"
        "  ● claude-haiku-4-5 session started\n"
        "\n"
        "  I'll look.\n"
        "  At all\n"
        "\n"
        "  of it.\n"
        "\n"
        "  ◐ Reading a.py\n"
        "  ✓ Read a.py (2 lines)\n"
        "  ◐ Running: make test\n"
        "  ✓ Ran: make test (exit 0, 156 chars, 3.2s)\n"
        "\n"
        "  ● Session complete (end_turn) — 847/312 tokens, 2 tools\n"
    )


def test_on_a_terminal_the_line_of_a_running_call_is_written_over(event, render):
    text = render(TTY, event.call("bash", {"command": "ls"}), event.result("bash", "ok"))
    assert text == f"  ◐ Running: ls{OVER}  ✓ Ran: ls (exit 0, 2 chars)\n"


def test_calls_side_by_side_do_not_write_over_each_other(event, render):
    text = render(
        TTY,
        event.call("Read", {"path": "a"}, call_id="1"),
        event.call("Read", {"path": "b"}, call_id="2"),
        event.result("Read", "x", call_id="1"),
        event.result("Read", "y\nz", call_id="2"),
    )
    assert text == (
        f"  ◐ Reading a\n  ◐ Reading b{OVER}  ✓ Read a (1 line)\n  ◐ Reading b{OVER}  ✓ Read b (2 lines)\n"
    )


def test_a_line_that_is_broken_into_by_something_else_is_not_written_over(event, render):
    text = render(
        TTY,
        event.call("bash", {"command": "ls"}),
        event("error_occurred", error_message="hiccup"),
        event.result("bash", ""),
    )
    assert text == "  ◐ Running: ls\n  ✗ hiccup\n  ✓ Ran: ls (exit 0)\n"


def test_a_call_that_failed_and_one_whose_command_failed(event, render):
    text = render(
        PLAIN,
        event.call("Edit", {"path": "a"}),
        event("tool_call_failed", tool_call_id="call_1", tool_name="Edit", error={"message": "no such file"}),
        event.call("bash", {"command": "false"}),
        event.result("bash", {"output": "", "exit_code": 1}),
    )
    assert text == (
        "  ◐ Editing a\n  ✗ Edit failed: no such file\n  ◐ Running: false\n  ✗ Bash failed: false (exit 1)\n"
    )


@pytest.mark.parametrize(
    ("mode", "extra"),
    [
        ("summary", ""),
        ("preview", "    │ b\n    │ c\n    │ d\n"),
        ("full", "    ┊ a\n    ┊ b\n    ┊  c\n    ┊ d\n"),
    ],
)
def test_how_much_of_an_output_is_shown(event, render, mode, extra):
    renderer = StudioRenderer(color=False, tool_output=mode)
    text = render(renderer, event.call("f"), event.result("f", "a\nb\n\n c\nd\n"))
    assert text == f"  ◐ Using f\n  ✓ f complete (10 chars)\n{extra}"


def test_spinner_and_indent_are_options(event, render):
    renderer = StudioRenderer(color=False, show_spinner=False, indent=0)
    assert render(renderer, event.call("f")) == "● Using f\n"


@pytest.mark.parametrize("options", [{"tool_output": "all"}, {"indent": -1}, {"indent": "2"}])
def test_malformed_options_are_refused(options):
    with pytest.raises(ValidationError):
        StudioRenderer(**options)


NOTES = [
    ("run_failed", {"error_message": "it broke"}, "\n  ✗ it broke\n"),
    ("run_cancelled", {"reason": "user"}, "\n  ✗ cancelled: user\n"),
    ("run_timeout", {}, "\n  ✗ timed out\n"),
    ("run_paused", {"reason": "user"}, "  ● Paused: user\n"),
    ("run_resumed", {}, "  ● Resumed\n"),
    ("run_recovered", {}, "  ● Recovered after a crash\n"),
    ("run_interrupted", {}, "  ● Interrupted\n"),
    ("session_started", {}, ""),
    ("session_paused", {}, "  ● Session paused\n"),
    ("session_failed", {"error_message": "x"}, "  ✗ Session failed: x\n"),
    ("session_forked", {"parent_session_id": "ses_0"}, "  ● Forked from ses_0\n"),
    ("turn_completed", {"turn": 1}, ""),
    ("error_occurred", {"error_message": "busy", "retry_in_s": 1}, "  ✗ busy (again in 1.0s)\n"),
    ("policy_violation", {"policy": "p", "kind": "tool_denied"}, "  ✗ Policy p violated: tool_denied\n"),
    ("workspace_diff_computed", {"files_changed": 1, "insertions": 3}, "  ● Changed 1 file (+3 -0)\n"),
    (
        "tool_approval_requested",
        {"tool_name": "rm", "tool_input": {"p": 1}, "reason": "why"},
        '  ? Approval needed: rm {"p": 1}: why\n',
    ),
    (
        "tool_approval_granted",
        {"tool_name": "rm", "by": "ann", "reason": "fine"},
        "  ✓ Approval granted: rm by ann: fine\n",
    ),
    ("tool_approval_denied", {"tool_name": "rm"}, "  ✗ Approval denied: rm\n"),
]


@pytest.mark.parametrize(("kind", "data", "text"), NOTES)
def test_what_else_is_told(event, render, kind, data, text):
    assert render(PLAIN, event(kind, **data)) == text


def test_no_type_is_told_as_unknown(event, render):
    assert [kind for kind in EventType if "?" in render(PLAIN, event(kind.value))] == [
        EventType.TOOL_APPROVAL_REQUESTED
    ]


def test_a_message_that_did_not_stream_is_shown_whole(event, render):
    text = render(
        PLAIN,
        event("message_received", content="One\nTwo\n"),
        event("message_streamed", delta="Three"),
        event("message_received", content="Three"),
        event("message_received", content="Four"),
    )
    assert text == "\n  One\n  Two\n\n  Three\n\n  Four\n"


def test_each_run_counts_for_itself(event, render):
    usage = {"input_tokens": 5, "output_tokens": 7}
    text = render(
        PLAIN,
        event("token_usage_updated", **usage),
        event("run_completed", stop_reason="end_turn"),
        event(
            "run_completed",
            run="run_2",
            stop_reason="end_turn",
            token_usage={"input_tokens": 1, "output_tokens": 2},
        ),
    )
    assert text == (
        "\n  ● Session complete (end_turn) — 5/7 tokens, 0 tools\n"
        "\n  ● Session complete (end_turn) — 1/2 tokens, 0 tools\n"
    )


def test_colours_are_an_option_that_is_on(event, render):
    text = render(StudioRenderer(), event.call("f"), event.result("f", None))
    assert text == "  \x1b[0;36m◐\x1b[0m Using f\n  \x1b[0;32m✓\x1b[0m f complete\n"


def test_thinking_is_grey_and_apart(event, render):
    pieces = event("message_streamed", content="", thinking="hm"), event("message_streamed", delta="Yes")
    assert render(StudioRenderer(), *pieces) == "\n\x1b[2m  hm\x1b[0m\n\n  Yes\n"
