"""Names hold no secrets: which fields of what is kept are names. Pure.

They are what things are found by, and are stored as they are (see `redaction.settings`), so a secret in one is refused.
"""

from __future__ import annotations

from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.redaction.redactor import Redactor
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["check_artifact", "check_record", "check_scope"]


def check_record(redactor: Redactor, record: Session | Run, *, has_chosen_id: bool) -> None:
    """Refuse a secret in a name of a session or run.

    Args:
        redactor: The system's.
        record: The session, or the run.
        has_chosen_id: Whether its id was chosen by a caller.

    Raises:
        ValidationError: One looks like a secret; the error does not show it.
    """
    if has_chosen_id:
        redactor.check_name(record.id, "id")
    redactor.check_names(provider=record.provider, idempotency_key=record.idempotency_key)
    if isinstance(record, Session):
        redactor.check_names(
            agent_id=record.agent_id, parent_session_id=record.parent_session_id, tags=record.tags
        )


def check_scope(redactor: Redactor, name: str, scope: dict[str, Any]) -> None:
    """Refuse a secret in the name of a subscription, or in what it follows, which is kept with it.

    Raises:
        ValidationError: As above.
    """
    redactor.check_name(name, "name")
    redactor.check_names(
        session_id=scope.get("session_id"),
        agent_id=scope.get("agents"),
        tags=scope.get("tags"),
        run_id=scope.get("run_ids"),
        provider=scope.get("providers"),
        correlation_id=scope.get("correlation_id"),
    )


def check_artifact(redactor: Redactor, *, key: str, backend: str, ref: str = "") -> None:
    """Refuse a secret in the record of an artifact.

    Raises:
        ValidationError: As above. A reference without its secret would lead nowhere, so it is not redacted.
    """
    redactor.check_names(key=key, storage_backend=backend)
    found = redactor.spans(ref)
    if found:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR,
            f"storage_ref looks like it holds a secret ({found[0].rule.name}), and is stored as it is given: keep "
            "credentials out of it, in what opens the artifact store",
            details={"field": "storage_ref"},
        )
