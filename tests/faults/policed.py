"""The same for work under policies: what is denied, what ends its run, what somebody is asked about."""

from __future__ import annotations

from typing import Any

from asm_actors.events import EventType
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.script import Script, text, tool_call, usage
from tests.faults.client import _PATIENCE, Client

__all__ = ["PolicedClient"]

_POLICIES: dict[str, dict[str, Any]] = {
    "denied": {"name": "no paying", "tool_rules": [("deny", ["pay"])]},
    "too many": {"name": "two calls", "limits": {"max_tool_calls": 2}},
    "may I": {"name": "ask", "limits": {"max_tool_calls": 1}, "on_violation": "request_approval"},
    "warned": {"name": "warn", "limits": {"max_total_tokens": 5}, "on_violation": "warn"},
}
_ENDS = {"denied": "completed", "too many": "failed", "may I": "completed", "warned": "completed"}


class PolicedClient(Client):
    """See the module; each run looks at ``a``, then pays ``b``, then looks at ``c``."""

    def _script(self, request: TurnRequest) -> Script:
        key = f"{request.input} {request.turn}"
        if request.turn == 2:
            return Script(tool_call(f"c{request.turn}", "pay", {"key": key}), usage(3, 3))
        if request.turn < 4:
            return Script(tool_call(f"c{request.turn}", "look", {"key": key}), usage(3, 3))
        return Script(text("done"), usage(3, 3))

    def work(self, sim: Any) -> None:
        """Do all of it, from wherever an earlier attempt got to."""
        self.sim, manager = sim, sim.manager
        session = self._ask(manager.start_session, agent_id="agent", idempotency_key="session")
        if session.is_terminal:
            return
        self._ask(manager.activate_session, session.id)
        for asked, policy in _POLICIES.items():
            run = self._ask(
                manager.submit_run,
                session.id,
                asked,
                idempotency_key=asked,
                on_unknown_outcome="report",
                policy=policy,
            )
            self._see_through(run.id)
        self._ask(manager.complete_session, session.id)

    def _see_through(self, run_id: str) -> None:
        for _ in range(_PATIENCE):
            self.sim.settle()
            if self.sim.run(run_id).is_terminal:
                return
            for asked in self._ask(self.sim.manager.pending_approvals, run_id=run_id):
                self._ask(self.sim.manager.grant_approval, run_id, asked.call_id, scope="run")
            self.sim.advance(1.0)
        raise AssertionError(f"it does not come to its end: {self.sim.types_of(run_id)}")

    def note_completed(self, store: Any) -> None:
        """Look at nothing: what is told here is not what the other client reads."""

    def faults(self, sim: Any, *, may_fail: str | None = None) -> list[str]:
        """Say what came to another end than its policy wants, or was told twice."""
        (session,) = sim.store.sessions()
        faults = [] if session.status == "completed" else [f"the session is {session.status}"]
        runs = {run.input: run for run in sim.store.runs(session.id)}
        for asked, status in _ENDS.items():
            run = runs[asked]
            if run.status == "failed" and run.error and run.error["code"] == may_fail:
                continue
            if run.status != status:
                faults.append(f"{asked!r} is {run.status}: {run.error}")
            faults += self._faults_of(sim, run)
        if any(count > 1 for key, count in self.executed.items() if key.startswith("pay")):
            faults.append(f"executed was {self.executed}")
        if self.executed["pay denied 2"]:
            faults.append("what was denied was executed")
        return faults

    def _faults_of(self, sim: Any, run: Any) -> list[str]:
        told = [event.data for event in sim.events_of(run.id) if event.type is EventType.POLICY_VIOLATION]
        faults = [] if len(told) == 1 else [f"{run.input!r}: violations were told {len(told)} times: {told}"]
        if run.input == "too many" and (run.error or {}).get("code") != "policy_violation":
            faults.append(f"{run.input!r} ended with {run.error}")
        report = run.details.get("policy") or {}
        if [one["kind"] for one in report.get("violations", ())] != [data["kind"] for data in told]:
            faults.append(f"{run.input!r}: {report} and {told}")
        return faults
