"""Bridges of both surfaces whose calls block."""

from __future__ import annotations

import asyncio
import contextlib
import inspect

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, done, fail, text


def _answer(request):
    match request.input:
        case {"prompt": "fail"}:
            return Script(fail("provider_quota_exceeded", "no more"))
        case {"prompt": "short"}:
            return Script(text("cut"), done(stop_reason="max_tokens"))
        case _:
            return Script(text(f"{len(request.messages)} messages"))


class Opened:
    """A system, its bridge, and ``store``; every call of the bridge blocks."""

    def __init__(self, surface, **options):
        self.provider = asm.ScriptedProvider(_answer)
        self._stack = contextlib.ExitStack()
        options = {"retry": asm.RetryPolicy(max_attempts=1), **options}
        arguments = (asm.MemoryStore(), {"mock": self.provider})
        if surface == "blocking":
            self.system = self._stack.enter_context(asm.ActorSystem.start(*arguments, **options))
            self.bridge = asm.WorkflowBridge(self.system)
        else:
            self._run = self._stack.enter_context(asyncio.Runner()).run
            self.system = self._run(self._start(arguments, options))
            self._stack.callback(lambda: self._run(self.system.stop()))
            self.bridge = _Driven(asm.AsyncWorkflowBridge(self.system), self._run)
        self.store = self.system.store

    async def _start(self, arguments, options):
        return await asm.AsyncActorSystem.start(*arguments, **options)

    def close(self):
        self._stack.close()


class _Driven:
    def __init__(self, bridge, run):
        self._bridge, self._run = bridge, run

    def __getattr__(self, name):
        method = getattr(self._bridge, name)

        def call(*args, **kwargs):
            made = method(*args, **kwargs)
            return self._run(made) if inspect.iscoroutine(made) else made

        return call


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


@pytest.fixture
def bridge(o):
    return o.bridge
