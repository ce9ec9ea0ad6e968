"""Every default of the domain, and the limits of a system.

Defaults are written here and nowhere else. Names that end in ``_MS`` are milliseconds, in ``_BYTES`` bytes,
in ``_DAYS`` days; every other duration is seconds. The defaults of supervision stand in ``supervisors.spec``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import INT_MAX, shown
from asm_actors.serialization import invalid

__all__ = ["Limits"]

# Limits -----------------------------------------------------------------------------------------------------

MAX_PARALLEL_SESSIONS: Final = 100
"""Sessions that may be active at once."""

MAX_PARALLEL_RUNS: Final = 50
"""Runs that may execute at once, over all sessions."""

MAX_CONCURRENT_RUNS: Final = 1
"""Runs of one session that may execute at once: a conversation normally has one speaker."""

MAX_QUEUED_RUNS: Final = 100
"""Runs of one session that may wait for their turn."""

# Waiting ----------------------------------------------------------------------------------------------------

AWAIT_RUN_TIMEOUT: Final = 60.0
"""How long ``await_run`` waits unless it is told."""

EXECUTE_TIMEOUT: Final = 60.0
"""How long one provider call may take."""

EXECUTE_GRACE_TIMEOUT: Final = 5.0
"""How much longer the run waits for the provider's own timeout to be reported."""

STREAM_IDLE_TIMEOUT: Final = 120.0
"""How long a one-shot stream waits for the next event."""

TASK_SHUTDOWN_TIMEOUT: Final = 5.0
"""How long a cancelled task may take to end."""

DRAIN_TIMEOUT_BUFFER: Final = 1.0
"""How much longer a caller waits than the drain it asked for may take."""

COMMAND_TIMEOUT: Final = 30.0
"""How long a command of a tool or a workspace may take."""

APPROVAL_TIMEOUT: Final = 300.0
"""How long a tool call waits for a human before it is denied."""

RUN_DEADLINE_MS: Final = 600_000
"""The budget of a whole run where a provider needs one and nobody set it."""

# Recovery ---------------------------------------------------------------------------------------------------

ON_RESTART: Final = ("resume", "retry", "fail")
"""What may become of a run that was under way when its process ended."""

MAX_RECOVERIES: Final = 3
"""Crashes that one run survives."""

SESSION_LINGER: Final = 300.0
"""How long a session without work stays in memory."""

# Providers --------------------------------------------------------------------------------------------------

BREAKER_FAILURE_THRESHOLD: Final = 5
"""Failures in a row that open a provider's circuit breaker."""

BREAKER_COOLDOWN: Final = 30.0
"""How long an open breaker refuses before it lets a probe through."""

BREAKER_HALF_OPEN_MAX_PROBES: Final = 1
"""Requests that a half-open breaker lets through at once."""

STICKY_SESSION_TTL: Final = 300.0
"""How long a router keeps a session with the provider it had last."""

ROUTING_COOLDOWN: Final = 30.0
"""How long a router leaves a provider alone that failed and did not say for how long."""

ROUTING_MAX_ATTEMPTS: Final = 3
"""Providers that a router gives one turn to, one after the other."""

ROUTER_NAME: Final = "router"
"""The provider name of a router that was given none."""

CHARS_PER_TOKEN: Final = 4
"""The rough length of a token, where no provider counts them."""

# Tools ------------------------------------------------------------------------------------------------------

TOOL_THREADS: Final = 32
"""Threads for tools that are plain functions."""

# Sizes ------------------------------------------------------------------------------------------------------

EVENT_BUFFER_SIZE: Final = 1_000
"""Events that an in-memory stream keeps."""

MAX_OUTPUT_BYTES: Final = 1_048_576
"""Output of a command that is kept."""

MAX_PATCH_BYTES: Final = 1_048_576
"""The longest patch that is kept with a workspace diff."""

ERROR_TEXT_MAX_BYTES: Final = 16_384
"""Text of a provider's error output that is kept."""

ERROR_TEXT_MAX_LINES: Final = 200
"""Lines of a provider's error output that are kept."""

# Queries ----------------------------------------------------------------------------------------------------

MAX_QUERY_LIMIT: Final = 1_000
"""The largest page anybody may ask for."""

