"""A running system, and brokers of others."""

from __future__ import annotations

import pytest

import asm_actors as asm


class Recording:
    """A broker that notes what it is told, and fails as told."""

    def __init__(self):
        self.sent, self.failing = [], set()

    def broadcast(self, topic, message):
        if topic in self.failing:
            raise ConnectionError("the broker is away")
        self.sent.append((topic, message))


@pytest.fixture
def broker():
    return Recording()


@pytest.fixture
def system():
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as started:
        yield started


@pytest.fixture
def manager(system):
    return system.sessions
