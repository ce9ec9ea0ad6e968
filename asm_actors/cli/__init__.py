"""The command `asm`: see it work, ask a question, look into a journal, cancel a run.

`main` is the group of all commands; a process begins at `entry.main`, which can be interrupted before that is imported.
This package alone uses click (commands) and rich (progress and tables).
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in the package above
if TYPE_CHECKING:
    from asm_actors.cli.app import main

__all__ = ["main"]


def __getattr__(name: str) -> object:
    if name != "main":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asm_actors.cli.app import main

    globals()["main"] = main
    return main
