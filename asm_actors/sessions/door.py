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

__all__ = ["GUARDED", "admit", "check_names", "check_provider", "check_takes_work", "known_provider"]

GUARDED = frozenset({m.CreateRun, m.SubmitRun, m.ExecuteRun, m.QueueRun, m.ActivateSession, m.ResumeSession})
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
        ConcurrencyError: As `check_takes_work`.
        ValidationError: No provider has that name, or several are there and none is named.
        StateError: ``missing_required_capability``.
        ProviderError: The provider cannot work as configured, or was given up.
    """
    if type(message) is m.ExecuteRun or type(message) is m.QueueRun:
        entry = state.open.get(message.run_id)
        if entry is None or entry.phase is not Phase.CREATED:
            return message  # under way or over: executing it is waiting for it
    check_takes_work(services.directory)
    if type(message) is m.CreateRun or type(message) is m.SubmitRun:
        run = _admit_run(services, state.session, message.run, message.wanted)
        return message._replace(run=run, wanted=None)
    return message


def _admit_run(services: Services, session: Session, run: Run, wanted: CapabilityResolver | None) -> Run:
    defaults = session.options.get("run_options")
    if defaults:
        run = run.replace(options=merged_options(defaults, run.options))
    name = known_provider(services, provider_of(session, run, services.default_provider))
    check_provider(services, name)
    return run if wanted is None else negotiated(services, name, run, wanted)


def negotiated(services: Services, provider: str, run: Run, wanted: CapabilityResolver) -> Run:
    """Note in a run's options how its provider meets what is wanted.

    Raises:
        StateError: ``missing_required_capability``.
    """
    if wanted.is_empty:
        return run
    found = wanted.negotiate(services.manifests[provider].capabilities)
    noted = {"status": str(found.status), "warnings": list(found.warnings)}
    return run.replace(options={**run.options, "capabilities": noted})


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


def _names(providers: Mapping[str, Any]) -> str:
    return ", ".join(sorted(providers)) or "(none is configured)"
