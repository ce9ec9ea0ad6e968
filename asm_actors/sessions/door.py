"""What is refused at the door, whatever a session's own state: for the sake of the whole, or of a run without hope.

1. While the system drains, and while the journal is full, nothing new begins. What is under way goes on.
2. A run is taken only if its provider is there, can work as configured, and has the capabilities that are required:
   the error comes before the run exists, and not from the middle of it.
3. Names hold no secrets: they are what things are found by, and are stored as they are (see `redaction.settings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asm_actors.capabilities.resolver import CapabilityResolver
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import STEERING
from asm_actors.redaction.naming import check_record
from asm_actors.runs.options import merged_options
from asm_actors.runs.request import provider_of
from asm_actors.runs.run import Run
from asm_actors.serialization import check_text, invalid
from asm_actors.services import Directory, Services
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import Phase
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import SessionState
from asm_actors.transcripts.continuation import check_native

__all__ = ["GUARDED", "admit", "check_names", "check_provider", "check_takes_work", "known_provider"]

GUARDED = frozenset(
    {
        m.CreateRun,
        m.SubmitRun,
        m.ExecuteRun,
        m.QueueRun,
        m.ActivateSession,
        m.ResumeSession,
        m.SteerRun,
        m.GetStatus,
    }
)
"""Messages to a session that exists for which `admit` is asked first."""


def check_takes_work(directory: Directory) -> None:
    """Refuse new work if there shall be none now.

    Raises:
        ConcurrencyError: ``invalid_operation``: the system drains; ``overloaded``: the journal is full.
    """
    if directory.is_draining:
        raise AsmError(
            ErrorCode.INVALID_OPERATION,
            "the system is draining and takes no new work; send it to another process",
        )
    if directory.journal_is_full:
        raise AsmError(
            ErrorCode.OVERLOADED,
            "more events wait for the disk than the journal may hold back; try again in a moment",
        )


def check_names(services: Services, record: Session | Run, *, has_chosen_id: bool) -> None:
    """Refuse a secret where a caller may choose a name: ids, agents, tags, keys.

    Raises:
        ValidationError: One of them looks like a secret; the error does not show it.
    """
    if services.redactor is not None:
        check_record(services.redactor, record, has_chosen_id=has_chosen_id)


def admit(services: Services, state: SessionState, message: Any) -> Any:
    """Let a message of `GUARDED` in.

    Returns:
        The message; its run knows what was negotiated.

    Raises:
        ConcurrencyError: As `check_takes_work`; ``max_runs_exceeded``: too many runs wait (`sessions.run_line`).
        ValidationError: No provider has that name, or several are there and none is named.
        StateError: ``missing_required_capability``.
        ProviderError: The provider cannot work as configured, or was given up.
        AsmError: ``capability_not_supported``: it takes no input into a running turn.
    """
    if type(message) is m.SteerRun:
        entry = state.open.get(message.run_id or "")
        if entry is not None:
            check_steering(services, provider_of(state.session, entry.run, services.default_provider))
        return message
    kind, line = type(message), services.directory.run_line
    if kind is m.GetStatus:
        return m.GetStatus(services.directory.followers.get(state.session.id, 0))
    if kind is m.ExecuteRun or kind is m.QueueRun:
        entry = state.open.get(message.run_id)
        if entry is None or entry.phase is not Phase.CREATED:
            return message  # under way or over: executing it is waiting for it
        if line is not None:
            line.check(state.session, entry.run, state)
    check_takes_work(services.directory)
    if kind is m.CreateRun or kind is m.SubmitRun:
        run = _admit_run(services, state.session, message.run, message.wanted)
        if line is not None and kind is m.SubmitRun:
            line.check(state.session, run, state)
        return message._replace(run=run, wanted=None)
    return message


def _admit_run(services: Services, session: Session, run: Run, wanted: CapabilityResolver | None) -> Run:
    defaults = session.options.get("run_options")
    if defaults and "purpose" not in run.options:
        run = run.replace(options=merged_options(defaults, run.options))
    priority = session.options.get("priority")
    if priority and "priority" not in run.options:
        # With the run, so that it is known before its session is read (`sessions.supervisor`).
        run = run.replace(options={**run.options, "priority": priority})
    name = known_provider(services, provider_of(session, run, services.default_provider))
    check_provider(services, name)
    if run.provider is None:
        # On record from the beginning: runs are found, counted and priced by who executes them.
        run = run.replace(provider=name)
    if run.options.get("continuation") == "native":
        check_native(services.manifests[name], name)
    of_session = session.options.get("capabilities")
    if of_session is not None and "purpose" not in run.options:
        wanted = CapabilityResolver.from_map(of_session).plus(wanted)
    return run if wanted is None else negotiated(services, name, run, wanted)


def negotiated(services: Services, provider: str, run: Run, wanted: CapabilityResolver) -> Run:
    """Note in a run's details how its provider meets what is wanted, and in its options what it cannot do without.

    Raises:
        StateError: ``missing_required_capability``.
    """
    if wanted.is_empty:
        return run
    found = wanted.negotiate(services.manifests[provider].capabilities)
    run = run.replace(details={**run.details, "capabilities": found.to_map()})
    if wanted.required:
        required = [type_.value for type_ in wanted.required]
        run = run.replace(options={**run.options, "required_capabilities": required})
    return run


def known_provider(services: Services, name: str | None) -> str:
    """Return the name of a provider that is configured.

    Raises:
        ValidationError: No provider has that name, or there is no name.
    """
    known = None if name is None else check_text(name, "provider")
    if known is None or known not in services.providers:
        raise invalid("provider", f"must be one of: {_names(services.providers)}", name)
    return known


def check_provider(services: Services, name: str) -> None:
    """Refuse a provider that cannot work.

    Raises:
        ProviderError: It was given up, or something that it needs, such as its key, is missing.
    """
    if name in services.directory.lost_providers:
        raise AsmError(
            ErrorCode.PROVIDER_UNAVAILABLE,
            f"provider {name} crashed too often and was given up; see the log, then start a new system",
            context={"provider": name},
        )
    services.providers[name].check()


def check_steering(services: Services, name: str | None) -> None:
    """Refuse input into a running turn for a provider that does not say that it takes any.

    Raises:
        ConcurrencyError: ``capability_not_supported``.
    """
    manifest = services.manifests.get(name or "")
    offered = () if manifest is None else manifest.enabled_capabilities
    if not any(capability.name in STEERING for capability in offered):
        raise AsmError(
            ErrorCode.CAPABILITY_NOT_SUPPORTED,
            f"provider {name} takes no input into a running turn: its manifest has no enabled capability named "
            f"{' or '.join(sorted(STEERING))}",
            context={"provider": name},
        )


def _names(providers: Mapping[str, Any]) -> str:
    return ", ".join(sorted(providers)) or "(none is configured)"
