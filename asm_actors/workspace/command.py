"""What a command is asked to be, and what became of it. Pure values."""

from __future__ import annotations

import codecs
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from attrs import field, frozen

from asm_actors.config import COMMAND_TIMEOUT, MAX_OUTPUT_BYTES, SHELL, SUCCESS_EXIT_CODES
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_integer, check_number, check_text, invalid

__all__ = [
    "CANCELLED_EXIT_CODE",
    "GRACE",
    "TIMEOUT_EXIT_CODE",
    "Chunk",
    "Command",
    "CommandResult",
    "Output",
    "as_command",
    "grace_ms",
]

GRACE: Final = 2.0
"""Seconds between the polite signal and the one that cannot be ignored."""

TIMEOUT_EXIT_CODE: Final = 124
"""The exit code of a command that took too long, whatever it ended with: that of ``timeout(1)``."""

CANCELLED_EXIT_CODE: Final = 130
"""The exit code of a command that was cancelled, whatever it ended with: that of an interrupted shell."""

_ERROR_TAIL: Final = 2_000


class Output(StrEnum):
    """A stream a command writes to."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Chunk(NamedTuple):
    """A piece of a command's output, as it was read."""

    stream: Output
    """Where it was written to."""
    data: bytes
    """What was written; characters may be cut in two."""


def _argv(value: object) -> tuple[str, ...]:
    if isinstance(value, str | bytes):
        raise invalid("argv", "must be a list of strings (a shell's text goes to Command.of_shell)", value)
    if not isinstance(value, Iterable):
        raise invalid("argv", "must be a list of strings", value)
    words = tuple(value)
    for at, word in enumerate(words):
        _check_word(word, f"argv[{at}]")
    if not words or not words[0]:
        raise AsmError(ErrorCode.VALIDATION_ERROR, "argv must name a command", details={"field": "argv"})
    return words


