"""One-shot streams: a session with one run in it, whose events are iterated over while they come.

::

    with manager.stream_session("Hello", provider="claude") as stream:
        for event in stream: ...
        print(stream.result().output["content"])

1. A stream hands over the run's own events, each once, in order, as they are in the journal: nothing is made up. So a
   run that fails shows its `run_failed` last, and `result` raises its error. What was refused before there was a run
   has no event, and is raised by whoever asks for the first one.
2. A stream owns its run. Closing it, leaving its block, or forgetting it cancels the run, unless it was made with
   ``cancel_on_close=False``: then the run goes on without it. (Closing a *subscription* never cancels anything.)
3. A stream that hears nothing for `idle_timeout` gives up: it cancels the run in the same way, hands over what that
   brings, and ends; `result` raises ``timeout``. While the run waits for a person (an approval, a pause) no time
   counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any, Final, Literal, Self

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.faces import refusing
from asm_actors.journal.driving import drive, drive_async
from asm_actors.journal.following import PAGE, Following
from asm_actors.journal.persisting import Steps
from asm_actors.runs.messages import CancelRun
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run
from asm_actors.serialization import check_seconds, invalid
from asm_actors.services import Services
from asm_actors.sessions.callbacks import Callbacks, EventCallback, check_callback, scope_of_run
from asm_actors.sessions.delivery import deliver, tell
from asm_actors.sessions.operations import Operations
from supervisors import Future

__all__ = ["AsyncSessionStream", "IdleTimeout", "SessionStream", "StreamOptions", "begun"]

IdleTimeout = float | Literal["configured"] | None
"""Seconds, None for ever, or as the system is configured."""

CLOSED: Final = "stream_closed"
"""The reason of a cancel that closing a stream sends."""


@frozen
class StreamOptions:
    """How a stream is followed; checked when it is made.

    Attributes:
        idle_timeout: Seconds without an event after which it gives up; None: never.
        shutdown_timeout: Seconds for which closing waits for the run's end.
        cancel_on_close: Whether closing it cancels the run.
        event_callback: Is told each event before it is handed over.
    """

    idle_timeout: float | None
    shutdown_timeout: float
    cancel_on_close: bool
    event_callback: EventCallback | None

    @classmethod
    def of(
        cls,
        services: Services,
        idle_timeout: IdleTimeout,
        shutdown_timeout: float | None,
        cancel_on_close: bool,
        event_callback: EventCallback | None,
    ) -> StreamOptions:
        """Check what a caller gave, and fill in what the system is configured for.

        Raises:
            ValidationError: An option is malformed.
        """
        config = services.config
        if isinstance(idle_timeout, str):
            if idle_timeout != "configured":
                raise invalid("idle_timeout", "must be seconds, None, or 'configured'", idle_timeout)
            idle_timeout = _seconds(config.stream_idle_timeout_ms)
        idle = check_seconds(idle_timeout)
        if idle == 0:
            raise invalid("idle_timeout", "must be more than 0 seconds, or None", idle_timeout)
        wait = check_seconds(shutdown_timeout)
        if not isinstance(cancel_on_close, bool):
            raise invalid("cancel_on_close", "must be true or false", cancel_on_close)
        if event_callback is not None:
            check_callback(event_callback)
        shutdown = config.task_shutdown_timeout_ms / 1000 if wait is None else wait
        return cls(idle, shutdown, cancel_on_close, event_callback)


class _Stream:
    """What both surfaces share.

    Args:
        operations: The system's.
        subscription: Of the run's events; not used yet.
        result: The run's result, once it is there.
        run: The run, as it was asked for.
        options: How it is followed.
    """

    def __init__(
        self,
        operations: Operations,
        subscription: Following,
        result: Future[RunResult],
        run: Run,
        options: StreamOptions,
    ) -> None:
        self._operations = operations
        self._services = operations._services
        self._run = run
        self._options = options
        self._callbacks = (
            None if options.event_callback is None else Callbacks(options.event_callback, run.id)
        )
        self._held: deque[Event] = deque()
        # Calls that wait for a decision, and whether the run is paused: then nobody expects events.
        self._asked: set[str] = set()
        self._is_paused = False
        self._gave_up: AsmError | None = None
        self._has_events = False
        self._is_closed = self._is_last = False
        self._follow(subscription, result)

    def _follow(self, subscription: Following, result: Future[RunResult]) -> None:
        self._subscription, self._result = subscription, result
        # The result comes after the last event is durable: once it is there, nothing need be waited for.
        result.add_done_callback(lambda _: subscription.hurry())

    @property
    def session_id(self) -> str:
        """The session that was made for it."""
        return self._run.session_id

    @property
    def run_id(self) -> str:
        """Its run."""
        return self._run.id

    @property
    def meta(self) -> dict[str, Any]:
        """What it streams: ``session_id run_id provider``."""
        return {"session_id": self.session_id, "run_id": self.run_id, "provider": self._run.provider}

    @property
    def cursor(self) -> int:
        """Sequence number after which it goes on; a subscription opened with ``after=cursor`` follows it."""
        return self._subscription.cursor

    @property
    def is_closed(self) -> bool:
        """Whether it hands over nothing more: it is at its end, or was closed."""
        return self._is_closed

    def _advance(self) -> Steps[Event | None]:
        """The next event; None at the end."""
        while not self._held:
            if self._is_closed:
                return None
            is_done = self._result.is_done
            try:
                events = yield from self._subscription._pull(PAGE, self._wait())
            except AsmError as error:
                if not self._subscription.is_ended_by(error):
                    raise
                self._end()
                return None
            for event in events:
                self._note(event)
            self._held.extend(events)
            if not events and (is_done or self._subscription.is_over):
                if not self._goes_on():
                    self._end()
                    self._raise_refusal()
            elif not events and not self._result.is_done:
                self._give_up()
        return self._held.popleft()

    def _wait(self) -> float | None:
        if self._gave_up is not None:
            return self._options.shutdown_timeout
        return None if self._asked or self._is_paused else self._options.idle_timeout

    def _note(self, event: Event) -> None:
        self._has_events = True
        match event.type:
            case EventType.TOOL_APPROVAL_REQUESTED:
                self._asked.add(str(event.data.get("tool_call_id")))
            case EventType.TOOL_APPROVAL_GRANTED | EventType.TOOL_APPROVAL_DENIED:
                self._asked.discard(str(event.data.get("tool_call_id")))
            case EventType.RUN_PAUSED:
                self._is_paused = True
            case EventType.RUN_RESUMED:
                self._is_paused = False

    def _give_up(self) -> None:
        """Nothing came in time: have the run end, or leave it alone; the second time, end without it."""
        if self._gave_up is not None or not self._options.cancel_on_close:
            self._end()
        if self._gave_up is None:
            idle = self._options.idle_timeout or 0.0
            reason = f"stream idle timeout after {idle * 1000:g} ms"
            self._gave_up = AsmError(
                ErrorCode.TIMEOUT, reason, context={"session_id": self.session_id, "run_id": self.run_id}
            )
            if self._options.cancel_on_close:
                with contextlib.suppress(AsmError):  # the system stops: nothing is left to cancel
                    self._tell_cancel(reason)

    def _goes_on(self) -> bool:
        """Whether only the wait for the result was cut: a part of the system was restarted, and the run may go on."""
        error = _error_of(self._result)
        if error is None or error.code is not ErrorCode.INTERRUPTED or not self._services.directory.is_up:
            return False
        store = self._services.store
        if self._is_last:
            return False  # that is how it ended
        self._is_last = store.has_run(self.run_id) and store.run(self.run_id).is_terminal
        again = type(self._subscription)(self._services, self._subscription._scope, self._subscription.cursor)
        self._subscription.close()
        self._follow(again, self._operations.await_run(self.run_id))
        return True

    def _raise_refusal(self) -> None:
        if not self._has_events and self._gave_up is None:
            self._result.get()  # raises what was refused

    def _end(self) -> None:
        self._is_closed = True
        self._subscription.close()

    def _cancel(self, reason: str) -> Future[Run] | None:
        """Cancel the run unless it is over; by its session, for the run may be on its way there yet."""
        if self._result.is_done:
            return None
        return deliver(self._services, self.session_id, CancelRun(reason, self.run_id))

    def _tell_cancel(self, reason: str) -> None:
        if not self._result.is_done:
            tell(self._services, self.session_id, CancelRun(reason, self.run_id))

    def _closing(self, cancel: bool | None) -> Future[Run] | None:
        """Close it; idempotent.

        Returns:
            What closing waits for: the run's end.
        """
        self._end()
        self._held.clear()
        return self._cancel(CLOSED) if (self._options.cancel_on_close if cancel is None else cancel) else None

    def _outcome(self, result: RunResult) -> RunResult:
        return result if self._callbacks is None else self._callbacks.counted(result)

    def __del__(self) -> None:
        # Whoever forgets a stream is done with it. Nothing is waited for here: this may be any thread.
        with contextlib.suppress(Exception):
            is_wanted = self._options.cancel_on_close and not self._is_closed
            self._end()
            if is_wanted and self._services.directory.is_up:
                self._tell_cancel(CLOSED)


class SessionStream(_Stream):
    """The events of a one-shot run, blocking; see the module. Use it in a `with` block."""

    def __iter__(self) -> Self:
        return self

    @refusing
    def __next__(self) -> Event:
        event = drive(self._advance())
        if event is None:
            raise StopIteration
        if self._callbacks is not None:
            self._callbacks.call(event)
        return event

    @refusing
    def result(self, timeout: float | None = None) -> RunResult:
        """Wait for the run's result; it may be asked for before, after and instead of iterating.

        Args:
            timeout: Seconds to wait; None: for ever.

        Raises:
            pykka.Timeout: The time was over; the run goes on.
            AsmError: How the run ended, if it did not complete; ``timeout`` if the stream gave up.
        """
        if self._gave_up is not None:
            raise self._gave_up
        return self._outcome(self._result.get(timeout=check_seconds(timeout)))

    def close(self, *, cancel: bool | None = None) -> None:
        """End the stream; idempotent, from any thread, and before anything was taken from it.

        Args:
            cancel: Whether its run is cancelled; by default as the stream was made. It is waited for, but no longer
                than `shutdown_timeout`.
        """
        waiting = self._closing(cancel)
        if waiting is not None:
            # What becomes of the run, its result tells.
            with contextlib.suppress(Exception):
                waiting.get(timeout=self._options.shutdown_timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class AsyncSessionStream(_Stream):
    """The events of a one-shot run, awaited: `async with`, `async for`; see the module."""

    def __aiter__(self) -> Self:
        return self

    @refusing
    async def __anext__(self) -> Event:
        event = await drive_async(self._advance())
        if event is None:
            raise StopAsyncIteration
        if self._callbacks is not None:
            await self._callbacks.call_async(event)
        return event

    @refusing
    async def result(self, timeout: float | None = None) -> RunResult:  # noqa: ASYNC109 - as the blocking one
        """As `SessionStream.result`, awaited; when the time is over it raises `TimeoutError`."""
        if self._gave_up is not None:
            raise self._gave_up
        async with asyncio.timeout(check_seconds(timeout)):
            return self._outcome(await self._result)

    async def close(self, *, cancel: bool | None = None) -> None:
        """As `SessionStream.close`, awaited."""
        waiting = self._closing(cancel)
        if waiting is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._options.shutdown_timeout):
                    await waiting

    async def aclose(self) -> None:
        """As `close`."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


def begun(
    operations: Operations,
    given: StreamOptions,
    subscribe: Any,
    input: Any,  # noqa: A002 - as above
    options: dict[str, Any],
) -> tuple[Operations, Following, Future[RunResult], Run, StreamOptions]:
    """Have the run begin; returns the arguments of a stream.

    Args:
        operations: The system's.
        given: How it is followed.
        subscribe: The class of the surface's subscriptions.
        input: What to answer.
        options: Those of `run_once`.
    """
    result, run = operations.once(input, **options)
    scope = scope_of_run(run.session_id, run.id, may_come=True)
    return operations, subscribe(operations._services, scope, 0), result, run, given


def _error_of(result: Future[RunResult]) -> AsmError | None:
    try:
        result.get(timeout=0)
    except AsmError as error:
        return error
    except Exception:  # another family's: it is raised where the result is asked for
        return None
    return None


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
