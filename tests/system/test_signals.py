"""A backend process and the signals that end it, in child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import asm_actors as asm
from asm_actors import AsmError, RunStatus
from asm_actors.journal.lmdb_store import LmdbStore

REPOSITORY = Path(__file__).resolve().parents[2]

COMMON = """
import asyncio, logging, os, signal, sys, threading
import asm_actors as asm
from asm_actors.providers.script import Script, text, wait
from supervisors.testing import Gate

logging.basicConfig(level=logging.WARNING, format="%(name)s %(message)s", stream=sys.stdout)
gate = Gate()
provider = asm.ScriptedProvider(Script(text("so far "), wait(gate), text("and more")))
journal, mode = sys.argv[1:3]
if mode == "finishes":
    # The run ends some time after the stop has begun.
    logging.getLogger("asm_actors").addHandler(type("H", (logging.Handler,), {"emit": lambda *_: gate.open()})())

def say(*words):
    print(*words, flush=True)

def say_when_ready(system, *words):
    def watch():
        while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            threading.Event().wait(0.001)
        say(*words)
        if mode == "gives up":
            system.root.kill()

    threading.Thread(target=watch).start()
"""

BLOCKING = (
    COMMON
    + """
with asm.ActorSystem.start(journal, {"mock": provider}) as system:
    session = system.sessions.start_session(agent_id="a")
    system.sessions.activate_session(session.id)
    run = system.sessions.submit_run(session.id, "Hello")
    for event in system.sessions.stream_session_events(session.id, type="message_streamed", limit=1):
        pass
    say_when_ready(system, "READY", run.id)
    report = system.run_until_signal(timeout=30.0)
    say("STOPPED", report.signal, report.is_clean, *report.orphans)
say("LEFT", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
)

ASYNCIO = (
    COMMON
    + """
async def main():
    async with asm.AsyncActorSystem.start(journal, {"mock": provider}) as system:
        session = await system.sessions.start_session(agent_id="a")
        await system.sessions.activate_session(session.id)
        run = await system.sessions.submit_run(session.id, "Hello")
        async for event in system.sessions.stream_session_events(session.id, type="message_streamed", limit=1):
            pass
        say_when_ready(system, "READY", run.id)
        report = await system.run_until_signal(timeout=30.0)
        say("STOPPED", report.signal, report.is_clean, *report.orphans)
    say("LEFT", True)

asyncio.run(main())
"""
)


class Backend:
    """A child process with a system that has one streaming run."""

    def __init__(self, program, journal, mode):
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(journal), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        self.lines = []
        self.run_id = self.read_to("READY")[1]

    def read_to(self, word):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            words = line.split()
            if words[:1] == [word] or word in line:
                return words
        raise AssertionError(f"no {word} in {self.lines}")

    def end(self):
        self.lines += [line.rstrip() for line in self.process.stdout]
        return self.process.wait(timeout=30)


@pytest.fixture
def backend(tmp_path):
    made = []

    def make(program, mode="stays"):
        made.append(Backend(program, tmp_path / "journal", mode))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        each.process.stdout.close()


@pytest.fixture
def stored(tmp_path):
    def read(run_id):
        store = LmdbStore(tmp_path / "journal", readonly=True)
        store.open()
        try:
            return store.run(run_id)
        finally:
            store.close()

    return read


@pytest.mark.parametrize("program", [BLOCKING, ASYNCIO], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_finish_what_is_under_way(backend, stored, program, number):
    child = backend(program, "finishes")
    child.process.send_signal(number)
    assert child.read_to("STOPPED") == ["STOPPED", str(int(number)), "True"]
    assert child.end() == 0
    assert child.lines[-1] == "LEFT True"
    assert stored(child.run_id).status is RunStatus.COMPLETED


@pytest.mark.parametrize("program", [BLOCKING, ASYNCIO], ids=["blocking", "asyncio"])
def test_the_second_signal_stops_at_once_and_the_journal_keeps_what_was_said(backend, stored, program):
    child = backend(program)
    child.process.send_signal(signal.SIGINT)
    child.read_to("draining")
    child.process.send_signal(signal.SIGINT)
    assert child.read_to("STOPPED") == ["STOPPED", "2", "True", child.run_id]
    assert child.end() == 0
    assert not stored(child.run_id).is_terminal


@pytest.mark.parametrize("program", [BLOCKING, ASYNCIO], ids=["blocking", "asyncio"])
def test_a_tree_that_gives_up_ends_the_wait_with_an_error(backend, program):
    child = backend(program, "gives up")
    assert child.end() == 1
    assert "the supervision tree gave up" in "\n".join(child.lines)


def test_signals_are_for_the_main_thread_only(opened, raises):
    o = opened()
    caught = []

    def elsewhere():
        try:
            o.system.run_until_signal()
        except AsmError as error:
            caught.append(error.code.value)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(10)
    assert caught == ["invalid_operation"]
    assert o.system.is_running
    o.stop()
    with raises("invalid_operation"):
        o.system.run_until_signal()


def test_in_this_process_a_signal_stops_it_and_the_handlers_are_as_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    with asm.ActorSystem.start(asm.MemoryStore(), {}) as system:
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        report = system.run_until_signal(signals=[signal.SIGUSR1])
        assert report.signal == signal.SIGUSR1
        assert not system.is_running
    assert before == {number: signal.getsignal(number) for number in before}
