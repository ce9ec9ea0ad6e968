"""The port between the runtime and whatever answers a turn.

A provider answers *turns*: one request to a model (or one call of an agent program), one stream of items. It
knows nothing of sessions, journals, retries or tools of the host. Four promises, which
``asm_actors.testing.provider_contract`` checks:

1. ``stream`` yields items in the order that ``asm_actors.providers.items`` tells, or raises an ``AsmError``.
   Any other exception counts as a crash of the provider.
2. A stream can be given up at any await: cancelling its task or closing the generator closes the connection,
   or ends the process tree, before it returns.
3. Streams are independent of each other; any number may be open at once.
4. ``check`` and ``capabilities`` are plain functions that touch neither network nor disk.

A provider whose manifest has an enabled capability named as in :data:`STEERING` also has a coroutine
``steer(run_id, message)``: it hands one message of the user to the stream that is open for that run, and returns when
whatever answers has taken it; if it cannot be taken any more it raises an ``AsmError``. It may be asked at any time
while a stream is open, and is not asked for the same run again before it has returned.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol, runtime_checkable

from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown
from asm_actors.providers.items import EMPTY, Item, MessageDone, TextDelta, TurnDone, TurnStarted, Usage

__all__ = [
    "ROLES",
    "STEERING",
    "BaseProvider",
    "Provider",
    "TurnRequest",
    "messages_from_input",
    "prompt_from_input",
    "text_of",
]

ROLES: Final[frozenset[str]] = frozenset({"system", "user", "assistant", "tool"})
"""Who may speak in a message."""

STEERING: Final[frozenset[str]] = frozenset({"incremental_input", "steering"})
"""Names of the capabilities each of which says that a provider takes input into a turn that it is answering."""

# What a message may carry beside role and content: the transcript's own keys for tool calls and their
# results.
_TOOL_KEYS: Final = ("tool_call_id", "tool_name", "tool_input", "tool_output", "is_error")


class TurnRequest(NamedTuple):
    """One turn to answer. A named tuple: one is made for every turn of every run."""

    session_id: str
    """The conversation."""

    run_id: str
    """The run this turn belongs to."""

    agent_id: str | None = None
    """Whose session it is."""

    turn: int = 1
    """Which turn of the run, from 1."""

    attempt: int = 1
    """Which try of this turn, from 1."""

    messages: tuple[Mapping[str, Any], ...] = ()
    """The conversation so far, oldest first, in the form that :func:`messages_from_input` returns."""

    system_prompt: str | None = None
    """Standing instructions."""

    tools: tuple[Any, ...] = ()
    """Tools of the host that the model may call: maps, or objects, with ``name description input_schema``."""

    context: Mapping[str, Any] = EMPTY
    """The session's context."""

    options: Mapping[str, Any] = EMPTY
    """What the caller passed as ``adapter_opts``; each provider documents its own."""

    input: Any = None
    """The run's input as the caller gave it."""

    provider_session_id: str | None = None
    """The provider's own name of the conversation which it is to go on with; None: it begins a new one."""

    output_schema: Mapping[str, Any] | None = None
    """JSON Schema which the answer's text shall fit."""

    permission_mode: str | None = None
    """How much an agent that calls tools on its own may do without asking: a `PermissionMode`."""


@runtime_checkable
class Provider(Protocol):
    """What the runtime needs of a provider."""

    name: str
    """The name it is configured under; the system sets it."""

    resumable: bool
    """True if a turn may be tried again although some of its output was already emitted."""

    timeout: float | None
    """Seconds one turn may take in all, None for no bound. The provider's actor enforces it."""

    def capabilities(self) -> Manifest:
        """Say what it can do."""
        ...

    def check(self) -> None:
        """Raise an ``AsmError`` if it cannot work as configured, such as without a key. Does nothing else."""
        ...

    async def open(self) -> None:
        """Get ready, on the event loop that will run the streams. Asking twice is asking once."""
        ...

    async def aclose(self) -> None:
        """Give back what :meth:`open` took. Asking twice is asking once; it may be opened again."""
        ...

    def stream(self, request: TurnRequest) -> AsyncGenerator[Item, None]:
        """Answer one turn."""
        ...


