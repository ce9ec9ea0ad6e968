"""`Finder`: where the secrets of a text are, also of one that is not all there yet. Pure.

All patterns look at the original text, whatever another one found in it; what they found that overlaps is one secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from asm_actors.redaction.pattern import HOLD, beginnings
from asm_actors.redaction.rule import HEAD, NEVER, KnownRule, Rule, Span, any_of, forms_of
from asm_actors.redaction.settings import Redaction, patterns_of

__all__ = ["Finder", "folded", "replaced"]

_MAX_ENDS: Final = 8192
"""Ends of texts of which is remembered whether a head may begin there."""


class Finder:
    """Finds the secrets in a text. Any thread may use it.

    Args:
        redaction: What is searched for, and what stands in its place.
        known: Further texts that are secrets wherever they stand.
    """

    hold = HOLD
    """Characters of a stream that are held back at most, unless they are a secret already."""

    def __init__(self, redaction: Redaction, known: Iterable[str] = ()) -> None:
        patterns = list(patterns_of(redaction))
        rules = [Rule(pattern, redaction.replacement) for pattern in patterns]
        for text in forms_of((*redaction.known_secrets, *known)):
            rule = KnownRule(text, redaction.replacement)
            patterns.append(rule.pattern)
            rules.append(rule)
            self.hold = max(self.hold, len(text))
        self._rules = tuple(rules)
        # Tells at once that a text holds no secret. None: it holds none; else it may.
        self.suspect = any_of(patterns).search
        heads = [head for pattern in patterns for head in pattern.beginnings]
        # Whether a secret's head may begin at the end of a text.
        self.partial = (re.compile(beginnings(heads)) if heads else NEVER).search
        # Heads whose pivot comes late are noticed before it by the last four characters of a text.
        self._late = frozenset(
            head[place - HEAD - 1 : place] for head in heads for place in range(HEAD + 1, len(head) + 1)
        )
        # Of four last characters of texts, whether a head may begin there: most of them come again and again.
        self.ends: dict[str, bool] = {}
        self._longest = max(map(len, heads), default=0)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._rules)} patterns>"

    # --- Texts -------------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """Return a text without its secrets."""
        if self.suspect(text) is None:
            return text
        return replaced(text, self.spans(text))

    def spans(self, text: str) -> list[Span]:
        """Return the secrets in a text in order, those that overlap as one."""
        low = folded(text)
        found = [span for rule in self._rules_for(low) for span in rule.spans(text, low)]
        if len(found) < 2:
            return found
        found.sort(key=lambda span: span[:2])
        merged = [found[0]]
        for span in found[1:]:
            last = merged[-1]
            if span.start >= last.end:
                merged.append(span)
            elif span.end > last.end:
                merged[-1] = last._replace(end=span.end)
        return merged

    def _rules_for(self, low: str) -> list[Rule]:
        return [
            rule for rule in self._rules if not rule.triggers or any(word in low for word in rule.triggers)
        ]

    # --- Streams: see `redaction.stream` ---------------------------------------------------------------------------

    def may_end(self, end: str) -> bool:
        """Whether a text that ends in these characters, at most four, may end in the beginning of a secret's head.

        What stands before them may be the rest of an escape, and then a word begins where none seems to.
        """
        found = end in self._late or any(
            self.partial(before + end, len(before)) is not None for before in ("", "\\", "%", "%3", "a")
        )
        if len(self.ends) >= _MAX_ENDS:
            self.ends.clear()
        self.ends[end] = found
        return found

    def held_from(self, text: str, start: int) -> tuple[int, bool]:
        """Return where, at or behind `start`, the end of a text begins that may become a secret.

        Returns:
            The place, and whether the very next character may belong to a secret.
        """
        low, held, is_armed = folded(text), len(text), False
        for rule in self._rules_for(low):
            place = rule.held_from(text, low)
            if place is not None:
                is_armed = True
                held = min(held, max(place, start))
        found = self.partial(text, max(start, len(text) - self._longest))
        if found is not None:
            is_armed = True
            held = min(held, found.start())
        # Inside of a word a head is shown; what follows it is not.
        return held, is_armed or text[-HEAD - 1 :] in self._late


def folded(text: str) -> str:
    """Return a text in lower case, character by character: places in it are those of the text."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(one.lower() if one.isascii() else one for one in text)


def replaced(text: str, spans: Iterable[Span], start: int = 0, end: int | None = None) -> str:
    """Return a part of a text with replacements where these secrets are; one that lies on its edge is cut there."""
    end = len(text) if end is None else end
    parts: list[str] = []
    done = start
    for span in spans:
        if span.end > start and span.start < end:
            parts += text[done : max(span.start, start)], span.rule.replacement
            done = max(done, min(span.end, end))
    if not parts:
        return text if (start, end) == (0, len(text)) else text[start:end]
    parts.append(text[done:end])
    return "".join(parts)
