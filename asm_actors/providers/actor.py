"""A provider's actor: one per configured provider, shared by all sessions.

It owns one task per turn that is being answered, and the retries of it. What a provider raises on purpose (an
`AsmError`) fails that turn; anything else it raises is a defect and crashes this actor: the tree starts it again
with a growing pause, and the runs whose turns it took down decide what to do (`runs.state`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.normalization.provider_error import clip_error
from asm_actors.providers import messages as m
from asm_actors.providers.base import Provider
from asm_actors.providers.items import Item, Raw, TurnStarted, Usage
from asm_actors.providers.steering import Steering
from asm_actors.services import Services
from supervisors import Actor, Down, Monitor
from supervisors.exits import ExitReason

__all__ = ["ProviderActor", "ProviderStatistics"]

logger = logging.getLogger("asm_actors.providers")

MAX_HELD = 256
"""Items a call holds for a run that does not ask for them; then it stops reading its stream."""
# Nothing that the answer is made of: a turn that gave only these may be tried again.
_PREAMBLE = (TurnStarted, Usage, Raw)


@frozen
class ProviderStatistics:
    """A provider's actor at one moment.

    Attributes:
        name: The provider.
        in_flight: Turns being answered.
        started: Turns since this life began.
        failed: Of these, failed ones.
        retried: Attempts that were tried again.
    """

    name: str
    in_flight: int
    started: int
    failed: int
    retried: int


class _Call:
    """One turn that is being answered: between the task that reads the stream and the run that takes the items."""

    __slots__ = (
        "before",
        "begun",
        "cancelled",
        "closers",
        "credit",
        "flushing",
        "held",
        "is_streaming",
        "monitor",
        "request",
        "room",
        "run",
        "spoken",
        "steering",
        "task",
    )

    def __init__(self, run: Any, request: Any, monitor: Monitor) -> None:
        self.run = run
        self.request = request
        self.monitor = monitor
        self.task: asyncio.Task[None] | None = None
        self.held: list[Item] = []
        self.credit = m.CREDIT
        self.flushing = False
        self.spoken = False
        self.begun = False
        self.cancelled = False
        self.room: asyncio.Future[None] | None = None
        # The call of an earlier life of the run, while its stream is being closed.
        self.before: asyncio.Task[None] | None = None
        # Refs of later lives of the run that are told when this stream is closed.
        self.closers: tuple[Any, ...] = ()
        # Whether an attempt reads its stream now; and the input that came for the turn, once some did.
        self.is_streaming = False
        self.steering: Steering | None = None


class ProviderActor(Actor):
    """See the module.

    Args:
        services: The system's.
        name: Which of its providers.
    """

    def __init__(self, services: Services, name: str) -> None:
        super().__init__()
        self._services = services
        self._name = name
        self._provider: Provider = services.providers[name]
        wait_ms = services.config.execute_timeout_ms
        # For turns of a provider that has no bound of its own.
        self._timeout = None if wait_ms is None else wait_ms / 1000
        self._calls: dict[str, _Call] = {}
        self._to_flush: list[_Call] = []
        self._is_open = False
        self._opening: asyncio.Task[AsmError | None] | None = None
        self._is_leaving = False
        self._started = self._failed = self._retried = 0

    def statistics(self) -> ProviderStatistics:
        """Numbers of this moment."""
        return ProviderStatistics(self._name, len(self._calls), self._started, self._failed, self._retried)

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is m.StartTurn:
            self._start(message)
        elif kind is m.More:
            self._more(message.run_id, message.batches)
        elif kind is m.CancelTurn:
            self._cancel(message.run_id)
        elif kind is m.CloseTurn:
            self._close(message)
        elif kind is m.SteerTurn:
            self._steer(message)
        elif kind is Down:
            self._run_gone(message.ref)
        else:
            return super().on_receive(message)
        return None

    def on_exit_request(self, reason: ExitReason) -> bool:
        """Close the streams first, then the provider; the runs hear of this actor's end."""
        if not self._is_leaving:
            self._is_leaving = True
            self._give_up_calls()
            self.spawn(self._close_and_leave(reason), name=f"close-{self._name}")
        return True

    async def _close_and_leave(self, reason: ExitReason) -> None:
        tasks = [call.task for call in self._calls.values() if call.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self._provider.aclose()
        finally:
            self.exit(reason)

    def _give_up_calls(self) -> None:
        for call in self._calls.values():
            if call.task is not None:
                call.task.cancel()

    # --- Calls -------------------------------------------------------------------------------------------------

    def _start(self, message: m.StartTurn) -> None:
        if self._is_leaving:
            return  # the run watches this actor, and hears of its end
        run_id = message.request.run_id
        before = self._calls.get(run_id)
        call = self._calls[run_id] = _Call(message.run, message.request, self.monitor(message.run))
        if before is not None:
            # Of an earlier life of the run: the new stream is opened when the old one is closed.
            call.before = before.task
            if not before.cancelled:
                self._give_up(before)
        self._started += 1
        call.task = self.spawn(self._answer(call), name=run_id)

    def _cancel(self, run_id: str) -> None:
        call = self._calls.get(run_id)
        # No call: it ended just now, and its last items are on their way.
        if call is not None:
            self._give_up(call)

    def _give_up(self, call: _Call) -> None:
        if call.task is None:
            return
        call.cancelled = True
        if call.begun:
            call.task.cancel()
        elif call.before is None:
            # A task that is cancelled before its first step never runs at all.
            call.task.cancel()
            self._stopped(call)
            self._forget(call)
        # Else it begins by waiting for the one before it, and then finds that it is given up.

    def _run_gone(self, ref: Any) -> None:
        for call in self._calls.values():
            if call.run is ref:
                self._give_up(call)
                return

    def _close(self, message: m.CloseTurn) -> None:
        call = self._calls.get(message.run_id)
        if call is None:
            message.run.post(m.TurnStopped(()))
            return
        call.closers = (*call.closers, message.run)
        if not call.cancelled:
            self._give_up(call)

    def _steer(self, message: m.SteerTurn) -> None:
        call = self._calls.get(message.run_id)
        if call is None or call.cancelled:
            Steering.refuse(message)
            return
        if call.steering is None:
            call.steering = Steering(self._provider, self.spawn)
        call.steering.take(message, is_streaming=call.is_streaming)

    async def _answer(self, call: _Call) -> None:
        call.begun = True
        try:
            if call.before is not None:
                await self._closed(call, call.before)
            error = None if call.cancelled else await self._attempts(call)
        except asyncio.CancelledError:
            if call.cancelled:
                self._stopped(call)
            else:
                call.steering = (
                    None  # this actor is ending: the run hears of that, and asks again with all input
                )
            raise
        else:
            if call.cancelled:
                self._stopped(call)  # it ended before it felt the cancel
            else:
                self._finish(call, error)
        finally:
            self._forget(call)

    async def _closed(self, call: _Call, before: asyncio.Task[None]) -> None:
        """Wait until the stream of the run's earlier life is closed, also if this call is given up meanwhile."""
        while not before.done():
            try:
                await asyncio.wait([before])
            except asyncio.CancelledError:
                if not call.cancelled:
                    raise  # this actor is ending

    def _forget(self, call: _Call) -> None:
        for run in call.closers:
            run.post(m.TurnStopped(()))
        if call.steering is not None:
            call.steering.end()
        self.demonitor(call.monitor)
        if self._calls.get(call.request.run_id) is call:
            del self._calls[call.request.run_id]

    def _stopped(self, call: _Call) -> None:
        call.run.post(m.TurnStopped(tuple(call.held)))
        call.held.clear()

    async def _attempts(self, call: _Call) -> AsmError | None:
        attempt = call.request.attempt
        while True:
            try:
                if not self._is_open:
                    await self._open()
                request = (
                    call.request
                    if attempt == call.request.attempt
                    else call.request._replace(attempt=attempt)
                )
                if call.steering is not None:
                    request = call.steering.begin(request)
                call.is_streaming = True
                timeout = self._provider.timeout
                if timeout is None:
                    timeout = self._timeout
                if timeout is None:
                    # Not through `_read`: each item of a stream resumes every frame between here and it.
                    await self._read_stream(call, request)
                else:
                    await self._read(call, request, timeout)
            except AsmError as error:
                call.is_streaming = False
                if call.cancelled:
                    return error  # its stream failed as it was closed
                may_retry = not call.spoken or self._provider.resumable
                delay = (
                    self._services.retry.delay(attempt, error, self._services.random) if may_retry else None
                )
                if delay is None:
                    return error
                self._retried += 1
                call.held.clear()
                call.run.post(m.TurnRetries(error, attempt, delay))
                await asyncio.sleep(delay)
                attempt += 1
            else:
                return None

    async def _open(self) -> None:
        """Open the provider once per life, whoever needs it first; after a failure the next one tries again."""
        opening = self._opening
        if opening is None:
            opening = self._opening = self.spawn(self._open_provider(), name=f"open-{self._name}")
        await asyncio.wait([opening])
        if opening.cancelled() or opening.exception() is not None:
            # This actor is ending by it, and with it this task.
            await asyncio.get_running_loop().create_future()
        error = opening.result()
        if error is not None:
            raise error

    async def _open_provider(self) -> AsmError | None:
        try:
            await self._provider.open()
        except AsmError as error:
            self._opening = None
            return error
        self._is_open = True
        return None

    async def _read(self, call: _Call, request: Any, timeout: float) -> None:  # noqa: ASYNC109 - told to providers
        try:
            async with asyncio.timeout(timeout) as limit:
                await self._read_stream(call, request)
        except TimeoutError as error:
            if not limit.expired():
                raise  # the provider's own
            raise AsmError(
                ErrorCode.PROVIDER_TIMEOUT,
                f"provider {self._name} did not finish the turn within {timeout:g} s",
            ) from error

    async def _read_stream(self, call: _Call, request: Any) -> None:
        stream = self._provider.stream(request)
        held = call.held
        try:
            async for item in stream:
                if call.cancelled:
                    return  # a provider that ignores its cancellation is closed all the same
                held.append(item)
                if not call.spoken and not isinstance(item, _PREAMBLE):
                    call.spoken = True
                if call.credit > 0 and not call.flushing:
                    call.flushing = True
                    self._to_flush.append(call)
                    if len(self._to_flush) == 1:
                        # Not at once: what the streams have ready meanwhile goes in one batch each. One timer for
                        # all calls of this provider.
                        self.dispatcher.call_later(self._services.linger, self._flush_all)
                if len(held) >= MAX_HELD:
                    call.room = asyncio.get_running_loop().create_future()
                    await call.room
        finally:
            await stream.aclose()

    def _flush_all(self) -> None:
        calls, self._to_flush = self._to_flush, []
        for call in calls:
            call.flushing = False
            if call.credit > 0 and call.held and self._calls.get(call.request.run_id) is call:
                self._send(call)

    def _more(self, run_id: str, batches: int) -> None:
        call = self._calls.get(run_id)
        if call is None:
            return
        was_out = call.credit <= 0
        call.credit += batches
        if was_out and call.held:
            self._send(call)

    def _send(self, call: _Call) -> None:
        call.credit -= 1
        items = tuple(call.held)
        call.held.clear()
        call.run.post(m.TurnItems(items))
        if call.room is not None:
            room, call.room = call.room, None
            if not room.done():
                room.set_result(None)

    def _finish(self, call: _Call, error: AsmError | None) -> None:
        if error is not None:
            self._failed += 1
            config = self._services.config
            clip_error(error, max_lines=config.error_text_max_lines, max_bytes=config.error_text_max_bytes)
        items = tuple(call.held)
        call.held.clear()
        call.run.post(m.TurnItems(items, True, error))
