"""The settings themselves: of each its default, what it may be, and what it does.

`settings.config` has what is done with them. Settings of the same kind stand together, as `asm config show` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from asm_actors import config as defaults
from asm_actors.config import Limits
from asm_actors.cost.pricing import PricingTable
from asm_actors.events import EventType
from asm_actors.journal.search import MAX_PAGE
from asm_actors.keyed_limits import check_counts, check_rates
from asm_actors.maintenance.policy import ESSENTIAL
from asm_actors.policies.policy import Policy
from asm_actors.redaction.pattern import checked_regex
from asm_actors.sessions.session import SessionStatus
from asm_actors.settings import rules
from asm_actors.settings.rules import setting
from asm_actors.tools.mcp_server import servers_by_name
from asm_actors.workspace.config import WORKSPACE_TIMEOUT

__all__ = ["Settings"]

_LIMITS: Final = Limits()
_PRUNABLE: Final = tuple(kind.value for kind in EventType if kind not in ESSENTIAL)
_COUNT: Final = rules.integer(1, optional=True)
_QUEUE: Final = rules.integer(0, optional=True)
_RUNS: Final = rules.keyed("runs", check_counts)
_SESSIONS: Final = rules.keyed("sessions", check_counts)
_STARTS: Final = rules.keyed("runs in a second", check_rates)


def _limit(name: str, help: str, rule: rules.Rule = _COUNT) -> Any:  # noqa: A002 - as at `setting`
    """A field of `Limits`, with the default of that."""
    return setting(getattr(_LIMITS, name), rule, help)


@frozen(kw_only=True)
class Settings:
    """Every setting; see the module. Checked when they are made.

    Raises:
        ValidationError: A value is not legal; the message names the setting, and says what is.
    """

    # The system
    journal: str | None = setting(
        None, rules.text("a directory", optional=True), "Directory of the journal, made if it is not there."
    )
    durability: str = setting(
        "commit",
        rules.choice("commit", "interval", "none"),
        "When what is written is synced to the disk: with each commit, once a second, or when the system likes.",
    )
    on_restart: str = setting(
        "resume",
        rules.choice(*defaults.ON_RESTART),
        "What becomes of a run that was under way when its process ended, unless it says so itself.",
    )
    max_recoveries: int = setting(
        defaults.MAX_RECOVERIES, rules.integer(0), "Crashes that one run survives; one more ends it."
    )
    linger: float | None = setting(
        defaults.SESSION_LINGER,
        rules.seconds(optional=True),
        "Seconds without work after which a session leaves memory until somebody asks for it.",
    )
    patience: float = setting(
        10.0,
        rules.seconds(),
        "Seconds for which a failing commit is tried again before its writers are told.",
    )
    tool_threads: int = setting(
        defaults.TOOL_THREADS, rules.integer(1), "Tools that are plain functions which may work at once."
    )
    policy: Mapping[str, Any] | None = setting(
        None,
        rules.map_for("the fields of a policy", Policy.from_map, optional=True),
        "What all runs may do and use.",
    )
    pricing_table: Mapping[str, Any] = setting(
        {},
        rules.map_for("providers, models and rates", PricingTable.of),
        "Prices, over those that are built in.",
    )
    claude_default_model: str = setting(
        defaults.CLAUDE_MODEL,
        rules.text("the name of a model"),
        "The model of Claude where nobody names one.",
    )
    mcp_servers: Mapping[str, Any] = setting(
        {},
        rules.map_for("MCP servers by name", servers_by_name, quiet=True),
        "MCP servers that offer tools.",
        secret=True,
    )

    # How much at once: `Limits`
    max_parallel_sessions: int | None = _limit(
        "max_parallel_sessions", "Sessions that may be active at once."
    )
    max_parallel_runs: int | None = _limit(
        "max_parallel_runs", "Runs that may execute at once, over all sessions."
    )
    max_concurrent_runs: int | None = _limit(
        "max_concurrent_runs", "Runs of one session that may execute at once."
    )
    max_queued_runs: int | None = _limit(
        "max_queued_runs", "Runs of one session that may wait; one more is refused.", _QUEUE
    )
    max_waiting_runs: int | None = _limit(
        "max_waiting_runs", "Runs over all sessions that may wait for a place.", _QUEUE
    )
    max_runs_per_agent: int | Mapping[str, int | None] | None = _limit(
        "max_runs_per_agent", "Runs of one agent that may execute at once.", _RUNS
    )
    max_runs_per_tenant: int | Mapping[str, int | None] | None = _limit(
        "max_runs_per_tenant", "Runs of one tenant that may execute at once.", _RUNS
    )
    max_runs_per_provider: int | Mapping[str, int | None] | None = _limit(
        "max_runs_per_provider", "Runs of one provider that may execute at once.", _RUNS
    )
    max_sessions_per_agent: int | Mapping[str, int | None] | None = _limit(
        "max_sessions_per_agent", "Sessions of one agent that may be active at once.", _SESSIONS
    )
    max_sessions_per_tenant: int | Mapping[str, int | None] | None = _limit(
        "max_sessions_per_tenant", "Sessions of one tenant that may be active at once.", _SESSIONS
    )
    tenant_tag_prefix: str = _limit(
        "tenant_tag_prefix",
        "How a session's tag begins that names its tenant.",
        rules.text("how such tags begin"),
    )
    max_run_starts_per_second: float | None = _limit(
        "max_run_starts_per_second", "Runs that may begin in a second, in the long run.", rules.rate()
    )
    max_run_starts_per_second_per_agent: float | Mapping[str, float | None] | None = _limit(
        "max_run_starts_per_second_per_agent", "The same of one agent.", _STARTS
    )
    max_run_starts_per_second_per_tenant: float | Mapping[str, float | None] | None = _limit(
        "max_run_starts_per_second_per_tenant", "The same of one tenant.", _STARTS
    )
    max_run_starts_per_second_per_provider: float | Mapping[str, float | None] | None = _limit(
        "max_run_starts_per_second_per_provider", "The same of one provider.", _STARTS
    )
    run_start_burst: int | None = _limit("run_start_burst", "Runs that may begin at once after a pause.")

    # Telemetry and redaction
    telemetry_enabled: bool = setting(True, rules.boolean(), "Whether spans and metrics are made.")
    audit_logging_enabled: bool = setting(
        True, rules.boolean(), "Whether an audit log is kept for who asks for one."
    )
    redaction_enabled: bool = setting(
        True, rules.boolean(), "Whether secrets are taken out before they are stored."
    )
    redaction_patterns: tuple[str, ...] = setting(
        (),
        rules.pattern(checked_regex),
        "Regular expressions of secrets, besides the ones that are built in.",
    )
    redaction_mode: str = setting(
        "append", rules.choice("append", "replace"), "Whether these patterns come besides, or instead."
    )
    redaction_replacement: str = setting(
        defaults.REDACTION_REPLACEMENT,
        rules.text('text, or "categorized" to tell of which category a secret was'),
        "What stands where a secret was.",
    )
    redaction_deep_scan: bool = setting(
        True, rules.boolean(), "Whether lists and maps in payloads are looked at."
    )
    redaction_scan_metadata: bool = setting(True, rules.boolean(), "Whether metadata is looked at.")
    redaction_max_depth: int = setting(10, rules.integer(1), "How deep a payload is redacted in its places.")
    redaction_environment: bool = setting(
        True,
        rules.boolean(),
        "Whether values of variables such as …_API_KEY and …_TOKEN are secrets wherever they stand.",
    )

    # Times
    stream_idle_timeout_ms: float | None = setting(
        defaults.STREAM_IDLE_TIMEOUT * 1000,
        rules.milliseconds(may_be_0=False, optional=True),
        "How long a one-shot stream waits for the next event.",
    )
    task_shutdown_timeout_ms: float = setting(
        defaults.TASK_SHUTDOWN_TIMEOUT * 1000,
        rules.milliseconds(may_be_0=False),
        "How long a provider, a one-shot stream that is closed, and a tool's coroutine may take to stop.",
    )
    await_run_timeout_ms: float | None = setting(
        None,
        rules.milliseconds(optional=True),
        "How long await_run waits where its caller does not say.",
    )
    execute_timeout_ms: float | None = setting(
        None,
        rules.milliseconds(may_be_0=False, optional=True),
        "How long one turn may take with a provider that has no bound of its own.",
    )
    command_timeout_ms: float | None = setting(
        defaults.COMMAND_TIMEOUT * 1000,
        rules.milliseconds(may_be_0=False, optional=True),
        "How long a command may take where its caller does not say.",
    )
    workspace_timeout_ms: float = setting(
        WORKSPACE_TIMEOUT * 1000,
        rules.milliseconds(may_be_0=False),
        "How long one command of a workspace may take.",
    )

    # Sizes
    event_buffer_size: int = setting(
        defaults.EVENT_BUFFER_SIZE, rules.integer(1), "Events that an EventStream keeps."
    )
    max_output_bytes: int = setting(
        defaults.MAX_OUTPUT_BYTES, rules.integer(0), "Output of a command that is kept."
    )
    max_patch_bytes: int = setting(
        defaults.MAX_PATCH_BYTES,
        rules.integer(0),
        "The longest patch that is kept with a workspace's difference.",
    )
    error_text_max_bytes: int = setting(
        defaults.ERROR_TEXT_MAX_BYTES, rules.integer(0), "Bytes of a provider's error output that are kept."
    )
    error_text_max_lines: int = setting(
        defaults.ERROR_TEXT_MAX_LINES, rules.integer(0), "Lines of a provider's error output that are kept."
    )
    chars_per_token: int = setting(
        defaults.CHARS_PER_TOKEN, rules.integer(1), "The rough length of a token where nobody counts them."
    )

    # Queries
    max_query_limit: int = setting(
        MAX_PAGE, rules.integer(1, MAX_PAGE), "The largest page that may be asked for."
    )
    default_session_query_limit: int = setting(
        defaults.SESSION_QUERY_LIMIT, rules.integer(1, MAX_PAGE), "Sessions on a page."
    )
    default_run_query_limit: int = setting(
        defaults.RUN_QUERY_LIMIT, rules.integer(1, MAX_PAGE), "Runs on a page."
    )
    default_event_query_limit: int = setting(
        defaults.EVENT_QUERY_LIMIT, rules.integer(1, MAX_PAGE), "Events on a page."
    )

    # Retention
    retention_max_session_age_days: int | None = setting(
        None, rules.integer(1, optional=True), "Sessions made longer ago are deleted softly."
    )
    retention_max_completed_age_days: int | None = setting(
        defaults.RETENTION_MAX_COMPLETED_AGE_DAYS,
        rules.integer(1, optional=True),
        "Sessions that have not changed for longer are deleted softly.",
    )
    retention_hard_delete_after_days: int | None = setting(
        defaults.RETENTION_HARD_DELETE_AFTER_DAYS,
        rules.integer(1, optional=True),
        "Softly deleted sessions are deleted for good after so long.",
    )
    retention_max_events_per_session: int | None = setting(
        None, rules.integer(1, optional=True), "Sessions with more events are pruned."
    )
    retention_max_total_events: int | None = setting(
        None,
        rules.integer(1, optional=True),
        "While the journal has more events, its oldest sessions are pruned.",
    )
    retention_batch_size: int = setting(
        defaults.RETENTION_BATCH_SIZE, rules.integer(1), "Sessions that one step of maintenance takes."
    )
    retention_exempt_statuses: tuple[str, ...] = setting(
        defaults.RETENTION_EXEMPT_STATUSES,
        rules.texts("statuses of a session", [status.value for status in SessionStatus]),
        "Sessions of these statuses are not deleted.",
    )
    retention_exempt_tags: tuple[str, ...] = setting(
        defaults.RETENTION_EXEMPT_TAGS,
        rules.texts("tags"),
        "Sessions with one of these tags are not touched.",
    )
    retention_prune_event_types_first: tuple[str, ...] = setting(
        defaults.RETENTION_PRUNE_EVENT_TYPES_FIRST,
        rules.texts("types of events", _PRUNABLE),
        "Events of these types are pruned first.",
    )

    # Commands, workspaces, routing
    default_shell: str = setting(
        defaults.SHELL, rules.text("the path of a shell"), "The shell of commands that are text."
    )
    default_success_exit_codes: tuple[int, ...] = setting(
        defaults.SUCCESS_EXIT_CODES, rules.integers(0, 255), "Exit codes of a command that mean success."
    )
    excluded_workspace_roots: tuple[str, ...] = setting(
        defaults.EXCLUDED_WORKSPACE_ROOTS,
        rules.texts("folders"),
        "Folders of a workspace that no copy is made of.",
    )
    default_router_name: str = setting(
        defaults.ROUTER_NAME, rules.text("a name"), "The name of a router that was given none."
    )
    circuit_breaker_failure_threshold: int = setting(
        defaults.BREAKER_FAILURE_THRESHOLD, rules.integer(1), "Failures in a row that open a circuit breaker."
    )
    circuit_breaker_cooldown_ms: float = setting(
        defaults.BREAKER_COOLDOWN * 1000, rules.milliseconds(), "How long an open breaker refuses."
    )
    circuit_breaker_half_open_max_probes: int = setting(
        defaults.BREAKER_HALF_OPEN_MAX_PROBES,
        rules.integer(1),
        "Requests that a half-open breaker lets through at once.",
    )
    sticky_session_ttl_ms: float = setting(
        defaults.STICKY_SESSION_TTL * 1000,
        rules.milliseconds(),
        "How long a router keeps a session at its target.",
    )
