"""What keeps a journal in order, in a random program: cursors, artifacts, erasing, copies, checks, repairs."""

from __future__ import annotations

import io
import random
from itertools import count
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import rule

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.store import Store
from asm_actors.maintenance.export import export_to
from asm_actors.maintenance.hands import Alone
from asm_actors.maintenance.imports import import_from
from tests.journal.machine.agreement import demand, differences, expected, look, portable
from tests.journal.machine.program import Step
from tests.journal.machine.questions import Questions
from tests.journal.machine.wishes import SESSIONS, artifacts_for, cursors_for, names, varieties

_CHANGES = ("cursors", "artifacts", "artifacts", "drop", "erase", "prune", "prune", "prune")
_UPKEEP = (
    "back_up",
    "back_up",
    "export_and_import",
    "compact",
    "verify",
    "verify",
    "repair",
    "look_for_orphans",
)


class _Surroundings:
    """Ids for an import."""

    def __init__(self) -> None:
        self._blocks = count(1 << 40)

    def block(self) -> int:
        return next(self._blocks) << 32


class Keeping(Questions):
    """See the module."""

    def change_step(self, what: str, variety: int) -> Step:
        """A step of maintenance."""
        rng = random.Random(variety)
        if what == "cursors":
            cursors = cursors_for(rng)
            return Step(
                f"save {cursors}",
                lambda store: store.save_cursors(cursors),
                lambda model: model.save_cursors(cursors),
            )
        if what == "artifacts":
            artifacts = artifacts_for(rng)
            return Step(
                f"save {artifacts}",
                lambda store: store.save_artifacts(artifacts),
                lambda model: model.save_artifacts(artifacts),
            )
        if what == "drop":
            ids = [f"art_{rng.randrange(5)}" for _ in range(rng.randrange(1, 3))]
            return Step(
                f"drop {ids}",
                lambda store: store.drop_artifacts(ids),
                lambda model: model.drop_artifacts(ids),
            )
        chosen = rng.sample(SESSIONS, rng.choice((1, 1, 2, 3)))
        shared = [name for name in self.model.sessions if self.model.forks_of(name)]
        if shared and rng.random() < 0.4:
            chosen[0] = rng.choice(shared)
        return self.erase_step(chosen, rng) if what == "erase" else self.prune_step(chosen[0], rng)

    def erase_step(self, chosen: list[str], rng: random.Random) -> Step:
        """Erase sessions, perhaps with those that share their histories."""
        if rng.random() < 0.5:
            chosen += self._all_forks(chosen)
        return Step(
            f"erase {chosen}", lambda store: _erased(store, chosen), lambda model: model.erase(chosen)
        )

    def prune_step(self, name: str, rng: random.Random) -> Step:
        """Erase events of a session; many, some, or none that is there."""
        head = self.model.heads.get(name, 3)
        least = rng.choice((1, max(1, head // 2), max(1, head - 1)))
        numbers = {rng.randrange(least, head + 3) for _ in range(rng.choice((0, 1, 4, 30)))}
        return Step(
            f"prune {numbers} of {name}",
            lambda store: store.prune_events(name, numbers),
            lambda model: model.prune(name, numbers),
        )

    def _all_forks(self, names: list[str]) -> list[str]:
        found, waiting = [], list(names)
        while waiting:
            forks = self.model.forks_of(waiting.pop())
            found += forks
            waiting += forks
        return found

    @rule(what=st.sampled_from(_CHANGES), variety=varieties)
    def change(self, what: str, variety: int) -> None:
        """Keep cursors and artifacts, erase sessions and events."""
        self.do(self.change_step(what, variety))

    @rule(what=st.sampled_from(_CHANGES), variety=varieties, nth=st.integers(1, 4), dies=st.booleans())
    def change_fails(self, what: str, variety: int, nth: int, dies: bool) -> None:
        """The same while the disk fails."""
        self.do_with_failure(self.change_step(what, variety), nth, dies=dies)

    @rule(what=st.sampled_from(_UPKEEP), variety=varieties)
    def look_after(self, what: str, variety: int) -> None:
        """Copies, checks, repairs."""
        getattr(self, what)(random.Random(variety))

    # --- Copies --------------------------------------------------------------------------------------------------

    def new_path(self) -> Path:
        """A path where nothing is."""
        return Path(self.directory.name) / f"other{next(self.generation)}"

    def back_up(self, rng: random.Random) -> None:
        """Copy a store to a directory, and open that."""
        source: Store = rng.choice((self.disk, self.memory))
        report = source.backup(self.new_path(), compact=rng.random() < 0.5)
        assert (report.last_position, report.sessions, report.runs) == (
            len(self.model.log),
            len(self.model.sessions),
            len(self.model.runs),
        )
        try:
            source.backup(report.path)
        except AsmError as error:
            assert error.code is ErrorCode.ALREADY_EXISTS
        else:
            raise AssertionError("a backup was overwritten")
        copy = LmdbStore(report.path, durability="none", map_size=1 << 17)
        copy.open()
        try:
            demand(copy, self.model, f"a backup of {source.description}")
            assert copy.verify().problems == ()
        finally:
            copy.close()

    def export_and_import(self, rng: random.Random) -> None:
        """Take a journal elsewhere as text."""
        texts = []
        for _, store in self.stores:
            text = io.StringIO()
            export_to(store, text, 0)
            texts.append(text.getvalue())
        assert texts[0] == texts[1]
        target = (
            LmdbStore(self.new_path(), durability="none", map_size=1 << 17, settle_after=3)
            if rng.random() < 0.5
            else MemoryStore()
        )
        target.open()
        try:
            report = import_from(Alone(target), io.StringIO(texts[0]), _Surroundings())
            model = self.model
            assert (report.sessions, report.runs, report.events) == (
                len(model.sessions),
                len(model.runs),
                len(model.events()),
            )
            wrong = differences(portable(look(target)), portable(expected(model)))
            assert not wrong, "imported:\n" + "\n".join(wrong)
            assert target.verify().problems == ()
        finally:
            target.close()

    def compact(self, rng: random.Random) -> None:
        """Make the file as small as it can be; not while another process has it open."""
        self.memory.compact()
        try:
            report = self.disk.compact()
        except AsmError as error:
            assert self.elsewhere.is_open
            assert error.code is ErrorCode.INVALID_OPERATION
        else:
            assert not self.elsewhere.is_open
            assert report.bytes_after <= report.bytes_before
        self.demand_all()

    # --- Checks --------------------------------------------------------------------------------------------------

    def verify(self, rng: random.Random) -> None:
        """All is well, whatever happened so far, and everything was looked at."""
        model = self.model
        for who, store in self.asked():
            report = store.verify()
            assert report.problems == (), (who, report.problems)
            assert (report.events, report.holes) == (len(model.events()), model.log.count(None)), who
            assert (report.sessions, report.runs) == (len(model.sessions), len(model.runs)), who
            statistics = store.statistics()
            assert (statistics.sessions, statistics.runs, statistics.events) == (
                model.n_sessions,
                model.n_runs,
                len(model.log),
            ), who

    def repair(self, rng: random.Random) -> None:
        """There is nothing to repair, and nothing changes."""
        self.elsewhere.close()
        for name, store in self.stores:
            report = store.repair(dry_run=rng.random() < 0.5)
            assert (report.mended, report.unmended, report.lost) == ((), (), ()), (name, report)
        self.demand_all()

    def look_for_orphans(self, rng: random.Random) -> None:
        """Open runs of sessions that are over are all that is told."""
        self.disk.settle()
        for name, store in self.stores:
            found = store.orphans()
            assert len(found) == self.model.stuck(), (name, found)

    @rule(name=names, variety=varieties)
    def begin_anew(self, name: str, variety: int) -> None:
        """Erase a session and those that share its history, and write another one of that name."""
        chosen = [name, *self._all_forks([name])]
        self.do(
            Step(f"erase {chosen}", lambda store: _erased(store, chosen), lambda model: model.erase(chosen))
        )
        self.write_on(name, 2, variety, has_run=True)


def _erased(store: Store, names: list[str]) -> tuple[int, int, int]:
    # What a failing disk left of an earlier call goes first, and is not counted here.
    store.erase_sessions([])
    report = store.erase_sessions(names)
    return report.sessions, report.runs, report.events
