"""One streamed answer of Anthropic's Messages API, read event by event. Pure: no I/O, no SDK.

Events come in as plain maps; items go out. Three rules:

1. A turn is complete only with ``message_stop``. Whatever ends earlier is an error, never a short answer.
2. An event type, block type or delta type that is not known here is passed over: the API adds them over time.
3. A tool call is yielded when its input is complete and parses. A call that was cut off, by ``max_tokens``
   for example, is dropped and named in the metadata, since nobody may run half a command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.normalization.provider_error import ProviderErrorInfo, ProviderErrorKind
from asm_actors.providers.items import (
    Item,
    MessageDone,
    TextDelta,
    ThinkingDelta,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)

__all__ = ["PROVIDER", "StreamReader", "malformed", "said", "truncated"]

PROVIDER: Final = "claude"
"""Who speaks, in the normal form of errors."""


_USAGE: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
}
_CALLS: Final = frozenset({"tool_use", "server_tool_use"})
# Stop reasons that may leave the last block unfinished.
_CUT_OFF: Final = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})
_Block = dict[str, Any]


def said(kind: ProviderErrorKind, message: str) -> dict[str, Any]:
    """Return what the provider said, in the normal form that all providers share."""
    return ProviderErrorInfo(provider=PROVIDER, kind=kind, message=message).to_map()


def malformed(what: str, event: Any = None) -> AsmError:
    """Return the error for bytes that are no answer. Not retryable: the same bytes would come again."""
    return AsmError(
        ErrorCode.PROVIDER_ERROR,
        f"the provider's stream is malformed: {what}",
        details={} if event is None else {"event": f"{event!r:.300}"},
        provider_error=said(ProviderErrorKind.PARSE_ERROR, what),
    )


def truncated(what: str) -> AsmError:
    """Return the error for an answer that ended before it was complete. Retryable, as any lost connection."""
    return AsmError(
        ErrorCode.PROVIDER_UNAVAILABLE,
        f"the provider's stream broke off: {what}",
        provider_error=said(ProviderErrorKind.CONNECTION_ERROR, what),
    )


class StreamReader:
    """Turns the events of one answer into items. Feed every event; ask :attr:`done` when the stream is over.

    Args:
        tools: names of the tools that the request offered.
    """

    def __init__(self, tools: tuple[str, ...] = ()) -> None:
        self.done = False
        self._tools = tools
        self._started = False
        self._open: dict[int, _Block] = {}
        self._parts: dict[int, list[str]] = {}
        self._blocks: list[_Block] = []
        self._calls: list[_Block] = []
        self._unfinished: list[str] = []
        # A call without any input may be complete, or cut off before the first byte: what follows tells.
        self._held: _Block | None = None
        self._usage = dict.fromkeys(_USAGE, 0)
        self._end: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}

    @property
    def started(self) -> bool:
        """Whether ``message_start`` was seen."""
        return self._started

    def feed(self, event: Any) -> tuple[Item, ...]:
        """Return the items that one event completes.

        Raises:
            ProviderError: the event breaks the protocol, or is an error event without the SDK's help.
        """
        if self.done:
            return ()
        try:
            handler = _HANDLERS.get(event["type"])
            if handler is None:
                return ()
            if not self._started and event["type"] != "message_start":
                raise malformed("it does not begin with message_start", event)
            return tuple(handler(self, event))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            # The shapes of foreign data are checked by using them; what does not fit is the sender's mistake.
            raise malformed(f"unexpected shape ({error!r:.100})", event) from error

    def _message_start(self, event: Mapping[str, Any]) -> Iterator[Item]:
        if self._started:
            raise malformed("a second message_start", event)
        message = event["message"]
        self._metadata["message_id"] = message.get("id")
        self._count(message.get("usage"))
        self._started = True
        yield TurnStarted(message.get("model"), None, self._tools)
        yield Usage(**self._usage)

    def _block_start(self, event: Mapping[str, Any]) -> Iterator[Item]:
        index, block = event["index"], dict(event["content_block"])
        if index in self._open:
            raise malformed(f"block {index} starts twice", event)
        self._open[index] = block
        self._parts[index] = []
        yield from self._release()
        kind = block["type"]
        if kind == "text" and block.get("text"):
            yield self._text(index, block["text"])
        elif kind == "thinking" and block.get("thinking"):
            yield self._thinking(index, block["thinking"])
        elif kind.endswith("_tool_result"):
            content = block.get("content")
            is_error = isinstance(content, Mapping) and str(content.get("type", "")).endswith("_error")
            name = next((call["name"] for call in self._calls if call["id"] == block["tool_use_id"]), kind)
            yield ToolCallEnded(block["tool_use_id"], name, content, is_error)

    def _block_delta(self, event: Mapping[str, Any]) -> Iterator[Item]:
        index, delta = event["index"], event["delta"]
        block = self._open.get(index)
        if block is None:
            raise malformed(f"a delta for block {index}, which is not open", event)
        kind = delta["type"]
        if kind == "text_delta":
            if delta["text"]:
                yield self._text(index, delta["text"])
        elif kind == "thinking_delta":
            if delta["thinking"]:
                yield self._thinking(index, delta["thinking"])
        elif kind == "input_json_delta":
            self._parts[index].append(delta["partial_json"])
        elif kind == "signature_delta":
            block["signature"] = delta["signature"]
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]

    def _text(self, index: int, text: str) -> TextDelta:
        self._parts[index].append(text)
        return TextDelta(text)

    def _thinking(self, index: int, text: str) -> ThinkingDelta:
        self._parts[index].append(text)
        return ThinkingDelta(text)

    def _block_stop(self, event: Mapping[str, Any]) -> Iterator[Item]:
        index = event["index"]
        if index not in self._open:
            raise malformed(f"block {index} stops, and is not open", event)
        block, whole = self._open.pop(index), "".join(self._parts.pop(index))
        kind = block["type"]
        if kind in ("text", "thinking"):
            block[kind] = whole
        elif kind in _CALLS:
            if not self._complete(block, whole):
                return
            self._held = block
            if block["input"]:
                yield from self._release()
            return
        self._blocks.append(block)

    def _release(self) -> Iterator[Item]:
        """Yield the call that is held back, now that it is known to be complete."""
        block, self._held = self._held, None
        if block is not None:
            self._blocks.append(block)
            self._calls.append({"id": block["id"], "name": block["name"], "input": block["input"]})
            yield ToolCallStarted(block["id"], block["name"], block["input"])

    def _complete(self, block: _Block, text: str) -> bool:
        """Put the streamed input into a tool call; note the call as unfinished if it does not parse."""
        try:
            given = json.loads(text) if text else block.get("input") or {}
        except ValueError:
            given = None
        if not isinstance(given, dict):
            self._unfinished.append(block["name"])
            return False
        block["input"] = given
        return True

    def _message_delta(self, event: Mapping[str, Any]) -> Iterator[Item]:
        self._end.update({key: value for key, value in event["delta"].items() if value is not None})
        if self._count(event.get("usage")):
            yield Usage(**self._usage)

    def _message_stop(self, event: Mapping[str, Any]) -> Iterator[Item]:
        reason = self._end.get("stop_reason") or "end_turn"
        if self._open:
            raise malformed("the message stops inside a block", event)
        if reason in _CUT_OFF and self._held is not None:
            self._unfinished.append(self._held["name"])
            self._held = None
        if self._unfinished:
            if reason not in _CUT_OFF:
                raise malformed(f"the input of {self._unfinished[0]!r} is no JSON object")
            self._metadata["unfinished_tool_calls"] = self._unfinished
        yield from self._release()
        content = "".join(block["text"] for block in self._blocks if block["type"] == "text")
        self._metadata |= {key: value for key, value in self._end.items() if key != "stop_reason"}
        self.done = True
        yield MessageDone(content, tuple(self._blocks))
        yield TurnDone(
            reason,
            {"content": content, "stop_reason": reason, "tool_calls": self._calls},
            None,
            self._metadata,
        )

    def _count(self, usage: Mapping[str, Any] | None) -> bool:
        """Take over the totals that an event states; tell whether one of them changed."""
        before = dict(self._usage)
        for ours, theirs in _USAGE.items():
            stated = (usage or {}).get(theirs)
            if isinstance(stated, int):
                self._usage[ours] = stated
        return self._usage != before


_HANDLERS: Final = {
    "message_start": StreamReader._message_start,
    "content_block_start": StreamReader._block_start,
    "content_block_delta": StreamReader._block_delta,
    "content_block_stop": StreamReader._block_stop,
    "message_delta": StreamReader._message_delta,
    "message_stop": StreamReader._message_stop,
}
