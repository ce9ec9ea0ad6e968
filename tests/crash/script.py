"""What the storm's provider and tools do, in a life that is killed and in the one that takes up what it left."""

from __future__ import annotations

import asyncio
import time

import asm_actors as asm
from asm_actors.providers.script import Script, fail, sleep, text, tool_call, tool_result, usage

LIMITS = asm.Limits(
    max_parallel_sessions=None, max_parallel_runs=8, max_concurrent_runs=2, max_queued_runs=12
)
ENDS = {
    "talk": "completed",
    "slow": "completed",
    "again": "completed",
    "tool": "completed",
    "tools": "completed",
    "fail": "failed",
}
"""How a run ends, by what it is asked to do."""
TOOLS = ("pay", "look", "book")
_SCHEMA = {"type": "object", "properties": {"key": {"type": "string"}, "session": {"type": "string"}}}


def pieces_of(asked):
    return [f"{asked['name']} {k} " for k in range(asked["pieces"])]


def some_input(dice, name, kinds=("talk", "talk", "slow", "slow", "fail", "again", "tool", "tools")):
    asked = {"prompt": name, "name": name, "do": dice.choice(kinds), "pieces": dice.randint(1, 20)}
    if asked["do"] == "tools":
        asked["calls"] = [
            [dice.choice(TOOLS) for _ in range(dice.randint(1, 3))] for _ in range(dice.randint(1, 3))
        ]
    return asked


def provider(pause):
    """Plays what the input asks for; `pause` is how many seconds pass between the pieces of a slow answer."""

    def script(request):
        asked = request.input
        pieces = pieces_of(asked)
        talk = [text(piece) for piece in pieces]
        match asked["do"]:
            case "slow":
                steps = [step for piece in talk for step in (piece, sleep(pause))]
            case "fail":
                return Script(*talk, fail("provider_error", "as asked", retryable=False))
            case "again" if request.attempt == 1:
                steps = [fail("provider_unavailable", "as asked")]
            case "tool":
                own = [tool_call("c", "search"), tool_result("c", "search", {"found": asked["name"]})]
                steps = [*talk[:1], *own, *talk[1:]]
            case "tools":
                steps = _turn(request, talk)
            case _:
                steps = talk
        return Script(*steps, usage(3, len(pieces)))

    return asm.ScriptedProvider(script)


def _turn(request, talk):
    """One turn of a run that calls tools of the host; each is asked for once, and each must have had its answer."""
    calls, at = request.input["calls"], request.turn - 1
    answers = sum(message["role"] == "tool" for message in request.messages)
    expected = sum(map(len, calls[:at]))
    if answers != expected:
        return [fail("provider_error", f"{answers} answers instead of {expected}", retryable=False)]
    if at == len(calls):
        return talk
    asked = []
    for number, name in enumerate(calls[at]):
        call_id = f"c{at}.{number}"
        given = {"key": f"{request.run_id} {call_id}", "session": request.session_id}
        asked.append(tool_call(call_id, name, given))
    return [talk[0], *asked]


def tools(told, pause):
    """The tools that a model may call: ``pay`` and ``book`` must not be repeated, ``look`` may be.

    Args:
        told: Is told of each call as soon as it begins: a reporter, or a ledger.
        pause: Seconds that a call takes.
    """

    def pay(key, session):
        told.called(key, "pay", session)
        time.sleep(pause)
        return f"paid {key}"

    async def book(key, session):
        told.called(key, "book", session)
        await asyncio.sleep(pause)
        return f"booked {key}"

    async def look(key, session):
        told.called(key, "look", session)
        await asyncio.sleep(2 * pause)
        return f"saw {key}"

    return [
        asm.Tool("pay", "Pay.", _SCHEMA, pay),
        asm.Tool("book", "Book.", _SCHEMA, book),
        asm.Tool("look", "Look.", _SCHEMA, look, safe_to_repeat=True),
    ]
