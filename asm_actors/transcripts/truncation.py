"""How a transcript is cut to what a model can take: its newest messages are kept. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen

from asm_actors.config import CHARS_PER_TOKEN
from asm_actors.serialization import check_integer
from asm_actors.transcripts.message import Message

__all__ = ["Truncation"]


def _bound(value: int | None) -> int | None:
    return None if value is None else check_integer(value, "a bound of a transcript", least=0)


@frozen
class Truncation:
    """What a transcript may hold. The defaults keep everything.

    Attributes:
        max_messages: at most so many messages, the last ones; this bound is applied first.
        max_chars: at most so many characters: from the newest message back, up to the first that would exceed them.
            A tool call, and what a tool answered, count as their tool's name only.
        max_tokens_approx: at most so many tokens, if ``max_chars`` is not given.
        chars_per_token: how many characters a token has, roughly.

    Raises:
        ValidationError: a bound is no integer of at least 0.
    """

    max_messages: int | None = field(default=None, converter=_bound)
    max_chars: int | None = field(default=None, converter=_bound)
    max_tokens_approx: int | None = field(default=None, converter=_bound)
    chars_per_token: int = CHARS_PER_TOKEN

    @property
    def takes_all(self) -> bool:
        """Whether it keeps everything."""
        return self.max_messages is None and self._budget() is None

    def cut(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages that stay: the end of what is given, without gaps."""
        kept = tuple(messages)
        if self.max_messages is not None:
            kept = kept[max(len(kept) - self.max_messages, 0) :]
        budget = self._budget()
        if budget is None:
            return kept
        begin = len(kept)
        while begin and (budget := budget - _size(kept[begin - 1])) >= 0:
            begin -= 1
        return kept[begin:]

    def _budget(self) -> int | None:
        if self.max_chars is not None:
            return self.max_chars
        return None if self.max_tokens_approx is None else self.max_tokens_approx * self.chars_per_token


def _size(message: Message) -> int:
    return len(message.content) if message.tool_name is None else len(message.tool_name)
