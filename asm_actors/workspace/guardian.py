"""The guardian: a small process between this one and a command, which lets nothing of the command survive.

It is not imported by the runtime: `process` compiles it and runs it in an interpreter of its own, one for each
command.

1. It makes itself the reaper of its descendants (Linux). A process that forks twice and starts a session of its own
   becomes the guardian's child when its parent ends, so it cannot get away.
2. It starts the command in a session of its own and tells how the command began and ended.
3. When the command has ended, or it is told to stop, every descendant gets SIGTERM, and after the grace SIGKILL,
   until none is left. Only then does it say that all is gone, and end.
4. When its control socket closes, whatever the reason (`kill -9` of the runtime among them), it does so with SIGKILL
   at once.
5. When the guardian itself is killed, the kernel kills the command, though not what has left the command.

Where the system has no reapers, what left the command's process group is not seen.

Start-up time is paid for each command, so only modules written in C are imported.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found, unused-ignore]  # `signal` loads slowly
import posix
import select
import sys
import time

TYPE_CHECKING = False  # as `typing` has it, which loads slowly, too
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["BOOTSTRAP", "Guardian", "main"]

# Read by the interpreter that becomes the guardian: the code of this module and what is asked for come through a
# file.
BOOTSTRAP = (
    "import marshal,sys\n"
    "with open(int(sys.argv[1]),'rb') as f: code,request=marshal.load(f)\n"
    "space={'__name__':'guardian'}\n"
    "exec(code,space)\n"
    "space['main'](request)\n"
)

# What goes over the control socket, each followed by an integer of 4 bytes. From the guardian:
STARTED, FAILED, ENDED, GONE = b"S", b"F", b"E", b"G"  # process id; errno; wait status; number of survivors
# To the guardian: a signal for the command's process group; stop, politely first.
SIGNAL, STOP = b"s", b"t"

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_SWEEP_MS = 10
# What cannot be killed (another user's process, one stuck in the kernel) must not hold up the caller for ever.
_GIVE_UP_S = 5.0


class Guardian:
    """Watches over one command.

    Args:
        request: ``argv executable env control parent grace_ms`` as `process` made it.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.control: int = request["control"]
        self.parent: int = request["parent"]
        self.grace_ms: int = request["grace_ms"]
        self.main = 0
        self.is_reaper = False
        self.is_over = False
        self.phase = "running"  # then "stopping", then "killing"
        self.deadline = 0.0

    def run(self) -> None:
        """Do all of it; returns when nothing is left."""
        posix.set_inheritable(self.control, False)
        wake, waker = posix.pipe()
        for end in (wake, waker):
            posix.set_blocking(end, False)
        _signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGCHLD):
            _signal.signal(number, _ignore)
        self.is_reaper = _prctl(_SET_CHILD_SUBREAPER, 1)
        # Sent when the thread that started us ends, too: the loop looks whether our parent is still there.
        _prctl(_SET_PDEATHSIG, _signal.SIGTERM)
        error = self.start()
        null = posix.open("/dev/null", posix.O_RDWR)
        for number in (0, 1, 2):  # else the command's output would never end
            posix.dup2(null, number)
        if error:
            self.say(FAILED, error)
            return
        self.say(STARTED, self.main)
        self.watch(wake)

    def start(self) -> int:
        """Start the command; return the errno of what went wrong, or 0."""
        failed, failing = posix.pipe()
        own = posix.getpid()
        pid = posix.fork()
        if pid == 0:
            self.become(own, failing)
        posix.close(failing)
        self.main = pid
        said = posix.read(failed, 4)
        posix.close(failed)
        if not said:
            return 0
        posix.waitpid(pid, 0)
        return int.from_bytes(said, "big")

    def become(self, parent: int, failing: int) -> None:
        """Turn this fork into the command; `parent` is the guardian."""
        request = self.request
        try:
            posix.setsid()
            _prctl(_SET_PDEATHSIG, _signal.SIGKILL)
            if posix.getppid() != parent:  # it was killed before that had an effect
                return
            _signal.set_wakeup_fd(-1)
            for number in range(1, _signal.NSIG):
                if _signal.getsignal(number) is not None and number not in (_signal.SIGKILL, _signal.SIGSTOP):
                    _signal.signal(number, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            posix.execve(request["executable"], request["argv"], request["env"])
        except OSError as error:
            posix.write(failing, (error.errno or 1).to_bytes(4, "big"))
        finally:
            posix._exit(127)

    def watch(self, wake: int) -> None:
        """Wait for orders and for ends, until no descendant is left or nothing helps."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            if not self.reap():
                self.say(GONE, 0)
                return
            if self.is_over and self.phase == "running":
                self.stop()
            ready = dict(poll.poll(None if self.phase == "running" else _SWEEP_MS))
            if wake in ready:
                _drain(wake)
            if self.control in ready and not self.obey():
                poll.unregister(self.control)
                self.kill()
            if posix.getppid() != self.parent and self.phase != "killing":
                self.kill()
            if not self.go_on():
                self.say(GONE, sum(1 for _ in self.descendants()))
                return

    def go_on(self) -> bool:
        """Take the next step of the end when it is time; False when there is nothing more that could help."""
        if self.phase == "killing":
            self.send(_signal.SIGKILL)  # again: some may have been born meanwhile
            return time.monotonic() < self.deadline
        if self.phase == "stopping" and time.monotonic() >= self.deadline:
            self.kill()
        return True

    def obey(self) -> bool:
        """Carry out orders; False when nobody gives any more."""
        try:
            said = posix.read(self.control, 5)
        except OSError:
            said = b""
        if len(said) < 5:
            return False
        number = int.from_bytes(said[1:], "big")
        if said[:1] == STOP:
            self.grace_ms = number
            if self.phase == "running" or (self.phase == "stopping" and not number):
                self.stop()
        elif not self.is_over:
            _attempt(posix.killpg, self.main, number)
        return True

    def stop(self) -> None:
        if self.grace_ms <= 0:
            self.kill()
            return
        self.phase, self.deadline = "stopping", time.monotonic() + self.grace_ms / 1000
        self.send(_signal.SIGTERM)
        self.send(_signal.SIGCONT)

    def kill(self) -> None:
        self.phase, self.deadline = "killing", time.monotonic() + _GIVE_UP_S
        self.send(_signal.SIGKILL)

    def send(self, number: int) -> None:
        """Send a signal to every descendant."""
        if not self.is_reaper or not self.is_over:
            _attempt(posix.killpg, self.main, number)
        for pid in self.descendants():
            _attempt(posix.kill, pid, number)

    def reap(self) -> bool:
        """Collect who has ended; tell whether anybody is left."""
        while True:
            try:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main:
                self.is_over = True
                self.say(ENDED, status)
                if not self.is_reaper:
                    # Orphans are not ours here: the group is all that can be reached, and nobody tells when it is
                    # empty.
                    _attempt(posix.killpg, pid, _signal.SIGKILL)

    def descendants(self) -> Iterator[int]:
        """Give those who are alive, parents first."""
        waiting = [posix.getpid()]
        parents: dict[int, list[int]] | None = None
        while waiting:
            pid = waiting.pop()
            found = _children(pid) if parents is None else parents.get(pid, [])
            if found is None:
                parents = _parents()
                found = parents.get(pid, [])
            yield from found
            waiting += found

    def say(self, what: bytes, number: int) -> None:
        try:  # noqa: SIM105 - contextlib loads slowly, too
            posix.write(self.control, what + number.to_bytes(4, "big"))
        except OSError:  # nobody listens: the socket's end is seen in the loop
            pass


def _ignore(*_: object) -> None:
    """Nothing to do: the signal has woken the loop."""


def _attempt(function: Callable[..., None], *args: int) -> None:
    try:  # noqa: SIM105 - as above
        function(*args)
    except OSError:  # gone already, or not ours
        pass


def _drain(pipe: int) -> None:
    try:
        while posix.read(pipe, 512):
            pass
    except BlockingIOError:
        pass


def _read(path: str) -> bytes:
    handle = posix.open(path, posix.O_RDONLY)
    try:
        text = b""
        while piece := posix.read(handle, 65_536):
            text += piece
        return text
    finally:
        posix.close(handle)


def _children(pid: int) -> list[int] | None:
    """Read a process's children; None if this kernel does not list them."""
    found: list[int] = []
    try:
        threads = posix.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    for thread in threads:
        try:
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
        except FileNotFoundError:
            if pid == posix.getpid():
                return None
        except OSError:
            pass
    return found


def _parents() -> dict[int, list[int]]:
    """Read the children of all processes, the slow way."""
    found: dict[int, list[int]] = {}
    try:
        names = posix.listdir("/proc")
    except OSError:
        return found
    for name in names:
        if name.isdigit():
            try:
                # The name in parentheses may hold anything, parentheses too.
                fields = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()
                found.setdefault(int(fields[1]), []).append(int(name))
            except (OSError, IndexError, ValueError):
                pass
    return found


def _prctl(option: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        import _ctypes

        library: Any = _ctypes
        address = library.dlsym(library.dlopen(None, 0), "prctl")
        return bool(library.call_function(address, (option, value, 0, 0, 0)) == 0)
    except Exception:  # it is absent or forbidden here, and what it is needed for is done less well
        return False


def main(request: dict[str, Any]) -> None:
    """Be the guardian of what is asked for."""
    try:
        Guardian(request).run()
    finally:
        posix._exit(0)
