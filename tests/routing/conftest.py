"""Turns of a router without a system: one loop, one clock, targets that do as they are told."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from asm_actors.errors import AsmError
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.items import TextDelta
from asm_actors.providers.script import Script, text
from asm_actors.providers.scripted import ScriptedProvider
from supervisors.testing import ManualClock


class Bench:
    """Asks a router, turn after turn, and tells what came."""

    def __init__(self):
        self.clock = ManualClock()
        self.runs = 0

    def pass_time(self, seconds):
        self.clock.move_to(self.clock.monotonic() + seconds)

    def request(self, session="ses_1", run=None, turn=1, **routing):
        self.runs += 1
        options = {"routing": routing} if routing else {}
        name = run or f"run_{self.runs}"
        return TurnRequest(session, name, turn=turn, input="Hello", options=options)

    async def collect(self, router, request):
        """Return the items, and how the stream failed (None: it did not)."""
        items = []
        async with aclosing(router.stream(request)) as stream:
            while True:
                try:
                    items.append(await anext(stream))
                except StopAsyncIteration:
                    return items, None
                except AsmError as error:
                    return items, error

    def turn(self, router, request=None, **hints):
        return asyncio.run(self.collect(router, request or self.request(**hints)))

    def answer(self, router, request=None, **hints):
        """The text that came; the turn must not fail."""
        items, error = self.turn(router, request, **hints)
        assert error is None, error
        return "".join(item.text for item in items if isinstance(item, TextDelta))

    def error(self, router, request=None, **hints):
        """How the turn failed, which it must."""
        _, error = self.turn(router, request, **hints)
        assert error is not None
        return error


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def says():
    """A provider that says its own name, after the scripts it is given."""

    def make(word, *scripts, **options):
        return ScriptedProvider([*scripts, Script(text(word))], **options)

    return make
