"""A turn as the body of a request to Anthropic's Messages API. Pure: no I/O, no SDK.

The API is strict about conversations, and a conversation that was cut short somewhere must not be refused for
ever. So what comes out of :func:`api_messages` holds these rules, whatever went in:

1. It begins with the user, and neighbours have different roles.
2. Each ``tool_use`` is answered by a ``tool_result`` in the very next message. A call whose answer is missing
   gets one that says so; an answer whose call is missing becomes plain text.
3. ``tool_result`` blocks come first in their message, and no text is empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown
from asm_actors.providers.base import TurnRequest, messages_from_input, text_of

__all__ = ["OPTIONS", "api_messages", "api_tool", "build_body", "thinking_param"]

OPTIONS: Final[frozenset[str]] = frozenset(
    {
        "allowed_tools",
        "denied_tools",
        "max_tokens",
        "metadata",
        "model",
        "stop_sequences",
        "system_prompt",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
    }
)
"""The options of one call, each overriding the provider's own setting."""

_OMITTED: Final = "[Earlier messages are left out.]"
_NO_RESULT: Final = "The result of this call is not known: the run was interrupted before it was recorded."
_TOOL_CHOICES: Final = ("auto", "any", "none")
_MIN_THINKING: Final = 1024
_SCHEMA: Final = (
    "Answer with one JSON value that fits the following JSON Schema, and with nothing else: no other text, no code"
    " fence.\n\n"
)

_Message = dict[str, Any]
_Block = dict[str, Any]


