"""Reports: what a supervisor noticed, as values, to `logging` and to an optional hook.

Each odd thing is reported once, by the supervisor that saw it. The hook belongs to a supervisor and is
inherited by those below it, so that one hook at the root sees the whole tree. A hook that raises is logged
and changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeAlias

from supervisors.exits import Crashed, ExitReason, describe

__all__ = [
    "AutoShutdownReached",
    "ChildAbandoned",
    "ChildStarted",
    "ChildTerminated",
    "IntensityReached",
    "OddShutdown",
    "Report",
    "ReportHook",
    "StartFailure",
    "UnexpectedMessage",
    "emit",
]

logger = logging.getLogger("supervisors.reports")


class ChildStarted(NamedTuple):
    """A child runs."""

    supervisor: Any
    """Ref of the reporting supervisor."""
    child_id: Hashable
    """The child's id; of a dynamic supervisor's child, its ref."""
    ref: Any
    """The new life."""
    restarts: int
    """How often the child had been restarted by then; 0 for a first start."""


class ChildTerminated(NamedTuple):
    """A child ended without having been told to, and its end is not plainly in order."""

    supervisor: Any
    """Ref of the reporting supervisor."""
    child_id: Hashable
    """The child's id or ref."""
    ref: Any
    """The life that ended."""
    reason: ExitReason
    """How it ended."""
    is_restarted: bool
    """Whether the supervisor wants it back."""


class StartFailure(NamedTuple):
    """A child could not be started."""

    supervisor: Any
    """Ref of the reporting supervisor."""
    child_id: Hashable
    """The child's id; of a dynamic supervisor's child, its class's name."""
    error: BaseException
    """What the start raised."""


class OddShutdown(NamedTuple):
    """Children that were told to stop ended otherwise than they should."""

    supervisor: Any
    """Ref of the reporting supervisor."""
    child_id: Hashable
    """The child's id; of a dynamic supervisor's children, their class's name."""
    reason: ExitReason
    """How they ended; `Killed` means that the shutdown time was over."""
    n_children: int
    """How many ended so: more than one only under a dynamic supervisor."""


class ChildAbandoned(NamedTuple):
    """A child's thread could not be ended and was left behind."""

    supervisor: Any
    """Ref of the reporting supervisor."""
    child_id: Hashable
    """The child's id or ref."""
    ref: Any
    """The life that was cut off."""


class IntensityReached(NamedTuple):
    """One restart too many within the period: the supervisor gives up and its parent decides."""

    supervisor: Any
    """Ref of the reporting supervisor."""
    child_id: Hashable
    """Whose restart it was."""
    intensity: int
    """Restarts allowed."""
    period: float
    """Seconds within which they were counted."""


class AutoShutdownReached(NamedTuple):
    """A significant child ended for good, so the supervisor ends too."""

    supervisor: Any
    """Ref of the reporting supervisor."""
    child_id: Hashable
    """The child's id or ref."""


class UnexpectedMessage(NamedTuple):
    """A supervisor got a message that it does not know, and dropped it."""

    supervisor: Any
    """Ref of the reporting supervisor."""
    message: Any
    """The message."""


Report: TypeAlias = (
    ChildStarted
    | ChildTerminated
    | StartFailure
    | OddShutdown
    | ChildAbandoned
    | IntensityReached
    | AutoShutdownReached
    | UnexpectedMessage
)
"""All reports: a closed union."""

ReportHook: TypeAlias = Callable[[Report], object]
"""Called with each report on the dispatcher's thread; it must not block."""

_LEVELS: dict[type[Any], int] = {
    ChildStarted: logging.DEBUG,
    AutoShutdownReached: logging.INFO,
    UnexpectedMessage: logging.WARNING,
}


def emit(report: Report, hook: ReportHook | None = None) -> None:
    """Log a report and give it to the hook.

    Args:
        report: The report. It is attached to the log record as `report`.
        hook: Who else wants it.
    """
    level = _LEVELS.get(type(report), logging.ERROR)
    if logger.isEnabledFor(level):
        error = _error_of(report)
        exc_info = (type(error), error, error.__traceback__) if error is not None else None
        logger.log(level, _phrase(report), exc_info=exc_info, extra={"report": report})
    if hook is not None:
        try:
            hook(report)
        except Exception:  # the hook is foreign code; supervision goes on without it
            logger.exception(f"The report hook failed on {type(report).__name__}")


def _error_of(report: Report) -> BaseException | None:
    if isinstance(report, StartFailure):
        return report.error
    if isinstance(report, (ChildTerminated, OddShutdown)) and isinstance(report.reason, Crashed):
        return report.reason.error
    return None


def _phrase(report: Report) -> str:
    who = f"{report.supervisor}"
    match report:
        case ChildStarted(child_id=child_id, ref=ref):
            return f"{who}: child {child_id!r} started as {ref}"
        case ChildTerminated(child_id=child_id, reason=reason, is_restarted=is_restarted):
            then = "restarting" if is_restarted else "not restarted"
            return f"{who}: child {child_id!r} {describe(reason)}; {then}"
        case StartFailure(child_id=child_id, error=error):
            return f"{who}: child {child_id!r} could not be started: {error}"
        case OddShutdown(child_id=child_id, reason=reason, n_children=n_children):
            times = "" if n_children == 1 else f" ({n_children} of them)"
            return f"{who}: child {child_id!r}{times} was told to stop but ended {describe(reason)}"
        case ChildAbandoned(child_id=child_id, ref=ref):
            return f"{who}: child {child_id!r} cannot be ended; {ref} was left behind"
        case IntensityReached(child_id=child_id, intensity=intensity, period=period):
            return (
                f"{who}: more than {intensity} restarts in {period} s, last of child {child_id!r}; giving up"
            )
        case AutoShutdownReached(child_id=child_id):
            return f"{who}: significant child {child_id!r} ended; shutting down"
        case UnexpectedMessage(message=message):
            return f"{who}: unexpected message dropped: {message!r}"
