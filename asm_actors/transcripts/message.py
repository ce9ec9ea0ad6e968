"""`Message`: one contribution to a conversation."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from attrs import Factory, frozen

from asm_actors.errors import ErrorCode
from asm_actors.jsonable import jsonable, stringify_keys
from asm_actors.serialization import Fields

__all__ = ["Message", "MessageRole"]


class MessageRole(StrEnum):
    """Whose contribution it is."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@frozen
class Message:
    """One contribution to a conversation: a text, a tool call, or what a tool answered.

    Attributes:
        role: whose it is. A tool call is the assistant's, its answer the tool's.
        content: its text; empty for tool calls and for what tools answered.
        tool_call_id: which call, of a tool call and of its answer.
        tool_name: the tool, likewise.
        tool_input: of a tool call: its arguments, JSON, if they are a map.
        tool_output: of a tool's answer: any JSON value.
        metadata: ``event_id event_type run_id timestamp sequence_number`` of the event that completed it (the time as
            ISO-8601 text), and what else that event's own metadata has.
        is_partial: whether it was still being streamed at the end of what the transcript was made of: its text may
            go on.
    """

    role: MessageRole
    content: str = ""
    tool_call_id: str | None = None
    tool_name: str | None = None
    tool_input: dict[str, Any] | None = None
    tool_output: Any = None
    metadata: dict[str, Any] = Factory(dict)
    is_partial: bool = False

    def __hash__(self) -> int:
        return hash((self.role, self.content, self.tool_call_id))

    def to_map(self) -> dict[str, Any]:
        """Return the message as a JSON-ready map."""
        return {
            "role": self.role.value,
            "content": self.content,
            "tool_call_id": self.tool_call_id,
            "tool_name": self.tool_name,
            "tool_input": None if self.tool_input is None else stringify_keys(self.tool_input),
            "tool_output": jsonable(self.tool_output),
            "metadata": stringify_keys(self.metadata),
            "is_partial": self.is_partial,
        }

    @classmethod
    def from_map(cls, value: Any) -> Message:
        """Read what :meth:`to_map` wrote. ``role`` is required.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
        """
        fields = Fields(value, "message")
        return cls(
            role=fields.member("role", MessageRole, ErrorCode.VALIDATION_ERROR),
            content=fields.optional_text("content") or "",
            tool_call_id=fields.optional_text("tool_call_id"),
            tool_name=fields.optional_text("tool_name"),
            tool_input=fields.optional_map("tool_input"),
            tool_output=fields.value("tool_output"),
            metadata=fields.map("metadata"),
            is_partial=fields.boolean("is_partial", default=False),
        )
