"""What the parts of a scenario of flows share: tools that remember what they did, a provider that calls them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from asm_actors.errors import ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.query import EventFilter
from asm_actors.providers.anthropic_request import api_messages
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.script import Script, crash, fail, sleep, stall, text, tool_call, usage
from asm_actors.runs.run import Run, RunStatus
from asm_actors.testing.promises import RUN_ENDS
from asm_actors.tools.context import ToolContext
from asm_actors.tools.tool import Tool
from supervisors import ManualClock
from tests.simulation.players import Player
from tests.simulation.world import STOPPED, Injected, WatchedStore, World

GATED = ("pay",)
"""Tools that say themselves that somebody has to be asked."""
TOOLS = ("pay", "send", "send", "look", "look")
RATES = (0.01, 0.02)
"""What a token of a request and one of an answer cost, in US dollars."""
TURN = (10, 5)
"""Tokens of each turn."""
_STILL = frozenset({RunStatus.PAUSED, RunStatus.AWAITING_APPROVAL})
_SCHEMA = {
    "type": "object",
    "properties": {"key": {"type": "string"}},
    "required": ["key"],
    "additionalProperties": False,
}


class FlowStore(WatchedStore):
    """A `WatchedStore` that also looks whether anything goes on in a run that is said to stand still, or to be over.

    Attributes:
        calling: Tells whether a tool is at work for a run.
    """

    def __init__(self, clock: ManualClock, fault: Callable[[str], None]) -> None:
        super().__init__(clock, fault)
        self.calling: Callable[[str], bool] = lambda _run_id: False

    def _took_run(self, run: Run) -> None:
        super()._took_run(run)
        is_violation = run.status is RunStatus.FAILED and (run.error or {}).get("code") == "policy_violation"
        if (run.status in _STILL or is_violation) and self.streaming(run.id) and not self._is_cut(run):
            self._fault(f"{run.id} is journalled as {run.status} ({run.error}) while its stream is open")
        if (run.status in _STILL or run.is_terminal) and self.calling(run.id):
            self._fault(f"{run.id} is journalled as {run.status} while a tool is at work for it")

    def _is_cut(self, run: Run) -> bool:
        """Whether its actor has just crashed: then its stream is closed behind it."""
        for event in reversed(self.read_session(run.session_id, EventFilter(run_ids=run.id))):
            if event.type not in (EventType.RUN_PAUSED, EventType.RUN_RESUMED):
                return event.type is EventType.RUN_RECOVERED
        return False


class FlowWorld(World):
    """A `World` whose runs call tools.

    Attributes:
        calling: By run, how many of its calls are at work.
        made: How often each attempt of a call was made.
        folder: Where runs with files work; None: there are none.
    """

    def __init__(self, seed: int, folder: Path | None = None) -> None:
        super().__init__(seed)
        self.folder = folder
        self.store: FlowStore = FlowStore(self.clock, self.fault)  # type: ignore[assignment]
        self.store.calling = lambda run_id: self.calling[run_id] > 0
        self.calling: Counter[str] = Counter()
        self.made: Counter[tuple[Any, ...]] = Counter()
        self._dice = self.random("tools")

    # --- Tools -----------------------------------------------------------------------------------------------------

    def tools(self) -> list[Tool]:
        """``pay`` asks before each call, ``send`` must not be repeated, ``look`` may be."""

        async def pay(key: str, context: ToolContext) -> str:
            return await self._make("pay", key, context)

        async def send(key: str, context: ToolContext) -> str:
            return await self._make("send", key, context)

        async def look(key: str, context: ToolContext) -> str:
            return await self._make("look", key, context)

        return [
            Tool("pay", "Pay.", _SCHEMA, pay, requires_approval=True, timeout=None),
            Tool("send", "Send.", _SCHEMA, send, timeout=None),
            Tool("look", "Look.", _SCHEMA, look, safe_to_repeat=True, timeout=None),
        ]

    def files_of(self, name: str) -> dict[str, Any]:
        """The option ``workspace`` of a run, with a directory of this name."""
        assert self.folder is not None
        tree = self.folder / name
        tree.mkdir(exist_ok=True)
        return {
            "enabled": True,
            "path": str(tree),
            "strategy": "hash",
            "store_path": str(self.folder / "copies"),
            "rollback_on_failure": True,
        }

    async def _make(self, name: str, key: str, context: ToolContext) -> str:
        self._check_call(name, key, context)
        if context.workspace_path is not None:
            (Path(context.workspace_path) / f"{name}-{key}").write_text(context.run_id)
        self.log.note("tool", f"{name}({key})", context.run_id, context.tool_call_id, context.attempt)
        self.calling[context.run_id] += 1
        try:
            await asyncio.sleep(self._dice.choice((0.0, 0.0, 0.01, 0.3, 1.5)))
            if self._dice.random() < 0.1:
                raise ValueError("the tool does not feel like it")
        finally:
            self.calling[context.run_id] -= 1
        return f"{name} {key}: done"

    def _check_call(self, name: str, key: str, context: ToolContext) -> None:
        """Whatever a tool does must be on record before it does it, and be the newest thing said about the call."""
        run_id, call_id = context.run_id, context.tool_call_id
        events = self.store.read_session(context.session_id, EventFilter(run_ids=run_id))
        begun = None
        n_lives = 0
        is_still = False
        for event in events:
            match event.type:
                case EventType.TOOL_CALL_STARTED if event.data["tool_call_id"] == call_id:
                    begun = event.data
                case EventType.RUN_RECOVERED if event.data.get("decision") == "retry":
                    n_lives, begun = n_lives + 1, None
                case EventType.RUN_PAUSED:
                    is_still = True
                case EventType.RUN_RESUMED:
                    is_still = event.data.get("waits_for") == "session"
        named = f"{name}({key}) as {call_id} of {run_id}, attempt {context.attempt},"
        if begun is None or (begun["attempt"], begun["tool_name"]) != (context.attempt, name):
            self.fault(f"{named} is made, and the journal says {begun}")
        elif begun["tool_input"] != {"key": key}:
            self.fault(f"{named} is made, and its arguments are to be {begun['tool_input']}")
        if is_still or (events and events[-1].type in RUN_ENDS):
            self.fault(f"{named} is made after {events[-1].type}")
        self.made[run_id, call_id, context.attempt, n_lives] += 1
        if self.made[run_id, call_id, context.attempt, n_lives] > 1:
            self.fault(f"{named} is made twice")

    # --- Answers ---------------------------------------------------------------------------------------------------

    def _check_durable(self, what: str, value: Any) -> None:
        super()._check_durable(what, value)
        if (
            what in ("interrupt_run", "cancel_for_approval")
            and isinstance(value, Run)
            and not value.is_terminal
        ):
            self.fault(f"{what} returned {value.id} as {value.status}")
        if isinstance(value, Run) and value.status in STOPPED and self.store.streaming(value.id):
            self.fault(f"{what} returned {value.id} as {value.status}, and its stream is open")

    def killed(self) -> None:
        """The process has ended: nothing goes on any more."""
        self.calling.clear()


class FlowPlayer(Player):
    """Plays the turns that the run's input lists; see `tests.simulation.flow_callers`."""

    def __init__(self, world: FlowWorld, name: str) -> None:
        super().__init__(world, name)
        self.offers = (("chat", "tool"), ("steering", "sampling"))

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Any, None]:
        world, run_id = self._world, request.run_id
        for fault in (*conversation_faults(request.messages), *api_faults(request.messages)):
            world.fault(f"turn {request.turn} of {run_id}: {fault}: {request.messages}")
        run = world.store.run(run_id)
        if run.status is RunStatus.PAUSED:
            world.fault(f"a stream was opened for {run_id}, which is paused")
        async for item in super().stream(request):
            yield item

    def _part(self, request: TurnRequest) -> Script:
        plan = request.input
        if not isinstance(plan, dict) or "turns" not in plan:
            return Script(text("The gist."), usage(*TURN))
        pace = sleep(plan["pace"])
        if request.turn <= len(plan["turns"]):
            calls = [
                tool_call(f"c{request.turn}.{number}", tool, {"key": key})
                for number, (tool, key) in enumerate(plan["turns"][request.turn - 1])
            ]
            return Script(text("Let me "), pace, text("see. "), pace, *calls, usage(*TURN))
        n_answers = request.turn - len(plan["turns"])
        if n_answers <= plan["misses"]:
            return Script(text("No JSON"), pace, usage(*TURN))
        endings: dict[str, Any] = {
            "stall": stall(),
            "fail": fail(ErrorCode.PROVIDER_ERROR, "broken"),
            "crash": crash(Injected("at the end")),
        }
        rest = [endings[plan["end"]]] if plan["end"] in endings else [usage(*TURN)]
        return Script(text('{"n": '), pace, text("1}"), *rest)


