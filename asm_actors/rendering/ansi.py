"""Control sequences of terminals: the few that are written here, and how to be rid of those that others wrote. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["CLEAR_LINE", "Paint", "clean", "strip_ansi"]

CLEAR_LINE: Final = "\r\x1b[2K"
"""Goes to the line's begin and empties it."""

_RESET: Final = "\x1b[0m"
_CODES: Final = {
    "red": "\x1b[0;31m",
    "green": "\x1b[0;32m",
    "yellow": "\x1b[0;33m",
    "blue": "\x1b[0;34m",
    "magenta": "\x1b[0;35m",
    "cyan": "\x1b[0;36m",
    "dim": "\x1b[2m",
}
# Titles and links (OSC, ended by BEL or ST) and other strings, then CSI, then the short ones.
_SEQUENCE: Final = re.compile(
    r"\x1b[\]PX^_].*?(?:\x07|\x1b\\|\Z)|[\x1b\x9b]\[?[0-9:;<=>?]*[ -/]*[@-~]", re.DOTALL
)
# What would move a cursor, ring, or turn a line round; tabs and line ends stay.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Paint:
    """Colours text, or leaves it as it is.

    Args:
        color: Whether to.
    """

    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, style: str, text: str) -> str:
        """Return the text in one of the styles ``red green yellow blue magenta cyan dim``."""
        return f"{_CODES[style]}{text}{_RESET}" if self._color and text else text


def strip_ansi(text: str) -> str:
    """Take out the control sequences of terminals, and what only makes sense with them."""
    if "\x1b" not in text and "\r" not in text:
        return text
    return _SEQUENCE.sub("", text).replace("\r", "")


def clean(text: str) -> str:
    """Take out whatever would command a terminal: the words of a model or a tool are not to be trusted with it."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("", _SEQUENCE.sub("", text))
