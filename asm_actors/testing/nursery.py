"""Processes that begin within milliseconds, to be killed: each is forked off one process that has imported everything.

::

    with Nursery() as nursery:
        life = nursery.begin("program.py", ["argument"])
        life.read_for(0.1)
        life.kill()

A program runs as it would run by itself: as ``__main__``, with its arguments, its own standard output and errors. The
parent of all has one thread and opens nothing, so whatever is forked off it is as good as a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Self

__all__ = ["Life", "Nursery"]

_SOURCES: Final = Path(__file__).resolve().parents[2]
_READ_BYTES: Final = 1 << 16
_LONGEST_REQUEST: Final = 1 << 16
_PATIENCE_S: Final = 60.0
_MAIN: Final = "from asm_actors.testing.nursery import serve; serve({})"


class Nursery:
    """Starts processes; close it, or use it in a `with` block."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the words are our own
                [sys.executable, "-c", _MAIN.format(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": str(_SOURCES)},
            )

    def begin(self, program: str | Path, arguments: Sequence[str] = ()) -> Life:
        """Start a Python program.

        Args:
            program: Its file.
            arguments: Its arguments.
        """
        reading, writing = os.pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - the life closes it
        try:
            request = json.dumps([str(program), *arguments]).encode()
            socket.send_fds(self._socket, [request], [writing, errors.fileno()])
        finally:
            os.close(writing)
        pid = int(self._socket.recv(64))
        return Life(self._socket, pid, reading, errors)

    def close(self) -> None:
        """End the parent; whoever began a life has ended it before."""
        self._socket.close()
        self._process.wait(timeout=_PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Life:
    """One process, and the reading end of its standard output. Kill it.

    Attributes:
        pid: Its id.
        status: How it ended, as a shell tells it: negative for a signal; None while that is not known.
    """

    def __init__(self, parent: socket.socket, pid: int, descriptor: int, errors: IO[bytes]) -> None:
        self.pid = pid
        self.status: int | None = None
        self._parent = parent
        self._descriptor = descriptor
        self._errors = errors
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._bytes = bytearray()

    @property
    def lines(self) -> list[bytes]:
        """The whole lines that it wrote, as far as they were read."""
        return bytes(self._bytes).split(b"\n")[:-1]

    def read_lines(self, count: int, timeout: float) -> bool:
        """Read until there are so many lines; False if the pipe ended or the time was over before."""
        until = time.monotonic() + timeout
        while self._bytes.count(b"\n") < count:
            if not self._read(until):
                return False
        return True

    def read_for(self, seconds: float) -> bool:
        """Read whatever comes, for so long; False if the pipe ended before."""
        until = time.monotonic() + seconds
        while self._read(until):
            pass
        return time.monotonic() >= until

    def kill(self) -> str:
        """Kill it at once, with SIGKILL; read what it has left. Returns what it wrote to its standard error."""
        os.kill(self.pid, signal.SIGKILL)  # nobody has its id before its parent has waited for it
        self._parent.send(str(self.pid).encode())
        self.status = os.waitstatus_to_exitcode(int(self._parent.recv(64)))
        while self._read(None):
            pass
        os.close(self._descriptor)
        with self._errors as errors:
            errors.seek(0)
            return errors.read().decode(errors="replace")

    def _read(self, until: float | None) -> bool:
        left = None if until is None else 1000 * (until - time.monotonic())
        if (left is not None and left <= 0) or not self._poll.poll(left):
            return False
        found = os.read(self._descriptor, _READ_BYTES)
        self._bytes += found
        return bool(found)


def serve(descriptor: int) -> None:
    """Be the parent: start a process for each request, wait for one if its id comes, until the socket is closed.

    Args:
        descriptor: The socket.
    """
    # With this module the whole package was imported, before anything is forked.
    with socket.socket(fileno=descriptor) as requests:
        while True:
            request, descriptors, _, _ = socket.recv_fds(requests, _LONGEST_REQUEST, 2)
            if not request:
                return
            if not descriptors:
                _, status = os.waitpid(int(request), 0)
                requests.send(str(status).encode())
                continue
            pid = os.fork()
            if not pid:
                requests.close()
                _live(json.loads(request), *descriptors)
            for one in descriptors:
                os.close(one)
            requests.send(str(pid).encode())


def _live(command: list[str], output: int, errors: int) -> None:
    """Be the program, in the forked process; does not return."""
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    status = 1
    try:
        sys.argv = command
        sys.path[0] = str(Path(command[0]).parent)
        runpy.run_path(command[0], run_name="__main__")
        for thread in threading.enumerate():
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join()
        status = 0
    except SystemExit as stop:
        if isinstance(stop.code, str):
            os.write(2, stop.code.encode())
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # told like an interpreter tells it
        with contextlib.suppress(OSError):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)