def _check_word(value: object, name: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise invalid(name, "must be a string without NUL", value)
    try:
        # Names of files that are no UTF-8 have such surrogates as this knows.
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise invalid(name, "must be a string that can be encoded", value) from None
    return value


def _path(value: Any) -> str | None:
    if value is None:
        return None
    if hasattr(value, "__fspath__"):
        value = value.__fspath__()
    if not _check_word(value, "cwd"):
        raise invalid("cwd", "must be a directory", value)
    return str(value)


def _env(value: object) -> tuple[tuple[str, str | None], ...]:
    if isinstance(value, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        value = dict(value)
    if not isinstance(value, Mapping):
        raise invalid("env", "must be a map of strings", value)
    for name, text in value.items():
        if not _check_word(name, "a name of env") or "=" in name:
            raise invalid("a name of env", "must not be empty nor hold '='", name)
        if text is not None:
            _check_word(text, f"env.{name}")
    return tuple(value.items())


def _inherit(value: object) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise invalid("inherit", "must be true, false or a list of names", value)
    return tuple(_check_word(name, "a name of inherit") for name in value)


def _seconds(value: object) -> Any:
    return value if value is None else check_number(value, "a time in seconds")


def _positive(_: Any, attribute: Any, value: float | None) -> None:
    if value is not None and value <= 0:
        raise invalid(attribute.name, "must be more than 0 seconds, or None", value)


def _stdin(value: object) -> bytes | None:
    if isinstance(value, str):
        return check_text(value, "stdin").encode()
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise invalid("stdin", "must be bytes, text or None", value)


@frozen(kw_only=True)
class Command:
    """A program to run. Checked when it is made.

    Attributes:
        argv: The program and its arguments. A program without ``/`` is looked up in the command's own ``PATH``.
        cwd: The directory it runs in; None for this process's own.
        env: Variables it gets besides what it inherits, as pairs; a value of None takes the variable away. Given as
            a map.
        inherit: Which variables of this process it gets: True for all, False for none, or their names.
        stdin: What it reads; None for nothing.
        timeout: Seconds it may take, or None for no bound.
        idle_timeout: Seconds that may pass without a byte of output, or None for no bound.
        max_output_bytes: Bytes of each output stream that are kept; what comes after is read, counted and dropped.
        merge_stderr: Whether the error output goes where the output goes.
        grace: Seconds between SIGTERM and SIGKILL when it is stopped, and when it leaves processes behind.

    Raises:
        ValidationError: a field is malformed; the message names it.
    """

    argv: tuple[str, ...] = field(converter=_argv)
    cwd: str | None = field(default=None, converter=_path)
    env: tuple[tuple[str, str | None], ...] = field(default=(), converter=_env, repr=False)
    inherit: bool | tuple[str, ...] = field(default=True, converter=_inherit)
    stdin: bytes | None = field(default=None, converter=_stdin, repr=False)
    timeout: float | None = field(default=COMMAND_TIMEOUT, converter=_seconds, validator=_positive)
    idle_timeout: float | None = field(default=None, converter=_seconds, validator=_positive)
    max_output_bytes: int = MAX_OUTPUT_BYTES
    merge_stderr: bool = False
    grace: float = field(default=GRACE, converter=_seconds)

    def __attrs_post_init__(self) -> None:
        check_integer(self.max_output_bytes, "max_output_bytes", least=0)
        if self.grace is None:
            raise invalid("grace", "must be a number of seconds", None)

    @classmethod
    def of_shell(cls, text: str, *, shell: str = SHELL, **options: Any) -> Self:
        """Make the command that has a shell run a text. Nothing else in here ever involves a shell.

        Args:
            text: What the shell is told.
            shell: The shell.
            **options: The fields of a command, but for ``argv``.
        """
        return cls(argv=(shell, "-c", _check_word(text, "text")), **options)

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the variables it gets.

        Args:
            own: Those of this process.
        """
        names = own if self.inherit is True else self.inherit or ()
        found = {name: own[name] for name in names if name in own}
        for name, value in self.env:
            if value is None:
                found.pop(name, None)
            else:
                found[name] = value
        return found


@frozen(kw_only=True)
class CommandResult:
    """What became of a command. All its processes have ended (but see ``survivors``).

    Attributes:
        argv: what was run.
        cwd: where, or None for this process's directory.
        exit_code: what it ended with; 128 and the signal's number if a signal ended it; 124 if it took too long, 130
            if it was cancelled.
        signal: number of the signal that ended it, or None.
        stdout: what it wrote, up to its bound; also of a command that was stopped.
        stderr: likewise.
        stdout_bytes: how much it wrote, whether kept or not.
        stderr_bytes: likewise.
        duration_ms: how long it took, until the last of its processes was gone.
        timed_out: whether it was stopped since it took too long or was idle for too long.
        cancelled: whether it was stopped since somebody asked for that.
        survivors: processes that could not be killed: other users', or stuck in the kernel. 0 but for such.
    """

    argv: tuple[str, ...]
    cwd: str | None
    exit_code: int
    signal: int | None
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    stdout_bytes: int
    stderr_bytes: int
    duration_ms: int
    timed_out: bool = False
    cancelled: bool = False
    survivors: int = 0

    @property
    def stdout_truncated(self) -> bool:
        """Whether output was dropped."""
        return self.stdout_bytes > len(self.stdout)

    @property
    def stderr_truncated(self) -> bool:
        """Whether error output was dropped."""
        return self.stderr_bytes > len(self.stderr)

    @property
    def stdout_text(self) -> str:
        """The output as text; what is no UTF-8 is replaced, a character that the bound cut is left out."""
        return _text(self.stdout, is_cut=self.stdout_truncated)

    @property
    def stderr_text(self) -> str:
        """The error output as text, likewise."""
        return _text(self.stderr, is_cut=self.stderr_truncated)

    def check(self, success: Collection[int] = SUCCESS_EXIT_CODES) -> Self:
        """Return the result if the command succeeded.

        Args:
            success: Exit codes that mean so.

        Raises:
            AsmError: ``command_timeout``; ``cancelled``; ``command_failed``. Details: exit code, signal, end of the
                error output.
        """
        if not self.timed_out and not self.cancelled and self.exit_code in success:
            return self
        code = (
            ErrorCode.COMMAND_TIMEOUT
            if self.timed_out
            else ErrorCode.CANCELLED
            if self.cancelled
            else ErrorCode.COMMAND_FAILED
        )
        told = self.stderr_text.strip()[-_ERROR_TAIL:]
        how = {
            ErrorCode.COMMAND_TIMEOUT: f"took too long and was stopped after {self.duration_ms} ms",
            ErrorCode.CANCELLED: "was cancelled",
        }.get(code, f"ended with exit code {self.exit_code}")
        last = told.rpartition("\n")[2]
        raise AsmError(
            code,
            f"{self.argv[0]} {how}{f': {last}' if last and code == ErrorCode.COMMAND_FAILED else ''}",
            details={"exit_code": self.exit_code, "signal": self.signal, "stderr": told},
        )

    def to_map(self) -> dict[str, Any]:
        """Return the result as a JSON-ready map, output as text."""
        return {
            "command": _shown(self.argv[0]),
            "args": [_shown(word) for word in self.argv[1:]],
            "cwd": None if self.cwd is None else _shown(self.cwd),
            "exit_code": self.exit_code,
            "signal": self.signal,
            "stdout": self.stdout_text,
            "stderr": self.stderr_text,
            "stdout_bytes": self.stdout_bytes,
            "stderr_bytes": self.stderr_bytes,
            "stdout_truncated": self.stdout_truncated,
            "stderr_truncated": self.stderr_truncated,
            "duration_ms": self.duration_ms,
            "timed_out": self.timed_out,
            "cancelled": self.cancelled,
            "survivors": self.survivors,
        }


def as_command(command: Command | Sequence[str], options: Mapping[str, Any]) -> Command:
    """Return a command as it is, or make one of its words and options."""
    if not isinstance(command, Command):
        try:
            return Command(argv=command, **options)
        except TypeError as error:
            raise AsmError.wrap(ErrorCode.VALIDATION_ERROR, error) from error
    if options:
        raise AsmError(ErrorCode.VALIDATION_ERROR, "options belong to words: this is a whole command")
    return command


def grace_ms(command: Command) -> int:
    """Return the grace in whole milliseconds, rounded up."""
    return min(math.ceil(command.grace * 1000), 0x7FFF_FFFF)


def _text(data: bytes, *, is_cut: bool) -> str:
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data, final=not is_cut)


def _shown(word: str) -> str:
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