SESSION_QUERY_LIMIT: Final = 50
"""Sessions on a page."""

RUN_QUERY_LIMIT: Final = 50
"""Runs on a page."""

EVENT_QUERY_LIMIT: Final = 100
"""Events on a page."""

# Retention --------------------------------------------------------------------------------------------------

RETENTION_MAX_COMPLETED_AGE_DAYS: Final = 90
"""After how long without a change a session that is over is deleted softly."""

RETENTION_HARD_DELETE_AFTER_DAYS: Final = 30
"""After how long a softly deleted session is deleted for good."""

RETENTION_BATCH_SIZE: Final = 100
"""Sessions that one maintenance step handles at a time."""

RETENTION_EXEMPT_STATUSES: Final = ("active", "paused")
"""Sessions of these statuses are never deleted."""

RETENTION_EXEMPT_TAGS: Final = ("pinned",)
"""Sessions with one of these tags are never deleted."""

RETENTION_PRUNE_EVENT_TYPES_FIRST: Final = ("message_streamed", "token_usage_updated")
"""Events of these types go first when a session has too many."""

# Redaction, rendering, workspaces, tools --------------------------------------------------------------------

REDACTION_REPLACEMENT: Final = "[REDACTED]"
"""What stands where a secret was."""

EXCLUDED_WORKSPACE_ROOTS: Final = (".git", "deps", "_build", "node_modules")
"""Folders of a workspace that no snapshot looks into."""

SHELL: Final = "/bin/sh"
"""The shell of the shell provider."""

SUCCESS_EXIT_CODES: Final = (0,)
"""Exit codes of a command that mean success."""


def _optional_limit(instance: Limits, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        _check(instance, attribute, value, 1, "an integer of at least 1, or None for no limit")


def _queue_limit(instance: Limits, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        rule = "an integer of at least 0 (0: runs never wait, they are refused), or None for no limit"
        _check(instance, attribute, value, 0, rule)


def _check(_: Limits, attribute: attrs.Attribute[Any], value: object, least: int, rule: str) -> None:
    # True is an int to Python, and as a limit always a mistake.
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= INT_MAX:
        raise invalid(f"limits.{attribute.name}", f"must be {rule}", value)


@attrs.frozen
class Limits:
    """How much may go on at once. Checked when it is made.

    Attributes:
        max_parallel_sessions: sessions that may be active at once; one more is ``max_sessions_exceeded``.
        max_parallel_runs: runs that may execute at once over all sessions; one more waits.
        max_concurrent_runs: runs of one session that may execute at once; one more waits.
        max_queued_runs: runs of one session that may wait; one more is ``max_runs_exceeded``.

    Each may be None: no limit of its own. How many runs of one session may be open at all has a bound that is no
    setting (10,000, see ``sessions.state``); one more is ``max_runs_exceeded``.

    Raises:
        ValidationError: a field is out of range; the message names it and says what it must be.
    """

    max_parallel_sessions: int | None = attrs.field(default=MAX_PARALLEL_SESSIONS, validator=_optional_limit)
    max_parallel_runs: int | None = attrs.field(default=MAX_PARALLEL_RUNS, validator=_optional_limit)
    max_concurrent_runs: int | None = attrs.field(default=MAX_CONCURRENT_RUNS, validator=_optional_limit)
    max_queued_runs: int | None = attrs.field(default=MAX_QUEUED_RUNS, validator=_queue_limit)

    def to_map(self) -> dict[str, Any]:
        """Return the limits as a JSON-ready map."""
        return attrs.asdict(self)

    @classmethod
    def from_map(cls, value: Any) -> Limits:
        """Read what :meth:`to_map` wrote; an absent field has its default.

        Unlike stored records, limits are written by hand: an unknown name is an error and not ignored.

        Raises:
            ValidationError: no map, an unknown name, or a field out of range.
        """
        if not isinstance(value, Mapping):
            raise invalid("limits", "must be a map", value)
        known = [field.name for field in attrs.fields(cls)]
        for name in value:
            if name not in known:
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    f"limits have no field {shown(name)}; they have {', '.join(known)}",
                    details={"field": "limits"},
                )
        return cls(**value)
