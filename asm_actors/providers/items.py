"""What a provider yields while it answers one turn.

Three rules; ``asm_actors.testing.provider_contract`` holds every provider to them:

1. A turn that succeeds opens with one :class:`TurnStarted` and closes with one :class:`TurnDone`; nothing
   follows that. Only :class:`Raw` may come before the opening. A turn that fails raises an ``AsmError``
   instead of closing.
2. A :class:`ToolCallEnded` follows the :class:`ToolCallStarted` of its id. A call that is still open at the
   :class:`TurnDone` is the host's to run; a call which the provider ran itself is closed by then.
3. Numbers in :class:`Usage` are totals of this turn so far, so the last one counts and a turn that is cut
   short keeps what was known of it. At least one comes before the :class:`TurnDone`.

Items are named tuples: a thousand streams make fifty thousand of them each second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = [
    "EMPTY",
    "ITEM_TYPES",
    "Item",
    "MessageDone",
    "Raw",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallEnded",
    "ToolCallStarted",
    "TurnDone",
    "TurnStarted",
    "Usage",
]

EMPTY: Final[Mapping[str, Any]] = {}
"""The empty map that items share as a default; nobody changes it. A plain dict, so that it can be encoded."""


class TurnStarted(NamedTuple):
    """The provider accepted the turn."""

    model: str | None = None
    """The model that answers, as the provider names it; None if it has none."""

    provider_session_id: str | None = None
    """The provider's own name of the conversation, for native continuation; None if it keeps none."""

    tools: tuple[str, ...] = ()
    """Names of the tools the model may call."""


class TextDelta(NamedTuple):
    """A piece of the answer, in order; never empty."""

    text: str


class ThinkingDelta(NamedTuple):
    """A piece of the model's reasoning, in order; never empty."""

    text: str


class ToolCallStarted(NamedTuple):
    """The model calls a tool; its input is complete."""

    id: str
    """The provider's id of the call; unique in the run."""

    name: str
    """The tool."""

    input: Mapping[str, Any] = EMPTY
    """Arguments, JSON-ready."""


class ToolCallEnded(NamedTuple):
    """A tool that the provider ran itself has finished."""

    id: str
    """Id of the :class:`ToolCallStarted`."""

    name: str
    """The tool."""

    output: Any = None
    """What the tool gave, JSON-ready."""

    is_error: bool = False
    """True if the tool failed, or was refused."""


class Usage(NamedTuple):
    """Tokens of this turn so far: totals, not increments."""

    input_tokens: int
    """Tokens of the request, without those read from or written to a cache."""

    output_tokens: int
    """Tokens of the answer, reasoning included."""

    cache_read_tokens: int = 0
    """Tokens of the request that came from the provider's cache."""

    cache_creation_tokens: int = 0
    """Tokens of the request that were put into the provider's cache."""


class MessageDone(NamedTuple):
    """One message is complete."""

    content: str
    """Its text."""

    blocks: tuple[dict[str, Any], ...] = ()
    """Its content blocks as the provider wants them back in the next turn; empty if the text says it all."""

    role: str = "assistant"
    """Who speaks: ``assistant``, or ``tool`` for a provider that is a command."""


class TurnDone(NamedTuple):
    """The turn is complete; the last item."""

    stop_reason: str = "end_turn"
    """Why the provider stopped, in its own words; ``tool_use`` asks the host to run the open tool calls."""

    output: Mapping[str, Any] | None = None
    """The turn's result, JSON-ready; None leaves the host to make it from the messages."""

    cost_usd: float | None = None
    """Price of the turn in US dollars if the provider says it."""

    metadata: Mapping[str, Any] = EMPTY
    """Anything else worth keeping with the run, JSON-ready."""


class Raw(NamedTuple):
    """Anything else worth journalling, such as a retry inside the provider."""

    type: str
    """What it is, in the provider's words, such as ``api_retry``."""

    data: Mapping[str, Any] = EMPTY
    """JSON-ready."""


Item: TypeAlias = (
    TurnStarted
    | TextDelta
    | ThinkingDelta
    | ToolCallStarted
    | ToolCallEnded
    | Usage
    | MessageDone
    | TurnDone
    | Raw
)
"""Everything a provider may yield."""

ITEM_TYPES: Final[tuple[type[Item], ...]] = (
    TurnStarted,
    TextDelta,
    ThinkingDelta,
    ToolCallStarted,
    ToolCallEnded,
    Usage,
    MessageDone,
    TurnDone,
    Raw,
)
"""The classes of :data:`Item`."""
