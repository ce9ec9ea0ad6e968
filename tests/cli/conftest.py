"""The command in this process and in a child, and journals for it to look at."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import asm_actors as asm
from asm_actors.cli import main
from asm_actors.ids import SequentialIds
from asm_actors.providers.script import Script, fail, stall, text

REPOSITORY = Path(__file__).resolve().parents[2]

# Holds the journal that is its argument, with one run under way, until its standard input ends.
HOLDER = """
import sys
import asm_actors as asm
from asm_actors.providers.script import Script, stall, text

provider = asm.ScriptedProvider(Script(text("on "), stall()))
with asm.ActorSystem.start(sys.argv[1], {"mock": provider}) as system:
    session = system.sessions.start_session(agent_id="holder")
    system.sessions.activate_session(session.id)
    run = system.sessions.submit_run(session.id, "go on")
    for event in system.sessions.subscribe(session.id):
        if event.type == "message_streamed":
            break
    print(session.id, run.id, flush=True)
    sys.stdin.read()
    system.stop(cancel_runs=True)
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and no settings of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ASM_JOURNAL", "ASM_CONFIG"):
        monkeypatch.delenv(name, raising=False)


class Asm:
    """Runs the command in this process."""

    def __call__(self, *words: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Result:
        result = CliRunner().invoke(main, list(words), input=stdin, env=env)
        # Whatever a command does, nobody is to see a stack trace.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    def lines(self, *words: str) -> list[dict[str, Any]]:
        """Run it with --json, and read its lines."""
        result = self(*words, "--json")
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def refused(self, *words: str, env: dict[str, str] | None = None) -> str:
        """Run it, see that it refuses in one line with exit code 2, and return the line."""
        result = self(*words, env=env)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("error: ")
        return result.stderr.removeprefix("error: ").rstrip()


@pytest.fixture
def run_asm() -> Asm:
    return Asm()


PATIENCE_S = 30.0


class Children:
    """Child processes, none of which outlives its test, nor `PATIENCE_S`: what reads from it then sees its end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start Python with these arguments; its output is text in pipes."""
        child = subprocess.Popen(
            [sys.executable, *words],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(PATIENCE_S, child.kill)
        watchdog.start()
        self._all.append((child, watchdog))
        return child

    def asm(self, *words: str) -> subprocess.Popen[str]:
        """Start the command."""
        return self.start("-m", "asm_actors.cli", *words)

    def hold(self, journal: Path) -> tuple[subprocess.Popen[str], str, str]:
        """Start a process that writes a journal and has a run under way; return it, its session and its run."""
        child = self.start("-c", HOLDER, str(journal))
        session_id, run_id = child.stdout.readline().split()
        return child, session_id, run_id

    def close(self) -> None:
        for child, watchdog in self._all:
            watchdog.cancel()
            watchdog.join()
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    found = Children(tmp_path)
    yield found
    found.close()


def _script(request: asm.TurnRequest) -> Script:
    match request.input["prompt"]:
        case "fail":
            return Script(text("half"), fail("provider_error", "it broke"))
        case "stall":
            return Script(text("half"), stall())
        case prompt:
            return Script(text(f"{prompt} to you", size=3))


@pytest.fixture(scope="session")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with two sessions that are over and one that is not.

    ses_…1 (agent ``greeter``, tag ``kept``) completed with run_…1; ses_…2 (agent ``breaker``) failed with run_…2;
    ses_…3 (agent ``waiter``) is active, run_…3 was created and never executed. Nobody changes it.
    """
    return _fill(tmp_path_factory.mktemp("filled") / "journal")


@pytest.fixture
def own_journal(tmp_path: Path) -> Path:
    """As `journal`, for a test that writes to it."""
    return _fill(tmp_path / "journal")


def _fill(path: Path) -> Path:
    provider = asm.ScriptedProvider(_script)
    retry = asm.RetryPolicy(max_attempts=1)
    with asm.ActorSystem.start(path, {"mock": provider}, ids=SequentialIds(), retry=retry) as system:
        system.sessions.run_once({"prompt": "hello"}, agent_id="greeter", tags=["kept"])
        with pytest.raises(asm.ProviderError):
            system.sessions.run_once({"prompt": "fail"}, agent_id="breaker")
        session = system.sessions.start_session(agent_id="waiter")
        system.sessions.activate_session(session.id)
        system.sessions.start_run(session.id, {"prompt": "later"})
        system.stop()
    return path


class Names:
    """The ids that `SequentialIds` gives."""

    @staticmethod
    def session(number: int) -> str:
        return f"ses_{number:032x}"

    @staticmethod
    def run(number: int) -> str:
        return f"run_{number:032x}"


@pytest.fixture
def names() -> type[Names]:
    return Names
