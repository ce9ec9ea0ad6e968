"""Names of topics, made and read.

::

    <prefix>:session:<session id>                       everything of a session
    <prefix>:session:<session id>:run:<run id>          what one of its runs does
    <prefix>:session:<session id>:type:<event type>     its events of one type

Ids may hold any sign. A colon or a percent sign in one is written as in a URL (``%3A``, ``%25``), so that each topic
is read as what it was made from.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Self

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType, parse_event_type
from asm_actors.jsonable import shown
from asm_actors.serialization import check_id, check_optional_id, invalid, parse_member

__all__ = ["DEFAULT_PREFIX", "Topic", "TopicScope", "topic_of"]

DEFAULT_PREFIX: Final = "asm"
_SESSION: Final = ":session:"


class TopicScope(StrEnum):
    """How much of a session a topic is about."""

    SESSION = "session"
    RUN = "run"
    TYPE = "type"


@frozen
class Topic:
    """A topic; ``str(topic)`` is its name.

    Attributes:
        session_id: Whose events.
        run_id: Of this run only.
        type: Of this type only.
        prefix: What its name begins with.

    Raises:
        ValidationError: A field is malformed, or both a run and a type are given.
        StateError: ``invalid_event_type``.
    """

    session_id: str
    run_id: str | None = None
    type: EventType | None = None
    prefix: str = DEFAULT_PREFIX

    def __attrs_post_init__(self) -> None:
        check_id(self.session_id, "session_id")
        check_optional_id(self.run_id, "run_id")
        check_prefix(self.prefix)
        if self.type is not None:
            # Frozen: a name is turned into its member here, once.
            object.__setattr__(self, "type", parse_event_type(self.type))
        if self.run_id is not None and self.type is not None:
            raise invalid("topic", "is about a run or about a type", f"{self.run_id}, {self.type}")

    @property
    def scope(self) -> TopicScope:
        """How much of the session it is about."""
        if self.run_id is not None:
            return TopicScope.RUN
        return TopicScope.SESSION if self.type is None else TopicScope.TYPE

    def __str__(self) -> str:
        name = f"{self.prefix}{_SESSION}{_escaped(self.session_id)}"
        if self.run_id is not None:
            return f"{name}:run:{_escaped(self.run_id)}"
        return name if self.type is None else f"{name}:type:{self.type}"

    def matches(self, event: Event) -> bool:
        """Whether an event belongs to it."""
        return (
            event.session_id == self.session_id
            and (self.run_id is None or event.run_id == self.run_id)
            and (self.type is None or event.type is self.type)
        )

    @classmethod
    def parse(cls, name: Any, prefix: str = DEFAULT_PREFIX) -> Self:
        """Read the name of a topic.

        Args:
            name: What ``str`` of a topic gave.
            prefix: With which it must begin.

        Raises:
            ValidationError: It is no name of a topic.
            StateError: ``invalid_event_type``.
        """
        start = check_prefix(prefix) + _SESSION
        if not isinstance(name, str) or not name.startswith(start):
            raise invalid("topic", f"must begin with {start}", name)
        parts = name[len(start) :].split(":")
        if len(parts) == 1:
            return cls(_plain(parts[0], name), prefix=prefix)
        if len(parts) == 3 and parts[1] == "run":
            return cls(_plain(parts[0], name), run_id=_plain(parts[2], name), prefix=prefix)
        if len(parts) == 3 and parts[1] == "type":
            return cls(_plain(parts[0], name), type=parse_event_type(parts[2]), prefix=prefix)
        raise invalid("topic", "must end after the session, or in :run:<id> or :type:<event type>", name)


def topic_of(
    event: Event, scope: TopicScope | str = TopicScope.SESSION, prefix: str = DEFAULT_PREFIX
) -> Topic:
    """The topic an event goes to; one of the session itself has no run, and goes to the session's with any scope.

    Raises:
        ValidationError: There is no such scope, or the prefix is malformed.
    """
    chosen = parse_member(TopicScope, scope, ErrorCode.VALIDATION_ERROR)
    if chosen is TopicScope.RUN:
        return Topic(event.session_id, run_id=event.run_id, prefix=prefix)
    return Topic(event.session_id, type=event.type if chosen is TopicScope.TYPE else None, prefix=prefix)


def check_prefix(prefix: Any) -> str:
    """Return a prefix that a topic can begin with, else raise ``validation_error``."""
    found = check_id(prefix, "prefix")
    if _SESSION in found + ":":
        raise invalid("prefix", f"must not hold {_SESSION}", prefix)
    return found


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace(":", "%3A")


def _plain(part: str, name: str) -> str:
    plain = part.replace("%3A", ":").replace("%25", "%")
    if _escaped(plain) != part:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR, f"{shown(part)} in the topic {shown(name)} is not escaped as ids are"
        )
    return plain
