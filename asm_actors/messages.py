"""Every message that user code may send to sessions and runs.

Send them with `system.session(id).ask(…)`, `.tell(…)`, or `system.run(id)` likewise::

    system.run(run_id).tell(messages.CancelRun(reason="user"))
"""

from __future__ import annotations

from asm_actors.runs.messages import (
    CancelForApproval,
    CancelRun,
    DenyApproval,
    GrantApproval,
    InterruptRun,
    PauseRun,
    ResumeRun,
    SteerRun,
)
from asm_actors.sessions.messages import (
    ActivateSession,
    AwaitRun,
    CancelSession,
    CompleteSession,
    CreateRun,
    DeleteSession,
    ExecuteRun,
    FailSession,
    ForkSession,
    GetSession,
    GetStatus,
    InterruptSession,
    PauseSession,
    ResumeSession,
    SubmitRun,
    UpdateSessionLimits,
)

__all__ = [
    "ActivateSession",
    "AwaitRun",
    "CancelForApproval",
    "CancelRun",
    "CancelSession",
    "CompleteSession",
    "CreateRun",
    "DeleteSession",
    "DenyApproval",
    "ExecuteRun",
    "FailSession",
    "ForkSession",
    "GetSession",
    "GetStatus",
    "GrantApproval",
    "InterruptRun",
    "InterruptSession",
    "PauseRun",
    "PauseSession",
    "ResumeRun",
    "ResumeSession",
    "SteerRun",
    "SubmitRun",
    "UpdateSessionLimits",
]