def conversation_faults(messages: Any) -> list[str]:
    """What an API would refuse: a call without its answer before anybody else speaks, an answer without its call."""
    faults: list[str] = []
    open_ids: list[str] = []
    is_answering = False
    for message in (*messages, {"role": "user", "content": "the end"}):
        call_id, role = message.get("tool_call_id"), message["role"]
        if role == "tool":
            is_answering = True
            if call_id in open_ids:
                open_ids.remove(call_id)
            else:
                faults.append(f"an answer to {call_id} follows no call of it")
            continue
        if open_ids and (is_answering or role != "assistant"):
            faults.append(f"{open_ids} have no answers before somebody else speaks")
            open_ids = []
        is_answering = False
        content = message["content"]
        blocks = content if isinstance(content, list) else []
        open_ids += [block["id"] for block in blocks if block.get("type") == "tool_use"]
        if call_id is not None:
            open_ids.append(call_id)
    return faults


def api_faults(messages: Any) -> list[str]:
    """The same of what is made of it for a real API: results first, in the message behind their calls."""
    faults: list[str] = []
    called: set[str] = set()
    role = ""
    for message in api_messages(messages):
        if message["role"] == role:
            faults.append(f"two messages of the {role} follow each other")
        role, content = message["role"], message["content"]
        blocks = content if isinstance(content, list) else [{"type": "text"}]
        kinds = [block["type"] for block in blocks]
        if "tool_result" in kinds and kinds != sorted(kinds, key=lambda kind: kind != "tool_result"):
            faults.append(f"results do not stand before what is said: {kinds}")
        answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if answered != called:
            faults.append(f"{answered} are answered, and {called} were called")
        called = {block["id"] for block in blocks if block["type"] == "tool_use"}
    return faults if not called else [*faults, f"{called} have no results"]
