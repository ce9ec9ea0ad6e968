"""A provider that plays scripts: deterministic, without network, and able to fail in every way that matters.

The same provider serves tests, examples, simulations and benchmarks, so a script without acts and without
delay is played as one precomputed tuple. How scripts are written is told in ``asm_actors.providers.script``.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import STEERING, BaseProvider, TurnRequest, text_of
from asm_actors.providers.items import Item, TextDelta
from asm_actors.providers.script import (
    ACTS,
    Conclude,
    Heed,
    Script,
    crash,
    fail,
    is_heeding,
    is_raising,
    perform,
    stall,
    text,
    thinking,
    tool_call,
    tool_result,
    usage,
)
from asm_actors.providers.scripted_wishes import WISHES, restrained, sample_of
from asm_actors.serialization import check_integer, check_number, invalid

__all__ = ["GOLDEN", "Script", "ScriptedProvider", "Source"]

_CHUNK: Final = 10
_HISTORY: Final = 1000

Source: TypeAlias = "Script | Sequence[Script] | Callable[[TurnRequest], Script]"
"""Where scripts come from: one for all calls, a list, or a function of the request."""


class ScriptedProvider(BaseProvider):
    """Plays scripts.

    Args:
        script: one script for every call; a list, see ``by``; a function of the request; or None for the
            answer "Mock response" with 10 and 20 tokens.
        by: which script of a list a call plays: ``"call"`` the first call the first one, the second the
            second; ``"turn"`` that of the request's turn; ``"attempt"`` that of its attempt. Beyond the end,
            the last.
        chunks: instead of ``script``: the answer's pieces, or how many pieces it has.
        delay: seconds to sleep before each piece of text, on the running loop's clock.
        name: the provider's name; the system sets it to the one it is configured under.
        capabilities: pairs of name and type, for the manifest. ``steering`` is added if a script heeds input into its
            turn; where scripts come from a function, it is named here, if they do.
        resumable: whether a turn may be tried again although it already said something.
        honours: which hints of a policy it keeps to, of ``allowed_tools denied_tools max_tokens``; by default none, and
            it plays its script whatever is wished, as models may.

    Without a script it answers a request that has an ``output_schema`` with JSON that fits it.

    Attributes:
        calls: how many streams were begun.
        open_streams: how many are open now.
        abandoned: how many were cancelled or closed before they ended.
        requests: the last thousand requests, oldest first.
        steered: the last thousand inputs into running turns, as pairs of the run's id and the message.

    Raises:
        ValidationError: the list is empty, or both ``script`` and ``chunks`` are given.
    """

    version: ClassVar[str] = "1"
    description: ClassVar[str | None] = "Plays scripts; for tests, simulations and benchmarks"

    def __init__(
        self,
        script: Source | None = None,
        *,
        by: Literal["call", "turn", "attempt"] = "call",
        chunks: int | Sequence[str] | None = None,
        delay: float = 0.0,
        name: str = "scripted",
        capabilities: Iterable[tuple[str, str]] = (("chat", "tool"), ("sampling", "sampling")),
        resumable: bool = False,
        honours: Iterable[str] = (),
    ) -> None:
        if script is not None and chunks is not None:
            raise AsmError(ErrorCode.VALIDATION_ERROR, "give either a script or chunks, not both")
        if not isinstance(by, str) or by not in ("call", "turn", "attempt"):
            raise invalid("by", "must be call, turn or attempt", by)
        self.name = name
        self.offers = _offers(capabilities)
        self.resumable = resumable
        self.honours = _listed(honours, "honours", f"must be of {', '.join(WISHES)}", WISHES.__contains__)
        self.delay = check_number(delay, "delay")
        self.calls = 0
        self.open_streams = 0
        self.abandoned = 0
        self.requests: deque[TurnRequest] = deque(maxlen=_HISTORY)
        self.steered: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=_HISTORY)
        # Input that came for the streams that are open, by run.
        self._heard: dict[str, asyncio.Queue[Mapping[str, Any]]] = {}
        self._by = by
        self._choose: Callable[[TurnRequest], Script] | None = None
        self._scripts: tuple[Script, ...] = ()
        if callable(script):
            self._choose = script
        elif script is None:
            self._scripts = (_answer(chunks),)
            if chunks is None:
                self._choose = self._plain
        else:
            rule = "must be a Script, a list of at least one, or a function of the request"
            given = (script,) if isinstance(script, Script) else script
            self._scripts = _listed(given, "script", rule, lambda one: isinstance(one, Script))
            if not self._scripts:
                raise invalid("script", rule, script)
        if any(map(is_heeding, self._scripts)) and not STEERING & {name for name, _ in self.offers}:
            self.offers = (*self.offers, ("steering", "sampling"))

    @classmethod
    def golden(cls, name: str, /, **options: Any) -> ScriptedProvider:
        """Return a provider that plays one of :data:`GOLDEN`.

        Raises:
            ResourceError: ``not_found``: there is none of that name.
        """
        if name not in GOLDEN:
            raise AsmError(
                ErrorCode.NOT_FOUND, f"there is no golden script {name!r}; there are {sorted(GOLDEN)}"
            )
        by, scripts = GOLDEN[name]
        return cls(scripts, by=by, **options)

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Item, None]:
        """Play the script for this request."""
        script = self._script_for(request)
        if self.honours:
            script = restrained(script, request.options, self.honours)
        self.calls += 1
        self.requests.append(request)
        self.open_streams += 1
        ended = False
        heard: asyncio.Queue[Mapping[str, Any]] | None = None
        try:
            if script.items is not None and not self.delay:
                for item in script.items:
                    yield item
            else:
                heard = self._heard[request.run_id] = asyncio.Queue()
                said: list[str] = []
                for step in script.steps:
                    if isinstance(step, TextDelta):
                        if self.delay:
                            await asyncio.sleep(self.delay)
                        said.append(step.text)
                        yield step
                    elif isinstance(step, Heed):
                        answer = text_of((await heard.get())["content"])
                        if step.says and answer:
                            said.append(answer)
                            yield TextDelta(answer)
                    elif isinstance(step, Conclude):
                        yield step.message("".join(said))
                    elif isinstance(step, ACTS):
                        ended = is_raising(step)
                        await perform(step)
                    else:
                        yield step
            ended = True
        finally:
            self.open_streams -= 1
            if heard is not None and self._heard.get(request.run_id) is heard:
                del self._heard[request.run_id]
            if not ended:
                self.abandoned += 1

    async def steer(self, run_id: str, message: Mapping[str, Any]) -> None:
        """Hand input to the stream that is open for a run.

        Raises:
            AsmError: ``invalid_operation``: none is open.
        """
        heard = self._heard.get(run_id)
        if heard is None:
            raise AsmError(ErrorCode.INVALID_OPERATION, f"no turn of run {run_id} is being answered")
        self.steered.append((run_id, message))
        heard.put_nowait(message)

    def _plain(self, request: TurnRequest) -> Script:
        """The answer of a provider without a script."""
        if request.output_schema is None:
            return self._scripts[0]
        return Script(text(json.dumps(sample_of(request.output_schema), ensure_ascii=False), size=_CHUNK))

    def _script_for(self, request: TurnRequest) -> Script:
        if self._choose is not None:
            return self._choose(request)
        last = len(self._scripts) - 1
        if not last:
            return self._scripts[0]
        at = {"call": self.calls, "turn": request.turn - 1, "attempt": request.attempt - 1}[self._by]
        return self._scripts[min(max(at, 0), last)]


def _listed(value: Any, name: str, rule: str, is_one: Callable[[Any], bool]) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise invalid(name, rule, value)
    found = tuple(value)
    for item in found:
        if not is_one(item):
            raise invalid(name, rule, item)
    return found


def _offers(capabilities: Any) -> tuple[tuple[str, str], ...]:
    def is_pair(one: Any) -> bool:
        return isinstance(one, tuple | list) and len(one) == 2 and all(isinstance(each, str) for each in one)

    return _listed(capabilities, "capabilities", "must be pairs of name and type", is_pair)


def _answer(chunks: int | Sequence[str] | None) -> Script:
    if chunks is None:
        return Script(text("Mock response", size=_CHUNK))
    if isinstance(chunks, int):
        chunks = [f"chunk {number} " for number in range(1, check_integer(chunks, "chunks", least=0) + 1)]
    elif isinstance(chunks, str):
        chunks = [chunks]
    else:
        rule = "must be texts, or how many there are"
        chunks = _listed(chunks, "chunks", rule, lambda one: isinstance(one, str))
    return Script(tuple(TextDelta(chunk) for chunk in chunks if chunk))


GOLDEN: Final[Mapping[str, tuple[Literal["call", "turn", "attempt"], tuple[Script, ...]]]] = {
    "simple_message": ("call", (Script(text("Hello! How can I help you today?"), usage(12, 9)),)),
    "streaming_response": (
        "call",
        (Script(text("The quick brown fox jumps over the lazy dog.", size=5), usage(15, 25)),),
    ),
    "tool_use": (
        "call",
        (
            Script(
                text("Let me look. "),
                tool_call("call_1", "read_file", {"path": "README.md"}),
                tool_result("call_1", "read_file", {"content": "# Read me"}),
                text("The file is a read-me."),
                usage(40, 30),
            ),
        ),
    ),
    "multi_turn": (
        "turn",
        (
            Script(text("I will ask. "), tool_call("call_1", "get_weather", {"city": "Oslo"}), usage(30, 12)),
            Script(text("It is 12 degrees in Oslo."), usage(55, 14)),
        ),
    ),
    "thinking": ("call", (Script(thinking("Two and two: four."), text("4"), usage(9, 11)),)),
    "error_recovery": (
        "attempt",
        (
            Script(fail(ErrorCode.PROVIDER_UNAVAILABLE, "the provider is restarting")),
            Script(text("Back again."), usage(10, 5)),
        ),
    ),
    "rate_limited": (
        "attempt",
        (
            Script(fail(ErrorCode.PROVIDER_RATE_LIMITED, "too many requests", retry_after=2.0)),
            Script(text("Thank you for waiting."), usage(10, 6)),
        ),
    ),
    "cancelled_run": ("call", (Script(usage(10, 1), text("This will never "), stall()),)),
    "crash": ("call", (Script(text("Half a"), crash()),)),
}
"""Ready-made streams by name: how their list is taken, and the list."""
