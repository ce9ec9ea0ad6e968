"""Kill a process that works on a journal, with SIGKILL and at any moment, and see whether anything is lost.

::

    harness = KillHarness(["storm.py"], tmp_path / "journal")
    for seed in range(5):
        harness.live(str(seed), delay=0.2)          # start, let work, kill
        assert harness.faults() == []               # reopen, compare
    recovery = harness.recover({"mock": provider})  # a real system takes up what was left
    assert recovery.faults == []

The program gets the journal's directory as its first argument, works on it through the public surface, and tells
through a `Reporter` on its standard output what its callers were told.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from attrs import frozen

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.store import Store
from asm_actors.messages import AwaitRun, ExecuteRun
from asm_actors.providers.base import Provider
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import SessionStatus
from asm_actors.system import ActorSystem
from asm_actors.testing.claims import Claim, ClaimKind, Ledger
from asm_actors.testing.promises import journal_faults, live_faults
from supervisors import Future
from supervisors.testing import settle

__all__ = ["KillHarness", "Recovery"]

_SOURCES: Final = Path(__file__).resolve().parents[2]
_READ_BYTES: Final = 1 << 16


@frozen
class Recovery:
    """What a system made of a journal whose process had been killed.

    Attributes:
        before: The runs that were open, as they were found.
        after: The same runs, as they ended.
        faults: One sentence for each thing that is not as it must be.
    """

    before: list[Run]
    after: list[Run]
    faults: list[str]


class KillHarness:
    """Lets a program live on one journal again and again, and kills it each time.

    Args:
        program: The program and its first arguments, for the Python interpreter.
        journal: The journal's directory; it need not exist.
        patience: Seconds within which a life must report something, and within which a recovery must end all runs.

    Attributes:
        ledger: The claims of all lives so far.
    """

    def __init__(self, program: Sequence[str | Path], journal: Path, *, patience: float = 60.0) -> None:
        self.ledger = Ledger()
        self._command = [sys.executable, *map(str, program), str(journal)]
        self._journal = journal
        self._patience = patience

    def live(self, *arguments: str, delay: float, from_opening: bool = False) -> Sequence[Claim]:
        """Start the program, kill it after a while, and return what it claimed in this life.

        Args:
            arguments: More arguments of the program, after the journal.
            delay: Seconds from its first acknowledgement to the kill.
            from_opening: Count them from the moment it opens the journal instead, so that the kill may hit that.

        Raises:
            AssertionError: It ended by itself, or reported nothing in time; the text has its standard error.
        """
        begin = len(self.ledger.claims)
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(  # noqa: S603 - the words are the test's own
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(_SOURCES)},
                bufsize=0,
            ) as child,
        ):
            assert child.stdout is not None
            pipe = _Pipe(child.stdout)
            try:
                # The first line says that the journal is being opened; what follows is acknowledged.
                has_begun = pipe.read_lines(1 if from_opening else 2, self._patience)
                if has_begun:
                    pipe.read_for(delay)
                was_alive = has_begun and child.poll() is None
            finally:
                child.kill()
            child.wait()
            pipe.read_to_end()
            if not was_alive:
                errors.seek(0)
                text = errors.read().decode(errors="replace")[-4000:]
                raise AssertionError(
                    f"the program was to work until it is killed ({child.returncode}): {text}"
                )
        self.ledger.read(pipe.lines)
        return self.ledger.claims[begin:]

    def faults(self, *, readonly: bool = True) -> list[str]:
        """Open the journal and check it: by its own check, by the promises, by the claims.

        Args:
            readonly: Leave it as the kill left it; otherwise it is opened to write, and is settled when it is closed.
        """
        if readonly and not (self._journal / "data.mdb").exists():
            # Killed before there was a journal: so nobody may have been told anything.
            claims = self.ledger.claims
            return [
                f"there is no journal: {claim}" for claim in claims if claim.kind is not ClaimKind.OPENING
            ]
        store = LmdbStore(self._journal, readonly=readonly)
        store.open()
        try:
            return self._faults(store)
        finally:
            store.close()

    def _faults(self, store: Store) -> list[str]:
        return [*store.verify().problems, *journal_faults(store), *self.ledger.faults(store)]

    def recover(self, providers: Mapping[str, Provider], limits: Limits | None = None) -> Recovery:
        """Start a system on the journal, have every open run end, stop it again, and check everything.

        Sessions that wait for their caller are activated or resumed, runs that were only created are executed: what
        is still open then is open by a fault.

        Args:
            providers: As for `ActorSystem.start`.
            limits: Likewise; by default any number of sessions may be active.
        """
        limits = Limits(max_parallel_sessions=None) if limits is None else limits
        store = LmdbStore(self._journal)
        store.open()
        try:
            before = store.open_runs()
            with ActorSystem.start(store, providers, limits) as system:
                faults = self._end_all(system, before)
                settle(system.services.dispatcher)
                faults += live_faults(system.services)
            # The system has closed it.
            store.open()
            after = [store.run(run.id) for run in before]
            faults += [f"{run.id} is still open: {run.status}" for run in store.open_runs()]
            for old, new in zip(before, after, strict=True):
                faults += _rule_faults(old, new)
            faults += self._faults(store)
        finally:
            store.close()
        return Recovery(before, after, faults)

    def _end_all(self, system: ActorSystem, runs: Sequence[Run]) -> list[str]:
        for session in system.store.open_sessions():
            if session.status is SessionStatus.PENDING:
                system.sessions.activate_session(session.id)
            elif session.status is SessionStatus.PAUSED:
                system.sessions.resume_session(session.id)
        ends: list[tuple[Run, Future[Any]]] = []
        for run in runs:
            is_created = run.status is RunStatus.PENDING and not run.options.get("submitted")
            message = ExecuteRun(run.id) if is_created else AwaitRun(run.id)
            ends.append((run, system.run(run.id).ask(message, block=False)))
        faults = []
        until = time.monotonic() + self._patience
        for run, end in ends:
            try:
                end.get(timeout=max(0.0, until - time.monotonic()))
            except AsmError:
                continue  # it did not complete: the journal says how it ended
            except Exception as error:  # a sentence like the others
                faults.append(f"{run.id} ({run.status}) has no end: {error!r}")
        return faults


def _rule_faults(old: Run, new: Run) -> list[str]:
    """Check the rule of recovery: what was under way is interrupted, what waited goes on."""
    code = (new.error or {}).get("code")
    is_interrupted = code == ErrorCode.INTERRUPTED
    if old.status is RunStatus.PENDING:
        return [f"{old.id} waited, and is interrupted"] if is_interrupted else []
    if new.status is RunStatus.FAILED and is_interrupted:
        return []
    return [f"{old.id} was {old.status} and is not interrupted, but {new.status} ({code})"]


class _Pipe:
    """The reading end of a life's pipe."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._descriptor = stream.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._bytes = bytearray()

    @property
    def lines(self) -> list[bytes]:
        """The whole lines so far."""
        return bytes(self._bytes).split(b"\n")[:-1]

    def read_lines(self, count: int, timeout: float) -> bool:
        """Read until there are so many lines; False if the pipe ended or the time was over before."""
        until = time.monotonic() + timeout
        while self._bytes.count(b"\n") < count:
            if not self._read(until):
                return False
        return True

    def read_for(self, seconds: float) -> None:
        """Read whatever comes, for so long."""
        until = time.monotonic() + seconds
        while self._read(until):
            pass

    def read_to_end(self) -> None:
        """Read what a dead process has left."""
        while self._read(None):
            pass

    def _read(self, until: float | None) -> bool:
        left = None if until is None else 1000 * (until - time.monotonic())
        if (left is not None and left <= 0) or not self._poll.poll(left):
            return False
        found = os.read(self._descriptor, _READ_BYTES)
        self._bytes += found
        return bool(found)
