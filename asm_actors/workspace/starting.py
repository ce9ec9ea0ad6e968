"""What a command needs to be started: its program found, and its guardian told what to do."""

from __future__ import annotations

import importlib.util
import marshal
import os
import tempfile
from functools import cache
from pathlib import Path
from types import CodeType
from typing import IO, Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.command import Command

__all__ = ["find_program", "guardian_request", "not_started"]


@cache
def _guardian_code() -> CodeType:
    spec = importlib.util.find_spec("asm_actors.workspace.guardian")
    loader: Any = None if spec is None else spec.loader
    code = loader.get_code("asm_actors.workspace.guardian")
    assert isinstance(code, CodeType)
    return code


def guardian_request(request: dict[str, Any]) -> IO[bytes]:
    """Write down what is asked for in a file without a name: variables and arguments fit into no pipe."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - its caller closes it
    marshal.dump((_guardian_code(), request), file)
    file.seek(0)
    return file


def find_program(program: str, cwd: str | None, environment: dict[str, str]) -> str:
    """Return the path of a program.

    Raises:
        AsmError: ``command_not_found`` or ``tool_permission_denied``.
    """
    base = Path(cwd or ".")
    if "/" in program:
        candidates = [program]
    else:
        folders = environment.get("PATH", os.defpath).split(":")
        candidates = [f"{folder or '.'}/{program}" for folder in folders]
    is_forbidden = False
    for candidate in candidates:
        path = base / candidate
        if path.is_file():
            if os.access(path, os.X_OK):
                return candidate
            is_forbidden = True
    if is_forbidden:
        raise AsmError(
            ErrorCode.TOOL_PERMISSION_DENIED, f"{program} may not be run", details={"command": program}
        )
    raise AsmError(
        ErrorCode.COMMAND_NOT_FOUND, f"there is no command {program}", details={"command": program}
    )


def not_started(command: Command, number: int, cause: BaseException | None) -> AsmError:
    """Make the error of a command that could not be started.

    Args:
        command: Which.
        number: The errno.
        cause: What was raised, if it is the guardian that could not be started; else None.
    """
    program = command.argv[0]
    details = {"command": program, "errno": number}
    text = f"{program} could not be started: {os.strerror(number)}"
    if cause is not None:
        return AsmError(ErrorCode.DEPENDENCY_NOT_AVAILABLE, text, details=details)
    code = {
        2: ErrorCode.COMMAND_NOT_FOUND,
        1: ErrorCode.TOOL_PERMISSION_DENIED,
        13: ErrorCode.TOOL_PERMISSION_DENIED,
    }.get(number, ErrorCode.COMMAND_FAILED)
    return AsmError(code, text, details=details)
