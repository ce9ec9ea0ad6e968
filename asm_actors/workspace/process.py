"""One command with its guardian: started, fed, read, stopped as a whole tree, and told of by a result.

Blocks nowhere but for starting the guardian (about a millisecond); a `Watcher` calls it when there is something to
do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace import guardian
from asm_actors.workspace.command import (
    CANCELLED_EXIT_CODE,
    TIMEOUT_EXIT_CODE,
    Command,
    CommandResult,
    Output,
    grace_ms,
)
from asm_actors.workspace.starting import find_program, guardian_request, not_started
from asm_actors.workspace.watching import Timer, Watcher

__all__ = ["Process"]

_PIECE: Final = 65_536
_MESSAGE: Final = 5
_ERROR_TAIL: Final = 2_000
_BACKSTOP_S: Final = 10.0
# What an interpreter may need to find its own libraries; the command gets its own variables.
_LOADING: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Process:
    """A command under way. All methods belong on the watcher's thread.

    Args:
        command: What to run.
        watcher: Calls the process when there is something to do.
        on_output: Called with each piece of output.
        on_end: Called once, when the whole tree is gone: with the result and None, or None and what went wrong.
        clock: Seconds; only differences matter.

    Raises:
        AsmError: ``validation_error``: there is no such working directory; ``command_not_found``;
            ``tool_permission_denied``: the program may not be run; ``dependency_not_available``: no guardian can be
            started.
    """

    def __init__(
        self,
        command: Command,
        watcher: Watcher,
        *,
        on_output: Callable[[Output, bytes], None] | None,
        on_end: Callable[[CommandResult | None, BaseException | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.command = command
        self._watcher = watcher
        self._on_output = on_output
        self._on_end = on_end
        self._clock = clock
        self._pid: int | None = None
        self._status: int | None = None
        self._survivors: int | None = None
        self._why: str | None = None
        self._error: BaseException | None = None
        self._is_paused = False
        self._is_ended = False
        self._timers: dict[str, Timer] = {}
        self._kept = {Output.STDOUT: bytearray(), Output.STDERR: bytearray()}
        self._counted = dict.fromkeys(Output, 0)
        self._readers: dict[Output, int] = {}
        self._to_write = memoryview(command.stdin or b"")
        self._started = clock()
        self._start()
        watcher.read(self._control.fileno(), self._hear)
        for output, handle in self._readers.items():
            watcher.read(handle, partial(self._read, output))
        if self._stdin is not None:
            watcher.write(self._stdin, self._write)
        if command.timeout is not None:
            self._timers["timeout"] = watcher.later(command.timeout, lambda: self.stop("timeout"))
        self._rearm()

    # What callers do.

    def stop(self, why: str = "cancelled", *, at_once: bool = False) -> None:
        """Have the whole tree end; the first reason given is the one that is told.

        Args:
            why: ``cancelled`` or ``timeout``, or a reason that the result does not tell.
            at_once: Without grace.
        """
        if self._is_ended:
            return
        self._why = self._why or why
        self._say(guardian.STOP, 0 if at_once else grace_ms(self.command))
        if "backstop" not in self._timers:
            wait = self.command.grace + _BACKSTOP_S
            self._timers["backstop"] = self._watcher.later(wait, self._lose)

    def signal(self, number: int) -> None:
        """Send a signal to the command's process group, such as SIGINT."""
        if self._status is None:
            self._say(guardian.SIGNAL, number)

    def pause(self) -> None:
        """Read no more output; the command waits when its pipe is full."""
        if not self._is_paused:
            self._is_paused = True
            for handle in self._readers.values():
                self._watcher.stop_reading(handle)

    def resume(self) -> None:
        """Read again."""
        if self._is_paused:
            self._is_paused = False
            for output, handle in self._readers.items():
                self._watcher.read(handle, partial(self._read, output))
            self._rearm()

    # The start.

    def _start(self) -> None:
        command = self.command
        self._stdin: int | None = None
        if command.cwd is not None and not os.path.isdir(command.cwd):  # noqa: PTH112 - bytes may hide in it
            raise AsmError(
                ErrorCode.VALIDATION_ERROR, f"there is no directory {command.cwd}", details={"field": "cwd"}
            )
        environment = command.environment(os.environ)
        if not sys.executable:
            raise AsmError(
                ErrorCode.DEPENDENCY_NOT_AVAILABLE, "there is no Python interpreter to watch over commands"
            )
        executable = find_program(command.argv[0], command.cwd, environment)
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            control, their_control = socket.socketpair()
            ours.callback(control.close)
            theirs.callback(their_control.close)
            stdin = self._pipe(ours, theirs, is_input=True) if command.stdin else subprocess.DEVNULL
            stdout = self._pipe(ours, theirs, output=Output.STDOUT)
            stderr = subprocess.STDOUT
            if not command.merge_stderr:
                stderr = self._pipe(ours, theirs, output=Output.STDERR)
            request = theirs.enter_context(
                guardian_request(
                    {
                        "argv": [os.fsencode(word) for word in command.argv],
                        "executable": os.fsencode(executable),
                        "env": {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
                        "control": their_control.fileno(),
                        "parent": os.getpid(),
                        "grace_ms": grace_ms(command),
                    }
                )
            )
            try:
                self._guardian = subprocess.Popen(  # noqa: S603 - our own words
                    [sys.executable, "-I", "-S", "-c", guardian.BOOTSTRAP, str(request.fileno())],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=command.cwd,
                    env={name: os.environ[name] for name in _LOADING if name in os.environ},
                    pass_fds=(their_control.fileno(), request.fileno()),
                    start_new_session=True,
                )
            except OSError as error:
                raise not_started(command, error.errno or 0, error) from error
            control.setblocking(False)
            self._control = control
            ours.pop_all()

    def _pipe(
        self,
        ours: contextlib.ExitStack,
        theirs: contextlib.ExitStack,
        *,
        output: Output | None = None,
        is_input: bool = False,
    ) -> int:
        reader, writer = os.pipe()
        mine, other = (writer, reader) if is_input else (reader, writer)
        ours.callback(os.close, mine)
        theirs.callback(os.close, other)
        os.set_blocking(mine, False)
        if is_input:
            self._stdin = mine
        elif output is not None:
            self._readers[output] = mine
        return other

    # What the watcher calls.

    def _read(self, output: Output) -> bool:
        """Take a piece of output; False when there is none, or no more."""
        try:
            piece = os.read(self._readers[output], _PIECE)
        except BlockingIOError:
            return False
        if not piece:
            self._close(output)
            return False
        self._counted[output] += len(piece)
        kept = self._kept[output]
        room = self.command.max_output_bytes - len(kept)
        if room > 0:
            kept += piece[:room]
        self._rearm()
        if self._on_output is not None and self._error is None:
            try:
                self._on_output(output, piece)
            except BaseException as error:  # the caller's: the command must not outlive it
                self._error = error
                self.stop("failed", at_once=True)
        return True

    def _write(self) -> None:
        assert self._stdin is not None
        try:
            self._to_write = self._to_write[os.write(self._stdin, self._to_write[:_PIECE]) :]
        except BlockingIOError:
            return
        except OSError:  # it reads no more, which is its right
            self._to_write = self._to_write[:0]
        if not self._to_write:
            self._close_stdin()

    def _hear(self) -> None:
        """Take what the guardian says."""
        try:
            said = self._control.recv(64 * _MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        for at in range(0, len(said), _MESSAGE):
            kind, number = said[at : at + 1], int.from_bytes(said[at + 1 : at + _MESSAGE], "big")
            if kind == guardian.STARTED:
                self._pid = number
            elif kind == guardian.FAILED:
                self._error = self._error or not_started(self.command, number, None)
            elif kind == guardian.ENDED:
                self._status = number
                self._disarm("timeout", "idle")
            elif kind == guardian.GONE:
                self._survivors = number
        if not said:
            self._finish()

    def _lose(self) -> None:
        """Nothing is heard of the guardian: go on without it, which kills the tree if it can be killed at all."""
        with contextlib.suppress(OSError):
            self._guardian.kill()
        self._finish()

    # The end.

    def _finish(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        self._disarm(*self._timers)
        self._watcher.stop_reading(self._control.fileno())
        self._control.close()
        if self._survivors is None and self._error is None and self._pid is not None:
            # The guardian was killed. The kernel has killed the command; its group is what else can be reached.
            with contextlib.suppress(OSError):
                os.killpg(self._pid, 9)
        for output in tuple(self._readers):
            while self._read(output):
                pass
            self._close(output)
        self._close_stdin()
        self._guardian.wait()
        if self._error is None and (self._status is None or self._survivors is None):
            told = bytes(self._kept[Output.STDERR][-_ERROR_TAIL:])
            self._error = AsmError(
                ErrorCode.COMMAND_FAILED,
                f"the guardian of {self.command.argv[0]} was killed, and the command with it; "
                "processes that the command started may be left",
                details={"command": self.command.argv[0], "stderr": told.decode(errors="replace")},
            )
        if self._error is not None:
            self._on_end(None, self._error)
        else:
            self._on_end(self._result(), None)

    def _result(self) -> CommandResult:
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        timed_out, cancelled = self._why == "timeout", self._why == "cancelled"
        signal = -code if code < 0 else None
        if code < 0:
            code = 128 - code
        if timed_out:
            code = TIMEOUT_EXIT_CODE
        elif cancelled:
            code = CANCELLED_EXIT_CODE
        return CommandResult(
            argv=self.command.argv,
            cwd=self.command.cwd,
            exit_code=code,
            signal=signal,
            stdout=bytes(self._kept[Output.STDOUT]),
            stderr=bytes(self._kept[Output.STDERR]),
            stdout_bytes=self._counted[Output.STDOUT],
            stderr_bytes=self._counted[Output.STDERR],
            duration_ms=round((self._clock() - self._started) * 1000),
            timed_out=timed_out,
            cancelled=cancelled,
            survivors=self._survivors or 0,
        )

    def _say(self, what: bytes, number: int) -> None:
        with contextlib.suppress(OSError):  # it is gone: that is heard in a moment
            self._control.send(what + number.to_bytes(4, "big"))

    def _rearm(self) -> None:
        """Begin to wait anew for output."""
        idle = self.command.idle_timeout
        if idle is not None and self._status is None and not self._is_ended:
            self._disarm("idle")
            self._timers["idle"] = self._watcher.later(idle, self._idled)

    def _idled(self) -> None:
        if not self._is_paused:  # else it is our doing
            self.stop("timeout")

    def _disarm(self, *names: str) -> None:
        for name in names:
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()

    def _close(self, output: Output) -> None:
        handle = self._readers.pop(output, None)
        if handle is not None:
            if not self._is_paused:
                self._watcher.stop_reading(handle)
            os.close(handle)

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            self._watcher.stop_writing(self._stdin)
            os.close(self._stdin)
            self._stdin = None
