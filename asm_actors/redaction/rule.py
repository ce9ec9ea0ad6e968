"""Patterns as they are searched for: compiled, one by one (`Rule`) and all at once (`any_of`). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import quote

from asm_actors.redaction.pattern import Pattern
from asm_actors.redaction.settings import CATEGORIZED

__all__ = ["HEAD", "NEVER", "KnownRule", "Rule", "Span", "any_of", "forms_of"]

HEAD: Final = 3
"""Characters of a head before it shows itself by a pivot."""
NEVER: Final = re.compile(r"(?!)")
"""Matches nothing."""
_LAG: Final = 256
"""Characters of a stream that are held back for a pattern that does not say how its secrets begin."""


class Span(NamedTuple):
    """A secret in a text."""

    start: int
    """Its first character."""
    end: int
    """The place after its last one."""
    rule: Rule
    """What found it."""


class Rule:
    """A pattern, compiled.

    Args:
        pattern: The pattern.
        replacement: What stands where its secrets were.
    """

    __slots__ = ("folded", "keys", "name", "opening", "regex", "replacement", "rest", "triggers", "values")

    def __init__(self, pattern: Pattern, replacement: str) -> None:
        self.name = pattern.name
        self.replacement = f"[REDACTED:{pattern.category}]" if replacement == CATEGORIZED else replacement
        self.regex = re.compile(pattern.regex)
        self.opening = None if pattern.opening is None else _at_end(pattern.opening)
        self.rest = None if pattern.rest is None else re.compile(pattern.rest)
        self.keys = None if pattern.keys is None else re.compile(pattern.keys)
        self.values = None if pattern.values is None else re.compile(pattern.values)
        self.triggers = tuple(trigger.lower() for trigger in pattern.triggers)
        self.folded = pattern.folded

    def spans(self, text: str, low: str) -> Iterator[Span]:
        """Find its secrets in a text."""
        group = "secret" if "secret" in self.regex.groupindex else 0
        for found in self.regex.finditer(low if self.folded else text):
            start, end = found.span(group)
            if start < 0:
                start, end = found.span()
            if start < end:
                yield Span(start, end, self)

    def held_from(self, text: str, low: str) -> int | None:
        """Where at the end of a text one of its secrets may have begun; the text's length: right behind it; or None."""
        if self.opening is None:
            return max(0, len(text) - _LAG)
        found = self.opening.search(low if self.folded else text)
        if found is None:
            return None
        held = found.start("held") if "held" in self.opening.groupindex else found.start()
        return len(text) if held < 0 else held


class KnownRule(Rule):
    """A text that is a secret wherever it stands.

    Args:
        text: The text.
        replacement: What stands where it was.
    """

    __slots__ = ("_text", "pattern")

    def __init__(self, text: str, replacement: str) -> None:
        self.pattern = _known_pattern(text)
        super().__init__(self.pattern, replacement)
        self._text = text

    def held_from(self, text: str, low: str) -> int | None:
        for length in range(min(len(self._text) - 1, len(text)), HEAD, -1):
            if text.endswith(self._text[:length]):
                return len(text) - length
        return None


def any_of(patterns: Iterable[Pattern]) -> re.Pattern[str]:
    """Compile what tells at once that a text holds no secret of any of these patterns.

    Each branch begins with a literal character of its own: all other characters are skipped without trying anything.
    """
    branches: dict[str, dict[str, None]] = {}
    for pattern in patterns:
        if not pattern.triggers:
            return re.compile("")
        for pivot in pattern.pivots or map(_pivot_of, pattern.triggers):
            size = 2 if pivot[0] == "\\" else 1
            for first in {pivot[:size], pivot[:size] if pattern.pivots else pivot[:size].upper()}:
                branches.setdefault(first, {})[pivot[size:]] = None
    whole = [
        first if "" in rests else f"{first}(?:{'|'.join(rests)})" for first, rests in sorted(branches.items())
    ]
    return re.compile("|".join(whole)) if whole else NEVER


def _pivot_of(trigger: str) -> str:
    """A trigger, in whatever case it is written."""
    rest = re.escape(trigger[1 : HEAD + 1])
    return re.escape(trigger[0]) + (f"(?i:{rest})" if rest else "")


def forms_of(secrets: Iterable[str]) -> Iterable[str]:
    """Texts that are known, also as they look inside of JSON and of a URL."""
    forms: dict[str, None] = {}
    for secret in secrets:
        escaped = json.dumps(secret), json.dumps(secret, ensure_ascii=False)
        forms.update(dict.fromkeys((secret, escaped[0][1:-1], escaped[1][1:-1], quote(secret, ""))))
    return forms


def _known_pattern(text: str) -> Pattern:
    place = max(range(min(HEAD + 1, len(text))), key=lambda place: _COMMON.find(text[place]) % len(_COMMON))
    before, after = re.escape(text[: place + 1]), re.escape(text[place + 1 : HEAD + 1])
    return Pattern(
        "known_secret",
        "known_secret",
        re.escape(text),
        triggers=(text[: HEAD + 1].lower(),),
        opening="(?!)",
        pivots=(f"{re.escape(text[place])}(?<={before}){after}",),
        heads=(text[: HEAD + 1],),
    )


# From the most common characters of texts to rare ones; whatever is not among them is the rarest of all.
_COMMON: Final = " etaoinsrhldcumfpgwybvkxjqz"


def _at_end(regex: str) -> re.Pattern[str]:
    flags = re.match(r"\(\?[aiLmsux]+\)|", regex)
    start = flags.end() if flags is not None else 0
    return re.compile(rf"{regex[:start]}(?:{regex[start:]})\Z")
