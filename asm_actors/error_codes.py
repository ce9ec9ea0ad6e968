"""The closed list of error codes, and what follows from each of them.

A new code gets its member, and its line in the table with its category and its default text. Nothing else in
the project may make a code.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = [
    "CATEGORIES",
    "DEFAULT_MESSAGES",
    "RETRYABLE",
    "ErrorCategory",
    "ErrorCode",
    "category_of",
    "codes_in",
    "is_valid_code",
]


class ErrorCategory(StrEnum):
    """Whose fault an error is. ``UNKNOWN`` is the category of a text that is no code."""

    VALIDATION = "validation"
    STATE = "state"
    RESOURCE = "resource"
    PROVIDER = "provider"
    STORAGE = "storage"
    RUNTIME = "runtime"
    CONCURRENCY = "concurrency"
    TOOL = "tool"
    UNKNOWN = "unknown"


class ErrorCode(StrEnum):
    """What happened. Their categories and default texts stand in the tables below."""

    VALIDATION_ERROR = "validation_error"
    INVALID_INPUT = "invalid_input"
    MISSING_REQUIRED_FIELD = "missing_required_field"
    INVALID_FORMAT = "invalid_format"

    INVALID_STATUS = "invalid_status"
    INVALID_TRANSITION = "invalid_transition"
    INVALID_EVENT_TYPE = "invalid_event_type"
    INVALID_CAPABILITY_TYPE = "invalid_capability_type"
    MISSING_REQUIRED_CAPABILITY = "missing_required_capability"
    STREAM_CLOSED = "stream_closed"
    CONTEXT_MISMATCH = "context_mismatch"
    INVALID_CURSOR = "invalid_cursor"
    SESSION_MISMATCH = "session_mismatch"
    RUN_MISMATCH = "run_mismatch"

    NOT_FOUND = "not_found"
    SESSION_NOT_FOUND = "session_not_found"
    RUN_NOT_FOUND = "run_not_found"
    CAPABILITY_NOT_FOUND = "capability_not_found"
    ALREADY_EXISTS = "already_exists"
    DUPLICATE_CAPABILITY = "duplicate_capability"

    PROVIDER_ERROR = "provider_error"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_RATE_LIMITED = "provider_rate_limited"
    PROVIDER_TIMEOUT = "provider_timeout"
    PROVIDER_AUTHENTICATION_FAILED = "provider_authentication_failed"
    PROVIDER_QUOTA_EXCEEDED = "provider_quota_exceeded"

    STORAGE_ERROR = "storage_error"
    STORAGE_CONNECTION_FAILED = "storage_connection_failed"
    DEPENDENCY_NOT_AVAILABLE = "dependency_not_available"
    MIGRATION_REQUIRED = "migration_required"
    STORAGE_WRITE_FAILED = "storage_write_failed"
    STORAGE_READ_FAILED = "storage_read_failed"
    QUERY_ERROR = "query_error"
    MAINTENANCE_ERROR = "maintenance_error"
    PERSISTENCE_ERROR = "persistence_error"
    JOURNAL_LOCKED = "journal_locked"

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    POLICY_VIOLATION = "policy_violation"
    INTERNAL_ERROR = "internal_error"
    UNKNOWN_ERROR = "unknown_error"
    INTERRUPTED = "interrupted"

    MAX_SESSIONS_EXCEEDED = "max_sessions_exceeded"
    MAX_RUNS_EXCEEDED = "max_runs_exceeded"
    CAPABILITY_NOT_SUPPORTED = "capability_not_supported"
    INVALID_OPERATION = "invalid_operation"
    OVERLOADED = "overloaded"

    TOOL_ERROR = "tool_error"
    TOOL_NOT_FOUND = "tool_not_found"
    TOOL_EXECUTION_FAILED = "tool_execution_failed"
    TOOL_PERMISSION_DENIED = "tool_permission_denied"
    COMMAND_NOT_FOUND = "command_not_found"
    COMMAND_TIMEOUT = "command_timeout"
    COMMAND_FAILED = "command_failed"
    OUTCOME_UNKNOWN = "outcome_unknown"

    @property
    def category(self) -> ErrorCategory:
        """Whose fault this is."""
        return CATEGORIES[self]

    @property
    def default_message(self) -> str:
        """What an error of this code says when its raiser gave no text."""
        return DEFAULT_MESSAGES[self]


# One line per code: the category it belongs to, the text it has unless the raiser knows better.
_CODES: Final[Mapping[ErrorCategory, Mapping[ErrorCode, str]]] = {
    ErrorCategory.VALIDATION: {
        ErrorCode.VALIDATION_ERROR: "The request is not valid",
        ErrorCode.INVALID_INPUT: "The input is not valid",
        ErrorCode.MISSING_REQUIRED_FIELD: "A required field is missing",
        ErrorCode.INVALID_FORMAT: "The format is not valid",
    },
    ErrorCategory.STATE: {
        ErrorCode.INVALID_STATUS: "There is no such status",
        ErrorCode.INVALID_TRANSITION: "The present status does not allow this change",
        ErrorCode.INVALID_EVENT_TYPE: "There is no such event type",
        ErrorCode.INVALID_CAPABILITY_TYPE: "There is no such capability type",
        ErrorCode.MISSING_REQUIRED_CAPABILITY: "A required capability is missing",
        ErrorCode.STREAM_CLOSED: "The stream is closed",
        ErrorCode.CONTEXT_MISMATCH: "The events belong to another session or run",
        ErrorCode.INVALID_CURSOR: "The cursor is not valid here",
        ErrorCode.SESSION_MISMATCH: "The event belongs to another session",
        ErrorCode.RUN_MISMATCH: "The event belongs to another run",
    },
    ErrorCategory.RESOURCE: {
        ErrorCode.NOT_FOUND: "There is nothing of that name",
        ErrorCode.SESSION_NOT_FOUND: "There is no such session",
        ErrorCode.RUN_NOT_FOUND: "There is no such run",
        ErrorCode.CAPABILITY_NOT_FOUND: "There is no such capability",
        ErrorCode.ALREADY_EXISTS: "That name is taken",
        ErrorCode.DUPLICATE_CAPABILITY: "A capability of that name is already there",
    },
    ErrorCategory.PROVIDER: {
        ErrorCode.PROVIDER_ERROR: "The provider reported an error",
        ErrorCode.PROVIDER_UNAVAILABLE: "The provider cannot be reached",
        ErrorCode.PROVIDER_RATE_LIMITED: "The provider asks for fewer requests",
        ErrorCode.PROVIDER_TIMEOUT: "The provider took too long to answer",
        ErrorCode.PROVIDER_AUTHENTICATION_FAILED: "The provider refused the credentials",
        ErrorCode.PROVIDER_QUOTA_EXCEEDED: "The quota at the provider is spent",
    },
    ErrorCategory.STORAGE: {
        ErrorCode.STORAGE_ERROR: "The store reported an error",
        ErrorCode.STORAGE_CONNECTION_FAILED: "The store cannot be reached",
        ErrorCode.DEPENDENCY_NOT_AVAILABLE: "A library or program that this needs is not installed",
        ErrorCode.MIGRATION_REQUIRED: "The stored data has another layout: migrate it first",
        ErrorCode.STORAGE_WRITE_FAILED: "The write did not become durable",
        ErrorCode.STORAGE_READ_FAILED: "A stored record cannot be read",
        ErrorCode.QUERY_ERROR: "The query is not valid",
        ErrorCode.MAINTENANCE_ERROR: "A maintenance step failed",
        ErrorCode.PERSISTENCE_ERROR: "The record cannot be stored",
        ErrorCode.JOURNAL_LOCKED: "Another process writes to this journal",
    },
    ErrorCategory.RUNTIME: {
        ErrorCode.TIMEOUT: "The time allowed is over",
        ErrorCode.CANCELLED: "It was cancelled",
        ErrorCode.POLICY_VIOLATION: "A policy forbids this",
        ErrorCode.INTERNAL_ERROR: "Something inside went wrong",
        ErrorCode.UNKNOWN_ERROR: "Something went wrong and left no trace",
        ErrorCode.INTERRUPTED: "The system stopped before this was finished",
    },
    ErrorCategory.CONCURRENCY: {
        ErrorCode.MAX_SESSIONS_EXCEEDED: "Too many sessions are active",
        ErrorCode.MAX_RUNS_EXCEEDED: "Too many runs are waiting",
        ErrorCode.CAPABILITY_NOT_SUPPORTED: "The provider cannot do this",
        ErrorCode.INVALID_OPERATION: "The present state does not allow this",
        ErrorCode.OVERLOADED: "A queue is full: try again later",
    },
    ErrorCategory.TOOL: {
        ErrorCode.TOOL_ERROR: "A tool reported an error",
        ErrorCode.TOOL_NOT_FOUND: "There is no such tool",
        ErrorCode.TOOL_EXECUTION_FAILED: "A tool failed",
        ErrorCode.TOOL_PERMISSION_DENIED: "The tool may not be used here",
        ErrorCode.COMMAND_NOT_FOUND: "There is no such command",
        ErrorCode.COMMAND_TIMEOUT: "The command took too long",
        ErrorCode.COMMAND_FAILED: "The command failed",
        ErrorCode.OUTCOME_UNKNOWN: "The tool was started, and whether it finished is not known",
    },
}

CATEGORIES: Final[Mapping[ErrorCode, ErrorCategory]] = MappingProxyType(
    {code: category for category, codes in _CODES.items() for code in codes}
)
"""The category of each code."""

DEFAULT_MESSAGES: Final[Mapping[ErrorCode, str]] = MappingProxyType(
    {code: message for codes in _CODES.values() for code, message in codes.items()}
)
"""What an error of each code says when its raiser gave no text."""

RETRYABLE: Final[frozenset[ErrorCode]] = frozenset(
    {
        ErrorCode.PROVIDER_TIMEOUT,
        ErrorCode.PROVIDER_RATE_LIMITED,
        ErrorCode.PROVIDER_UNAVAILABLE,
        ErrorCode.STORAGE_CONNECTION_FAILED,
        ErrorCode.TIMEOUT,
        ErrorCode.INTERRUPTED,
        ErrorCode.OVERLOADED,
    }
)
"""The codes after which the same request may well succeed."""


def is_valid_code(code: str) -> bool:
    """Tell whether ``code`` is on the closed list."""
    return code in CATEGORIES


def category_of(code: str) -> ErrorCategory:
    """Return the category of a code, or ``ErrorCategory.UNKNOWN`` for any other text."""
    return CATEGORIES[ErrorCode(code)] if code in CATEGORIES else ErrorCategory.UNKNOWN


def codes_in(category: ErrorCategory | str) -> tuple[ErrorCode, ...]:
    """Return the codes of one category in the order of :class:`ErrorCode`; none for an unknown category."""
    return tuple(code for code in ErrorCode if CATEGORIES[code] == category)
