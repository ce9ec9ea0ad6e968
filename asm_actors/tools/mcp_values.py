"""What servers of the Model Context Protocol offer and answer, as values, and the port to one of them. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from asm_actors.errors import AsmError, ErrorCode

__all__ = [
    "McpConnection",
    "NotConnectedError",
    "ServerAnswer",
    "ServerTool",
    "answer_of",
    "server_error",
    "tool_names",
]

_LONGEST: Final = 64
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")


class ServerTool(NamedTuple):
    """A tool as a server lists it."""

    name: str
    """Its name on the server, which may be any text."""
    description: str
    """What it does."""
    input_schema: dict[str, Any]
    """JSON Schema of its arguments."""
    safe_to_repeat: bool
    """Whether the server says that it only reads, or that doing it twice is doing it once."""


class ServerAnswer(NamedTuple):
    """What a server answered to a call."""

    output: Any
    """The result as JSON; of a failure its text."""
    is_error: bool
    """Whether the tool failed."""


class NotConnectedError(Exception):
    """A call was not sent, for there is no connection (any more): it can be made again."""


class McpConnection(Protocol):
    """One connection to a server, from its begin to its end; awaited on the actors' event loop."""

    async def open(self) -> tuple[ServerTool, ...]:
        """Connect, and ask for the tools. Once.

        Raises:
            AsmError: It cannot be done.
        """
        ...

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ServerAnswer:
        """Call a tool; cancelling this cancels the request at the server.

        Raises:
            AsmError: The server refused, or went meanwhile.
            NotConnectedError: It is gone already, and was not asked.
        """
        ...

    async def lost(self) -> str:
        """Return when the connection has ended by itself: how."""
        ...

    async def aclose(self) -> None:
        """End the connection, and the server's processes; returns when they are gone. Asking twice is asking once."""
        ...

    def abandon(self) -> None:
        """Have it ended, and wait for nothing."""
        ...


def server_error(server: str, text: str, code: ErrorCode = ErrorCode.TOOL_ERROR) -> AsmError:
    """Make the error for a server: it names it."""
    return AsmError(code, f"the MCP server {server!r} {text}", details={"server": server})


def tool_names(server: str, names: Iterable[str]) -> dict[str, str]:
    """Return the names under which models know a server's tools, by those that the server gave them.

    ``server__tool``, what is no letter, digit, ``_`` or ``-`` made ``_``. One that is too long, or that another tool
    has already, ends with a hash of its name on the server.
    """
    made: dict[str, str] = {}
    for name in names:
        legal = f"{server}__{_ILLEGAL.sub('_', name)}"
        if len(legal) > _LONGEST or legal in made.values() or not name:
            digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
            legal = f"{legal[: _LONGEST - 9]}_{digest}"
        made[name] = legal
    return made


def answer_of(blocks: Iterable[Mapping[str, Any]], structured: Any, *, is_error: bool) -> ServerAnswer:
    """Make the answer that a model is told of what a server answered.

    Structured content is the answer where there is some and nothing but text beside it; text alone is one text;
    pictures stay blocks, in the form in which messages hold them.

    Args:
        blocks: The content, as the protocol's JSON.
        structured: The structured content, or None.
        is_error: Whether the server said that the tool failed.
    """
    made = [_block(block) for block in blocks]
    text = "\n".join(block["text"] for block in made if block["type"] == "text")
    if is_error:
        return ServerAnswer(text or "the tool failed and said nothing", True)
    if any(block["type"] != "text" for block in made):
        return ServerAnswer(made, False)
    return ServerAnswer(text if structured is None else structured, False)


def _block(block: Mapping[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    if kind == "text":
        return _text(str(block.get("text", "")))
    if kind == "image":
        source = {"type": "base64", "media_type": block.get("mimeType"), "data": block.get("data")}
        return {"type": "image", "source": source}
    if kind == "resource":
        resource = block.get("resource") or {}
        told = resource.get("text")
        return _text(f"[{resource.get('uri')}]" if told is None else str(told))
    if kind == "resource_link":
        return _text(f"{block.get('name') or 'resource'}: {block.get('uri')}")
    return _text(f"[{kind}: {block.get('mimeType') or 'left out'}]")


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
