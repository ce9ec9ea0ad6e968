"""Scripts for the scripted provider: what one call of it does, step by step. Pure but for acting them out.

Steps are items, played as they are, or acts: wait, sleep, fail, crash, stall::

    Script(text("Hello "), wait(gate), text("world"))
    Script(text("Hel"), fail("provider_unavailable"))
    Script(tool_call("call_1", "search", {"query": "x"}))
    Script(text("Which one? "), heed(), text(" it is."))

A script that only talks is completed: ``TurnStarted`` before it, ``MessageDone``, ``Usage`` and ``TurnDone``
after it where they are missing. One that ends by failing, crashing or stalling stays without an ending.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, Protocol, TypeAlias

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.items import (
    EMPTY,
    ITEM_TYPES,
    Item,
    MessageDone,
    Raw,
    TextDelta,
    ThinkingDelta,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.serialization import invalid

__all__ = [
    "ACTS",
    "Script",
    "Step",
    "Waitable",
    "crash",
    "done",
    "fail",
    "heed",
    "is_heeding",
    "is_raising",
    "message",
    "perform",
    "raw",
    "sleep",
    "stall",
    "text",
    "thinking",
    "tool_call",
    "tool_result",
    "usage",
    "wait",
]

_MODEL: Final = "scripted"


class Waitable(Protocol):
    """A gate: anything with an asynchronous ``wait()``, such as ``asyncio.Event``."""

    def wait(self) -> Awaitable[object]:
        """Return when the gate is open."""
        ...


class _Fail(NamedTuple):
    error: AsmError


class _Crash(NamedTuple):
    exception: BaseException


class _Stall(NamedTuple):
    pass


class _Wait(NamedTuple):
    gate: Waitable


class _Sleep(NamedTuple):
    seconds: float


class Heed(NamedTuple):
    """See `heed`."""

    says: bool


class Conclude(NamedTuple):
    """Complete the message of a script whose text depends on what it heeds."""

    calls: tuple[ToolCallStarted, ...]

    def message(self, said: str) -> MessageDone:
        """The message, with what was said in it."""
        return MessageDone(said, _blocks(said, self.calls) if self.calls else ())


_Act: TypeAlias = _Fail | _Crash | _Stall | _Wait | _Sleep | Heed | Conclude
Step: TypeAlias = Item | _Act | tuple[Item, ...]
"""One step of a script: an item, a tuple of items, or one of the acts made below."""

ACTS: Final = (_Fail, _Crash, _Stall, _Wait, _Sleep, Heed, Conclude)
"""The classes of the acts."""

_ENDINGS: Final = (_Fail, _Crash, _Stall)


def text(content: str, *, size: int | None = None) -> tuple[Item, ...]:
    """Say ``content``: as one delta, or in pieces of ``size`` characters."""
    step = size or max(1, len(content))
    return tuple(TextDelta(content[at : at + step]) for at in range(0, len(content), step))


def thinking(content: str) -> ThinkingDelta:
    """Think ``content``."""
    return ThinkingDelta(content)


def tool_call(call_id: str, name: str, arguments: Mapping[str, Any] = EMPTY) -> ToolCallStarted:
    """Call a tool. Without a :func:`tool_result` the host is to run it: the turn stops for ``tool_use``.

    Raises:
        ValidationError: the arguments are no map.
    """
    if not isinstance(arguments, Mapping):
        raise invalid("arguments", "must be a map", arguments)
    return ToolCallStarted(call_id, name, arguments)


def tool_result(call_id: str, name: str, output: Any = None, *, is_error: bool = False) -> ToolCallEnded:
    """End a call that the provider ran itself."""
    return ToolCallEnded(call_id, name, output, is_error)


def usage(input_tokens: int, output_tokens: int, *, cache_read: int = 0, cache_creation: int = 0) -> Usage:
    """State the tokens of the turn so far."""
    return Usage(input_tokens, output_tokens, cache_read, cache_creation)


def message(content: str, blocks: Iterable[dict[str, Any]] = ()) -> MessageDone:
    """Complete a message whose text is ``content``, whatever was streamed."""
    return MessageDone(content, tuple(blocks))


def done(
    stop_reason: str = "end_turn",
    output: Mapping[str, Any] | None = None,
    *,
    cost_usd: float | None = None,
    metadata: Mapping[str, Any] = EMPTY,
) -> TurnDone:
    """End the turn well."""
    return TurnDone(stop_reason, output, cost_usd, metadata)


def raw(kind: str, data: Mapping[str, Any] = EMPTY) -> Raw:
    """Report anything else."""
    return Raw(kind, data)


def fail(error: AsmError | ErrorCode | str, text: str | None = None, **fields: Any) -> _Fail:
    """Fail with an error: one that is given, or one made of a code, a text and the fields of ``AsmError``."""
    return _Fail(error if isinstance(error, AsmError) else AsmError(error, text, **fields))


def crash(exception: BaseException | None = None) -> _Crash:
    """Raise what no provider should: its actor crashes."""
    return _Crash(RuntimeError("the script says: crash") if exception is None else exception)


def stall() -> _Stall:
    """Say nothing more, for ever."""
    return _Stall()


def wait(gate: Waitable) -> _Wait:
    """Wait until a gate opens."""
    return _Wait(gate)


def sleep(seconds: float) -> _Sleep:
    """Sleep on the running loop's clock."""
    return _Sleep(seconds)


