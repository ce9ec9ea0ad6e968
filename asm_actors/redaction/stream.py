"""`StreamRedactor`: takes secrets out of a text that comes in pieces. Pure.

What comes out is, put together, the redacted text; and no piece of it shows what is a secret only together with the
next one. Pieces in which nothing can begin pass as they are. Else the end of the text is held back: at most `HOLD`
characters, or as many as a secret has that was recognised and still goes on.
"""

from __future__ import annotations

import re
from typing import Final

from asm_actors.redaction.finder import Finder, replaced
from asm_actors.redaction.rule import HEAD, Span

__all__ = ["StreamRedactor"]

_CONTEXT: Final = 256
"""Characters before a secret that tell what it is, at most: a key's name, a URL's user."""
_MUCH: Final = 2048
"""Characters of a text that are kept at most; only if there are more the oldest are forgotten."""
_WORD: Final = re.compile(r"\S*")
_END: Final = 8
"""Characters of what ends a secret, such as the last line of a key."""
_LONGEST: Final = 8192
"""Characters of a secret that goes on after which it is replaced, and what follows is dropped until it ends."""


class StreamRedactor:
    """See the module.

    Args:
        redactor: What finds the secrets.
    """

    __slots__ = (
        "_ends",
        "_held",
        "_inside",
        "_is_armed",
        "_redactor",
        "_seen",
        "_skipped",
        "_suspect",
    )

    def __init__(self, redactor: Finder) -> None:
        self._redactor = redactor
        self._suspect, self._ends = redactor.suspect, redactor.ends
        self._seen = ""
        self._held = ""
        self._is_armed = False
        self._inside: re.Pattern[str] | None = None
        self._skipped = ""

    @property
    def is_holding(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    @property
    def seen(self) -> str:
        """The end of what was fed, or all of it if it is short; without what is held back."""
        return self._seen

    def passes(self, text: str) -> bool:
        """Take a piece if it can be shown as it is; False: it was not taken, `feed` it."""
        if self._is_armed:
            return False
        seen = self._seen
        whole = seen + text
        # A pivot may have begun in the piece before.
        if self._suspect(whole, len(seen) - HEAD if len(seen) > HEAD else 0) is not None:
            return False
        end = whole[-HEAD - 1 :]
        may_begin = self._ends.get(end)
        if may_begin or (may_begin is None and self._redactor.may_end(end)):
            return False
        self._seen = whole if len(whole) < _MUCH else whole[-_CONTEXT:]
        return True

    def feed(self, text: str) -> str:
        """Take a piece, and return what can be shown now."""
        return text if self.passes(text) else self._step(text, is_last=False)

    def flush(self) -> str:
        """The text ends here, or something else comes in between: return what was held back."""
        shown = self._step("", is_last=True) if self._is_armed else ""
        self._seen = ""
        return shown

    def _step(self, text: str, *, is_last: bool) -> str:
        if self._inside is not None:
            text = self._skip(text, self._inside)
        redactor, start = self._redactor, len(self._seen)
        whole = self._seen + self._held + text
        spans = redactor.spans(whole)
        end, self._is_armed = len(whole), False
        if not is_last:
            end, self._is_armed = self._decided(whole, start, spans)
        shown = replaced(whole, spans, start, end)
        self._held = whole[end:]
        self._seen = _context(whole[:end], spans)
        if self._inside is not None:
            self._is_armed = not is_last
            if is_last:
                self._inside, self._skipped = None, ""
        return shown

    def _decided(self, whole: str, start: int, spans: list[Span]) -> tuple[int, bool]:
        """Return up to where a text can be shown, and whether what comes next must be looked at."""
        end, is_armed = self._redactor.held_from(whole, start)
        for span in spans:
            if span.end > start and (span.end > end or span.end == len(whole)):
                # It may go on, or what may begin in its middle would be cut off from it.
                end, is_armed = min(end, max(span.start, start)), True
        if len(whole) - end <= self._redactor.hold:
            return end, is_armed
        last = spans[-1] if spans else None
        if last is None or last.end <= end:
            return len(whole), is_armed  # no pattern takes so long to know
        if last.end == len(whole) and len(whole) - last.start > _LONGEST:
            # Its beginning is replaced now, and the rest of it is not kept.
            self._inside = last.rule.rest or _WORD
            return len(whole), True
        return end, is_armed

    def _skip(self, text: str, rest: re.Pattern[str]) -> str:
        # What ends it may have begun in the piece before.
        whole = self._skipped + text
        found = rest.match(whole)
        place = found.end() if found is not None else 0
        self._skipped = ""
        if place < len(whole):
            self._inside = None
        else:
            self._skipped = whole[-_END:]
        return whole[place:]


def _context(shown: str, spans: list[Span]) -> str:
    """What of the text before may tell what comes next; no part of a secret, whose rest could look like another one."""
    place = max(0, len(shown) - _CONTEXT)
    for span in spans:
        if span.start < place < span.end:
            place = min(len(shown), span.end) - 1
    return shown[place:]
