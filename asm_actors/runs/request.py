"""From a run's record to the request of its turn. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asm_actors.providers.base import TurnRequest, messages_from_input
from asm_actors.providers.items import EMPTY
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session
from asm_actors.tools.tool import Tool

__all__ = ["correlation_of", "provider_of", "request_for", "tools_for"]


def request_for(
    session: Session,
    run: Run,
    tools: Mapping[str, Tool] = EMPTY,
    progress: Progress | None = None,
    *,
    is_routed: bool = False,
) -> TurnRequest:
    """Make the request of a run's first turn, or of the one at which it is taken up again.

    The system prompt is the context's ``system_prompt``, or the input's first message if that is a system message.

    Args:
        session: Its session.
        run: Its record.
        tools: Tools of the host which the model may call.
        progress: How far it had come. With calls that are not answered yet the request is that of the turn which made
            them, and its messages end with them.
        is_routed: Whether its provider is a router: then that is told what the run requires.
    """
    messages = messages_from_input(run.input, strict=False)
    prompt = session.context.get("system_prompt")
    if messages and messages[0]["role"] == "system":
        prompt, messages = messages[0]["content"], messages[1:]
    options = run.options.get("adapter_opts")
    if is_routed:
        options = _with_hints(options, run)
    turn = 1
    if progress is not None:
        messages += progress.messages
        turn = progress.turn if progress.calls else progress.turn + 1
    return TurnRequest(
        session_id=session.id,
        run_id=run.id,
        agent_id=session.agent_id,
        turn=turn,
        messages=messages,
        system_prompt=prompt,
        tools=tuple(tool.to_map() for tool in tools.values()) if tools else (),
        context=session.context,
        options=options if isinstance(options, Mapping) else {},
        input=run.input,
        output_schema=run.options.get("output_schema"),
        permission_mode=run.options.get("permission_mode"),
    )


def _with_hints(options: Any, run: Run) -> Any:
    """Options for a router: each of its targets that is asked must have what the run requires."""
    required = run.options.get("required_capabilities")
    if not required:
        return options
    options = options if isinstance(options, Mapping) else EMPTY
    hints = options.get("routing") or EMPTY
    if not isinstance(hints, Mapping):
        return options  # the router refuses it
    known = hints.get("required_capabilities") or ()
    if isinstance(known, list | tuple):
        hints = {**hints, "required_capabilities": [*known, *(one for one in required if one not in known)]}
    return {**options, "routing": hints}


def tools_for(tools: Mapping[str, Tool], session: Session, run: Run) -> Mapping[str, Tool]:
    """Return those of the system's tools which a run may use.

    The names in the session's context (``tools``) and in the run's options (``tools``) each restrict them; what is no
    list of names lets none pass. A caller who gives the provider tools of his own (``adapter_opts``) runs these
    himself, and gets no others.
    """
    options = run.options.get("adapter_opts")
    if not tools or (isinstance(options, Mapping) and "tools" in options):
        return EMPTY
    for wanted in (session.context.get("tools"), run.options.get("tools")):
        if wanted is not None:
            names = wanted if isinstance(wanted, list | tuple) else ()
            tools = {name: tool for name, tool in tools.items() if name in names}
    return tools


def provider_of(session: Session, run: Run, default: str | None) -> str | None:
    """Name of the provider that answers a run: its own choice, else the session's, else the system's default."""
    return run.provider or session.provider or default


def correlation_of(session: Session, run: Run | None = None) -> str | None:
    """The correlation id that events carry: text that the run's metadata has, or else the session's."""
    for record in (run, session):
        found = None if record is None else record.metadata.get("correlation_id")
        if found and isinstance(found, str):
            return found
    return None
