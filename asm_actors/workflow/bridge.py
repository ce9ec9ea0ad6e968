"""`WorkflowBridge`: a run as one step of somebody's workflow engine.

::

    bridge = asm.WorkflowBridge(system)
    session_id = bridge.setup_workflow_session(agent_id="planner", provider="claude")
    try:
        step = bridge.step_execute(session_id=session_id, input="Plan it", continuation="auto")
        bridge.complete_workflow_session(session_id)
    except asm.AsmError as error:
        match bridge.classify_error(error).recommended_action: ...

An engine that repeats steps gives each an `idempotency_key`: the run is then executed once, however often the step is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from asm_actors.errors import AsmError
from asm_actors.serialization import check_id, invalid
from asm_actors.sessions.manager import AsyncSessionManager, SessionManager
from asm_actors.sessions.session import Session
from asm_actors.workflow.classify import ErrorClass, classify_error
from asm_actors.workflow.step import AGENT_ID, SESSION_ENDS, Step, StepResult

__all__ = ["AsyncWorkflowBridge", "WorkflowBridge"]


class WorkflowBridge:
    """A running system as a workflow's activities, blocking; see the module.

    Args:
        system: An `ActorSystem`, or its `sessions`.

    Raises:
        ValidationError: It is neither.
    """

    def __init__(self, system: Any) -> None:
        manager = getattr(system, "sessions", system)
        if not isinstance(manager, SessionManager):
            raise invalid("system", "must be an ActorSystem that was started", system)
        self._manager = manager

    def setup_workflow_session(self, **options: Any) -> str:
        """Make a session and activate it.

        Args:
            **options: Those of `start_session`; ``agent_id`` is "workflow-agent" unless it is given.

        Returns:
            Its id.

        Raises:
            AsmError: What `start_session` and `activate_session` raise; no session is left open then.
        """
        session = self._manager.start_session(**{"agent_id": AGENT_ID, **options})
        try:
            return self._manager.activate_session(session.id).id
        except AsmError:
            with contextlib.suppress(AsmError):  # the first error is the one to be told
                self._manager.cancel_session(session.id, reason="not_activated")
            raise

    def step_execute(self, params: Mapping[str, Any] | None = None, /, **more: Any) -> StepResult:
        """Execute one run: in a session that is there, or in one of its own that ends with it.

        Args:
            params: ``input``, ``session_id`` or (for a session of its own) ``agent_id context tags``; ``metadata
                provider deadline event_callback idempotency_key``, and all options of a run (`RunOptions`).
            **more: The same as keywords.

        Raises:
            ValidationError: A parameter is malformed or unknown.
            AsmError: How the run ended, if it did not complete; see `classify_error`.
        """
        step, manager = Step.of(params, more), self._manager
        if step.session_id is None:
            return StepResult.of(manager.run_once(step.input, **step.for_once))
        run = manager.start_run(step.session_id, step.input, **step.for_start)
        if run.is_terminal:  # by its key: it was executed before
            return StepResult.of(manager.await_run(run.id))
        return StepResult.of(manager.execute_run(run.id, **step.for_execution))

    def complete_workflow_session(
        self, session_id: str, *, status: str = "completed", error: AsmError | str | None = None
    ) -> Session:
        """End a session.

        Args:
            session_id: Which session.
            status: ``completed``, or ``failed``.
            error: Why it failed.

        Raises:
            ValidationError: The status is another one, or an error comes with ``completed``.
            AsmError: What `complete_session` and `fail_session` raise.
        """
        session_id = _check_end(session_id, status, error)
        if status == "failed":
            return self._manager.fail_session(session_id, error)
        return self._manager.complete_session(session_id)

    @staticmethod
    def classify_error(error: BaseException | str) -> ErrorClass:
        """Tell what to do about an error; see `workflow.classify`."""
        return classify_error(error)


class AsyncWorkflowBridge:
    """As `WorkflowBridge`, awaited.

    Args:
        system: An `AsyncActorSystem`, or its `sessions`.
    """

    def __init__(self, system: Any) -> None:
        manager = getattr(system, "sessions", system)
        if not isinstance(manager, AsyncSessionManager):
            raise invalid("system", "must be an AsyncActorSystem that was started", system)
        self._manager = manager

    async def setup_workflow_session(self, **options: Any) -> str:
        """As `WorkflowBridge.setup_workflow_session`."""
        session = await self._manager.start_session(**{"agent_id": AGENT_ID, **options})
        try:
            return (await self._manager.activate_session(session.id)).id
        except AsmError:
            with contextlib.suppress(AsmError):  # as above
                await self._manager.cancel_session(session.id, reason="not_activated")
            raise

    async def step_execute(self, params: Mapping[str, Any] | None = None, /, **more: Any) -> StepResult:
        """As `WorkflowBridge.step_execute`; the callback may be a coroutine function."""
        step, manager = Step.of(params, more), self._manager
        if step.session_id is None:
            return StepResult.of(await manager.run_once(step.input, **step.for_once))
        run = await manager.start_run(step.session_id, step.input, **step.for_start)
        if run.is_terminal:  # as above
            return StepResult.of(await manager.await_run(run.id))
        return StepResult.of(await manager.execute_run(run.id, **step.for_execution))

    async def complete_workflow_session(
        self, session_id: str, *, status: str = "completed", error: AsmError | str | None = None
    ) -> Session:
        """As `WorkflowBridge.complete_workflow_session`."""
        session_id = _check_end(session_id, status, error)
        if status == "failed":
            return await self._manager.fail_session(session_id, error)
        return await self._manager.complete_session(session_id)

    @staticmethod
    def classify_error(error: BaseException | str) -> ErrorClass:
        """As `WorkflowBridge.classify_error`: it waits for nothing."""
        return classify_error(error)


def _check_end(session_id: str, status: Any, error: Any) -> str:
    if not isinstance(status, str) or status not in SESSION_ENDS:
        raise invalid("status", f"must be one of {', '.join(SESSION_ENDS)}", status)
    if error is not None and status != "failed":
        raise invalid("error", "is for status 'failed'", error)
    return check_id(session_id, "session_id")