def build_body(
    request: TurnRequest,
    *,
    model: str,
    max_tokens: int,
    thinking: Any = None,
    output_format: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the JSON body of the request.

    Tools that are not among the option ``allowed_tools``, or are among ``denied_tools``, are left out, and so is a
    choice of one of them.

    Args:
        request: the turn; ``request.options`` may hold any of :data:`OPTIONS`.
        model: the provider's model.
        max_tokens: the provider's bound on the answer.
        thinking: the provider's setting, as :func:`thinking_param` takes it.
        output_format: the API's form of ``request.output_schema``; without one the model is told the schema in words.

    Raises:
        ValidationError: an option is unknown or out of range, a tool is malformed, or there is no message.
    """
    options = request.options
    _refuse_unknown(options)
    messages = request.messages or messages_from_input(request.input)
    body: dict[str, Any] = {
        "model": _text("model", options.get("model", model)),
        "max_tokens": _whole("max_tokens", options.get("max_tokens", max_tokens)),
        "stream": True,
        "messages": api_messages(messages),
    }
    if not body["messages"]:
        raise _invalid("a turn needs at least one message of the user")
    given = options.get("tools")
    tools = _permitted([api_tool(tool) for tool in (request.tools if given is None else given)], options)
    prompt = options.get("system_prompt", request.system_prompt)
    if request.output_schema is not None and output_format is None:
        prompt = _with_schema(prompt, request.output_schema)
    optional = {
        "system": _system(prompt, messages),
        "thinking": thinking_param(options.get("thinking", thinking), body["max_tokens"]),
        "temperature": _fraction("temperature", options.get("temperature")),
        "stop_sequences": _texts("stop_sequences", options.get("stop_sequences")),
        "metadata": _map("metadata", options.get("metadata")),
        "tools": tools or None,
        "tool_choice": _permitted_choice(_tool_choice(options.get("tool_choice")), tools, options),
        "output_config": None if output_format is None else {"format": dict(output_format)},
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def thinking_param(value: Any, max_tokens: int) -> dict[str, Any] | None:
    """Return the API's ``thinking``: None, a budget of tokens, ``"adaptive"``, or the API's own map.

    Raises:
        ValidationError: another value; or a budget below 1,024 or not below ``max_tokens``.
    """
    if value is None or value is False:
        return None
    if isinstance(value, Mapping):
        return dict(value)
    if value == "adaptive" or value is True:
        return {"type": "adaptive"}
    if isinstance(value, int) and _MIN_THINKING <= value < max_tokens:
        return {"type": "enabled", "budget_tokens": value}
    raise _invalid(
        f"'thinking' is None, \"adaptive\", a map, or a budget from {_MIN_THINKING} to below max_tokens"
        f" ({max_tokens}), not {shown(value)}"
    )


def api_tool(tool: Any) -> dict[str, Any]:
    """Return a tool in the API's form.

    Args:
        tool: a map or an object with ``name``, ``input_schema`` (or ``parameters``) and perhaps
            ``description``; or one of the API's own tools as a map with a ``type``, which is passed on as it
            is.

    Raises:
        ValidationError: it has no name.
    """
    if isinstance(tool, Mapping) and tool.get("type", "custom") != "custom":
        return dict(tool)
    name = _part(tool, "name")
    if not isinstance(name, str) or not name:
        raise _invalid(f"a tool has a 'name', a 'description' and an 'input_schema', not {tool!r:.80}")
    schema = _part(tool, "input_schema") or _part(tool, "parameters") or {"type": "object", "properties": {}}
    known = {"name": name, "input_schema": schema}
    description = _part(tool, "description")
    return known | ({"description": description} if description else {})


def api_messages(messages: Iterable[Mapping[str, Any]]) -> list[_Message]:
    """Return a conversation in the API's form; see the module's rules. System messages are left out."""
    merged: list[_Message] = []
    for message in messages:
        if message["role"] == "system":
            continue
        role, blocks = _blocks(message)
        if not blocks:
            continue
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"].extend(blocks)
        else:
            merged.append({"role": role, "content": blocks})
    if merged and merged[0]["role"] == "assistant":
        merged.insert(0, {"role": "user", "content": [_text_block(_OMITTED)]})
    return [_simplest(message) for message in _answered(merged)]


def _blocks(message: Mapping[str, Any]) -> tuple[str, list[_Block]]:
    """Return the API's role and content blocks for one message of ours."""
    role, content, call = message["role"], message.get("content"), message.get("tool_call_id")
    if role == "tool" and call is not None:
        return "user", [_result(call, message)]
    if role == "tool":
        # A provider that is a command speaks as a tool without a call: to the model this is what it was
        # shown.
        role = "user"
    blocks = [_text_block(content)] if isinstance(content, str) else [dict(block) for block in content or ()]
    if role == "assistant" and call is not None:
        given = message.get("tool_input")
        use = {"type": "tool_use", "id": call, "name": message.get("tool_name") or "unknown"}
        blocks.append(use | {"input": dict(given) if isinstance(given, Mapping) else {}})
    return role, [block for block in blocks if block.get("type") != "text" or block.get("text")]


def _result(call: str, message: Mapping[str, Any]) -> _Block:
    output = message.get("tool_output")
    content = message.get("content") if output is None else output
    if not isinstance(content, str) and not _are_blocks(content):
        content = "" if content is None else json.dumps(content, ensure_ascii=False, default=str)
    block: _Block = {"type": "tool_result", "tool_use_id": call, "content": content}
    return block | ({"is_error": True} if message.get("is_error") else {})


def _are_blocks(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(
            isinstance(block, Mapping) and block.get("type") in ("text", "image", "document")
            for block in content
        )
    )


def _answered(messages: list[_Message]) -> list[_Message]:
    """Pair calls and results: every call has its result in the next message, every result its call."""
    done: list[_Message] = []
    open_calls: list[str] = []
    for message in messages:
        content = message["content"]
        if message["role"] == "user":
            done.append({"role": "user", "content": _with_results(content, open_calls)})
            open_calls = []
        else:
            done.append(message)
            open_calls = [block["id"] for block in content if block.get("type") == "tool_use"]
    if open_calls:
        done.append({"role": "user", "content": _with_results([], open_calls)})
    return done


def _with_results(blocks: list[_Block], calls: Sequence[str]) -> list[_Block]:
    results: dict[str, _Block] = {}
    rest: list[_Block] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            rest.append(block)
        elif block.get("tool_use_id") in calls:
            results[block["tool_use_id"]] = block
        else:
            rest.append(_text_block(f"[Result of an earlier tool call] {_shown(block.get('content'))}"))
    missing = {"type": "tool_result", "content": _NO_RESULT, "is_error": True}
    return [results.get(call) or missing | {"tool_use_id": call} for call in calls] + rest


def _shown(content: Any) -> str:
    return text_of(content) if isinstance(content, str | list) else ""


def _simplest(message: _Message) -> _Message:
    content = message["content"]
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        return {"role": message["role"], "content": content[0]["text"]}
    return message


def _text_block(text: str) -> _Block:
    return {"type": "text", "text": text}


def _system(prompt: Any, messages: Iterable[Mapping[str, Any]]) -> str | list[_Block] | None:
    """Return the standing instructions: the prompt, then the conversation's own system messages."""
    parts = [prompt, *(message.get("content") for message in messages if message["role"] == "system")]
    parts = [part for part in parts if part]
    for part in parts:
        if not isinstance(part, str) and not _are_blocks(part):
            raise _invalid(f"'system_prompt' is a text or a list of text blocks, not {part!r:.80}")
    if all(isinstance(part, str) for part in parts):
        return "\n\n".join(parts) or None
    return [block for part in parts for block in ([_text_block(part)] if isinstance(part, str) else part)]


def _tool_choice(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str) and value:
        return {"type": value} if value in _TOOL_CHOICES else {"type": "tool", "name": value}
    raise _invalid(f"'tool_choice' is auto, any, none, a tool's name or a map, not {value!r:.80}")


def _permitted(tools: list[dict[str, Any]], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Leave out what is not allowed."""
    allowed, denied = (_texts(name, options.get(name)) for name in ("allowed_tools", "denied_tools"))
    if allowed is None and not denied:
        return tools
    return [
        tool
        for tool in tools
        if (allowed is None or tool.get("name") in allowed) and tool.get("name") not in (denied or ())
    ]


def _permitted_choice(
    choice: dict[str, Any] | None, tools: list[dict[str, Any]], options: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Leave out the choice of what was left out, which the API would refuse."""
    is_restricted = options.get("allowed_tools") is not None or options.get("denied_tools")
    if choice is None or not is_restricted:
        return choice
    names = [tool.get("name") for tool in tools]
    return choice if names and choice.get("name", names[0]) in names else None


def _with_schema(prompt: Any, schema: Mapping[str, Any]) -> Any:
    text = _SCHEMA + json.dumps(schema, ensure_ascii=False)
    if not prompt:
        return text
    return f"{prompt}\n\n{text}" if isinstance(prompt, str) else [*prompt, _text_block(text)]


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in OPTIONS:
            near = get_close_matches(str(name), sorted(OPTIONS), n=1)
            hint = f": did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(OPTIONS))}"
            raise _invalid(f"there is no option {name!r}{hint}", option=str(name))


def _part(tool: Any, name: str) -> Any:
    return tool.get(name) if isinstance(tool, Mapping) else getattr(tool, name, None)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _invalid(f"'{name}' is a text, not {value!r:.80}", option=name)
    return value


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _invalid(f"'{name}' is a whole number of at least 1, not {value!r:.80}", option=name)
    return value


def _fraction(name: str, value: Any) -> float | None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1
    ):
        raise _invalid(f"'{name}' is a number from 0 to 1, not {value!r:.80}", option=name)
    return value


def _texts(name: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or not all(isinstance(x, str) for x in value)
    ):
        raise _invalid(f"'{name}' is a list of texts, not {value!r:.80}", option=name)
    return list(value)


def _map(name: str, value: Any) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, Mapping):
        raise _invalid(f"'{name}' is a map, not {value!r:.80}", option=name)
    return None if value is None else dict(value)


def _invalid(message: str, **details: Any) -> AsmError:
    return AsmError(ErrorCode.VALIDATION_ERROR, message, details=details)
