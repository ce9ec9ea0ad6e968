"""The same for work that asks: calls that wait for somebody, are allowed, denied, or run out of time.

The client decides what it finds undecided, again and again, as somebody does who does not know what got through.
"""

from __future__ import annotations

from typing import Any

from asm_actors.events import EventType
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.script import Script, text, tool_call, usage
from asm_actors.tools.tool import Tool
from tests.faults.client import _PATIENCE, _SCHEMA, Client

__all__ = ["AskingClient"]

_DECISIONS = {"granted": EventType.TOOL_APPROVAL_GRANTED, "denied": EventType.TOOL_APPROVAL_DENIED}


class AskingClient(Client):
    """See the module.

    Of the run that asks, ``a`` is allowed with the argument ``z`` and for the run, so that a like call later is not
    asked about; ``n`` is denied; ``look`` goes on meanwhile. Nobody decides about that of the other run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tools = [
            Tool("pay", "Pay a bill.", _SCHEMA, self._pay, requires_approval=True),
            Tool("look", "Look something up.", _SCHEMA, self._look, safe_to_repeat=True),
        ]

    def _script(self, request: TurnRequest) -> Script:
        if request.input == "nobody cares":
            if request.turn == 1:
                return Script(text("may I "), tool_call("q1", "pay", {"key": "late"}))
            return Script(text("so be it"), usage(3, 3))
        if request.turn == 1:
            return Script(
                text("first "),
                tool_call("c1", "pay", {"key": "a"}),
                tool_call("c2", "look", {"key": "b"}),
                tool_call("c3", "pay", {"key": "n"}),
            )
        if request.turn == 2:
            return Script(text("then "), tool_call("c4", "pay", {"key": "a"}))
        return Script(text("done"))

    def work(self, sim: Any) -> None:
        """Do all of it, from wherever an earlier attempt got to."""
        self.sim, manager = sim, sim.manager
        session = self._ask(manager.start_session, agent_id="agent", idempotency_key="session")
        if session.is_terminal:
            return
        self._ask(manager.activate_session, session.id)
        asking, late = (
            self._ask(
                manager.submit_run, session.id, asked, idempotency_key=asked, on_unknown_outcome="report"
            )
            for asked in ("may I", "nobody cares")
        )
        self._decide(asking.id)
        self._outwait(late.id)
        self._ask(manager.complete_session, session.id)

    def _decide(self, run_id: str) -> None:
        for _ in range(_PATIENCE):
            self.sim.settle()
            if self.sim.run(run_id).is_terminal:
                return
            for asked in self._ask(self.sim.manager.pending_approvals, run_id=run_id):
                self._decide_about(run_id, asked)
            self.sim.advance(1.0)
        raise AssertionError(f"it does not come to its end: {self.sim.types_of(run_id)}")

    def _decide_about(self, run_id: str, asked: Any) -> None:
        manager = self.sim.manager
        if asked.tool_input["key"] == "n":
            self._ask(manager.deny_approval, run_id, asked.call_id, by="me", reason="no")
        else:
            self._ask(
                manager.grant_approval, run_id, asked.call_id, by="me", scope="run", tool_input={"key": "z"}
            )

    def _outwait(self, run_id: str) -> None:
        for _ in range(_PATIENCE):
            self.sim.settle()
            if self.sim.run(run_id).is_terminal:
                return
            self.sim.advance(100.0)
        raise AssertionError(f"nobody denies it: {self.sim.types_of(run_id)}")

    def faults(self, sim: Any, *, may_fail: str | None = None) -> list[str]:
        """Say what did not come to its proper end, or was done too often, or without being allowed."""
        (session,) = sim.store.sessions()
        faults = [] if session.status == "completed" else [f"the session is {session.status}"]
        runs = {run.input: run for run in sim.store.runs(session.id)}
        for asked in ("may I", "nobody cares"):
            run = runs.get(asked)
            if run is not None and run.status == "failed" and run.error and run.error["code"] == may_fail:
                continue
            if run is None or run.status != "completed":
                faults.append(f"{asked!r} is {run and run.status}: {run and run.error}")
            elif not may_fail:
                faults += self._faults_of(sim, run)
        self.note_completed(sim.store)
        allowed = {"pay z": 2, "look b": 99}
        faults += [
            f"{key} was executed {count} times, {allowed.get(key, 0)} were allowed"
            for key, count in self.executed.items()
            if count > allowed.get(key, 0)
        ]
        return faults

    def _faults_of(self, sim: Any, run: Any) -> list[str]:
        events = sim.events_of(run.id)
        asked = [event.data for event in events if event.type is EventType.TOOL_APPROVAL_REQUESTED]
        told = [
            (word, event.data) for event in events for word, kind in _DECISIONS.items() if event.type is kind
        ]
        faults = []
        if sorted(data["tool_call_id"] for data in asked) != sorted(data["tool_call_id"] for _, data in told):
            faults.append(f"asked {asked} and decided {told}")
        if run.input == "nobody cares":
            if [(word, data.get("timed_out")) for word, data in told] != [("denied", True)]:
                faults.append(f"nobody was to decide: {told}")
        elif {(word, data["tool_call_id"]) for word, data in told} != {("granted", "c1"), ("denied", "c3")}:
            faults.append(f"decided was {told}")
        return faults
