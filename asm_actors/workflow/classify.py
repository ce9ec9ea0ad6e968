"""What a workflow should do about an error. Pure: a table over the codes."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCategory, ErrorCode, is_valid_code
from asm_actors.serialization import invalid
from supervisors import Timeout

__all__ = ["ErrorClass", "RecommendedAction", "classify_error"]


class RecommendedAction(StrEnum):
    """What to do about a step that failed."""

    RETRY = "retry"
    """Do it again."""
    WAIT_AND_RETRY = "wait_and_retry"
    """Do it again, after a while: the error's ``retry_after`` says how long, if anybody knows."""
    FAILOVER = "failover"
    """Do it again with another provider."""
    CANCEL = "cancel"
    """Somebody, or a policy, wants it to end: end the workflow in order."""
    ABORT = "abort"
    """Doing it again gives the same error."""


_ACTIONS: Final[Mapping[ErrorCode, RecommendedAction]] = MappingProxyType(
    {
        ErrorCode.PROVIDER_TIMEOUT: RecommendedAction.RETRY,
        ErrorCode.STORAGE_CONNECTION_FAILED: RecommendedAction.RETRY,
        ErrorCode.TIMEOUT: RecommendedAction.RETRY,
        ErrorCode.INTERRUPTED: RecommendedAction.RETRY,
        ErrorCode.PROVIDER_RATE_LIMITED: RecommendedAction.WAIT_AND_RETRY,
        ErrorCode.MAX_RUNS_EXCEEDED: RecommendedAction.WAIT_AND_RETRY,
        ErrorCode.OVERLOADED: RecommendedAction.WAIT_AND_RETRY,
        ErrorCode.PROVIDER_UNAVAILABLE: RecommendedAction.FAILOVER,
        ErrorCode.CANCELLED: RecommendedAction.CANCEL,
        ErrorCode.POLICY_VIOLATION: RecommendedAction.CANCEL,
    }
)
"""Codes for which it is not `ABORT` (or `RETRY`, if whoever raised the error says that a retry may help)."""


@frozen
class ErrorClass:
    """What is to be thought of an error.

    Attributes:
        error: The error; one of another family is wrapped into it.
        retryable: Whether the same request may succeed later.
        category: Whose fault it is.
        recommended_action: What to do.
    """

    error: AsmError
    retryable: bool
    category: ErrorCategory
    recommended_action: RecommendedAction

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return {
            "error": self.error.to_map(),
            "retryable": self.retryable,
            "category": self.category.value,
            "recommended_action": self.recommended_action.value,
        }


def classify_error(error: BaseException | ErrorCode | str) -> ErrorClass:
    """Tell what a workflow should do about an error.

    Args:
        error: What was raised; or a code. Exceptions of other families count as ``timeout`` if they say that a time
            was over, as ``cancelled`` if their task was cancelled, else as ``internal_error``.

    Raises:
        ValidationError: It is neither an exception nor an error code.
    """
    found = _asm_error(error)
    action = _ACTIONS.get(found.code)
    if action is None:
        action = RecommendedAction.RETRY if found.retryable else RecommendedAction.ABORT
    return ErrorClass(found, found.retryable, found.category, action)


def _asm_error(error: BaseException | str) -> AsmError:
    if isinstance(error, AsmError):
        return error
    if isinstance(error, str) and is_valid_code(error):
        return AsmError(error)
    if not isinstance(error, BaseException):
        raise invalid("error", "must be an exception, or one of the error codes", error)
    if isinstance(error, TimeoutError | Timeout):
        return AsmError.wrap(ErrorCode.TIMEOUT, error)
    if isinstance(error, CancelledError):
        return AsmError.wrap(ErrorCode.CANCELLED, error)
    return AsmError.wrap(ErrorCode.INTERNAL_ERROR, error)
