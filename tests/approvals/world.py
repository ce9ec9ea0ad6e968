"""Systems one after the other on one journal, with tools that wait at a gate, and somebody who decides."""

from __future__ import annotations

import asm_actors as asm
from asm_actors.providers.script import Script, text, tool_call, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem
from supervisors.testing import Gate

__all__ = ["World", "worlds"]


class World:
    """See the module.

    The model plays `turns`: lists of calls ``(tool, key)``, whose ids are ``c1``, ``c2`` …; then it says what it was
    told. ``pay`` asks before each call; ``send`` does not, ``look`` neither; a call whose key is in `held` waits at the
    gate.
    """

    def __init__(self, store=None, turns=((("pay", "a"),),), said="Let me see. ", **options):
        self.said = said
        self.turns, self.made, self.held, self.gate = turns, [], set(), Gate()
        self.told = None

        @asm.tool(requires_approval=True, timeout=None)
        async def pay(key: str) -> str:
            """Pay a bill."""
            return await self._made("pay", key)

        @asm.tool(timeout=None)
        async def send(key: str) -> str:
            """Send a letter."""
            return await self._made("send", key)

        @asm.tool(safe_to_repeat=True, timeout=None)
        async def look(key: str) -> str:
            """Look something up."""
            return await self._made("look", key)

        options.setdefault("tools", [pay, send, look])
        self.sim = SimulatedSystem(providers={"mock": ScriptedProvider(self._script)}, store=store, **options)

    async def _made(self, tool, key):
        self.made.append(f"{tool} {key}")
        if key in self.held:
            await self.gate.wait()
        return f"{tool} {key}: done"

    def _script(self, request):
        self.told = [one for one in request.messages if one["role"] == "tool"]
        if request.turn > len(self.turns):
            return Script(text("Done."), usage(10, 5))
        n_before = sum(len(calls) for calls in self.turns[: request.turn - 1])
        calls = [
            tool_call(f"c{n}", tool, {"key": key})
            for n, (tool, key) in enumerate(self.turns[request.turn - 1], start=n_before + 1)
        ]
        return Script(text(self.said), *calls, usage(10, 5))

    # --- What is done --------------------------------------------------------------------------------------------

    def start(self, **options):
        """Start a run in a session of its own; let it go as far as it can."""
        session = self.sim.active_session()
        self.run_id = self.sim.manager.submit_run(session.id, "Go.", **options).id
        self.sim.settle()
        return self

    def another(self, **options):
        """Start another run in the same session."""
        self.run_id = self.sim.manager.submit_run(self.run.session_id, "Go on.", **options).id
        self.sim.settle()
        return self

    def grant(self, call_id="c1", **options):
        found = self.sim.manager.grant_approval(self.run_id, call_id, **options)
        self.sim.settle()
        return found

    def deny(self, call_id="c1", **options):
        found = self.sim.manager.deny_approval(self.run_id, call_id, **options)
        self.sim.settle()
        return found

    def kill(self):
        self.sim.kill()
        self.sim.settle()

    # --- What is looked at ---------------------------------------------------------------------------------------

    @property
    def run(self):
        return self.sim.run(self.run_id)

    @property
    def status(self):
        return self.run.status.value

    @property
    def pending(self):
        return [one.call_id for one in self.sim.manager.pending_approvals(run_id=self.run_id)]

    def data(self, kind):
        """Payloads of the run's events of a type."""
        return [event.data for event in self.sim.events_of(self.run_id) if event.type.value == kind]

    def outputs(self):
        """What the model was told of its calls, by their ids."""
        return {one["tool_call_id"]: (one["tool_output"], one["is_error"]) for one in self.told or ()}


def worlds():
    """Make worlds whose systems run; stop them at the end, and check their journals. For a fixture."""
    made = []

    def make(*args, **options):
        found = World(*args, **options)
        found.sim.__enter__()
        made.append(found)
        return found

    yield make
    for found in made:
        try:
            found.gate.open()
            found.sim.check_promises()
        finally:
            found.sim.__exit__(None, None, None)
