"""The log without secrets: what crashes says what it crashed on, and a log often goes to the disk as well."""

from __future__ import annotations

import logging
from typing import Final
from weakref import WeakSet

from asm_actors.redaction.redactor import Redactor

__all__ = ["LOGS", "RedactedLogs"]

_OURS: Final = ("asm_actors", "supervisors", "pykka")
_FORMATTER: Final = logging.Formatter()


class RedactedLogs(logging.Filter):
    """Redacts messages and tracebacks of what this package, and what it stands on, logs while a system runs.

    A record without secrets stays as it is. There is one for the process, since loggers are the process's too.
    """

    def __init__(self) -> None:
        super().__init__()
        # A system that ended without a stop must not be kept by its log.
        self._redactors: WeakSet[Redactor] = WeakSet()

    def begin(self, redactor: Redactor) -> None:
        """A system with this redactor starts."""
        self._redactors.add(redactor)
        for name in tuple(logging.Logger.manager.loggerDict):
            if name.partition(".")[0] in _OURS:
                logging.getLogger(name).addFilter(self)

    def end(self, redactor: Redactor) -> None:
        """It has stopped."""
        self._redactors.discard(redactor)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record; all of them pass."""
        try:
            message = record.getMessage()
        except Exception:  # a malformed record: the handlers say so, as for any other
            return True
        for redactor in tuple(self._redactors):
            shown = redactor.text(message)
            if shown is not message:
                record.msg = message = shown
                record.args = ()
        if record.exc_info and not record.exc_text:
            trace = _FORMATTER.formatException(record.exc_info)
            shown = trace
            for redactor in tuple(self._redactors):
                shown = redactor.text(shown)
            if shown is not trace:
                # Handlers write the text that is there instead of making one; whoever makes their own gets nothing raw.
                record.exc_text, record.exc_info = shown, None
        return True


LOGS: Final = RedactedLogs()
"""Of this process."""
