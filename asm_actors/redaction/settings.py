"""`Redaction`: what is taken out before the journal is written. Pure.

1. What is redacted is redacted for good: events, records of sessions and runs, and so everything that is made of them
   (subscribers, callbacks, results, transcripts, exports) show the same text that is stored.
2. A live attempt of a run sees the original. One that is taken up again after a restart, a session that was out of
   memory for a while, and a conversation that is continued read the journal, and see the redacted text.
3. Names are not redacted, for one that is changed finds nothing any more: ids, agent names, provider names, tags and
   idempotency keys. A call that gives a secret as one of these is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from attrs import field, frozen

from asm_actors.config import REDACTION_REPLACEMENT
from asm_actors.redaction.defaults import DEFAULT_PATTERNS
from asm_actors.redaction.pattern import Pattern, checked_regex
from asm_actors.serialization import check_integer, check_text, invalid

__all__ = ["CATEGORIZED", "Redaction", "patterns_of", "secrets_of_environment"]

CATEGORIZED: Final = "categorized"
"""The replacement that says of which category the secret was: ``[REDACTED:anthropic_key]``."""
LEAST_KNOWN: Final = 6
"""Characters of the shortest text that may be called a known secret: a shorter one stands in too many texts."""
LEAST_FROM_ENVIRONMENT: Final = 12
"""Characters of the shortest value of an environment variable that is taken for a secret."""
_SECRET_NAMES: Final = re.compile(
    r"(?:API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|SECRET_?KEY|ACCESS_KEY)\Z", re.IGNORECASE
)


def _patterns(value: object) -> tuple[Pattern, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise invalid("redaction.patterns", "must be a list of patterns", value)
    made = []
    for number, one in enumerate(value, 1):
        if isinstance(one, Pattern):
            made.append(one)
        elif isinstance(one, str):
            made.append(
                Pattern(f"custom_{number}", "custom", checked_regex(one, f"redaction.patterns[{number - 1}]"))
            )
        else:
            raise invalid(
                f"redaction.patterns[{number - 1}]", "must be a Pattern, or a regular expression", one
            )
    names = [pattern.name for pattern in made]
    for name in names:
        if names.count(name) > 1:
            raise invalid("redaction.patterns", "must have different names", name)
    return tuple(made)


def _known(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise invalid("redaction.known_secrets", "must be a list of texts", "something else")
    for one in value if isinstance(value, tuple | list | set | frozenset) else (value := tuple(value)):
        # The text itself is not shown: it may be a secret all the same.
        if not isinstance(one, str) or len(one) < LEAST_KNOWN:
            rule = f"must hold texts of {LEAST_KNOWN} characters or more"
            raise invalid(
                "redaction.known_secrets", rule, f"one of {len(one)}" if isinstance(one, str) else one
            )
    return tuple(dict.fromkeys(value))


def _flag(instance: object, attribute: Any, value: object) -> None:
    if not isinstance(value, bool):
        raise invalid(f"redaction.{attribute.name}", "must be true or false", value)


def _text(instance: object, attribute: Any, value: object) -> None:
    check_text(value, f"redaction.{attribute.name}")


def _mode(instance: object, attribute: Any, value: object) -> None:
    if value not in ("append", "replace"):
        raise invalid(f"redaction.{attribute.name}", "must be append or replace", value)


def _depth(instance: object, attribute: Any, value: object) -> None:
    check_integer(value, f"redaction.{attribute.name}", least=1)


@frozen
class Redaction:
    r"""What is redacted, and how; checked when it is made.

    Attributes:
        enabled: whether anything is.
        patterns: more patterns, each a `Pattern` or a regular expression.
        mode: ``append``: they are searched for beside the default ones; ``replace``: instead of these.
        replacement: what stands where a secret was; ``categorized``: ``[REDACTED:<category>]``.
        deep_scan: whether lists and maps inside of a payload are looked at; without it, its own texts only.
        scan_metadata: whether metadata of events, sessions and runs is looked at.
        max_depth: how deep a payload's maps and lists are redacted in their places. A value that lies deeper is looked
            at as a whole, and replaced as a whole if it holds a secret anywhere.
        known_secrets: texts that are secrets wherever they stand. They are not shown by `repr`.
        environment: whether values of environment variables whose names end in ``API_KEY``, ``TOKEN``, ``SECRET``,
            ``PASSWORD``, … are known secrets too, if they have twelve characters or more. They are read at the start.

    Raises:
        ValidationError: A field is malformed, or a regular expression is broken or matches the empty text.

    Example::

        ActorSystem.start(..., redaction=Redaction(patterns=[r"CUST-\d{8}"], replacement="categorized"))
    """

    enabled: bool = field(default=True, validator=_flag)
    patterns: tuple[Pattern, ...] = field(default=(), converter=_patterns)
    mode: Literal["append", "replace"] = field(default="append", validator=_mode)
    replacement: str = field(default=REDACTION_REPLACEMENT, validator=_text)
    deep_scan: bool = field(default=True, validator=_flag)
    scan_metadata: bool = field(default=True, validator=_flag)
    max_depth: int = field(default=10, validator=_depth)
    known_secrets: tuple[str, ...] = field(default=(), converter=_known, repr=False)
    environment: bool = field(default=True, validator=_flag)


def patterns_of(redaction: Redaction) -> tuple[Pattern, ...]:
    """Return the patterns in force: the defaults and the own ones, of which one of the same name takes the place."""
    if redaction.mode == "replace":
        return redaction.patterns
    own = {pattern.name for pattern in redaction.patterns}
    return (*(pattern for pattern in DEFAULT_PATTERNS if pattern.name not in own), *redaction.patterns)


def secrets_of_environment(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of environment variables whose names say that they are secrets."""
    return tuple(
        value
        for name, value in environ.items()
        if len(value) >= LEAST_FROM_ENVIRONMENT and _SECRET_NAMES.search(name)
    )
