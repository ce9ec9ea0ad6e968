"""A random program that runs on a model and on both stores: what is written, and what becomes of the store's process.

Whatever a step does, both stores answer what the model says, and hold what it holds.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.store import Store
from asm_actors.sessions.session import Session
from tests.journal.machine.agreement import demand, differences, expected, look
from tests.journal.machine.elsewhere import OtherProcess
from tests.journal.machine.model import Model
from tests.journal.machine.small import with_small_zones
from tests.journal.machine.wishes import Wish, append_for, names, varieties, wishes


class DiedError(BaseException):
    """The process ends here."""


class Step(NamedTuple):
    """Something that changes a journal."""

    name: str
    on_store: Callable[[Store], Any]
    on_model: Callable[[Model], Any]
    """Returns what the store must answer: a value, a set of codes of which one must be told, or a list of these."""


def outcome(step: Step, store: Store) -> Any:
    """What a store answers; an error as a value."""
    try:
        return step.on_store(store)
    except AsmError as error:
        return error


def agrees(found: Any, wanted: Any) -> bool:
    """Whether an answer is what the model says."""
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(agrees, found, wanted))
    if isinstance(wanted, frozenset):
        return isinstance(found, AsmError) and found.code in wanted
    return bool(found == wanted)


def code_of(answer: Any) -> Any:
    """What of an answer is the same for all stores."""
    if isinstance(answer, list):
        return [code_of(one) for one in answer]
    return answer.code if isinstance(answer, AsmError) else answer


@contextmanager
def failing_write(store: LmdbStore, nth: int, error: BaseException) -> Iterator[list[int]]:
    """Undo the nth transaction of a store at its end, with an error; gives how many are left until then."""
    environment: Any = store._environment
    real, left = environment.write, [nth]

    def write(work: Callable[[Any], Any]) -> Any:
        def doomed(txn: Any) -> Any:
            result = work(txn)
            left[0] -= 1
            if left[0] == 0:
                raise error
            return result

        return real(doomed)

    environment.write = write
    try:
        yield left
    finally:
        del environment.write


class Program(RuleBasedStateMachine):
    """See the module.

    Args:
        elsewhere: Another process, for reading.
    """

    def __init__(self, elsewhere: OtherProcess) -> None:
        super().__init__()
        self.elsewhere = elsewhere
        self.patched = ExitStack()
        self.patched.enter_context(with_small_zones())
        self.directory = tempfile.TemporaryDirectory()
        self.generation = count(1)
        self.path = Path(self.directory.name) / "journal"
        self.settle_after = 1000
        self.blocks = count(1)
        self.model = Model()
        self.memory = MemoryStore()
        self.memory.open()
        self.disk = self.make_disk()
        self.repeatable: tuple[Any, Any] | None = None
        self.last_changed = 0

    def make_disk(self) -> LmdbStore:
        """Open the journal on disk."""
        store = LmdbStore(self.path, durability="none", map_size=1 << 17, settle_after=self.settle_after)
        store.open()
        return store

    @property
    def stores(self) -> list[tuple[str, Store]]:
        """Both stores, with names."""
        return [("memory", self.memory), ("disk", self.disk)]

    def demand_all(self) -> None:
        """Both stores hold what the model holds."""
        for name, store in self.stores:
            demand(store, self.model, name)

    def teardown(self) -> None:
        try:
            self.elsewhere.close()
            self.demand_all()
            for name, store in self.stores:
                problems = store.verify().problems
                assert problems == (), (name, problems)
        finally:
            self.elsewhere.close()
            self.disk._let_go()
            self.patched.close()
            self.directory.cleanup()

    def block(self) -> int:
        """A new base for the ids of events."""
        return next(self.blocks) << 32

    # --- Steps ---------------------------------------------------------------------------------------------------

    def do(self, step: Step) -> Any:
        """Take a step everywhere; what the model says of it."""
        wanted = step.on_model(self.model)
        answers = [outcome(step, store) for _, store in self.stores]
        for (name, _), found in zip(self.stores, answers, strict=True):
            assert agrees(found, wanted), f"{step.name} on {name}: {found!r}, wanted {wanted!r}"
        assert code_of(answers[0]) == code_of(answers[1]), (step.name, answers)
        return wanted

    def do_with_failure(self, step: Step, nth: int, *, dies: bool) -> None:
        """Take a step whose nth transaction on the disk fails: it was taken wholly or not at all.

        Args:
            step: What to do.
            nth: Which transaction.
            dies: Whether the process dies with it; else the store is told that the disk is full, and goes on.
        """
        after = self.model.copy()
        wanted = step.on_model(after)
        error = DiedError() if dies else AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")
        found: Any = None
        with failing_write(self.disk, nth, error) as left:
            try:
                found = outcome(step, self.disk)
            except DiedError:
                self.disk._let_go()
                found = error
        if left[0] > 0:
            assert agrees(found, wanted), f"{step.name} on disk: {found!r}, wanted {wanted!r}"
        if dies and left[0] <= 0:
            self.disk._let_go()
            self.disk = self.make_disk()
        facts = look(self.disk)
        if differences(facts, expected(self.model)):
            wrong = differences(facts, expected(after))
            assert not wrong, f"{step.name} was cut short and left a part:\n" + "\n".join(wrong)
            assert left[0] <= 0 or found is not error
            outcome(step, self.memory)
            self.model = after
        elif left[0] > 0:
            # It changed nothing that can be seen; numbers may have been given away all the same.
            outcome(step, self.memory)
            self.model = after

    def commit_step(self, group: list[Wish]) -> Step:
        """A commit of a group of wishes."""
        scratch = self.model.copy()
        made = []
        for wish in group:
            append, drafts = append_for(scratch, wish, self.block())
            made.append((append, drafts))
            if not isinstance(scratch.commit(append, drafts), frozenset):
                self.repeatable = append, drafts
        return Step(
            f"commit {made}",
            lambda store: store.commit([append for append, _ in made]),
            lambda model: [model.commit(append, drafts) for append, drafts in made],
        )

    # --- Rules ---------------------------------------------------------------------------------------------------

    @initialize(settle_after=st.sampled_from([0, 6, 1000, 1000]))
    def begin(self, settle_after: int) -> None:
        """Choose how soon commits settle what came before."""
        self.settle_after = settle_after
        self.restart()

    @rule(group=st.lists(wishes, min_size=1, max_size=5))
    def commit(self, group: list[Wish]) -> None:
        """Commit a group in which anything may be wrong."""
        self.do(self.commit_step(group))

    @rule(name=names, n=st.sampled_from([1, 2, 5]), variety=varieties, has_run=st.booleans())
    def write_on(self, name: str, n: int, variety: int, has_run: bool) -> None:
        """Commit as a session's own writer does: all is right with it."""
        wish = Wish(name, n, name not in self.model.sessions, has_run, "right", None, variety)
        self.do(self.commit_step([wish]))

    @rule(group=st.lists(wishes, min_size=1, max_size=3), packed=st.booleans())
    def grow(self, group: list[Wish], packed: bool) -> None:
        """Commit what is mostly right."""
        right = [
            wish._replace(
                expect="right",
                oddity="packed" if packed else None,
                has_record=wish.has_record or wish.name not in self.model.sessions,
            )
            for wish in group
        ]
        self.do(self.commit_step(right))

    @precondition(lambda self: self.repeatable is not None)
    @rule()
    def repeat(self) -> None:
        """Commit the events of an append again, as a writer does that heard no answer."""
        assert self.repeatable is not None
        append, drafts = self.repeatable
        again = append._replace(drafts=drafts, expect=None, session=None, runs=())
        self.do(
            Step("repeat", lambda store: store.commit([again]), lambda model: [model.commit(again, drafts)])
        )

    @rule(limit=st.sampled_from([1, 1, 2, 3, None]))
    def settle(self, limit: int | None) -> None:
        """Settle some."""
        self.memory.settle(limit)
        self.disk.settle(limit)

    @rule(group=st.lists(wishes, min_size=1, max_size=3), nth=st.integers(1, 3), dies=st.booleans())
    def commit_fails(self, group: list[Wish], nth: int, dies: bool) -> None:
        """Commit while the disk fails."""
        self.do_with_failure(self.commit_step(group), nth, dies=dies)

    @rule(name=names, parent=names, back=st.integers(0, 6), n=st.sampled_from([0, 1, 3]), variety=varieties)
    def fork(self, name: str, parent: str, back: int, n: int, variety: int) -> None:
        """Have a session share the history of another one, as far as there is one, up to some events before its end."""
        if name in self.model.sessions or name == parent:
            return
        if not self.model.heads.get(parent):
            self.write_on(parent, 5, variety, has_run=True)
        if not self.model.heads.get(parent):
            return  # its idempotency key is taken
        at = max(1, self.model.heads[parent] - back)
        record = Session(name, "x", parent_session_id=parent, forked_at=at)
        drafts = [Draft(EventType.MESSAGE_STREAMED, variety % 13, None, {"n": k}) for k in range(n)]
        append = Append(name, drafts, self.block(), record, (), at)
        self.do(
            Step("fork", lambda store: store.commit([append]), lambda model: [model.commit(append, drafts)])
        )

    # --- The process ---------------------------------------------------------------------------------------------

    @rule(how=st.sampled_from(["restart", "die", "die and move"]))
    def end_the_process(self, how: str) -> None:
        """End it and begin anew: in order, or so that nothing is settled and nothing said."""
        if how == "restart":
            self.restart()
        else:
            self.die(moves=how == "die and move")

    def restart(self) -> None:
        """Close and open again; in between everything is refused."""
        for name, store in self.stores:
            store.close()
            try:
                store.last_position()
            except AsmError as error:
                assert error.code is ErrorCode.STORAGE_CONNECTION_FAILED
            else:
                raise AssertionError(f"{name} answers although it is closed")
        self.memory.open()
        self.disk = self.make_disk()

    def die(self, *, moves: bool) -> None:
        """Let the process die.

        Args:
            moves: Go on with a copy of the file as it was while the process lived.
        """
        if moves:
            self.elsewhere.close()
            copy = self.path.with_name(f"copy{next(self.generation)}")
            copy.mkdir()
            shutil.copyfile(self.path / "data.mdb", copy / "data.mdb")
        self.disk._let_go()
        if moves:
            shutil.rmtree(self.path)
            self.path = copy
        self.disk = self.make_disk()

    @invariant()
    def counters_agree(self) -> None:
        """What costs nothing is looked at after every step."""
        for _, store in self.stores:
            assert store.last_position() == len(self.model.log)
            for name, head in self.model.heads.items():
                assert store.head(name) == head
