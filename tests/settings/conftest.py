"""Systems that are started by a configuration."""

from __future__ import annotations

import contextlib

import pytest

import asm_actors as asm
from asm_actors.testing.system import SimulatedSystem


@pytest.fixture
def started():
    """Start a system with settings; `started(script=…, **settings)`."""
    with contextlib.ExitStack() as stack:

        def start(*, script=None, providers=None, options=None, **settings):
            if providers is None:
                providers = {"mock": asm.ScriptedProvider(script)}
            config = asm.Config(**settings)
            options = {"retry": asm.RetryPolicy(max_attempts=1), **(options or {})}
            if config.journal is None:
                options["journal"] = asm.MemoryStore()
            system = asm.ActorSystem.from_config(config, providers, **options)
            stack.callback(system.stop, cancel_runs=True)
            return system

        yield start


@pytest.fixture
def simulated():
    """The same on a manual clock; returns the `SimulatedSystem`."""
    with contextlib.ExitStack() as stack:

        def start(*, script=None, providers=None, **settings):
            options = {"retry": asm.RetryPolicy(max_attempts=1), "config": asm.Config(**settings)}
            return stack.enter_context(SimulatedSystem(5, script=script, providers=providers, **options))

        yield start