class BaseProvider:
    """Defaults for a provider of one's own. Override :meth:`reply` for plain text, :meth:`stream` for more.

    A whole provider::

        class Echo(BaseProvider):
            name = "echo"

            async def reply(self, request):
                for word in prompt_from_input(request.input).split():
                    yield word + " "
    """

    name: str = "provider"
    version: ClassVar[str] = "1"
    description: ClassVar[str | None] = None
    offers: tuple[tuple[str, str], ...] = (("streaming", "sampling"),)
    """Its capabilities as pairs of name and type."""

    honours: tuple[str, ...] = ()
    """Which hints of a policy it keeps to if they are among the options (``allowed_tools denied_tools max_tokens
    max_turns``); it is sent no others."""

    resumable: bool = False
    timeout: float | None = None

    def capabilities(self) -> Manifest:
        """Return a manifest made of ``name``, ``version``, ``description``, ``offers`` and ``honours``."""
        return Manifest.new(
            name=self.name,
            version=self.version,
            description=self.description,
            provider=self.name,
            capabilities=[{"name": name, "type": kind} for name, kind in self.offers],
            config={"honours": list(self.honours)} if self.honours else None,
        )

    def check(self) -> None:
        """Accept any configuration."""

    async def open(self) -> None:
        """Need nothing."""

    async def aclose(self) -> None:
        """Hold nothing."""

    async def steer(self, run_id: str, message: Mapping[str, Any]) -> None:
        """Take no input into a running turn.

        Raises:
            AsmError: ``capability_not_supported``, unless overridden.
        """
        raise AsmError(
            ErrorCode.CAPABILITY_NOT_SUPPORTED,
            f"provider {self.name} takes no input into a running turn",
            context={"provider": self.name, "run_id": run_id},
        )

    async def reply(self, request: TurnRequest) -> AsyncGenerator[str, None]:
        """Yield the answer's text in pieces.

        Raises:
            AsmError: ``capability_not_supported``, unless overridden.
        """
        nothing: tuple[str, ...] = ()
        for (
            piece
        ) in nothing:  # a yield is what makes this an asynchronous generator, as those that override it
            yield piece
        raise AsmError(
            ErrorCode.CAPABILITY_NOT_SUPPORTED, f"{type(self).__name__} overrides neither reply nor stream"
        )

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Item, None]:
        """Answer one turn with the text of :meth:`reply`; no tokens are counted."""
        pieces: list[str] = []
        yield TurnStarted()
        reply = self.reply(request)
        try:
            async for piece in reply:
                if piece:
                    pieces.append(piece)
                    yield TextDelta(piece)
        finally:
            await reply.aclose()
        yield MessageDone("".join(pieces))
        yield Usage(0, 0)
        yield TurnDone()


def messages_from_input(value: Any, *, strict: bool = True) -> tuple[dict[str, Any], ...]:
    """Return the messages that a run's input holds, in normal form.

    Accepted are a text, ``{"prompt": text}`` and ``{"messages": [{"role": …, "content": …}, …]}``. In the
    normal form a role is one of :data:`ROLES` in lower case (``user`` if absent) and a content is text or a
    list of maps with a ``type`` each. ``tool_call_id tool_name tool_input tool_output is_error`` are kept,
    other keys are not. Messages that say nothing are left out.

    Args:
        value: the input.
        strict: whether an input of another shape is an error. If not, it holds no messages: a provider that
            is no language model may well define an input of its own.

    Raises:
        ValidationError: a message is malformed; with ``strict`` also if there is none.
    """
    found: tuple[dict[str, Any], ...]
    if isinstance(value, str):
        found = ({"role": "user", "content": value},) if value else ()
    elif isinstance(value, Mapping) and "messages" in value:
        found = _messages(value["messages"])
    elif isinstance(value, Mapping) and "prompt" in value:
        prompt = value["prompt"]
        if not isinstance(prompt, str):
            raise _malformed("'prompt' is a text", prompt)
        found = ({"role": "user", "content": prompt},) if prompt else ()
    elif strict:
        raise _malformed("an input is a text, or a map with 'messages' or 'prompt'", value)
    else:
        return ()
    if strict and not found:
        raise AsmError(ErrorCode.VALIDATION_ERROR, "the input holds no message that says anything")
    return found


def prompt_from_input(value: Any) -> str:
    """Return the input as one text: the text itself, the prompt, or the user's messages joined by line ends.

    Raises:
        ValidationError: as :func:`messages_from_input`; or no message is the user's.
    """
    said = [
        text_of(message["content"]) for message in messages_from_input(value) if message["role"] == "user"
    ]
    prompt = "\n".join(text for text in said if text)
    if not prompt:
        raise AsmError(ErrorCode.VALIDATION_ERROR, "the input holds no text of the user")
    return prompt


def text_of(content: Any) -> str:
    """Return the text of a message's content: itself, or that of its text blocks joined."""
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content or () if block.get("type") == "text")


def _messages(value: Any) -> tuple[dict[str, Any], ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _malformed("'messages' is a list", value)
    found = (_message(index, message) for index, message in enumerate(value))
    return tuple(message for message in found if message is not None)


def _message(index: int, value: Any) -> dict[str, Any] | None:
    if not isinstance(value, Mapping):
        raise _malformed(f"messages[{index}] is a map with 'role' and 'content'", value)
    role = value.get("role", "user")
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise _malformed(f"messages[{index}].role is one of {', '.join(sorted(ROLES))}", role)
    message = {"role": role.lower(), "content": _content(index, value.get("content"))}
    message |= {key: value[key] for key in _TOOL_KEYS if value.get(key) is not None}
    return message if message["content"] or "tool_call_id" in message else None


def _content(index: int, value: Any) -> str | list[dict[str, Any]]:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence):
        raise _malformed(f"messages[{index}].content is a text or a list of blocks", value)
    for block in value:
        if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
            raise _malformed(f"messages[{index}].content: a block is a map with a 'type'", block)
    return [dict(block) for block in value]


def _malformed(rule: str, found: object) -> AsmError:
    return AsmError(ErrorCode.VALIDATION_ERROR, f"{rule}, not {shown(found)}")
