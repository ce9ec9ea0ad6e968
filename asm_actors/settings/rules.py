"""What a setting may be: a rule checks a value of any source, and reads one from the text of an environment variable.

A rule says what is legal in words that follow "must be". It does not show the value itself, and what the parts say of
theirs is redacted: it may be a secret that was put in the wrong place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, Final

from attrs import Attribute, Converter, field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import INT_MAX
from asm_actors.keyed_limits import LEAST_RATE, MOST_RATE, RATE
from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.settings import Redaction
from asm_actors.serialization import check_text, json_map
from asm_actors.settings.reading import read_json

__all__ = [
    "Rule",
    "boolean",
    "choice",
    "integer",
    "integers",
    "keyed",
    "map_for",
    "milliseconds",
    "pattern",
    "rate",
    "seconds",
    "setting",
    "text",
    "texts",
]

_NONE: Final = frozenset({"none", "null", "unlimited", "unbounded", "infinity", "infinite"})
"""Texts that stand for "no bound" where there may be none."""
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_LONGEST_S: Final = timedelta(days=36_525).total_seconds()


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    """The value is not legal."""

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why


@frozen
class Rule:
    """What one kind of setting may be.

    Attributes:
        legal: In words, after "must be".
        check: Returns the value in its normal form, or raises.
        read: Makes a value of a text; what that is, is checked afterwards.
        is_map: Whether it is a map, of which single entries can be set.
    """

    legal: str
    check: Callable[[Any], Any]
    read: Callable[[str], Any]
    is_map: bool = False
    is_quiet: bool = False
    """Whether what is wrong in detail is kept back, since it would quote what may be a secret."""

    def accept(self, name: str, value: Any) -> Any:
        """Return a value in its normal form.

        Raises:
            ValidationError: It is not legal; the message says what is.
        """
        try:
            return self.check(value)
        except _Wrong as wrong:
            raise self._refused(name, wrong.why) from None

    def accept_text(self, name: str, value: str) -> Any:
        """Return the value that a text stands for, in its normal form; errors as for `accept`."""
        try:
            found = self.read(value)
        except (ValueError, RecursionError):
            raise self._refused(name) from None
        return self.accept(name, found)

    def _refused(self, name: str, why: str = "") -> AsmError:
        # What the parts say quotes the value.
        more = f": {_redactor().text(why)}" if why and not self.is_quiet else ""
        return AsmError(
            ErrorCode.VALIDATION_ERROR, f"{name} must be {self.legal}{more}", details={"field": name}
        )


@cache
def _redactor() -> Redactor:
    return Redactor(Redaction())


def setting(default: Any, rule: Rule, help: str, *, secret: bool = False) -> Any:  # noqa: A002 - what it is
    """Declare a field of the configuration.

    Args:
        default: What it is unless somebody says otherwise.
        rule: What it may be.
        help: What it does, in a sentence.
        secret: Whether it may hold secrets, and is never shown.
    """

    def convert(value: Any, attribute: Attribute[Any]) -> Any:
        return rule.accept(attribute.name, value)

    return field(
        default=default,
        converter=Converter(convert, takes_field=True),
        metadata={"rule": rule, "help": help, "secret": secret},
        repr=not secret,
        kw_only=True,
    )


def _or_none(rule: Rule, word: str = "for no bound") -> Rule:
    def check(value: Any) -> Any:
        return None if value is None or value == math.inf else rule.check(value)

    def read(value: str) -> Any:
        return None if value.strip().lower() in _NONE else rule.read(value)

    return Rule(f"{rule.legal}, or none {word}", check, read, rule.is_map, rule.is_quiet)


def integer(least: int, most: int = INT_MAX, *, optional: bool = False) -> Rule:
    """A whole number; with `optional` also None, which in a text is ``none``, ``unlimited`` or ``infinity``."""

    def check(value: Any) -> int:
        # True is an int to Python, and as a number always a mistake.
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _Wrong
        return int(value)

    legal = f"an integer of at least {least}" if most == INT_MAX else f"an integer from {least} to {most}"
    rule = Rule(legal, check, int)
    return _or_none(rule) if optional else rule


def rate() -> Rule:
    """How often something may be in a second (see `asm_actors.keyed_limits`), or None."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Wrong
        if not LEAST_RATE <= value <= MOST_RATE:
            raise _Wrong
        return float(value)

    return _or_none(Rule(RATE, check, float))


def keyed(what: str, check_one: Callable[[object, str], Any]) -> Rule:
    """A number for every key, or a map with a number for some (see `asm_actors.keyed_limits`), or None.

    Args:
        what: Of what it is a number.
        check_one: Returns the value, or raises a `ValidationError`.
    """

    def check(value: Any) -> Any:
        try:
            return check_one(value, "it")
        except AsmError as error:
            raise _Wrong(error.message) from None

    rule = Rule(f"a number of {what}, a map with one for each key", check, read_json, is_map=True)
    return _or_none(rule, "for no limit")


