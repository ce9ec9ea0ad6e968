"""Where the command begins: whoever interrupts it while the rest is imported gets exit code 130 and no stack trace.

The package and this part of it import next to nothing by themselves, and everything else is imported in `main`.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

_INTERRUPTED = 130


def _leave(*_: object) -> None:
    # Nothing has been opened yet, so there is nothing to end in order; and an exception may be lost in an import.
    os._exit(_INTERRUPTED)


def main() -> None:
    """Run the command and end the process with its exit code."""
    try:
        # Here, since even this one takes a few milliseconds.
        import signal

        # Where Ctrl-C is ignored, as in the background of a shell script, it stays so.
        is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_heard:
            signal.signal(signal.SIGINT, _leave)
        from asm_actors.cli.app import main as command

        if is_heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
