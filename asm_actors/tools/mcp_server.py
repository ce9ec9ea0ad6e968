"""`McpServer`: where a server of the Model Context Protocol is, whose tools models may call.

::

    with asm.ActorSystem.start("var/journal", providers, mcp_servers={
        "files": asm.McpServer(command="mcp-server-files", args=["/srv/docs"]),
        "wiki": asm.McpServer(url="https://wiki.example/mcp", headers={"authorization": token}),
    }) as system: ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final, Self

from attrs import field, fields, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_ids, check_text, invalid
from asm_actors.tools.mcp_values import McpConnection
from asm_actors.tools.tool import TIMEOUT_S

__all__ = ["START_TIMEOUT_S", "McpServer", "servers_by_name"]

START_TIMEOUT_S: Final = 30.0
"""Seconds that a server may take to start and to list its tools, unless it is told otherwise."""
# Its tools' names begin with it, and need some letters of their own.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SECRET: Final = re.compile(r"key|token|secret|password|credential|auth|cookie", re.IGNORECASE)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise invalid("args", "must be a list of strings", value)
    return tuple(check_text(word, "a word of args") for word in value)


def _names(value: Any) -> tuple[str, ...] | None:
    return None if value is None else check_ids(value, "tools")


def _env(value: Any) -> dict[str, str]:
    return _strings(value, "env")


def _headers(value: Any) -> dict[str, str]:
    return _strings(value, "headers")


def _strings(value: Any, name: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise invalid(name, "must be a map of strings", value)
    return {check_text(key, f"a key of {name}"): check_text(value[key], name) for key in value}


@frozen(kw_only=True)
class McpServer:
    """A server of tools: a command that is run, or an address.

    Attributes:
        command: The program; it speaks the protocol on its standard input and output.
        args: Its arguments.
        env: Variables of its environment, over the few that are safe to hand on (``HOME LANG LOGNAME PATH SHELL TERM
            TMPDIR USER``).
        cwd: The directory in which it runs; None for this process's own.
        url: Instead of a command: the address of a server that is reached by streamable HTTP.
        headers: Sent with each request to it.
        timeout: Seconds that one call may take; None for no bound.
        start_timeout: Seconds that it may take to start and to list its tools.
        tools: Names of those of its tools that are wanted, as it calls them; None: all.
        requires_approval: Whether each call of its tools waits until somebody has granted it.

    Raises:
        ValidationError: A field is malformed; the message names it.
    """

    command: str | None = None
    args: tuple[str, ...] = field(default=(), converter=_texts)
    env: Mapping[str, str] = field(factory=dict, converter=_env, repr=False, hash=False)
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(factory=dict, converter=_headers, repr=False, hash=False)
    timeout: float | None = TIMEOUT_S
    start_timeout: float = START_TIMEOUT_S
    tools: tuple[str, ...] | None = field(default=None, converter=_names)
    requires_approval: bool = False

    def __attrs_post_init__(self) -> None:
        if (self.command is None) == (self.url is None):
            raise AsmError(ErrorCode.VALIDATION_ERROR, "an MCP server has either a command or a url")
        for name in ("command", "cwd", "url"):
            value = getattr(self, name)
            if value is not None and (not check_text(value, name) or "\0" in value):
                raise invalid(name, "must not be empty nor hold NUL", value)
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise invalid("url", "must begin with http:// or https://", self.url)
        if self.url is not None and (self.args or self.env or self.cwd):
            raise AsmError(ErrorCode.VALIDATION_ERROR, "args, env and cwd are for a server with a command")
        if self.command is not None and self.headers:
            raise AsmError(ErrorCode.VALIDATION_ERROR, "headers are for a server with a url")
        if self.timeout is not None:
            _check_time("timeout", self.timeout)
        _check_time("start_timeout", self.start_timeout)
        if type(self.requires_approval) is not bool:
            raise invalid("requires_approval", "must be True or False", self.requires_approval)

    def connect(self, name: str) -> McpConnection:
        """Make a connection, which is not opened yet.

        Args:
            name: The server's, for texts.
        """
        from asm_actors.tools.mcp_client import ThreadedConnection

        return ThreadedConnection(name, self)

    def secrets(self) -> tuple[str, ...]:
        """Texts of its configuration that must not reach the journal: values of what is named like a secret."""
        given = (*self.env.items(), *self.headers.items())
        return tuple(value for name, value in given if value and _SECRET.search(name))

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read a server that was written by hand; an absent field has its default.

        Raises:
            ValidationError: no map, an unknown name, or a malformed field.
        """
        if not isinstance(value, Mapping):
            raise invalid("an MCP server", "must be a map", value)
        known = [each.name for each in fields(cls)]
        for name in value:
            if name not in known:
                text = f"an MCP server has no field {name!r:.80}; it has {', '.join(known)}"
                raise AsmError(ErrorCode.VALIDATION_ERROR, text, details={"field": "mcp_servers"})
        return cls(**value)


def _check_time(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise invalid(name, "must be seconds greater than 0", value)


def servers_by_name(given: Any) -> dict[str, Any]:
    """Check the servers of a start: a map from names to `McpServer`s, or to maps of their fields.

    Raises:
        ValidationError: It is none, a name is illegal, or a server is malformed.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise invalid("mcp_servers", "must be a map from names to servers", given)
    servers: dict[str, Any] = {}
    for name, server in given.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise invalid("the name of an MCP server", "must be 1 to 32 letters, digits, _ and -", name)
        made = McpServer.from_map(server) if isinstance(server, Mapping) else server
        if not isinstance(made, McpServer):
            raise invalid(f"mcp_servers[{name!r}]", "must be an asm_actors.McpServer", made)
        servers[name] = made
    return servers
