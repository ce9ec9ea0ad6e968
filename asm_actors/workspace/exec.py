"""`Exec`: runs commands, blocking or on an asyncio loop, and leaves none of their processes behind.

A command is a list of words; no shell is involved unless `Command.of_shell` says so. It runs in a session of its
own, reads nothing or what it is given, and ends as a whole: when its first process ends, when its time is over, when
it is cancelled or when this process dies, all of its processes are ended, also those that made a session of their
own (see `guardian` for how, and for what other systems than Linux lack). What it wrote until then is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.command import Chunk, Command, CommandResult, Output, as_command
from asm_actors.workspace.process import Process
from asm_actors.workspace.watching import LoopWatcher, Stop, WaitingWatcher, Watcher

__all__ = ["Exec", "Running"]

_AHEAD_BYTES: Final = 1_048_576
"""Output that waits for a slow reader of a stream; a command that is further ahead waits, too."""


class Running:
    """A command under way on an asyncio loop. Made by `Exec.start`.

    Attributes:
        command: What runs.
    """

    def __init__(
        self,
        command: Command,
        watcher: Watcher,
        on_output: Callable[[Output, bytes], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.command = command
        self._ended: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._process = Process(command, watcher, on_output=on_output, on_end=self._end, clock=clock)

    @property
    def is_over(self) -> bool:
        """Whether the whole tree is gone."""
        return self._ended.done()

    def stop(self, *, at_once: bool = False) -> None:
        """Have the whole tree end; `wait` tells when it has.

        Args:
            at_once: Without grace.
        """
        self._process.stop(at_once=at_once)

    def signal(self, number: int) -> None:
        """Send a signal to the command's process group, such as SIGINT."""
        self._process.signal(number)

    async def wait(self) -> CommandResult:
        """Wait until the whole tree is gone. Being cancelled here stops nothing.

        Raises:
            AsmError: The command could not be started after all, or its guardian was killed.
        """
        return await asyncio.shield(self._ended)

    async def aclose(self) -> None:
        """Stop it, and wait until the whole tree is gone, even if this is cancelled meanwhile; then say so."""
        self.stop()
        cancelled: asyncio.CancelledError | None = None
        while not self._ended.done():
            try:
                await asyncio.wait((self._ended,))
            except asyncio.CancelledError as error:
                cancelled = error
                self.stop(at_once=True)
        if not self._ended.cancelled():
            self._ended.exception()  # seen, if there is one
        if cancelled is not None:
            raise cancelled

    def _end(self, result: CommandResult | None, error: BaseException | None) -> None:
        if self._ended.done():
            return
        if result is not None:
            self._ended.set_result(result)
        else:
            assert error is not None
            self._ended.set_exception(error)


