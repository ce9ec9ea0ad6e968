"""Input into a turn that is being answered: in order, one message at a time, and not lost by a further attempt.

What the provider has taken belongs to the turn: an attempt that follows a failed one is asked with it. What comes
while no stream is open, between two attempts, goes with the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import Provider, TurnRequest
from asm_actors.providers.messages import SteerTurn, TurnSteered

__all__ = ["MAX_WAITING", "Steering"]

MAX_WAITING: Final = 32
"""Inputs of one turn that may wait until the provider has taken those before them."""


class Steering:
    """The input into one turn.

    Args:
        provider: Who answers it.
        spawn: Starts a task of the provider's actor: what a provider raises that is no `AsmError` is its crash.
    """

    __slots__ = ("_line", "_provider", "_spawn", "_taken", "_task")

    def __init__(self, provider: Provider, spawn: Callable[..., asyncio.Task[None]]) -> None:
        self._provider = provider
        self._spawn = spawn
        self._line: deque[SteerTurn] = deque()
        self._taken: tuple[Mapping[str, Any], ...] = ()
        self._task: asyncio.Task[None] | None = None

    @staticmethod
    def refuse(message: SteerTurn) -> None:
        """Tell the run that its input came too late for the turn."""
        error = AsmError(
            ErrorCode.INVALID_OPERATION,
            f"the turn of run {message.run_id} was over before its provider could take more input",
            context={"run_id": message.run_id},
        )
        message.run.post(TurnSteered(message.number, error))

    def take(self, message: SteerTurn, *, is_streaming: bool) -> None:
        """Hand an input over, behind those that wait; without an open stream it waits for the next one."""
        if len(self._line) >= MAX_WAITING:
            text = f"{MAX_WAITING} inputs into the turn of run {message.run_id} wait already"
            error = AsmError(ErrorCode.OVERLOADED, text, context={"run_id": message.run_id})
            message.run.post(TurnSteered(message.number, error))
            return
        self._line.append(message)
        if is_streaming and self._task is None:
            self._task = self._spawn(self._hand_over(), name=f"steer-{message.run_id}")

    def begin(self, request: TurnRequest) -> TurnRequest:
        """Return the request of an attempt that begins now, with all input so far; what waited is taken by that."""
        self._stop()
        for message in self._line:
            self._taken += (message.message,)
            message.run.post(TurnSteered(message.number))
        self._line.clear()
        return request._replace(messages=(*request.messages, *self._taken))

    def end(self) -> None:
        """The turn is over: refuse what waits."""
        self._stop()
        while self._line:
            self.refuse(self._line.popleft())

    def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _hand_over(self) -> None:
        while self._line:
            message = self._line[0]
            error: AsmError | None = None
            try:
                await _steer(self._provider, message)
            except AsmError as refused:
                error = refused
            else:
                self._taken += (message.message,)
            self._line.popleft()
            message.run.post(TurnSteered(message.number, error))
        self._task = None


def _steer(provider: Provider, message: SteerTurn) -> Coroutine[Any, Any, None]:
    steer = getattr(provider, "steer", None)
    if steer is None:
        raise AsmError(
            ErrorCode.CAPABILITY_NOT_SUPPORTED,
            f"provider {provider.name} takes no input into a running turn",
            context={"provider": provider.name, "run_id": message.run_id},
        )
    taking: Coroutine[Any, Any, None] = steer(message.run_id, message.message)
    return taking
