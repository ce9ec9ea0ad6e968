"""`asm run`: the answer on stdout, all else beside it, and nothing lost by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import asm_actors as asm

EVENTS = (
    (
        '{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"claude-test",'
        '"content":[],"usage":{"input_tokens":11,"output_tokens":1}}}'
    ),
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Since "}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"crashes happen."}}',
    '{"type":"content_block_stop","index":0}',
    '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}',
    '{"type":"message_stop"}',
)


class _Api(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        # Versions of the client differ in which of the two they send.
        key = self.headers["x-api-key"] or self.headers["authorization"].removeprefix("Bearer ")
        status = 200 if key == "sk-right" else 401
        self.send_response(status)
        if status == 200:
            self.send_header("content-type", "text/event-stream")
            body = "".join(f"event: x\ndata: {event}\n\n" for event in EVENTS)
        else:
            self.send_header("content-type", "application/json")
            body = '{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}'
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def api():
    """The address of something that answers as the real API does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_answer_is_on_stdout_and_the_rest_beside_it(run_asm):
    result = run_asm("run", "--provider", "mock", "why?")
    assert result.exit_code == 0
    assert result.stdout.startswith("You asked: why?\n")
    assert result.stdout.count("\n") == 2
    assert "asm show run_" in result.stderr


def test_it_is_in_the_journal_that_was_named(run_asm):
    run_asm("run", "--provider", "mock", "why?", "--system", "Be brief.", "--journal", "kept")
    (session,) = run_asm.lines("sessions", "--journal", "kept")
    assert (session["status"], session["context"]) == ("completed", {"system_prompt": "Be brief."})
    (run,) = run_asm.lines("runs", "--journal", "kept")
    assert run["input"] == {"messages": [{"role": "user", "content": "why?"}]}


def test_with_json_every_event_is_a_line_and_the_result_is_the_last(run_asm):
    lines = run_asm.lines("run", "--provider", "mock", "why?")
    assert [line["type"] for line in lines[:2]] == ["message_sent", "run_started"]
    assert lines[-2]["type"] == "run_completed"
    assert lines[-1]["type"] == "result"
    assert lines[-1]["run"]["output"]["content"].startswith("You asked: why?")


def test_the_question_can_come_from_standard_input(run_asm):
    assert run_asm("run", "--provider", "mock", "-", stdin="from a pipe\n").stdout.startswith(
        "You asked: from a pipe\n"
    )


def test_an_empty_question_is_refused(run_asm):
    assert run_asm.refused("run", "--provider", "mock", " ") == "the question is empty"


def test_without_a_key_it_says_what_to_do_and_makes_nothing(run_asm, tmp_path):
    line = run_asm.refused("run", "why?")
    assert "ANTHROPIC_API_KEY" in line
    assert "asm run --provider mock" in line
    assert list(tmp_path.iterdir()) == []


def test_with_a_key_the_model_answers(run_asm, api):
    env = {"ANTHROPIC_API_KEY": "sk-right", "ANTHROPIC_BASE_URL": api}
    result = run_asm("run", "why?", env=env)
    assert (result.exit_code, result.stdout) == (0, "Since crashes happen.\n"), result.stderr
    assert "11 tokens in, 7 out" in result.stderr


def test_a_wrong_key_is_one_line_without_the_key(run_asm, api):
    env = {"ANTHROPIC_API_KEY": "sk-wrong-secret", "ANTHROPIC_BASE_URL": api}
    result = run_asm("run", "why?", env=env)
    assert result.exit_code == 2
    assert "401: invalid x-api-key" in result.stderr
    assert "secret" not in result.stderr
    assert run_asm.lines("sessions")[0]["status"] == "failed"


def test_a_deadline_ends_it_as_timeout_and_keeps_what_had_come(run_asm):
    result = run_asm("run", "--provider", "mock", "long " * 500, "--deadline", "0.3")
    assert result.exit_code == 1
    assert "reached its deadline" in result.stderr
    assert result.stdout.startswith("You asked: long")
    (run,) = run_asm.lines("runs")
    assert (run["status"], run["output"]["partial"]) == ("timeout", True)


def test_ctrl_c_cancels_the_run_and_keeps_what_had_come(run_asm, children):
    child = children.asm("run", "--provider", "mock", "long " * 5000)
    said = child.stdout.read(20)
    child.send_signal(signal.SIGINT)
    said += child.stdout.read()
    errors = child.stderr.read()
    assert child.wait() == 130
    assert "cancelled; what had come is kept: asm show run_" in errors
    assert "Traceback" not in errors
    (run,) = run_asm.lines("runs")
    assert run["status"] == "cancelled"
    assert run["output"]["partial"] is True
    assert run["output"]["content"] == said.removesuffix("\n")
    assert run_asm.lines("sessions")[0]["status"] == "cancelled"
    assert run_asm("journal", "verify").exit_code == 0


def test_a_journal_that_another_process_writes_is_refused_and_names_it(run_asm, children, tmp_path):
    holder, _, _ = children.hold(tmp_path / "held")
    line = run_asm.refused("run", "--provider", "mock", "why?", "--journal", "held")
    assert f"process {holder.pid}" in line


def test_open_runs_of_another_program_are_not_spoilt(run_asm, tmp_path):
    with asm.ActorSystem.start(tmp_path / "theirs", {"own": asm.ScriptedProvider()}) as system:
        session = system.sessions.start_session(agent_id="a")
        system.sessions.activate_session(session.id)
        run = system.sessions.start_run(session.id, "later")
        system.stop()
    before = run_asm.lines("events", "--journal", "theirs")
    line = run_asm.refused("run", "--provider", "mock", "why?", "--journal", "theirs")
    assert run.id in line
    assert "asm cancel RUN --journal theirs" in line
    assert run_asm.lines("events", "--journal", "theirs") == before
