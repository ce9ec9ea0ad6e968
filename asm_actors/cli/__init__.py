"""The command `asm`: see it work, ask a question, look into a journal, cancel a run.

`main` is the entry point. This package alone uses click (commands) and rich (progress and tables).
"""

from __future__ import annotations

from asm_actors.cli.app import main

__all__ = ["main"]
