"""Whole systems in which runs go on from the conversation before them."""

from __future__ import annotations

import pytest

from asm_actors.providers.script import Script, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem


class Talk:
    """A simulated system whose provider answers ``answer 1``, ``answer 2``, …"""

    def __init__(self, system, provider):
        self.system, self.provider = system, provider
        self.session = system.active_session()

    def ask(self, prompt, **options):
        """Have a run executed; return its record."""
        made = self.system.operations.submit_run(self.session.id, prompt, **options)
        self.system.settle()
        return self.system.run(made.get().id)

    @property
    def sent(self):
        """The messages of the last request, as (role, text)."""
        return [(message["role"], message["content"]) for message in self.provider.requests[-1].messages]


@pytest.fixture
def talks():
    """Make talks; their systems are closed at the end."""
    opened = []

    def make(provider=None, **options):
        if provider is None:
            provider = answering()
        system = SimulatedSystem(providers={"scripted": provider}, **options)
        system.__enter__()
        opened.append(system)
        return Talk(system, provider)

    yield make
    for system in reversed(opened):
        system.__exit__(None, None, None)


def answering(kind=ScriptedProvider, **options):
    """A provider that answers ``answer 1``, ``answer 2``, …; a compaction it answers with ``the gist``."""
    count = 0

    def script(request):
        nonlocal count
        last = request.messages[-1]["content"]
        if isinstance(last, str) and last.startswith("Above is the record"):
            return Script(text("the gist"))
        count += 1
        return Script(text(f"answer {count}"))

    return kind(script, **options)


@pytest.fixture
def answers():
    """`answering`."""
    return answering
