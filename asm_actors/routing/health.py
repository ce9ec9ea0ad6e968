"""What is known of a target's health, as a value. Pure.

A target that failed is left alone for a while: for as long as it asked (``retry_after``), else for the router's
cooldown. Failures that say nothing of the target do not count: a malformed request is refused by each of them, and a
tool or a command that fails is the model's affair.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCategory, ErrorCode

__all__ = ["Health", "is_blamed"]

_BLAMELESS: Final = frozenset(
    {ErrorCategory.VALIDATION, ErrorCategory.STATE, ErrorCategory.RESOURCE, ErrorCategory.TOOL}
)
_BLAMELESS_CODES: Final = frozenset(
    {ErrorCode.CANCELLED, ErrorCode.POLICY_VIOLATION, ErrorCode.CAPABILITY_NOT_SUPPORTED}
)


def is_blamed(error: AsmError) -> bool:
    """Tell whether an error counts against the target that raised it."""
    if error.retryable:
        return True
    return error.category not in _BLAMELESS and error.code not in _BLAMELESS_CODES


@frozen
class Health:
    """A target's health at one moment; a new one is well. Times are seconds of a clock that never goes back.

    Attributes:
        failures: Failures in a row.
        failed_at: When it failed last.
        ready_at: From when on it is asked again.
        error: How it failed last: the code.
    """

    failures: int = 0
    failed_at: float | None = None
    ready_at: float = 0.0
    error: ErrorCode | None = None

    def failed(self, now: float, error: AsmError, cooldown: float) -> Health:
        """Take in a failure; a longer wait that was asked for earlier stays."""
        wait = cooldown if error.retry_after is None else error.retry_after
        ready_at = max(now + wait, self.ready_at if self.failures else now)
        return Health(self.failures + 1, now, ready_at, error.code)

    def succeeded(self, began_at: float) -> Health:
        """Take in a success; one that began before the last failure says nothing of the time since."""
        if self.failed_at is None or began_at < self.failed_at:
            return self
        return Health()

    def ready_in(self, now: float) -> float:
        """Return the seconds for which it is still left alone; 0 if it is not."""
        return max(0.0, self.ready_at - now) if self.failures else 0.0
