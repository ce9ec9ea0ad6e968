"""A simulated system with a plain provider and one that can do more."""

from __future__ import annotations

import pytest

from asm_actors.providers.script import Script, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem

PLAIN = [("chat", "sampling")]
RICH = [("chat", "sampling"), ("files", "file_access"), ("search", "tool")]


@pytest.fixture
def system():
    """Providers ``plain`` and ``rich``."""
    providers = {
        "plain": ScriptedProvider(Script(text("plain")), capabilities=PLAIN),
        "rich": ScriptedProvider(Script(text("rich")), capabilities=RICH),
    }
    with SimulatedSystem(providers=providers) as made:
        yield made