def heed(*, says: bool = True) -> Heed:
    """Wait for input into the running turn, and say its text, unless told not to."""
    return Heed(says)


class Script:
    """What one call of the provider does. Immutable.

    Args:
        *steps: items, tuples of items, and acts, in order.
        complete: whether to add what a legal turn needs, see the module; False plays the steps exactly.
    """

    __slots__ = ("items", "steps")

    def __init__(self, *steps: Step, complete: bool = True) -> None:
        flat: list[Item | _Act] = []
        for step in steps:
            if isinstance(step, (*ITEM_TYPES, *ACTS)):
                flat.append(step)  # type: ignore[arg-type]
            else:
                flat.extend(step)  # type: ignore[arg-type]
        played = tuple(_completed(flat) if complete else flat)
        self.steps: tuple[Item | _Act, ...] = played
        # None if the script holds acts; otherwise the steps again, for the type checker and the fast path.
        self.items: tuple[Item, ...] | None = None
        if all(isinstance(step, ITEM_TYPES) for step in played):
            self.items = played  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Script({', '.join(repr(step) for step in self.steps)})"


def is_heeding(script: Script) -> bool:
    """Tell whether a script waits for input into its turn."""
    return any(isinstance(step, Heed) for step in script.steps)


def is_raising(step: object) -> bool:
    """Tell whether a step ends the stream by an exception of its own."""
    return isinstance(step, _Fail | _Crash)


async def perform(act: _Act) -> None:
    """Act one act out; :func:`fail` and :func:`crash` raise."""
    match act:
        case _Sleep(seconds):
            await asyncio.sleep(seconds)
        case _Wait(gate):
            await gate.wait()
        case _Stall():
            await asyncio.get_running_loop().create_future()
        case _Fail(error):
            _raise_copy(error)
        case _Crash(exception):
            _raise_copy(exception)


def _raise_copy(exception: BaseException) -> NoReturn:
    # One script is played many times, at once even: each play raises an exception of its own, since a raised
    # one carries its traceback and cause along.
    try:
        fresh = copy.copy(exception)
    except Exception:
        fresh = exception  # not every exception can be copied; one that cannot is raised as it is
    raise fresh


def _completed(steps: list[Item | _Act]) -> list[Item | _Act]:
    """Add what is missing at both ends. The opening is the first item's: a turn that is refused has none."""
    ends = bool(steps) and isinstance(steps[-1], _ENDINGS)
    first = next((at for at, step in enumerate(steps) if not isinstance(step, (Raw, *ACTS))), None)
    whole = list(steps)
    if first is None and not ends:
        whole.append(TurnStarted(_MODEL))
    elif first is not None and not isinstance(steps[first], TurnStarted):
        whole.insert(first, TurnStarted(_MODEL))
    closing = [] if ends else _closing(whole)
    return whole + closing


def _closing(steps: list[Item | _Act]) -> list[Item | _Act]:
    """Return what is missing at the end; a ``TurnDone`` that is there already is taken out of ``steps``."""
    said = "".join(step.text for step in steps if isinstance(step, TextDelta))
    started = {step.id: step for step in steps if isinstance(step, ToolCallStarted)}
    ended = {step.id for step in steps if isinstance(step, ToolCallEnded)}
    calls = [step for key, step in started.items() if key not in ended]
    closing: list[Item | _Act] = []
    ending = steps.pop() if isinstance(steps[-1], TurnDone) else TurnDone("tool_use" if calls else "end_turn")
    if not any(isinstance(step, MessageDone) for step in steps):
        conclude = Conclude(tuple(calls))
        closing.append(conclude if any(isinstance(step, Heed) for step in steps) else conclude.message(said))
    if not any(isinstance(step, Usage) for step in steps):
        closing.append(Usage(10, 20))
    return [*closing, ending]


def _blocks(said: str, calls: Sequence[ToolCallStarted]) -> tuple[dict[str, Any], ...]:
    uses = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.input)} for call in calls
    ]
    return (*([{"type": "text", "text": said}] if said else []), *uses)
