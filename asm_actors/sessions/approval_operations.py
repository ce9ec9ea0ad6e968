"""The operations on what somebody is asked about calls of tools; see `sessions.operations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asm_actors.events import EventType
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.policies.approval import Approval, GrantScope
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.runs.asking import ASKED
from asm_actors.runs.messages import CancelForApproval, DenyApproval, GrantApproval
from asm_actors.runs.run import Run
from asm_actors.serialization import check_id, check_optional_id, json_map
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.delivery import deliver_to_run
from asm_actors.sessions.questions import checked_question
from supervisors import Future

__all__ = ["ApprovalOperations", "pending_of_runs"]

_TELLING: Final = frozenset(
    {
        EventType.RUN_RECOVERED,
        EventType.TOOL_APPROVAL_REQUESTED,
        EventType.TOOL_APPROVAL_GRANTED,
        EventType.TOOL_APPROVAL_DENIED,
    }
)


class ApprovalOperations(Carrying):
    """Part of `Operations`."""

    def pending_approvals(
        self, session_id: str | None = None, run_id: str | None = None
    ) -> Future[list[Approval]]:
        """Return the questions that wait for somebody's decision, oldest first.

        Args:
            session_id: Only those of this session's runs.
            run_id: Only those of this run.

        Returns:
            Each question as an `Approval`: the call, its arguments, why it is asked, and when it is denied if nobody
            decides (`expires_us`).

        Raises:
            ResourceError: ``session_not_found``, ``run_not_found``.
        """
        session_id, run_id = check_optional_id(session_id, "session_id"), check_optional_id(run_id, "run_id")
        store = self._services.store

        def read() -> list[Approval]:
            if run_id is None:
                return pending_of_runs(store, store.open_runs(session_id))
            run = store.run(run_id)
            is_meant = session_id is None or run.session_id == session_id
            return pending_of_runs(store, [run] if is_meant else [])

        return self._read(read)

    def grant_approval(
        self,
        run_id: str,
        tool_call_id: str,
        *,
        by: str | None = None,
        reason: str | None = None,
        scope: GrantScope | str = GrantScope.ONCE,
        tool_input: Mapping[str, Any] | None = None,
    ) -> Future[Run]:
        """Let a call of a tool be made about which a run asks; the run goes on with it.

        A second decision about a call changes nothing, nor does one about a run that is over; one that comes when the
        question's time is over finds it denied.

        Args:
            run_id: The run.
            tool_call_id: The call, as `tool_approval_requested` names it.
            by: Who decides, for the journal.
            reason: Why, for the journal.
            scope: ``once``: this call. ``run``, ``session``: also those of the run, of the session, that are like it
                (the same tool with the same arguments), and limits that are exceeded are lifted for the run.
            tool_input: The arguments with which the call shall be made instead. With a wider scope all calls for which
                the grant stands are made with them: those that give the arguments that were asked about, too.

        Returns:
            The run, when the decision is durable; of a run that is over its final record.

        Raises:
            ConcurrencyError: ``invalid_operation``: nobody was asked about that call.
            ResourceError: ``run_not_found``.
            ValidationError: There is no such scope, or the tool does not take these arguments.
        """
        run_id = check_id(run_id, "run_id")
        edited = None if tool_input is None else json_map(tool_input, "tool_input")
        message = GrantApproval(run_id, tool_call_id, by, reason, scope, edited)
        return deliver_to_run(self._services, run_id, message)

    def deny_approval(
        self, run_id: str, tool_call_id: str, *, by: str | None = None, reason: str | None = None
    ) -> Future[Run]:
        """Have a call of a tool not made about which a run asks: the model is told, and the run goes on.

        A run whose policy says so (`on_denied`) ends instead; so does one that would begin again from its input
        (`on_restart`), as ``outcome_unknown``.

        Arguments, answer and errors as for `grant_approval`.
        """
        run_id = check_id(run_id, "run_id")
        message = DenyApproval(run_id, tool_call_id, by, reason)
        return deliver_to_run(self._services, run_id, message)

    def cancel_for_approval(
        self,
        /,
        run_id: str,
        approval_data: Mapping[str, Any] | None = None,
        *,
        tool_name: str | None = None,
        tool_call_id: str | None = None,
        tool_input: Mapping[str, Any] | None = None,
        policy_name: str | None = None,
        violation_kind: str | None = None,
        reason: str | None = None,
        **more: Any,
    ) -> Future[Run]:
        """Cancel a run in order to ask somebody about a call of a tool; what is decided is for a later run.

        `tool_approval_requested` and `run_cancelled` (its reason is ``approval_requested``) are one append. A run that
        waits for a decision by itself need not be cancelled: see `grant_approval`. For a run that is over nothing
        changes.

        Args:
            run_id: The run.
            approval_data: What is asked, as a map; the arguments below stand over what is in it.
            tool_name: The tool; required, here or in the map.
            tool_call_id: The provider's id of the call.
            tool_input: The arguments.
            policy_name: The policy that wants to know.
            violation_kind: What the call would violate.
            reason: Why it is asked.
            more: Further facts for who decides, JSON.

        Returns:
            The run's final record.

        Raises:
            ResourceError: ``run_not_found``.
            ValidationError: No tool is named, or what is given is no JSON.
        """
        given = {
            "tool_name": tool_name,
            "tool_call_id": tool_call_id,
            "tool_input": tool_input,
            "policy_name": policy_name,
            "violation_kind": violation_kind,
            "reason": reason,
            **more,
        }
        told = {name: value for name, value in given.items() if value is not None}
        data = checked_question({**json_map(approval_data, "approval_data"), **told})
        run_id = check_id(run_id, "run_id")
        return deliver_to_run(self._services, run_id, CancelForApproval(data, run_id))


def pending_of_runs(store: Store, runs: list[Run]) -> list[Approval]:
    """Read the questions of open runs that nobody has decided, oldest first. Blocks.

    Raises:
        StorageError: ``storage_read_failed``.
    """
    found: list[Approval] = []
    for run in runs:
        if run.is_terminal or not run.details.get(ASKED):
            continue
        wanted = EventFilter(run_ids=run.id, types=_TELLING, after=run.from_sequence or None)
        found += ApprovalBook().fold(store.read_session(run.session_id, wanted)).pending
    return sorted(found, key=lambda one: one.asked_us)
