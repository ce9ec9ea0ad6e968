"""Nothing of a command survives: no child, none that has made a session of its own, not even when we are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.command import Command
from asm_actors.workspace.exec import Exec
from asm_actors.workspace.watching import Stop

REPOSITORY = Path(__file__).resolve().parents[2]

# Starts a child, one that has forked twice and made a session of its own, and one that hides its variables besides;
# each tells its process id, and ignores what can be ignored.
TREE = """
import os, signal, sys, time
heard, hear = os.pipe()
os.set_inheritable(hear, True)
def tell():
    os.write(1, b"%d\\n" % os.getpid())
    os.write(hear, b"!")
def stay():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
    tell()
    while True: time.sleep(1000)
def detach(then):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            then()
        os._exit(0)
    os.wait()
if os.fork() == 0: stay()
detach(stay)
detach(lambda: os.execve(sys.executable, [sys.executable, "-S", "-c",
    "import os,sys,time; os.write(1, b'%d\\\\n' % os.getpid()); os.write(int(sys.argv[1]), b'!'); time.sleep(1000)",
    str(hear)], {}))
tell()
"""


def _tree(last="time.sleep(1000)", **options):
    return Command(
        argv=(sys.executable, "-S", "-c", TREE + last), **({"grace": 0.1, "timeout": 60} | options)
    )


class Listening:
    """Gathers process ids; calls when there are enough."""

    def __init__(self, then=lambda: None, enough=4):
        self._text = b""
        self._then, self._enough = then, enough

    def __call__(self, stream, data):
        self._text += data
        if self._text.count(b"\n") == self._enough:
            self._then()

    @property
    def pids(self):
        return [int(line) for line in self._text.split()]


def test_a_timeout_ends_the_whole_tree(is_alive):
    listening = Listening()
    result = Exec().run(_tree(timeout=1.5), on_output=listening)
    assert result.timed_out and listening.pids and result.survivors == 0
    assert [pid for pid in listening.pids if is_alive(pid)] == []


def test_cancelling_ends_the_whole_tree_before_it_returns(is_alive):
    stop = Stop()
    listening = Listening(stop.set)
    result = Exec().run(_tree(), on_output=listening, stop=stop)
    assert result.cancelled and len(listening.pids) == 4
    assert [pid for pid in listening.pids if is_alive(pid)] == []


def test_cancelling_a_task_ends_the_whole_tree_before_it_returns(is_alive):
    async def work():
        ready = asyncio.Event()
        listening = Listening(ready.set)
        task = asyncio.create_task(Exec().run_async(_tree(), on_output=listening))
        await ready.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [pid for pid in listening.pids if is_alive(pid)]

    assert asyncio.run(work()) == []


def test_cancelling_a_task_twice_kills_at_once(is_alive):
    async def work():
        ready = asyncio.Event()
        listening = Listening(ready.set)
        task = asyncio.create_task(Exec().run_async(_tree(grace=1000), on_output=listening))
        await ready.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [pid for pid in listening.pids if is_alive(pid)]

    assert asyncio.run(work()) == []


def test_what_a_command_leaves_behind_ends_with_it(is_alive):
    listening = Listening()
    result = Exec().run(_tree("for _ in range(4): os.read(heard, 1)"), on_output=listening)
    assert (result.exit_code, result.timed_out, result.cancelled) == (0, False, False)
    assert len(listening.pids) == 4
    assert [pid for pid in listening.pids if is_alive(pid)] == []


def test_a_process_that_holds_the_output_open_holds_up_nobody():
    result = Exec().run(Command.of_shell("setsid sleep 1000 & echo done", grace=0.05, timeout=60))
    assert (result.stdout, result.exit_code) == (b"done\n", 0)


def test_a_process_that_runs_away_from_its_signals_is_caught():
    text = """
import os, signal
if os.fork():
    signal.pause()
os.write(1, b"ready\\n")
for _ in range(20_000):
    if os.fork():
        os._exit(0)
    os.setsid()
