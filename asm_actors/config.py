"""Every default of the domain, and the limits of a system.

Defaults are written here and nowhere else. Names that end in ``_MS`` are milliseconds, in ``_BYTES`` bytes,
in ``_DAYS`` days; every other duration is seconds. The defaults of supervision stand in ``supervisors.spec``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import INT_MAX, shown
from asm_actors.keyed_limits import check_count, check_counts, check_rate, check_rates
from asm_actors.serialization import check_text, invalid

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

TENANT_TAG_PREFIX: Final = "tenant:"
"""How a tag of a session begins that names its tenant."""

# Waiting ----------------------------------------------------------------------------------------------------

STREAM_IDLE_TIMEOUT: Final = 120.0
"""How long a one-shot stream waits for the next event."""

TASK_SHUTDOWN_TIMEOUT: Final = 5.0
"""How long a cancelled task may take to end."""

COMMAND_TIMEOUT: Final = 30.0
"""How long a command of a tool or a workspace may take."""

APPROVAL_TIMEOUT: Final = 300.0
"""How long a tool call waits for a human before it is denied."""

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

CLAUDE_MODEL: Final = "claude-haiku-4-5"
"""The model of Claude where nobody names one."""

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


def _count(_: Limits, attribute: attrs.Attribute[Any], value: object) -> None:
    check_count(value, f"limits.{attribute.name}")


def _queue_limit(_: Limits, attribute: attrs.Attribute[Any], value: object) -> None:
    # True is an int to Python, and as a limit always a mistake.
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INT_MAX
    ):
        rule = "must be an integer of at least 0 (0: none ever waits, it is refused), or None for no limit"
        raise invalid(f"limits.{attribute.name}", rule, value)


def _rate(_: Limits, attribute: attrs.Attribute[Any], value: object) -> None:
    check_rate(value, f"limits.{attribute.name}")


def _prefix(_: Limits, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise invalid(f"limits.{attribute.name}", "must be the text with which such tags begin", value)
    check_text(value, f"limits.{attribute.name}")


def _by_key(check: Callable[[object, str], Any]) -> Any:
    """A field with a limit for each key; see `asm_actors.keyed_limits`."""

    def convert(value: object, attribute: attrs.Attribute[Any]) -> Any:
        return check(value, f"limits.{attribute.name}")

    return attrs.field(default=None, converter=attrs.Converter(convert, takes_field=True))


@attrs.frozen
class Limits:
    """How much may go on at once, and begin in a second. Checked when it is made.

    Attributes:
        max_parallel_sessions: sessions that may be active at once; one more is ``max_sessions_exceeded``.
        max_parallel_runs: runs that may execute at once over all sessions; one more waits.
        max_concurrent_runs: runs of one session that may execute at once; one more waits.
        max_queued_runs: runs of one session that may wait; one more is ``max_runs_exceeded``.
        max_runs_per_agent: runs of sessions of one agent that may execute at once, by the agent's id; one more waits.
        max_runs_per_tenant: the same by the tenant that a tag of the session names.
        max_runs_per_provider: the same by the provider that executes them.
        max_sessions_per_agent: sessions of one agent that may be active at once; one more is ``max_sessions_exceeded``.
        max_sessions_per_tenant: the same by tenant.
        tenant_tag_prefix: how a tag begins that names a tenant: a session tagged ``tenant:acme`` is one of ``acme``.
        max_run_starts_per_second: runs that may begin in a second over all sessions, in the long run; one more waits.
        max_run_starts_per_second_per_agent: the same by agent.
        max_run_starts_per_second_per_tenant: the same by tenant.
        max_run_starts_per_second_per_provider: the same by provider.
        run_start_burst: runs that may begin at once after a pause, where such a rate counts; None: those of a second.
        max_waiting_runs: runs over all sessions that may wait for any of these; while so many do, a run that would have
            to wait is ``max_runs_exceeded``. Runs that were accepted before are never refused.

    Limits by agent, tenant and provider are one number for every key, or a map with a number for some of them, and
    with ``"*"`` for all others. Each limit may be None: there is none. Rates are from 0.000001 to 1,000,000,000. How
    many runs of one session may be open at all has a bound that is no setting (10,000, see ``sessions.state``); one
    more is ``max_runs_exceeded``.

    Raises:
        ValidationError: a field is out of range; the message names it and says what it must be.
    """

    max_parallel_sessions: int | None = attrs.field(default=MAX_PARALLEL_SESSIONS, validator=_count)
    max_parallel_runs: int | None = attrs.field(default=MAX_PARALLEL_RUNS, validator=_count)
    max_concurrent_runs: int | None = attrs.field(default=MAX_CONCURRENT_RUNS, validator=_count)
    max_queued_runs: int | None = attrs.field(default=MAX_QUEUED_RUNS, validator=_queue_limit)
    max_runs_per_agent: int | Mapping[str, int | None] | None = _by_key(check_counts)
    max_runs_per_tenant: int | Mapping[str, int | None] | None = _by_key(check_counts)
    max_runs_per_provider: int | Mapping[str, int | None] | None = _by_key(check_counts)
    max_sessions_per_agent: int | Mapping[str, int | None] | None = _by_key(check_counts)
    max_sessions_per_tenant: int | Mapping[str, int | None] | None = _by_key(check_counts)
    tenant_tag_prefix: str = attrs.field(default=TENANT_TAG_PREFIX, validator=_prefix)
    max_run_starts_per_second: float | None = attrs.field(default=None, validator=_rate)
    max_run_starts_per_second_per_agent: float | Mapping[str, float | None] | None = _by_key(check_rates)
    max_run_starts_per_second_per_tenant: float | Mapping[str, float | None] | None = _by_key(check_rates)
    max_run_starts_per_second_per_provider: float | Mapping[str, float | None] | None = _by_key(check_rates)
    run_start_burst: int | None = attrs.field(default=None, validator=_count)
    max_waiting_runs: int | None = attrs.field(default=None, validator=_queue_limit)

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
