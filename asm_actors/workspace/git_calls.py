"""Git, called so that nothing but the repository's contents has a say in what it answers.

No ``GIT_*`` variable of this process is passed on, and messages are in English. No hook, file watcher, pager,
prompt, fetch or external diff program is started; what the user's or the system's configuration says about these is
overridden. What it says about ignored files and about owners of repositories counts, since that is what the user's
own git shows him.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.command import Command, CommandResult, Output
from asm_actors.workspace.exec import Exec
from asm_actors.workspace.watching import Stop

__all__ = ["Git", "quoted"]

_SETTINGS: Final = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.splitIndex": "false",
    "core.untrackedCache": "false",
    "core.logAllRefUpdates": "false",
    "core.fileMode": "true",
    "core.symlinks": "true",
    "core.ignoreStat": "false",
    "core.quotePath": "false",
    "core.pager": "cat",
    "core.commitGraph": "false",
    "core.preloadIndex": "false",
    "core.protectHFS": "false",
    "core.protectNTFS": "false",
    "diff.orderFile": "/dev/null",
    "diff.suppressBlankEmpty": "false",
    "diff.ignoreSubmodules": "none",
    "diff.renameLimit": "1000",
    "maintenance.auto": "false",
    "gc.auto": "0",
}
_INHERITED: Final = ("PATH", "HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH")
_WHO: Final = {"NAME": "asm", "EMAIL": "asm@localhost"}
_ENVIRONMENT: Final = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_TRACE2": "0",
    "GIT_TRACE2_EVENT": "0",
    "GIT_TRACE2_PERF": "0",
    **{f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in _WHO.items()},
}
_OUTPUT_BYTES: Final = 1 << 30
"""Lists of files are bounded by the tree; this only keeps a mistake from filling the memory."""


class Git:
    """Calls git in one directory.

    Args:
        directory: Where.
        timeout: Seconds that one call may take.
        stop: Cancels what is under way.
        run: Runs commands.
        words: What git is told first, always.
        env: Variables that it always gets.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        timeout: float,
        stop: Stop | None = None,
        run: Exec | None = None,
        words: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        self.directory = str(directory)
        self._words = words
        self._env = env or {}
        self._timeout = timeout
        self._stop = stop
        self._exec = run or Exec()
        self._settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]

    def elsewhere(self, directory: str | Path) -> Git:
        """Return the same in another directory."""
        return Git(directory, timeout=self._timeout, stop=self._stop, run=self._exec)

    def at(self, git_dir: str | Path, work_tree: str | Path) -> Git:
        """Return the same for a repository that is not to be looked for: git is told where it is."""
        words = (f"--git-dir={git_dir}", f"--work-tree={work_tree}")
        return Git(work_tree, timeout=self._timeout, stop=self._stop, run=self._exec, words=words)

    def with_env(self, env: dict[str, str]) -> Git:
        """Return the same, with variables."""
        made = self.elsewhere(self.directory)
        made._words, made._env = self._words, self._env | env
        return made

    def run(
        self,
        *words: str,
        stdin: bytes | None = None,
        env: dict[str, str] | None = None,
        success: Iterable[int] = (0,),
        on_output: Callable[[bytes], None] | None = None,
        max_output_bytes: int = _OUTPUT_BYTES,
    ) -> CommandResult:
        """Call git.

        Args:
            *words: What it is told.
            stdin: What it reads.
            env: Variables, besides.
            success: Exit codes that mean success.
            on_output: Gets the output piece by piece.
            max_output_bytes: Output that is kept.

        Raises:
            AsmError: ``dependency_not_available``: there is no git; ``command_failed``, ``command_timeout``,
                ``cancelled``.
        """
        command = Command(
            argv=("git", "--no-pager", *self._settings, *self._words, *words),
            cwd=self.directory,
            env=_ENVIRONMENT | self._env | (env or {}),
            inherit=_INHERITED,
            stdin=stdin,
            timeout=self._timeout,
            max_output_bytes=max_output_bytes,
        )

        def take(output: Output, data: bytes) -> None:
            if output == Output.STDOUT and on_output is not None:
                on_output(data)

        try:
            result = self._exec.run(command, on_output=None if on_output is None else take, stop=self._stop)
        except AsmError as error:
            if error.code == ErrorCode.COMMAND_NOT_FOUND:
                raise AsmError(
                    ErrorCode.DEPENDENCY_NOT_AVAILABLE,
                    "git is not installed: install it, or choose the strategy 'hash'",
                    details={"command": "git"},
                ) from error
            raise
        try:
            return result.check(tuple(success))
        except AsmError as error:
            told = result.stderr_text.strip()
            if told and error.code == ErrorCode.COMMAND_FAILED:
                error = AsmError(error.code, f"git {words[0]}: {told[-500:]}", details=error.details)
            raise error from None

    def text(self, *words: str, **options: Any) -> str:
        """Call git and return its output without the line end; arguments as for `run`."""
        return self.run(*words, **options).stdout.decode("utf-8", "surrogateescape").removesuffix("\n")

    def maybe(self, *words: str) -> str | None:
        """Call git and return its output, or None if it answers by exit code 1 that there is nothing."""
        result = self.run(*words, success=(0, 1))
        return (
            None if result.exit_code else result.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")
        )

    def items(self, *words: str, **options: Any) -> list[str]:
        """Call git and return its output as items that NUL ends; arguments as for `run`."""
        found = self.run(*words, **options).stdout.decode("utf-8", "surrogateescape")
        return found.split("\0")[:-1] if found else []


def quoted(path: str) -> bytes:
    """Return a path as a line that git reads: in quotes if it holds what would end or change the line."""
    raw = path.encode("utf-8", "surrogateescape")
    if not any(byte < 0x20 or byte in b'"\\' for byte in raw):
        return raw
    return (
        b'"'
        + b"".join(b"\\%03o" % byte if byte < 0x20 or byte in b'"\\' else bytes([byte]) for byte in raw)
        + b'"'
    )
