"""A stage for supervision tests: scripted workers, a diary of what happened, both dispatchers."""

from __future__ import annotations

import logging

import pykka
import pytest

from supervisors import control
from supervisors.actor import Actor
from supervisors.exits import KILLED, NORMAL, Crashed, Shutdown
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.simulation import SimulationDispatcher
from supervisors.spec import ChildSpec, Restart
from supervisors.supervisor import Supervisor
from supervisors.testing import settle


class Boom(Exception):  # noqa: N818 - short, since every test says it
    """The crash of a scripted worker."""


class Worker(Actor):
    """Does as the stage says, and notes it."""

    def __init__(self, stage, name, *extra):
        super().__init__()
        self.stage = stage
        self.name = name
        self.extra = extra

    def on_start(self):
        if self.stage.failing_starts.get(self.name, 0) > 0:
            self.stage.failing_starts[self.name] -= 1
            self.stage.note("fail", self.name)
            raise Boom(f"start of {self.name}")
        self.stage.note("start", self.name)

    def on_receive(self, message):
        what, value = message
        if what == "exit":
            self.exit(value)
        elif what == "crash":
            raise value
        return value

    def on_exit_request(self, reason):
        return self.name in self.stage.stubborn

    def on_stop(self):
        self.stage.note("stop", self.name)
        if self.name in self.stage.failing_stops:
            raise Boom(f"stop of {self.name}")


class Stage:
    """One dispatcher, its scripted workers, the diary and the reports."""

    Boom = Boom
    Worker = Worker

    def __init__(self, dispatcher):
        self.dispatcher = dispatcher
        self.diary = []
        self.reports = []
        self.failing_starts = {}
        self.failing_stops = set()
        self.stubborn = set()

    def note(self, what, name):
        self.diary.append(f"{what} {name}")

    def take_diary(self):
        taken, self.diary = self.diary, []
        return taken

    def spec(self, child_id, /, restart=Restart.PERMANENT, **options):
        return ChildSpec(child_id, Worker, args=(self, child_id), restart=restart, **options)

    def supervisor(self, *specs, flags=None):
        """Start a supervisor and come to rest. Plain names stand for permanent workers."""
        specs = [self.spec(spec) if isinstance(spec, str) else spec for spec in specs]
        ref = self.start(Supervisor, specs, flags=flags, on_report=self.reports.append)
        self.settle()
        return ref

    def start(self, actor_class, *args, **kwargs):
        return self.dispatcher.start(actor_class, *args, **kwargs)

    def settle(self):
        settle(self.dispatcher)

    def advance(self, seconds):
        self.dispatcher.advance(seconds)

    def child(self, supervisor, child_id):
        return self.info(supervisor, child_id).ref

    def info(self, supervisor, child_id):
        return next(info for info in self.ask(control.which_children, supervisor) if info.id == child_id)

    def ids(self, supervisor):
        return [info.id for info in self.ask(control.which_children, supervisor)]

    def ask(self, function, *args, **kwargs):
        return function(*args, **kwargs).get(timeout=5)

    def end(self, ref, reason):
        """Have a worker end with a reason, and come to rest."""
        if isinstance(reason, Crashed):
            ref.tell(("crash", reason.error))
        elif reason == KILLED:
            ref.kill()
        else:
            ref.tell(("exit", reason))
        self.settle()

    def crash(self, supervisor, child_id):
        self.end(self.child(supervisor, child_id), Crashed(Boom(child_id)))

    def reports_of(self, kind):
        return [report for report in self.reports if isinstance(report, kind)]


ENDS = {
    "normal": NORMAL,
    "shutdown": Shutdown(),
    "shutdown_with_detail": Shutdown("because"),
    "crash": Crashed(Boom("crash")),
    "killed": KILLED,
}


@pytest.fixture
def ends():
    """The ways in which a worker can end, by name."""
    return ENDS


@pytest.fixture
def _quiet_logs(caplog):
    """Crashes are the subject here; their logged tracebacks are not worth the time to format."""
    caplog.set_level(logging.CRITICAL, logger="pykka")
    caplog.set_level(logging.CRITICAL, logger="supervisors.reports")


@pytest.fixture
def _nothing_left_behind():
    """Fail the test that leaves an actor alive, and only that one."""
    before = set(pykka.ActorRegistry.get_all())
    yield
    left = [ref for ref in pykka.ActorRegistry.get_all() if ref not in before]
    assert not left, f"still alive: {left}"


@pytest.fixture(params=[0, 1, 2], ids="seed{}".format)
def sim(request, _quiet_logs, _nothing_left_behind):
    """A stage on the simulation, with several schedules; time is moved by hand."""
    dispatcher = SimulationDispatcher(seed=request.param)
    yield Stage(dispatcher)
    dispatcher.close()
    assert dispatcher.failures == []


@pytest.fixture(params=["simulation", "loop"])
def stage(request, _quiet_logs, _nothing_left_behind):
    """A stage on the simulation, and the same on the production dispatcher."""
    dispatcher = SimulationDispatcher() if request.param == "simulation" else LoopDispatcher("stage").open()
    yield Stage(dispatcher)
    assert dispatcher.close()
