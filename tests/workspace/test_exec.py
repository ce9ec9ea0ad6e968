"""`Exec`: what a command is given, what is told of it, and how it is refused. Blocking and on a loop alike."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.command import Chunk, Command, CommandResult, Output
from asm_actors.workspace.exec import Exec
from asm_actors.workspace.watching import Stop
from supervisors.loops import new_loop


def _on_loop(work):
    loop = new_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture(params=["blocking", "asyncio", "production loop"])
def run(request):
    """Runs a command in each of the ways there are."""
    if request.param == "blocking":
        return Exec().run
    runner = asyncio.run if request.param == "asyncio" else _on_loop
    return lambda *args, **options: runner(Exec().run_async(*args, **options))


@pytest.fixture(autouse=True)
def _no_handle_is_left():
    _on_loop(asyncio.sleep(0))  # uvloop opens some for good when it is first used
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def _python(text, *words, **options):
    return Command(argv=(sys.executable, "-S", "-c", text, *words), **options)


# --- What is told ----------------------------------------------------------------------------------------------------


def test_output_error_output_and_exit_code_are_told_apart(run):
    result = run(Command.of_shell("echo out; echo err >&2; exit 3"))
    assert (result.stdout, result.stderr, result.exit_code, result.signal) == (b"out\n", b"err\n", 3, None)
    assert not (result.timed_out or result.cancelled or result.stdout_truncated or result.survivors)
    assert result.duration_ms >= 0


def test_a_signal_is_told_as_a_shell_does(run):
    result = run(Command.of_shell("kill -KILL $$"))
    assert (result.exit_code, result.signal) == (128 + 9, 9)


def test_error_output_can_go_where_output_goes(run):
    result = run(Command.of_shell("echo a; echo b >&2; echo c", merge_stderr=True))
    assert (result.stdout, result.stderr) == (b"a\nb\nc\n", b"")


def test_output_is_bounded_and_what_was_dropped_is_counted(run):
    result = run(
        _python("import sys; sys.stdout.write('x' * 3_000_000); sys.stderr.write('y' * 10)"),
    )
    assert len(result.stdout) == 1_048_576 and result.stdout_bytes == 3_000_000 and result.stdout_truncated
    assert result.stderr == b"y" * 10 and not result.stderr_truncated


def test_a_bound_of_nothing_keeps_nothing(run):
    result = run(["echo", "hello"], max_output_bytes=0)
    assert (result.stdout, result.stdout_bytes, result.stdout_truncated) == (b"", 6, True)


def test_text_leaves_out_a_character_that_the_bound_has_cut(run):
    result = run(["printf", "aé"], max_output_bytes=2)
    assert result.stdout == b"a\xc3" and result.stdout_text == "a"


def test_every_piece_of_output_is_handed_on_while_it_comes(run):
    pieces = []
    run(
        Command.of_shell("printf ab; printf cd >&2", max_output_bytes=1),
        on_output=lambda *piece: pieces.append(piece),
    )
    assert b"".join(data for stream, data in pieces if stream == Output.STDOUT) == b"ab"
    assert b"".join(data for stream, data in pieces if stream == Output.STDERR) == b"cd"


def test_what_the_taker_of_output_raises_ends_the_command_and_is_raised(run):
    def refuse(stream, data):
        raise LookupError(data)

    with pytest.raises(LookupError, match="ready"):
        run(Command.of_shell("echo ready; sleep 1000", timeout=60), on_output=refuse)


def test_a_result_is_json_ready(run):
    result = run(["printf", "\udcff\\377"]).to_map()
    assert result["args"] == ["\ufffd\\377"] and result["stdout"] == "\ufffd\ufffd"
    assert result["command"] == "printf" and result["exit_code"] == 0


# --- What is given ---------------------------------------------------------------------------------------------------


def test_input_is_given_in_full_however_long(run):
    result = run(["cat"], stdin=b"0123456789" * 200_000)
    assert result.stdout_bytes == 2_000_000


def test_without_input_there_is_nothing_to_read(run):
    assert run(["cat"]).stdout == b""


def test_a_command_need_not_read_its_input(run):
    assert run(["true"], stdin=b"x" * 1_000_000).exit_code == 0


def test_words_reach_the_program_as_they_are(run):
    words = ["", "a b", "$HOME", "`id`", "é", "\udcff", "-n", "line\nline", "'\""]
    result = run(
        _python("import os,sys; sys.stdout.buffer.write(b'|'.join(map(os.fsencode, sys.argv[1:])))", *words)
    )
    assert result.stdout == b"|".join(map(os.fsencode, words))


def test_variables_are_inherited_all_some_or_none(run, monkeypatch):
    monkeypatch.setenv("ASM_TEST_ONE", "1")
    monkeypatch.setenv("ASM_TEST_TWO", "2")

    def seen(**options):
        told = run(_python("import os; print(sorted(os.environ.items()))", **options)).stdout_text
        return dict(pair for pair in eval(told) if pair[0] != "LC_CTYPE")

    assert {"ASM_TEST_ONE", "ASM_TEST_TWO", "PATH"} <= set(seen())
    assert seen(inherit=["ASM_TEST_ONE", "ASM_TEST_ABSENT"]) == {"ASM_TEST_ONE": "1"}
    assert seen(inherit=False, env={"A": "b"}) == {"A": "b"}
    assert "ASM_TEST_ONE" not in seen(env={"ASM_TEST_ONE": None})


def test_a_command_runs_in_its_directory_and_in_a_session_of_its_own(run, tmp_path):
    text = "import os; print(os.getcwd(), os.getsid(0) == os.getpid() == os.getpgid(0))"
    assert run(_python(text, cwd=tmp_path)).stdout_text == f"{tmp_path} True\n"


def test_no_file_and_no_signal_setting_of_this_process_reaches_the_command(run):
    text = (
        "import os,signal;"
        "print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1], signal.pthread_sigmask(signal.SIG_BLOCK, ()));"
        "print([l for l in open('/proc/self/status') if l.startswith('SigIgn')])"
    )
    told = run(_python(text)).stdout_text
    assert told.startswith("[0, 1, 2] set()")
    shell = run(Command.of_shell("grep SigIgn /proc/self/status")).stdout_text
    assert shell.split() == ["SigIgn:", "0" * 16]


def test_a_program_is_looked_up_in_the_path_it_is_given(run, tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text(f"#!/bin/sh\necho {folder}\n")
        (tmp_path / folder / "tool").chmod(0o755)
    path = f"{tmp_path}/none:{tmp_path}/second:{tmp_path}/first"
    assert run(["tool"], inherit=False, env={"PATH": path}).stdout == b"second\n"
    assert run(["./tool"], cwd=str(tmp_path / "first")).stdout == b"first\n"


# --- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["there-is-no-such-command"], ErrorCode.COMMAND_NOT_FOUND),
        (["/nowhere/tool"], ErrorCode.COMMAND_NOT_FOUND),
        (["/etc/passwd"], ErrorCode.TOOL_PERMISSION_DENIED),
        (["/etc"], ErrorCode.COMMAND_NOT_FOUND),
    ],
)
def test_a_command_that_cannot_be_run_is_an_error(run, words, code):
    with pytest.raises(AsmError) as caught:
        run(words)
    assert caught.value.code == code and caught.value.details["command"] == words[0]


def test_a_file_that_is_no_program_is_an_error(run, tmp_path):
    bad, lost = tmp_path / "bad", tmp_path / "lost"
    bad.write_bytes(b"\x00\x01")
    lost.write_text("#!/nowhere/interpreter\n")
    for place, code in ((bad, ErrorCode.COMMAND_FAILED), (lost, ErrorCode.COMMAND_NOT_FOUND)):
        place.chmod(0o755)
        with pytest.raises(AsmError) as caught:
            run([str(place)])
        assert caught.value.code == code


def test_words_that_are_too_many_for_the_system_are_an_error(run):
    with pytest.raises(AsmError) as caught:
        run(["true", *["x" * 100_000] * 100])
    assert caught.value.code == ErrorCode.COMMAND_FAILED and caught.value.details["errno"] == 7


def test_a_directory_that_is_not_there_is_an_error(run, tmp_path):
    with pytest.raises(AsmError) as caught:
        run(["true"], cwd=str(tmp_path / "absent"))
    assert caught.value.code == ErrorCode.VALIDATION_ERROR


def test_a_text_is_no_command_unless_a_shell_is_asked_for(run):
    with pytest.raises(AsmError) as caught:
        run("echo hello")
    assert caught.value.code == ErrorCode.VALIDATION_ERROR and "of_shell" in caught.value.message
    assert run(Command.of_shell("echo $0", shell="/bin/sh")).stdout == b"/bin/sh\n"


# --- Time and cancellation -------------------------------------------------------------------------------------------


def test_a_command_that_takes_too_long_is_stopped_and_what_it_wrote_is_kept(run):
    result = run(Command.of_shell("echo part; sleep 1000", timeout=0.7))
    assert (result.timed_out, result.cancelled, result.exit_code, result.signal) == (True, False, 124, 15)
    assert result.stdout == b"part\n"


def test_a_command_that_is_silent_for_too_long_is_stopped(run):
    text = "for i in 1 2 3 4; do echo $i; sleep 0.2; done; sleep 1000"
    result = run(Command.of_shell(text, idle_timeout=0.7, timeout=60))
    assert result.timed_out and result.stdout == b"1\n2\n3\n4\n"


def test_a_command_that_ignores_the_polite_signal_is_killed_after_the_grace(run):
    stop = Stop()
    command = Command.of_shell(
        "trap '' TERM; echo ready; while :; do sleep 1000; done", timeout=60, grace=0.1
    )
    result = run(command, stop=stop, on_output=lambda *_: stop.set())
    assert (result.cancelled, result.signal, result.stdout) == (True, 9, b"ready\n")


def test_a_command_gets_the_time_to_end_well(run):
    text = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    stop = Stop()
    command = Command.of_shell(text, timeout=60, grace=30)
    result = run(command, stop=stop, on_output=lambda *_: stop.set())
    assert (result.stdout, result.exit_code, result.cancelled) == (b"ready\nbye\n", 130, True)


def test_a_stop_from_any_thread_cancels_the_command(run):
    stop = Stop()

    def ready(stream, data):
        thread = threading.Thread(target=stop.set)
        thread.start()
        thread.join()

    result = run(Command.of_shell("echo ready; sleep 1000", timeout=60), on_output=ready, stop=stop)
    assert (result.cancelled, result.timed_out, result.exit_code) == (True, False, 130)
    assert result.stdout == b"ready\n"
    with pytest.raises(AsmError) as caught:
        result.check()
    assert caught.value.code == ErrorCode.CANCELLED


def test_a_stop_that_was_made_before_prevents_or_cancels_the_command(run):
    stop = Stop()
    stop.set()
    try:
        assert run(["sleep", "1000"], stop=stop, timeout=60).cancelled
    except AsmError as error:
        assert error.code == ErrorCode.CANCELLED


def test_cancelling_the_task_takes_until_the_command_is_gone(gone):
    pids = []

    async def work():
        ready = asyncio.Event()

        def take(stream, data):
            pids.append(int(data))
            ready.set()

        task = asyncio.create_task(
            Exec().run_async(Command.of_shell("echo $$; exec sleep 1000", timeout=60), on_output=take)
        )
        await ready.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert not Path(f"/proc/{pids[0]}").exists()


def test_a_started_command_can_be_signalled_awaited_and_stopped():
    async def work():
        ready = asyncio.Event()
        text = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.01; done"
        running = Exec().start(Command.of_shell(text, timeout=60), on_output=lambda *_: ready.set())
        await ready.wait()
        assert not running.is_over
        waiting = asyncio.create_task(running.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        running.signal(signal.SIGINT)
        result = await running.wait()
        running.signal(signal.SIGINT)
        running.stop()
        await running.aclose()
        return result

    result = asyncio.run(work())
    assert (result.stdout, result.exit_code, result.cancelled) == (b"ready\ninterrupted\n", 7, False)


# --- Streams ---------------------------------------------------------------------------------------------------------


def _collected(items):
    *chunks, result = items
    assert all(isinstance(chunk, Chunk) for chunk in chunks) and isinstance(result, CommandResult)
    return b"".join(chunk.data for chunk in chunks), result


def _streamed(command):
    async def work():
        return [item async for item in Exec().stream(command)]

    return asyncio.run(work())


@pytest.mark.parametrize("stream", [lambda command: list(Exec().iterate(command)), _streamed])
def test_a_stream_gives_all_output_and_then_the_result(stream):
    text = "import sys; [sys.stdout.write('x' * 100_000) for _ in range(50)]"
    output, result = _collected(stream(_python(text, max_output_bytes=10)))
    assert output == b"x" * 5_000_000 and result.exit_code == 0 and len(result.stdout) == 10


def test_a_reader_who_is_slow_makes_the_command_wait():
    stream = Exec().iterate(_python("import sys\nwhile True: sys.stdout.write('x' * 100_000)", timeout=60))
    for _ in range(200):
        next(stream)
    assert sum(len(chunk.data) for chunk in stream.gi_frame.f_locals["ahead"].chunks) < 1_500_000
    stream.close()


def test_closing_a_stream_stops_the_command(gone):
    stream = Exec().iterate(Command.of_shell("echo $$; exec sleep 1000", timeout=60))
    pid = int(next(stream).data)
    stream.close()
    assert not Path(f"/proc/{pid}").exists()

    async def work():
        stream = Exec().stream(Command.of_shell("echo $$; exec sleep 1000", timeout=60))
        chunk = await anext(stream)
        await stream.aclose()
        return int(chunk.data)

    assert not Path(f"/proc/{asyncio.run(work())}").exists()


def test_many_commands_run_at_once_on_one_loop_without_threads():
    async def work():
        before = threading.active_count()
        results = await asyncio.gather(*(Exec().run_async(["echo", str(n)]) for n in range(20)))
        return [int(result.stdout) for result in results], threading.active_count() - before

    assert asyncio.run(work()) == (list(range(20)), 0)