signal.pause()
"""
    stop = Stop()
    command = Command(argv=(sys.executable, "-S", "-c", text), grace=0, timeout=60)
    result = Exec().run(command, on_output=lambda *_: stop.set(), stop=stop)
    assert result.cancelled and result.survivors == 0


def test_a_stopped_command_is_ended(is_alive):
    pids = []
    stop = Stop()

    def freeze(stream, data):
        pids.append(int(data))
        os.kill(pids[0], signal.SIGSTOP)
        stop.set()

    result = Exec().run(Command.of_shell("echo $$; exec sleep 1000", timeout=60), on_output=freeze, stop=stop)
    assert result.cancelled and result.signal == signal.SIGTERM and not is_alive(pids[0])


def test_a_command_cannot_rid_itself_of_its_guardian_politely(is_alive):
    listening = Listening(enough=1)
    text = "for s in TERM INT HUP; do kill -$s $PPID; done; echo $$; exec sleep 1000"
    result = Exec().run(Command.of_shell(text, timeout=0.5, grace=0.1), on_output=listening)
    assert result.timed_out and not is_alive(listening.pids[0])


def test_a_guardian_that_is_killed_takes_the_command_along_and_is_told(gone):
    pids = []

    def kill(stream, data):
        pids.append(int(data))
        guardian = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(guardian, signal.SIGKILL)

    with pytest.raises(AsmError) as caught:
        Exec().run(Command.of_shell("echo $$; exec sleep 1000", timeout=60), on_output=kill)
    assert caught.value.code == ErrorCode.COMMAND_FAILED and "guardian" in caught.value.message
    assert gone(*pids)


@pytest.mark.parametrize("way", ["blocking", "asyncio", "thread that ended"])
def test_nothing_survives_when_this_process_is_killed(way, gone, is_alive):
    text = f"""
import asyncio, sys, threading
from asm_actors.workspace.exec import Exec
from asm_actors.workspace.command import Command
command = Command(argv={_tree().argv!r}, timeout=60, grace=60)
tell = lambda stream, data: (sys.stdout.buffer.write(data), sys.stdout.flush())
way = {way!r}
if way == "blocking":
    Exec().run(command, on_output=tell)
elif way == "asyncio":
    asyncio.run(Exec().run_async(command, on_output=tell))
else:
    # The thread that starts the command ends while it runs: that is not the end of the process.
    from asm_actors.workspace.watching import WaitingWatcher
    from asm_actors.workspace.process import Process
    watcher = WaitingWatcher()
    started = []
    start = lambda: started.append(Process(command, watcher, on_output=tell, on_end=print))
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    while True: watcher.step()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": "."},
    )
    with child, child.stdout:
        pids = [int(child.stdout.readline()) for _ in range(4)]
        assert all(map(is_alive, pids))
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert gone(*pids)


def test_a_fork_of_this_process_that_holds_its_files_does_not_keep_the_command_alive(gone):
    text = """
import os, sys, time
from asm_actors.workspace.watching import WaitingWatcher
from asm_actors.workspace.process import Process
from asm_actors.workspace.command import Command
watcher = WaitingWatcher()
tell = lambda stream, data: (sys.stdout.buffer.write(data), sys.stdout.flush())
Process(Command.of_shell("echo $$; exec sleep 1000", timeout=60), watcher, on_output=tell, on_end=print)
holder = os.fork()
if holder == 0:
    time.sleep(1000)
print(holder, flush=True)
while True: watcher.step()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": "."},
    )
    with child, child.stdout:
        holder, command = int(child.stdout.readline()), int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert gone(command)
        os.kill(holder, signal.SIGKILL)
    assert gone(holder)


def test_commands_of_many_threads_do_not_get_in_each_others_way():
    import threading

    found = {}

    def work(number):
        result = Exec().run(Command.of_shell(f"echo {number}; sleep 1000", timeout=0.4))
        found[number] = (result.stdout, result.timed_out)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: (b"%d\n" % number, True) for number in range(8)}


def test_the_slow_way_to_find_descendants_finds_the_same():
    from asm_actors.workspace import guardian

    with subprocess.Popen(["sleep", "1000"]) as child:
        assert child.pid in guardian._children(os.getpid())
        assert child.pid in guardian._parents()[os.getpid()]
        child.kill()
    assert json.dumps(guardian._children(2**22 - 1)) == "[]"
