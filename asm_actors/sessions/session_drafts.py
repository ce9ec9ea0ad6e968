"""The events that a session writes about itself. Pure."""

from __future__ import annotations

from typing import Any

from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.runs.request import correlation_of
from asm_actors.serialization import check_optional_id, check_text
from asm_actors.sessions.session import Session

__all__ = ["creation_data", "reason_data", "session_draft", "told_data"]


def session_draft(session: Session, kind: EventType, now: int, data: dict[str, Any] = EMPTY) -> Draft:
    """An event of the session itself."""
    return Draft(kind, now, None, data, EMPTY, session.provider, correlation_of(session))


def creation_data(session: Session) -> dict[str, Any]:
    """Payload of `session_created` and `session_forked`."""
    data: dict[str, Any] = {"agent_id": session.agent_id}
    if session.provider is not None:
        data["provider"] = session.provider
    if session.parent_session_id is not None:
        data["parent_session_id"] = session.parent_session_id
    if session.forked_at is not None:
        data["at"] = session.forked_at
    return data


def reason_data(reason: Any) -> dict[str, Any]:
    """Payload that tells why, if anybody said.

    Raises:
        ValidationError: The reason is no text.
    """
    return {} if reason is None else {"reason": check_text(reason, "reason")}


def told_data(reason: Any, by: Any) -> dict[str, Any]:
    """Payload that tells why and who, as far as anybody said.

    Raises:
        ValidationError: The reason is no text, or who did it no name.
    """
    who = check_optional_id(by, "by")
    return reason_data(reason) if who is None else {**reason_data(reason), "by": who}
