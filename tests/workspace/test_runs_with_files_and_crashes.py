"""A run with files is hit at every instant there is: tree and record agree in the end, and nothing is left over."""

from __future__ import annotations

import itertools

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.memory import MemoryStore
from asm_actors.providers.script import Script, fail, stall, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs import actor as run_actor
from asm_actors.testing.system import SimulatedSystem

_ENOUGH = 1_000


class _HitError(Exception):
    """The process, or an actor, ends here."""


class Hit:
    """Counts down to the instant."""

    def __init__(self, instant):
        self.left = instant

    @property
    def came(self):
        return self.left < 0

    def tick(self):
        self.left -= 1
        return self.left == -1


class Work:
    """One run that edits files; what it must have led to."""

    def __init__(self, folder, how):
        self.folder, self.how = folder, how
        folder.write("kept.txt", "kept\n")
        self.before = folder.look()
        self.calls = 0
        self.providers = {"mock": ScriptedProvider(self._script)}

    def _script(self, request):
        self.calls += 1
        if self.how == "schema" and request.turn == 1:
            return Script(text("no json"))
        self.folder.write("kept.txt", "changed\n")
        self.folder.write("later.txt", "new\n")
        last = {"failed": fail(AsmError(ErrorCode.PROVIDER_ERROR, "boom")), "cancelled": stall()}
        return Script(text('{"n": 1}'), *([last[self.how]] if self.how in last else []))

    def do(self, sim):
        """Do all of it, from wherever an earlier attempt got to."""
        manager = sim.manager
        session = self._ask(sim, manager.start_session, agent_id="agent", idempotency_key="session")
        self._ask(sim, manager.activate_session, session.id)
        schema = {"output_schema": {"type": "object"}} if self.how == "schema" else {}
        options = {
            "enabled": True,
            "path": str(self.folder.root),
            "strategy": "hash",
            "rollback_on_failure": True,
        }
        run = self._ask(
            sim,
            manager.submit_run,
            session.id,
            "edit",
            idempotency_key="run",
            workspace=options,
            continuation="auto",
            **schema,
        )
        sim.settle()
        if self.how == "cancelled":
            self._ask(sim, manager.cancel_run, run.id)
        sim.advance(5)
        return run.id

    @staticmethod
    def _ask(sim, what, *arguments, **options):
        for _ in range(20):
            try:
                return what(*arguments, **options)
            except _HitError:
                pass
            except AsmError as error:
                if error.code not in (ErrorCode.INTERRUPTED, ErrorCode.STREAM_CLOSED):
                    raise
            sim.advance(1.0)
        raise AssertionError("it fails again and again")

    def check(self, sim, run_id):
        sim.settle()
        run = sim.run(run_id)
        status = "completed" if self.how in ("completed", "schema") else self.how
        assert run.status == status, run.error
        files = self.folder.look()
        assert (files == self.before) == (status != "completed")
        told = run.details["workspace"]
        assert ("rollback" in told) == (status != "completed")
        assert "ending" not in run.details
        if status == "completed":
            assert told["diff"]["changed_paths"] == ["kept.txt", "later.txt"]
        if self.how == "schema":
            assert run.details["object"] == {"n": 1}
        workspace = self.folder.open(strategy="hash")
        assert workspace.snapshots() == []
        before = [
            event.data["label"]
            for event in sim.events_of(run_id)
            if event.type is EventType.WORKSPACE_SNAPSHOT_TAKEN
        ]
        assert before.count("before") == 1
        sim.check_promises()


HOWS = ["completed", "failed", "cancelled", "schema"]


@pytest.fixture
def new_work(new_folder):
    return lambda how: Work(new_folder(), how)


def each_instant(try_one):
    for instant in range(_ENOUGH):
        if not try_one(instant):
            return instant
    raise AssertionError("the work does not come to its end")


@pytest.mark.parametrize("how", ["failed", "schema"])  # the others: tests/faults
def test_the_end_of_the_process_at_every_step(new_work, how):
    def killed(instant):
        work, hit = new_work(how), Hit(instant)

        def on_step(dispatcher):
            if hit.tick():
                raise _HitError

        sim = SimulatedSystem(1, providers=work.providers, on_step=on_step, store=MemoryStore())
        try:
            sim._start()
            work.do(sim)
        except _HitError:
            sim.on_step = None
            sim.kill()
        else:
            sim.on_step = sim.dispatcher.on_step = None
        try:
            work.check(sim, work.do(sim))
        finally:
            sim.__exit__(None, None, None)
        return hit.came

    assert each_instant(killed) > 40


@pytest.mark.usefixtures("_quiet_logs")
@pytest.mark.parametrize("how", HOWS)
def test_the_crash_of_the_runs_actor_before_each_of_its_effects(new_work, how, monkeypatch):
    original = run_actor.RunActor._perform

    def crashed(instant):
        work, hit = new_work(how), Hit(instant)

        def perform(self, effects):
            for effect in effects:
                if hit.tick():
                    raise _HitError(type(effect).__name__)
                original(self, [effect])

        with monkeypatch.context() as patch:
            patch.setattr(run_actor.RunActor, "_perform", perform)
            with SimulatedSystem(1, providers=work.providers) as sim:
                work.check(sim, work.do(sim))
        return hit.came

    assert each_instant(crashed) > 8


@pytest.mark.usefixtures("_quiet_logs")
@pytest.mark.parametrize("how", HOWS)
def test_crashes_of_the_runs_actor_until_it_gives_up_end_it_all_the_same(new_work, how, monkeypatch):
    """Whatever it does about its files ends its actor: the run ends, and says so."""

    async def work_crashes(self, effect, stop):
        raise _HitError

    work = new_work(how)
    with monkeypatch.context() as patch:
        patch.setattr(run_actor.RunActor, "_work", work_crashes)
        with SimulatedSystem(1, providers=work.providers) as sim:
            run_id = work.do(sim)
            sim.settle()
            assert sim.run(run_id).is_terminal
            sim.check_promises()


def test_an_orderly_stop_at_every_step(new_work):
    for instant in itertools.count():
        work = new_work("completed")
        sim = SimulatedSystem(1, providers=work.providers)
        sim._start()
        session = sim.active_session()
        run = sim.manager.submit_run(
            session.id, "edit", workspace={"enabled": True, "path": str(work.folder.root), "strategy": "hash"}
        )
        sim.steps(instant)
        is_over = sim.run(run.id).is_terminal
        sim.restart()
        sim.settle()
        try:
            assert sim.run(run.id).status == "completed"
            assert sim.run(run.id).details["workspace"]["diff"]["files_changed"] == 2
            sim.check_promises()
        finally:
            sim.__exit__(None, None, None)
        if is_over:
            assert instant > 10
            return
