"""What the provider and the tools of a flow do, in the life that is killed and in the one that finishes the flow.

A run's input says what it is asked to do: ``turns`` are lists of calls ``[tool, key]``, whose ids are ``c1.0``,
``c1.1`` …; after them it says that it is done. Where the first life is to stay until it is killed it waits at a
`Spot`: in the turn that ``stays`` names, while a stream that ``clings`` is being closed, and in calls whose keys end
with ``!`` (or with ``?``, if they are not to be cancelled either).
"""

from __future__ import annotations

import asyncio
import threading

import asm_actors as asm
from asm_actors.providers.script import Script, text, tool_call, usage, wait

LIMITS = asm.Limits(max_parallel_runs=2, max_concurrent_runs=1, max_queued_runs=4)
GATED = ("pay",)
RATES = (0.01, 0.02)
PRICING = {"mock": {"default": {"input": RATES[0], "output": RATES[1]}}}
_SCHEMA = {
    "type": "object",
    "properties": {"key": {"type": "string"}},
    "required": ["key"],
    "additionalProperties": False,
}


class Spot:
    """Where a life stays until it is killed.

    Attributes:
        reached: Set when something has come here.
    """

    def __init__(self):
        self.reached = threading.Event()

    async def wait(self):
        self.reached.set()
        await asyncio.get_running_loop().create_future()

    async def hold_out(self):
        """Stay, though one is cancelled."""
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.reached.set()

    def block(self, *args, **options):
        """Stay, on a thread."""
        self.reached.set()
        threading.Event().wait()


class Provider(asm.ScriptedProvider):
    """Plays what the input asks for; `spot` is None in the life that finishes the flow."""

    def __init__(self, spot=None):
        super().__init__(self._script, capabilities=(("chat", "tool"), ("steering", "sampling")))
        self.spot = spot

    async def stream(self, request):
        inner = super().stream(request)
        try:
            async for item in inner:
                yield item
        finally:
            await inner.aclose()
            if self.spot is not None and self._asked(request).get("clings"):
                self.spot.reached.set()
                await self.spot.hold_out()

    @staticmethod
    def _asked(request):
        return request.input if isinstance(request.input, dict) else {}

    def _script(self, request):
        asked = self._asked(request)
        turns = asked.get("turns", [])
        stays = self.spot is not None and asked.get("stays") == request.turn
        if "turns" not in asked and self.spot is not None:  # it is to sum up the conversation
            stays = True
        steps = [text("Let me "), *([wait(self.spot)] if stays else []), text("see. ")]
        if request.turn > len(turns):
            n_answers = request.turn - len(turns)
            answer = "No JSON." if n_answers <= asked.get("misses", 0) else '{"n": 1}'
            return Script(*steps[1:-1], text(answer), usage(10, 5))
        calls = [
            tool_call(f"c{request.turn}.{number}", tool, {"key": key})
            for number, (tool, key) in enumerate(turns[request.turn - 1])
        ]
        return Script(*steps, *calls, usage(10, 5))


def tools(told, spot=None):
    """``pay`` asks before each call, ``send`` must not be repeated, ``look`` may be.

    Args:
        told: Is told of each call as soon as it begins: a reporter, or a ledger.
        spot: Where calls stay that are to.
    """

    async def make(tool, key, session):
        told.called(key, tool, session)
        if spot is not None and key.endswith("!"):
            await spot.wait()
        if spot is not None and key.endswith("?"):
            await spot.hold_out()
        return f"{tool} {key}: done"

    async def pay(key: str, context: asm.ToolContext):
        return await make("pay", key, context.session_id)

    async def send(key: str, context: asm.ToolContext):
        return await make("send", key, context.session_id)

    async def look(key: str, context: asm.ToolContext):
        return await make("look", key, context.session_id)

    return [
        asm.Tool("pay", "Pay.", _SCHEMA, pay, requires_approval=True, timeout=None),
        asm.Tool("send", "Send.", _SCHEMA, send, timeout=None),
        asm.Tool("look", "Look.", _SCHEMA, look, safe_to_repeat=True, timeout=None),
    ]
