"""Kill a process that works on a journal, with SIGKILL and at any moment, and see whether anything is lost.

::

    with Nursery() as nursery:
        harness = KillHarness(nursery, "storm.py", tmp_path / "journal")
        for seed in range(5):
            harness.live(str(seed), delay=0.2)          # start, let work, kill
            assert harness.faults() == []               # reopen, compare
        recovery = harness.recover({"mock": provider})  # a real system takes up what was left
        assert recovery.faults == []

The program gets the journal's directory as its first argument, works on it through the public surface, and tells
through a `Reporter` on its standard output what its callers were told.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from asm_actors.config import Limits
from asm_actors.errors import AsmError
from asm_actors.events import Event
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.messages import AwaitRun, ExecuteRun
from asm_actors.providers.base import Provider
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import SessionStatus
from asm_actors.system import ActorSystem
from asm_actors.testing.claims import Claim, ClaimKind
from asm_actors.testing.flow_promises import FlowRules, flow_faults
from asm_actors.testing.ledger import Ledger
from asm_actors.testing.nursery import Nursery
from asm_actors.testing.promises import journal_faults, live_faults
from asm_actors.testing.recovery_rules import Outlook, RecoveryRules, outlook_of, recovery_faults
from asm_actors.testing.under_way import open_states, work_under_way
from asm_actors.tools.tool import Tool
from supervisors import Future
from supervisors.testing import settle

__all__ = ["KillHarness", "Recovery"]


@frozen
class Recovery:
    """What a system made of a journal whose process had been killed.

    Attributes:
        before: The runs that were open, as they were found.
        outlooks: What was to be expected of each.
        after: The same runs, as they ended.
        faults: One sentence for each thing that is not as it must be.
    """

    before: list[Run]
    outlooks: list[Outlook]
    after: list[Run]
    faults: list[str]


class KillHarness:
    """Lets a program live on one journal again and again, and kills it each time.

    Args:
        nursery: Starts the processes.
        program: The Python program.
        journal: The journal's directory; it need not exist.
        patience: Seconds within which a life must report something, and within which a recovery must end all runs.
        rules: How the program starts its systems, as far as it matters to questions and limits.

    Attributes:
        ledger: The claims of all lives so far.
        hits: How many kills have hit each kind of work; what the journal tells of it is counted by `faults`.
    """

    def __init__(
        self,
        nursery: Nursery,
        program: str | Path,
        journal: Path,
        *,
        patience: float = 60.0,
        rules: FlowRules | None = None,
    ) -> None:
        self.ledger = Ledger()
        self.hits: Counter[str] = Counter()
        self._nursery = nursery
        self._program = program
        self._journal = journal
        self._patience = patience
        self._rules = rules

    def live_until(self, what: str, *arguments: str) -> Sequence[Claim]:
        """Start the program, kill it as soon as it reports that it does something, and return what it claimed.

        Args:
            what: The piece of work that it is to report (`Reporter.doing`); it stays with it until it is killed.
            arguments: More arguments of the program, after the journal.

        Raises:
            AssertionError: It ended by itself, or did not come to that in time; the text has its standard error.
        """
        begin = len(self.ledger.claims)
        life = self._nursery.begin(self._program, [str(self._journal), *arguments])
        until, has_come, n_lines = time.monotonic() + self._patience, False, 0
        try:
            while not has_come and life.read_lines(n_lines + 1, until - time.monotonic()):
                n_lines = len(life.lines)
                has_come = any(
                    (claim[0], claim[1]) == (ClaimKind.DOING, what) for claim in map(json.loads, life.lines)
                )
        finally:
            errors = life.kill()
        if not has_come:
            raise AssertionError(f"the program did not come to {what!r} ({life.status}): {errors[-4000:]}")
        self.ledger.read(life.lines)
        self.hits[what] += 1
        return self.ledger.claims[begin:]

    def live(
        self,
        *arguments: str,
        delay: float,
        from_opening: bool = False,
        may_end: bool = False,
        program: str | Path | None = None,
    ) -> Sequence[Claim]:
        """Start the program, kill it after a while, and return what it claimed in this life.

        Args:
            arguments: More arguments of the program, after the journal.
            delay: Seconds from its first acknowledgement to the kill.
            from_opening: Count them from the moment it opens the journal instead, so that the kill may hit that.
            may_end: Whether it may come to its end before, without an error.
            program: Another program than the usual one.

        Raises:
            AssertionError: It ended by itself, or reported nothing in time; the text has its standard error.
        """
        begin = len(self.ledger.claims)
        life = self._nursery.begin(program or self._program, [str(self._journal), *arguments])
        try:
            # The first line says that the journal is being opened; what follows is acknowledged.
            was_alive = life.read_lines(1 if from_opening else 2, self._patience) and life.read_for(delay)
        finally:
            errors = life.kill()
        if not was_alive and not (may_end and life.status == 0):
            raise AssertionError(
                f"the program was to work until it is killed ({life.status}): {errors[-4000:]}"
            )
        self.ledger.read(life.lines)
        claims = self.ledger.claims[begin:]
        if was_alive:
            self.hits.update(set(work_under_way(claims)))
        return claims

    def faults(self, *, readonly: bool = True) -> list[str]:
        """Open the journal and check it: by its own check, by the promises, by the claims; and its backups.

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
            faults = self._faults(store)
            self.hits.update(set(open_states(store)))
            for claim in self.ledger.backups():
                faults += _backup_faults(store, claim)
            return faults
        finally:
            store.close()

    def _faults(self, store: Store) -> list[str]:
        report = store.verify()
        faults = [*report.problems, *journal_faults(store, report.holes), *self.ledger.faults(store)]
        return faults if report.holes else [*faults, *flow_faults(store, self._rules)]

    def recover(
        self,
        providers: Mapping[str, Provider],
        limits: Limits | None = None,
        tools: Iterable[Tool] = (),
        rules: RecoveryRules | None = None,
    ) -> Recovery:
        """Start a system on the journal, have every open run end, stop it again, and check everything.

        Sessions that wait for their caller are activated or resumed, runs that were only created are executed, of the
        decisions that somebody has to make every second is a refusal: what is still open then is open by a fault.

        Args:
            providers: As for `ActorSystem.start`.
            limits: Likewise; by default any number of sessions may be active.
            tools: Likewise; have them tell the `ledger`.
            rules: The system's, and what is to be expected by them.
        """
        limits = Limits(max_parallel_sessions=None) if limits is None else limits
        rules = rules or RecoveryRules()
        store = LmdbStore(self._journal)
        store.open()
        try:
            before = store.open_runs()
            outlooks = [outlook_of(run, _events_of(store, run), rules) for run in before]
            with ActorSystem.start(
                store,
                providers,
                limits,
                tools=tools,
                on_restart=rules.on_restart,
                max_recoveries=rules.max_recoveries,
            ) as system:
                faults = self._end_all(system, before, outlooks)
                settle(system.services.dispatcher)
                faults += live_faults(system.services)
            # The system has closed it.
            store.open()
            after = [store.run(run.id) for run in before]
            faults += [f"{run.id} is still open: {run.status}" for run in store.open_runs()]
            for old, new, outlook in zip(before, after, outlooks, strict=True):
                faults += recovery_faults(old, new, outlook)
            faults += self._faults(store)
        finally:
            store.close()
        return Recovery(before, outlooks, after, faults)

    def _end_all(self, system: ActorSystem, runs: Sequence[Run], outlooks: Sequence[Outlook]) -> list[str]:
        for session in system.store.open_sessions():
            if session.status is SessionStatus.PENDING:
                system.sessions.activate_session(session.id)
            elif session.status is SessionStatus.PAUSED:
                system.sessions.resume_session(session.id)
        ends: list[tuple[Run, Future[Any]]] = []
        for run, outlook in zip(runs, outlooks, strict=True):
            is_created = run.status is RunStatus.PENDING and not run.options.get("submitted")
            message = ExecuteRun(run.id) if is_created else AwaitRun(run.id)
            ends.append((run, system.run(run.id).ask(message, block=False)))
            for number, call_id in enumerate(outlook.unknown if outlook.fate == "is_decided" else ()):
                decide = system.sessions.deny_approval if number % 2 else system.sessions.grant_approval
                decide(run.id, call_id)
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


def _events_of(store: Store, run: Run) -> list[Event]:
    if run.status is RunStatus.PENDING:
        return []
    return store.read_session(run.session_id, EventFilter(after=run.from_sequence or 0, run_ids=run.id))


def _backup_faults(store: Store, claim: Claim) -> list[str]:
    """Check a backup that somebody was told of, and remove it."""
    path = Path(claim.id)
    backup = LmdbStore(path)
    try:
        backup.open()
    except AsmError as error:
        return [f"the backup {path} cannot be opened: {error}"]
    try:
        report = backup.verify()
        faults = [*report.problems, *journal_faults(backup, report.holes)]
        if backup.last_position() != claim.last:
            faults.append(f"it ends at {backup.last_position()}, and was to end at {claim.last}")
        here = {event.position: event.id for event in store.read_all(limit=claim.last).events}
        faults += [
            f"it has another event than the journal at {event.position}: {event}"
            for event in backup.read_all(limit=max(1, claim.last)).events
            if here.get(event.position, event.id) != event.id
        ]
    finally:
        backup.close()
        shutil.rmtree(path)
    return [f"backup {path}: {fault}" for fault in faults]
