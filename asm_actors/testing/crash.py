"""Killing a busy process again and again: what it had acknowledged must be there when its journal is opened.

The child is a whole system under load: threads that run, submit, cancel and complete, a subscriber that follows the
journal. Whatever it was told is done it writes to a pipe, which outlives it. The parent kills it with SIGKILL and
compares::

    with Crasher() as crasher:
        for seed in range(50):
            said = crasher.crash(journal, seed, after=0.1)
            assert said.faults == []
            assert lost(store, said) == []

One process imports everything once and forks a child for each life, so that a life costs milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from attrs import define, field

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.store import Store
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.script import Script, sleep, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.sessions.manager import SessionManager
from asm_actors.system import ActorSystem

__all__ = ["LIMITS", "Crasher", "Said", "lost", "provider", "storm"]

LIMITS: Final = Limits(
    max_parallel_sessions=None, max_parallel_runs=16, max_concurrent_runs=2, max_queued_runs=1000
)
"""Of the systems that are killed."""
N_WORKERS: Final = 3
_DEADLINE_S: Final = 60.0


@define
class Said:
    """What a life, or several on one journal, had said to be done.

    Attributes:
        runs: Final status by run id, of runs whose end was acknowledged.
        submitted: Ids of runs whose admission was acknowledged.
        sessions: Final status by session id, of sessions whose end was acknowledged.
        events: Event id by position, of events that a subscriber saw.
        faults: What the child itself found wrong.
    """

    runs: dict[str, str] = field(factory=dict)
    submitted: set[str] = field(factory=set)
    sessions: dict[str, str] = field(factory=dict)
    events: dict[int, str] = field(factory=dict)
    faults: list[str] = field(factory=list)

    def __len__(self) -> int:
        return len(self.runs) + len(self.submitted) + len(self.sessions) + len(self.events)

    def add(self, line: str) -> None:
        """Note a line of the pipe; one that the kill cut off in its middle is none."""
        kind, *words = line.split(" ", 2)
        if kind == "run":
            self.runs[words[0]] = words[1]
        elif kind == "submitted":
            self.submitted.add(words[0])
        elif kind == "session":
            self.sessions[words[0]] = words[1]
        elif kind == "event":
            self.events[int(words[0])] = words[1]
        elif kind == "fault":
            self.faults.append(" ".join(words))


def lost(store: Store, said: Said) -> list[str]:
    """Compare a journal with what was said to be in it; one sentence for each thing that is not."""
    faults: list[str] = []
    for run_id, status in said.runs.items():
        if not store.has_run(run_id) or store.run(run_id).status.value != status:
            faults.append(f"{run_id} was {status}, and is not")
    faults += [
        f"{run_id} was submitted, and is not there" for run_id in said.submitted if not store.has_run(run_id)
    ]
    for session_id, status in said.sessions.items():
        if not store.has_session(session_id) or store.session(session_id).status.value != status:
            faults.append(f"{session_id} was {status}, and is not")
    if said.events:
        found = {}
        for position in said.events:
            page = store.read_all(after=position - 1, limit=1)
            found[position] = page.events[0].id if page.events else None
        faults += [
            f"event {event_id} was seen at position {position}, where {found[position]} is"
            for position, event_id in said.events.items()
            if found[position] != event_id
        ]
    return faults


# --- The parent's side -------------------------------------------------------------------------------------------


class Crasher:
    """The process that forks the lives; use it in a `with` block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        process.stdout.close()

    def crash(self, journal: str | os.PathLike[str], seed: int, *, after: float) -> Said:
        """Let a life run on a journal for some time, and kill it.

        Args:
            journal: Directory of the journal; one of an earlier life may be there.
            seed: Of what the life does.
            after: Seconds from the moment it takes work to its death.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(f"{seed} {os.fspath(journal)}\n".encode())
        process.stdin.flush()
        said = Said()
        pid: int | None = None
        kill_at = time.monotonic() + _DEADLINE_S
        while True:
            line = self._line(kill_at)
            if line is None:
                if pid is None:
                    raise AsmError(
                        ErrorCode.INTERNAL_ERROR, "the child did not come up", details={"said": said.faults}
                    )
                os.kill(pid, signal.SIGKILL)
                kill_at, pid = time.monotonic() + _DEADLINE_S, None
            elif line.startswith("ready "):
                pid, kill_at = int(line.split()[1]), time.monotonic() + after
            elif line.startswith("gone "):
                if line != f"gone -{int(signal.SIGKILL)}":
                    said.faults.append(f"the child ended by itself: {line}")
                return said
            else:
                said.add(line)

    def _line(self, until: float) -> str | None:
        """The next whole line of the pipe; None when the time is over."""
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, until - time.monotonic())):
                    return None
                data = os.read(pipe, 1 << 16)
                if not data:
                    raise AsmError(ErrorCode.INTERNAL_ERROR, "the process that forks the lives has ended")
                self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()


# --- The child's side --------------------------------------------------------------------------------------------


def provider(pace: float = 0.003) -> ScriptedProvider:
    """A provider whose answers take different times, some of them long.

    Args:
        pace: Seconds between two pieces of an answer.
    """

    def script(request: TurnRequest) -> Script:
        n_pieces = 1 + sum(request.run_id.encode()) % 12
        steps: list[Any] = []
        for number in range(n_pieces):
            if pace:
                steps.append(sleep(pace))
            steps.append(text(f"piece {number} "))
        return Script(*steps)

    return ScriptedProvider(script)


def storm(journal: str, seed: int, say: Callable[[str], None]) -> None:
    """Work on a journal until somebody kills this process.

    Args:
        journal: Its directory.
        seed: Of what is done.
        say: Told what was acknowledged, one line each.
    """
    system = ActorSystem.start(journal, {"mock": provider()}, LIMITS)
    manager = system.sessions
    work = [threading.Thread(target=_follow, args=(manager, system.store.last_position(), say))]
    work += [
        threading.Thread(target=_work, args=(manager, random.Random(f"{seed}/{number}"), say))  # noqa: S311
        for number in range(N_WORKERS)
    ]
    for thread in work:
        thread.start()
    say(f"ready {os.getpid()}")
    for thread in work:
        thread.join()


def _follow(manager: SessionManager, after: int, say: Callable[[str], None]) -> None:
    with manager.subscribe(after=after) as subscription:
        while True:
            for event in subscription.pull(64):
                after += 1
                if event.position != after:
                    say(f"fault position {event.position} came where {after} was due")
                say(f"event {event.position} {event.id}")


def _work(manager: SessionManager, chance: random.Random, say: Callable[[str], None]) -> None:
    while True:
        try:
            if chance.random() < 0.4:
                result = manager.run_once("Hello", tags=["once"])
                say(f"run {result.run_id} completed")
            else:
                _converse(manager, chance, say)
        except Exception as error:  # it is what the test is about
            say(f"fault {error!r}")
            return


def _converse(manager: SessionManager, chance: random.Random, say: Callable[[str], None]) -> None:
    session = manager.start_session(agent_id="a")
    manager.activate_session(session.id)
    runs = []
    for number in range(chance.randint(1, 6)):
        runs.append(manager.submit_run(session.id, f"{number}"))
        say(f"submitted {runs[-1].id}")
    for run in runs[: chance.randint(0, len(runs))]:
        if chance.random() < 0.3:
            final = manager.cancel_run(run.id, reason="by chance")
        else:
            final = manager.await_run(run.id).run
        say(f"run {final.id} {final.status}")
    if chance.random() < 0.5:
        if chance.random() < 0.5:
            manager.pause_session(session.id)
        done = manager.complete_session(session.id, cancel_runs=True)
        say(f"session {done.id} {done.status}")


def _say(line: str) -> None:
    # One write of less than a page: lines of several threads do not mix, and none is cut but by the kill.
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def main() -> None:
    """Fork a life for each line of the standard input, and tell how it ended."""
    for line in sys.stdin:
        seed, journal = line.rstrip("\n").split(" ", 1)
        pid = os.fork()
        if pid == 0:
            try:
                storm(journal, int(seed), _say)
            except BaseException as error:  # nothing else would tell of it
                _say(f"fault {error!r}")
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        _say(f"gone {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
