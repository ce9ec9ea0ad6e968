"""Whole systems: on either surface, with a provider that answers at once and one that waits at a gate."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from itertools import count

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, text, wait
from asm_actors.services import JOURNAL
from supervisors.testing import Gate


class Driven:
    """An `AsyncSessionManager` whose calls block: each coroutine runs on a loop in another thread."""

    def __init__(self, manager, loop):
        self.manager, self._loop = manager, loop

    def __getattr__(self, name):
        method = getattr(self.manager, name)
        if name == "subscribe":
            return method

        def call(*args, **kwargs):
            made = method(*args, **kwargs)
            if inspect.isasyncgen(made):
                made = self._collect(made)
            return asyncio.run_coroutine_threadsafe(made, self._loop).result(20)

        return call

    @staticmethod
    async def _collect(events):
        return [event async for event in events]


class Opened:
    """A system, and its manager on one of the surfaces; every call blocks.

    Provider ``mock`` answers at once; ``gated`` says "so far " and then waits until `gate` is open.
    """

    def __init__(self, surface="blocking", *, journal=None, providers=None, **options):
        self.surface = surface
        self.gate = Gate()
        self._is_closed = False
        journal = asm.MemoryStore() if journal is None else journal
        self.mock = asm.ScriptedProvider()
        self.gated = asm.ScriptedProvider(Script(text("so far "), wait(self.gate), text("and more")))
        self.providers = {"mock": self.mock, "gated": self.gated} if providers is None else providers
        self._ids = count(1)
        if surface == "blocking":
            self.system = asm.ActorSystem.start(journal, self.providers, **options)
            self.manager = self.system.sessions
        else:
            self.loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self.loop.run_forever, name="caller's loop")
            self._thread.start()
            try:
                self.system = self.wait(self._make(journal, options))
            except BaseException:
                self._end_loop()
                raise
            self.manager = Driven(self.system.sessions, self.loop)

        self.store = self.system.store

    async def _make(self, journal, options):
        return await asm.AsyncActorSystem.start(journal, self.providers, **options)

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def stop(self, **options):
        if self.surface == "blocking":
            return self.system.stop(**options)
        return self.wait(self.system.stop(**options))

    def close(self):
        if not self._is_closed:
            self._is_closed = True
            self.gate.open()
            self.stop()
            if self.surface == "asyncio":
                self._end_loop()

    def _end_loop(self):
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    # --- Looking inside ------------------------------------------------------------------------------------------

    def on_dispatcher(self, action):
        """Do something on the dispatcher's thread and return what it gives."""
        done = threading.Event()
        result = []

        def act():
            result.append(action())
            done.set()

        self.system.dispatcher.call_from_outside(act)
        assert done.wait(10)
        return result[0]

    def n_waiting(self, run):
        """How many callers wait for the result of a run."""

        def look():
            actor = self.system.session(run.session_id).ref().life.actor
            return len(actor.state.open[run.id].waiters or ())

        return self.on_dispatcher(look)

    def journal(self):
        """The journal's actor, to look at."""
        return self.system.services.whereis(JOURNAL).life.actor

    # --- Shorthands ----------------------------------------------------------------------------------------------

    def session(self, **options):
        """An active session."""
        made = self.manager.start_session(**{"agent_id": "agent", "provider": "mock", **options})
        return self.manager.activate_session(made.id)

    def streaming_run(self, session_id=None, prompt="Hello"):
        """A run that has said something and waits at the gate."""
        session_id = session_id or self.session(provider="gated").id
        run = self.manager.submit_run(session_id, prompt)
        types = self.stream(session_id, run_id=run.id, type="message_streamed", limit=1)
        assert len(types) == 1
        return run

    def stream(self, session_id, **options):
        return list(self.manager.stream_session_events(session_id, **options))

    def types(self, session_id, **options):
        return [event.type.value for event in self.manager.get_session_events(session_id, **options)]


@pytest.fixture
def opened():
    """Makes systems, which are stopped after the test."""
    made = []

    def make(surface="blocking", **options):
        made.append(Opened(surface, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["blocking", "asyncio"])
def surface(request):
    """Both surfaces, by name."""
    return request.param


@pytest.fixture
def o(opened, surface):
    """A system on each surface."""
    return opened(surface)


@pytest.fixture
def raises():
    """``with raises("code"):`` for an `AsmError` with this code."""

    class Raises:
        def __init__(self, code):
            self._raises = pytest.raises(asm.AsmError)
            self._code = code

        def __enter__(self):
            self.caught = self._raises.__enter__()
            return self.caught

        def __exit__(self, *exc_info):
            done = self._raises.__exit__(*exc_info)
            assert self.caught.value.code.value == self._code, self.caught.value
            return done

    return Raises


@pytest.fixture
def _quiet_logs(caplog):
    """Crashes are the subject here; their logged tracebacks are not worth the time to format."""
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)
