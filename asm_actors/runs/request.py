"""From a run's record to the request of its turn. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from asm_actors.providers.base import TurnRequest, messages_from_input
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["request_for"]


def request_for(session: Session, run: Run) -> TurnRequest:
    """Make the request of a run's first turn.

    The system prompt is the context's ``system_prompt``, or the input's first message if that is a system message.
    """
    messages = messages_from_input(run.input, strict=False)
    prompt = session.context.get("system_prompt")
    if messages and messages[0]["role"] == "system":
        prompt, messages = messages[0]["content"], messages[1:]
    options = run.options.get("adapter_opts")
    return TurnRequest(
        session_id=session.id,
        run_id=run.id,
        agent_id=session.agent_id,
        messages=messages,
        system_prompt=prompt,
        context=session.context,
        options=options if isinstance(options, Mapping) else {},
        input=run.input,
    )


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