def integers(least: int, most: int) -> Rule:
    """A list of whole numbers, not empty; in a text with commas between them."""
    one = integer(least, most)

    def check(value: Any) -> tuple[int, ...]:
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise _Wrong
        found = tuple(dict.fromkeys(one.check(item) for item in value))
        if not found:
            raise _Wrong("it is empty")
        return found

    return Rule(f"a list of integers from {least} to {most}", check, _list_reader(int))


def _duration(unit: str, longest: float, *, least: float, optional: bool) -> Rule:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Wrong
        # Compared before anything is made of it: an integer may be more than a float can hold.
        if not (value >= least if least == 0 else value > 0) or not value <= longest:
            raise _Wrong
        return float(value)

    bound = "of at least 0" if least == 0 else "greater than 0"
    rule = Rule(f"a number of {unit} {bound}", check, float)
    return _or_none(rule) if optional else rule


def milliseconds(*, may_be_0: bool = True, optional: bool = False) -> Rule:
    """A time in milliseconds, at most a century; fractions are taken."""
    return _duration("milliseconds", _LONGEST_S * 1000, least=0 if may_be_0 else 1, optional=optional)


def seconds(*, optional: bool = False) -> Rule:
    """A time in seconds, at most a century."""
    return _duration("seconds", _LONGEST_S, least=0, optional=optional)


def boolean() -> Rule:
    """True or false; in a text also ``yes no on off 1 0``."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise _Wrong
        return value

    def read(value: str) -> bool:
        word = value.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError
        return word in _TRUE

    return Rule("true or false", check, read)


def text(what: str = "text", *, optional: bool = False) -> Rule:
    """A text that is not empty."""

    def check(value: Any) -> str:
        if hasattr(value, "__fspath__"):
            value = value.__fspath__()
        if not isinstance(value, str) or not value or "\0" in value:
            raise _Wrong
        return _utf8(value)

    rule = Rule(what, check, str)
    # A text of its own, such as a name, may well be "none": only None itself is none.
    return rule if not optional else Rule(what, lambda value: None if value is None else check(value), str)


def choice(*names: str) -> Rule:
    """One of some names."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise _Wrong
        return str(value)

    return Rule(f"one of {', '.join(names)}", check, lambda value: value.strip().lower())


def texts(what: str, known: Iterable[str] | None = None) -> Rule:
    """A list of texts, each once; in a text with commas between them, or as a JSON list.

    Args:
        what: Of what it is a list.
        known: What may be in it; None: anything.
    """
    names = None if known is None else tuple(known)

    def check(value: Any) -> tuple[str, ...]:
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise _Wrong
        found = tuple(value)
        for item in found:
            if not isinstance(item, str) or not item:
                raise _Wrong("an item is no text, or empty")
            if names is not None and item not in names:
                raise _Wrong("one is unknown")
        return tuple(dict.fromkeys(_utf8(item) for item in found))

    legal = f"a list of {what}" + ("" if names is None else f": {', '.join(names)}")
    return Rule(legal, check, _list_reader(str))


def pattern(compile_one: Callable[[str, str], Any]) -> Rule:
    """A list of regular expressions; ``default`` stands for none.

    Args:
        compile_one: Raises a `ValidationError` for one that is broken.
    """
    several = texts("regular expressions")

    def check(value: Any) -> tuple[str, ...]:
        found: tuple[str, ...] = () if value == "default" else several.check(value)
        for number, regex in enumerate(found, 1):
            try:
                compile_one(regex, f"number {number}")
            except AsmError as error:
                raise _Wrong(error.message) from None
        return found

    def read(value: str) -> Any:
        # A comma is part of many a regular expression: several are given as a JSON list.
        word = value.strip()
        return word if word == "default" else _json_list(word) if word.startswith("[") else [value]

    return Rule('a list of regular expressions (or "default" for none)', check, read)


def map_for(
    what: str, make: Callable[[Any], Any] | None = None, *, optional: bool = False, quiet: bool = False
) -> Rule:
    """A map, JSON in a text; the value stays a map.

    Args:
        what: Of what it is a map.
        make: Makes of the map what it stands for, or raises an error that says what is wrong with it.
        optional: Whether it may be None.
        quiet: Whether what is wrong with it is not told in detail.
    """

    def check(value: Any) -> dict[str, Any]:
        try:
            found = json_map(value.to_map() if hasattr(value, "to_map") else value, "it")
            if value is None:
                raise _Wrong
            if make is not None:
                make(found)
        except AsmError as error:
            raise _Wrong(error.message) from None
        return found

    rule = Rule(f"a map of {what}", check, read_json, is_map=True, is_quiet=quiet)
    return _or_none(rule, "without") if optional else rule


def _list_reader(of_one: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(value: str) -> list[Any]:
        word = value.strip()
        if word.startswith("["):
            return _json_list(word)
        return [of_one(item.strip()) for item in word.split(",") if item.strip()]

    return read


def _json_list(value: str) -> list[Any]:
    found = read_json(value)
    if not isinstance(found, list):
        raise ValueError  # noqa: TRY004 - as for any text that cannot be read
    return found


def _utf8(value: str) -> str:
    try:
        return check_text(value, "it")
    except AsmError:
        raise _Wrong("it is no text that UTF-8 can hold") from None
