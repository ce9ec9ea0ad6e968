"""What docstrings in Google's style tell of a function and its arguments, or of a class and its fields. Pure."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

__all__ = ["description_of", "field_texts"]

_FIELDS: Final = re.compile(r"^(Args|Arguments|Attributes|Parameters):\s*$")
_SECTION: Final = re.compile(r"^[A-Z][A-Za-z ]*:\s*$")
_FIELD: Final = re.compile(r"^(?P<indent>\s+)\*{0,2}(?P<name>\w+)\s*(\([^)]*\))?:\s*(?P<text>.*)$")


def description_of(documented: Any) -> str:
    """Return the docstring up to its first section such as ``Args:``, or the empty text."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    end = next((at for at, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    return "\n".join(lines[:end]).strip()


def field_texts(documented: Any) -> dict[str, str]:
    """Read the arguments of a function's docstring, or the attributes of a class's.

    A line ``name: text`` each, continued by lines that are indented further.
    """
    texts: dict[str, str] = {}
    indent: str | None = None
    last: str | None = None
    is_inside = False
    for line in (inspect.getdoc(documented) or "").splitlines():
        if not is_inside:
            is_inside = _FIELDS.match(line) is not None
            continue
        if line and not line[0].isspace():
            break
        found = _FIELD.match(line)
        if found is not None and (indent is None or found["indent"] == indent):
            indent, last = found["indent"], found["name"]
            texts[last] = found["text"].strip()
        elif last is not None and line.strip():
            texts[last] = f"{texts[last]} {line.strip()}".strip()
    return texts
