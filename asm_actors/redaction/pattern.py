"""What a secret looks like: `Pattern`, and builders for the two shapes that nearly all of them have. Pure.

1. A *token* shows itself by its head (``ghp_…``); all of it is the secret.
2. An *assignment* shows itself by what stands before it (``password: …``); the prefix stays, the value goes.

A text that holds a secret is recognised in three steps, cheapest first: the pivots of all patterns are searched at
once; then a pattern is tried only if one of its triggers is in the text; then its regex decides. Each regex is linear:
what may follow an unbounded run is nothing that the run itself could hold.

A stream is cut anywhere, so each pattern also tells what its secrets may look like before they can be told from
innocent text (`opening`), in at most `HOLD` characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
from attrs import field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_id, check_text, invalid

__all__ = ["EDGE", "HOLD", "Pattern", "assignment", "beginnings", "checked_regex", "token"]

HOLD: Final = 512
"""Characters of a stream that may be held back because they may become a secret."""

# The start of a word: no letter or digit before it, unless those end an escape (``\n``, ``%3D``).
EDGE: Final = r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))"


def checked_regex(value: object, what: str) -> str:
    """Return a regular expression as it was given.

    Raises:
        ValidationError: It is no text, cannot be compiled, or matches the empty text (it would redact everything).
    """
    text = check_text(value, what)
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR, f"{what} is no regular expression: {error}", details={"field": what}
        ) from error
    if compiled.search("") is not None:
        raise invalid(what, "must not match the empty text", text)
    return text


def _regex(instance: Any, attribute: Any, value: Any) -> None:
    checked_regex(value, f"the regex of pattern {instance.name}")


def _opening(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        try:
            re.compile(check_text(value, f"the opening of pattern {instance.name}"))
        except re.error as error:
            raise invalid(f"the opening of pattern {instance.name}", f"is broken ({error})", value) from error


def _name(instance: Any, attribute: Any, value: Any) -> None:
    check_id(value, f"the {attribute.name} of a pattern")


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise invalid("the triggers of a pattern", "must be a list of texts", value)
    return tuple(check_text(one, "a trigger of a pattern") for one in value)


@frozen
class Pattern:
    r"""One kind of secret.

    Attributes:
        name: its name.
        category: what a categorized replacement says: ``[REDACTED:<category>]``.
        regex: finds it; of the group ``secret``, if there is one, that part is replaced, else the whole match.
        triggers: texts, in lower case, of which each text with such a secret holds at least one. If there are none,
            every text is searched with the regex.
        opening: a regex that matches, at the end of a text, what may yet become such a secret; of the group ``held``,
            if there is one, that part is held back. None: the last 256 characters of each stream are held back.
        keys: a regex for whole keys of maps, in lower case; the text under such a key is a secret.
        values: a regex which that text, in lower case, must match from its beginning; None: four characters or more.
        rest: a regex for what goes on with such a secret, for one that is too long to be kept whole.
        folded: whether `regex` and `opening` are matched against the text in lower case.
        pivots: regexes of which one matches wherever the secret's head is complete, each beginning with a literal
            character, a rare one; made of `triggers` if there are none.
        heads: beginnings of the secret: what of one stands at the end of a stream is held back. None: the triggers.

    Raises:
        ValidationError: A field is malformed, or a regex cannot be compiled or matches the empty text.

    Example::

        Pattern("customer", "customer", r"CUST-\d{8}", triggers=["cust-"], opening=r"CUST-\d{0,8}")
    """

    name: str = field(validator=_name)
    category: str = field(validator=_name)
    regex: str = field(validator=_regex)
    triggers: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    opening: str | None = field(default=None, validator=_opening, kw_only=True)
    keys: str | None = field(default=None, validator=_opening, kw_only=True)
    values: str | None = field(default=None, validator=_opening, kw_only=True)
    rest: str | None = field(default=None, validator=_opening, kw_only=True)
    folded: bool = field(default=False, kw_only=True)
    pivots: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    heads: tuple[str, ...] | None = field(
        default=None, converter=attrs.converters.optional(_texts), kw_only=True
    )

    @property
    def beginnings(self) -> tuple[str, ...]:
        """Beginnings of its secrets, as they may be written."""
        if self.heads is not None:
            return self.heads
        return tuple(form for text in self.triggers for form in (text, text.upper(), text.capitalize()))


def token(
    name: str,
    heads: Sequence[str],
    body: str,
    least: int,
    *,
    pivots: Sequence[str],
    whole_word: bool = False,
) -> Pattern:
    """Make the pattern of a token.

    Args:
        name: its name and category.
        heads: what it begins with, one of these.
        body: a class of characters, as a regex.
        least: how many of these follow.
        pivots: see `Pattern`.
        whole_word: whether the head counts only where a word begins.
    """
    edge = EDGE if whole_word else ""
    either = "|".join(map(re.escape, heads))
    return Pattern(
        name,
        name,
        f"{edge}(?:{either}){body}{{{least},}}",
        triggers=tuple(head.lower() for head in heads),
        opening=f"{edge}(?P<held>(?:{either}){body}{{0,{least - 1}}})",
        rest=f"{body}*",
        pivots=pivots,
        heads=heads,
    )


def beginnings(heads: Iterable[str]) -> str:
    """Return a regex for what, at the end of a text and where a word begins, may become one of these heads.

    Inside of a word hardly ever a secret begins: then its head is shown, and what follows it is not.
    """
    return rf"{EDGE}{_tree(set(heads))}\Z"


def _tree(texts: set[str]) -> str:
    """Return a regex for every beginning of one of these texts."""
    branches = []
    for first in sorted({text[0] for text in texts if text}):
        rest = _tree({text[1:] for text in texts if text[:1] == first})
        branches.append(re.escape(first) + (f"{rest}?" if rest else ""))
    return f"(?:{'|'.join(branches)})" if branches else ""


# What may stand between a name and its value: a closing quote, the sign, a bracket if a quote follows, a quote.
# In JSON inside of JSON the quotes are escaped, as often as it is nested; in the `repr` of a text so are line breaks.
_GAP: Final = r"(?:\s|\\{1,4}[nrt]){0,8}"
_SIGN: Final = rf"(?:\\{{0,7}}[\"'`])?\]?{_GAP}(?:=>|:=|[:=]){_GAP}(?:[\[(]{_GAP}(?=\\{{0,7}}[\"'`]))?"
_BARE: Final = r"[^\s\"'`,;&<>(){}\[\]|\\]"


def _opened(quote: str) -> str:
    """A regex for an opening quote, as a group of this name."""
    return rf"(?P<{quote}>(?P<{quote}_escape>\\{{1,7}})?[\"'`])"


def _quoted(quote: str) -> str:
    """A regex for a character behind that quote. One that is escaped once more than the opening one ends nothing."""
    end = rf"(?<!\\)(?({quote}_escape)|(?:\\\\){{0,8}})(?P={quote})"
    return rf"(?:[^\n\"'`\\]|(?!{end})[\"'`\\])"


_QUOTE: Final = f"{_opened('quote')}?"
_QUOTED: Final = _quoted("quote")
# Values that say what a value would be, and hold none; as a whole, and as a beginning.
_TYPES: Final = (
    "str|string|text|none|null|nil|true|false|undefined|required|optional|secretstr|any|bool|int|integer|hidden"
    r"|env\.[a-z0-9_]{1,64}|\$[a-z0-9_]{1,64}|<[a-z0-9 _-]{1,64}>|\*{1,64}|x{4,64}|\.{3}"
)
_CALLS: Final = r"\$\{|\$\(|\{\{|\[redacted|os\.environ|os\.getenv|process\.env|getenv\(|input\("
_PLACEHOLDER: Final = rf"(?!(?:{_TYPES})(?(quote)(?P=quote)|(?!{_BARE}))|{_CALLS})"
_NO_VALUE: Final = rf"(?!(?:{_TYPES})\Z|{_CALLS})"
_UNDECIDED: Final = 16
"""Characters of a value after which it is no placeholder."""


def assignment(name: str, words: str, least: int, *, triggers: Sequence[str], before: str = "") -> Pattern:
    """Make the pattern of a value that is given to a name which says what it is.

    Args:
        name: the pattern's name and category.
        words: a regex for the names, in lower case.
        least: characters the value has at least.
        triggers: see `Pattern`.
        before: a regex for what may stand before the value and belongs to the prefix.
    """
    name_and_sign = f"(?:{words}){_SIGN}"
    prefix = f"{name_and_sign}{_QUOTE}{before}"
    begun = rf"\\{{0,7}}|{_QUOTE}[a-z]{{0,8}}\s{{0,4}}" if before else r"\\{0,7}"
    held = rf"(?P<held>(?(quote){_QUOTED}{{0,{_UNDECIDED}}}|{_BARE}{{0,{_UNDECIDED}}}))"
    # The value may be an assignment itself (`api_key: my_api_key="…"`): all of that goes.
    inner = rf"(?:[a-z0-9_.-]{{0,32}}?(?:{words}){_SIGN}){{1,4}}"
    inner += rf"(?:{_opened('inner')}{_quoted('inner')}{{0,4096}}|{_BARE}*)"
    bare = rf"(?:{inner}|{_BARE}{{{least},}})"
    for group in ("(?P<quote>", "(?P<quote_escape>"):  # they are there a second time
        begun = begun.replace(group, "(?:")
    return Pattern(
        name,
        name,
        rf"{prefix}{_PLACEHOLDER}(?P<secret>(?(quote){_QUOTED}{{{least},4096}}|{bare}))",
        triggers=triggers,
        heads=(),
        opening=rf"{name_and_sign}(?:{_QUOTE}{before}{held}|{begun})",
        keys=rf".*(?:{words})",
        values=rf"{before}{_NO_VALUE}[\s\S]{{{least},}}",
        rest=f"{_BARE}*",
        folded=True,
        pivots=("=", ":"),
    )
