"""Systems on both surfaces, and streams of both that block alike."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, fail, stall, text, wait
from supervisors.testing import Gate


class Driven:
    """An `AsyncSessionStream` whose calls block."""

    def __init__(self, stream, run):
        self._stream, self._run = stream, run

    def __iter__(self):
        while True:
            try:
                yield self._run(self._stream.__anext__())
            except StopAsyncIteration:
                return

    def __next__(self):
        try:
            return self._run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def result(self, timeout=None):
        return self._run(self._stream.result(timeout))

    def close(self, **options):
        self._run(self._stream.close(**options))

    def __getattr__(self, name):
        return getattr(self._stream, name)


class Opened:
    """A system with the providers ``mock`` (answers at once), ``gated`` (waits), ``silent`` and ``broken``."""

    def __init__(self, surface, **options):
        self.gate = Gate()
        self.providers = {
            "mock": asm.ScriptedProvider(),
            "gated": asm.ScriptedProvider(Script(text("so far "), wait(self.gate), text("and more"))),
            "silent": asm.ScriptedProvider(Script(text("so far "), stall())),
            "broken": asm.ScriptedProvider(Script(text("half"), fail("provider_error", "it broke"))),
        }
        options = {"retry": asm.RetryPolicy(max_attempts=1), **options}
        self._stack = contextlib.ExitStack()
        if surface == "blocking":
            self.system = asm.ActorSystem.start(asm.MemoryStore(), self.providers, **options)
            self.sessions = self.system.sessions
        else:
            self._runner = self._stack.enter_context(asyncio.Runner())
            self.run = self._runner.run
            self.system = self.run(self._start(options))
            self.sessions = self.system.sessions
        self.surface = surface

    async def _start(self, options):
        return await asm.AsyncActorSystem.start(asm.MemoryStore(), self.providers, **options)

    def stream(self, *args, **options):
        if self.surface == "blocking":
            return self.sessions.stream_session(*args, **options)

        async def begin():
            return self.sessions.stream_session(*args, **options)

        return Driven(self.run(begin()), self.run)

    def await_run(self, run_id):
        made = self.sessions.await_run(run_id, 20)
        return made if self.surface == "blocking" else self.run(made)

    def status_of(self, run_id):
        return self.system.store.run(run_id).status

    def close(self):
        self.stop()
        self._stack.close()

    def stop(self):
        self.gate.open()
        if self.surface == "blocking":
            self.system.stop()
        else:
            self.run(self.system.stop())


@pytest.fixture(params=["blocking", "asyncio"])
def opened(request):
    """Start a system on the surface; `opened(**options)`."""
    made = []

    def start(**options):
        made.append(Opened(request.param, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def o(opened):
    return opened()