class Exec:
    """Runs commands. Keeps nothing: one may be shared, or made for each.

    Words may stand where a `Command` is taken; the fields of a command are then options by name.

    Args:
        clock: Seconds, for durations.

    Raises:
        AsmError: Each method: ``validation_error``: the command is malformed, or its directory is absent;
            ``command_not_found``; ``tool_permission_denied``: it may not be run; ``command_failed``: it cannot be
            run, or its guardian was killed. A command that fails, takes too long or is cancelled is a result and no
            error; `CommandResult.check` makes it one.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def run(
        self,
        command: Command | Sequence[str],
        *,
        on_output: Callable[[Output, bytes], None] | None = None,
        stop: Stop | None = None,
        **options: Any,
    ) -> CommandResult:
        """Run a command, and block until all of it is gone.

        Args:
            command: The command.
            on_output: Called with each piece of output, kept or not. What it raises ends the command and is raised
                here.
            stop: Cancels the command when it is set, from whatever thread.
            **options: The fields of `Command`.
        """
        last: CommandResult | None = None
        for found in self._steps(as_command(command, options), on_output, stop, is_stream=False):
            if isinstance(found, CommandResult):
                last = found
        assert last is not None
        return last

    def iterate(
        self, command: Command | Sequence[str], *, stop: Stop | None = None, **options: Any
    ) -> Iterator[Chunk | CommandResult]:
        """Run a command and give its output as it comes, then its result. Closing the iterator stops the command.

        A reader that is slow makes the command wait. Arguments as for `run`.
        """
        return self._steps(as_command(command, options), None, stop, is_stream=True)

    def start(
        self,
        command: Command | Sequence[str],
        *,
        on_output: Callable[[Output, bytes], None] | None = None,
        **options: Any,
    ) -> Running:
        """Start a command on the asyncio loop that is running. Arguments as for `run`."""
        return Running(as_command(command, options), LoopWatcher(), on_output, self._clock)

    async def run_async(
        self,
        command: Command | Sequence[str],
        *,
        on_output: Callable[[Output, bytes], None] | None = None,
        stop: Stop | None = None,
        **options: Any,
    ) -> CommandResult:
        """Run a command on the asyncio loop that is running, without a thread.

        Being cancelled stops the command, and takes until all of it is gone. Arguments as for `run`.
        """
        watcher = LoopWatcher()
        running = Running(as_command(command, options), watcher, on_output, self._clock)
        withdraw = stop.on_set(lambda: watcher.from_outside(running.stop)) if stop is not None else None
        try:
            return await running.wait()
        finally:
            if withdraw is not None:
                withdraw()
            if not running.is_over:
                await running.aclose()

    async def stream(
        self, command: Command | Sequence[str], **options: Any
    ) -> AsyncIterator[Chunk | CommandResult]:
        """Run a command and give its output as it comes, then its result. Closing the iterator stops the command.

        A reader that is slow makes the command wait. Arguments as for `run`.
        """
        ahead = _Ahead(as_command(command, options))
        came = asyncio.Event()

        def keep(output: Output, data: bytes) -> None:
            ahead.put(output, data)
            came.set()

        running = Running(ahead.command, LoopWatcher(), keep, self._clock)
        ahead.process = running._process
        running._ended.add_done_callback(lambda _: came.set())
        try:
            while not running.is_over or ahead.chunks:
                if not ahead.chunks:
                    came.clear()
                    await came.wait()
                while ahead.chunks:
                    yield ahead.take()
            yield await running.wait()
        finally:
            if not running.is_over:
                await running.aclose()

    def _steps(
        self,
        command: Command,
        on_output: Callable[[Output, bytes], None] | None,
        stop: Stop | None,
        *,
        is_stream: bool,
    ) -> Iterator[Chunk | CommandResult]:
        ended: list[tuple[CommandResult | None, BaseException | None]] = []
        ahead = _Ahead(command)
        if stop is not None and stop.is_set:
            raise AsmError(ErrorCode.CANCELLED, f"{command.argv[0]} was cancelled before it began")
        with WaitingWatcher() as watcher:
            process = Process(
                command,
                watcher,
                on_output=ahead.put if is_stream else on_output,
                on_end=lambda result, error: ended.append((result, error)),
                clock=self._clock,
            )
            ahead.process = process
            withdraw = stop.on_set(lambda: watcher.from_outside(process.stop)) if stop is not None else None
            try:
                while not ended or ahead.chunks:
                    while ahead.chunks:
                        yield ahead.take()
                    if not ended:
                        watcher.step()
            finally:
                # An interrupt from the keyboard, or a reader who has had enough.
                if withdraw is not None:
                    withdraw()
                process.stop("closed", at_once=not ended)
                while not ended:
                    watcher.step()
        result, error = ended[0]
        if error is not None:
            raise error
        assert result is not None
        yield result


class _Ahead:
    """Output that is read and not yet taken."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.process: Process | None = None
        self.chunks: deque[Chunk] = deque()
        self._size = 0

    def put(self, output: Output, data: bytes) -> None:
        self.chunks.append(Chunk(output, data))
        self._size += len(data)
        if self._size > _AHEAD_BYTES and self.process is not None:
            self.process.pause()

    def take(self) -> Chunk:
        chunk = self.chunks.popleft()
        self._size -= len(chunk.data)
        if self._size <= _AHEAD_BYTES // 2 and self.process is not None:
            self.process.resume()
        return chunk
