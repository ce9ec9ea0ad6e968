"""A client that does the same work whatever happens, and what the work must have led to in the end.

It gives each session and run a key and asks again after every crash, as a careful caller does. Its work covers a run
that talks, one that waits in the queue and then uses tools, one that is cancelled, a pause and an end.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.script import Script, stall, text, tool_call, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.run import Run
from asm_actors.tools.tool import Tool

__all__ = ["Client", "CrashError"]

_SCHEMA = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
_RETRIED = frozenset({ErrorCode.INTERRUPTED, ErrorCode.STORAGE_WRITE_FAILED, ErrorCode.STREAM_CLOSED})
"""How a call may fail whose actor crashed under it: the caller asks again."""
_PATIENCE = 20
"""Crashes that one call may meet; the scenarios have one each."""


class CrashError(Exception):
    """An actor fails here."""


class Client:
    """See the module.

    Attributes:
        tools: Tools for the system: ``pay`` must not be repeated, ``look`` may be.
        providers: Providers for the system.
        executed: How often each tool was called with which key.
        completed: Tool calls that were seen to be completed in the journal, with how often they had run then.
    """

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()
        self.completed: dict[str, int] = {}
        self.sim: Any = None
        self.tools = [
            Tool("pay", "Pay a bill.", _SCHEMA, self._pay),
            Tool("look", "Look something up.", _SCHEMA, self._look, safe_to_repeat=True),
        ]
        self.providers = {"mock": ScriptedProvider(self._script)}

    def _pay(self, key: str) -> str:
        self.executed[f"pay {key}"] += 1
        return f"paid {key}"

    async def _look(self, key: str) -> str:
        self.executed[f"look {key}"] += 1
        return f"saw {key}"

    def _script(self, request: TurnRequest) -> Script:
        if request.input == "never mind":
            return Script(text("for ever and "), stall())
        if request.input != "use tools":
            return Script(text("so it is", size=4), usage(3, 3))
        if request.turn == 1:
            return Script(
                text("first "), tool_call("c1", "look", {"key": "a"}), tool_call("c2", "pay", {"key": "b"})
            )
        if request.turn == 2:
            return Script(text("then "), tool_call("c3", "pay", {"key": "c"}))
        return Script(text("done"))

    # --- The work ------------------------------------------------------------------------------------------------

    def work(self, sim: Any) -> None:
        """Do all of it, from wherever an earlier attempt got to."""
        self.sim, manager = sim, sim.manager
        session = self._ask(manager.start_session, agent_id="agent", idempotency_key="session")
        if session.is_terminal:
            return
        self._ask(manager.activate_session, session.id)
        runs = [
            self._ask(
                manager.submit_run,
                session.id,
                asked,
                idempotency_key=asked,
                on_unknown_outcome="report",
                **self.options(asked),
            )
            for asked in ("talk", "use tools", "never mind")
        ]
        self._ask(manager.cancel_run, runs[2].id)
        self._ask(manager.pause_session, session.id)
        self._ask(manager.activate_session, session.id)
        for run in runs[:2]:
            self._await(run.id)
        self._ask(manager.complete_session, session.id)

    def options(self, asked: str) -> dict[str, Any]:
        """What a run is asked with, besides."""
        return {}

    def talk_faults(self, run: Run) -> list[str]:
        """Say what is wrong with the run that talks, if it completed."""
        is_well = (run.output or {})["content"] == "so it is"
        return [] if is_well else [f"'talk' came to {run.output}"]

    def _ask(self, what: Any, *arguments: Any, **options: Any) -> Any:
        for _ in range(_PATIENCE):
            try:
                return what(*arguments, **options)
            except CrashError:
                pass  # the very message that it had under way
            except AsmError as error:
                if error.code not in _RETRIED:
                    raise
            self.sim.advance(1.0)
        raise AssertionError(f"{what.__name__} fails again and again")

    def _await(self, run_id: str) -> None:
        try:
            self._ask(self.sim.manager.await_run, run_id)
        except AssertionError:
            # It failed for good if the disk did not come back in its time; `faults` says whether it may.
            assert self.sim.run(run_id).is_terminal

    # --- What it led to ------------------------------------------------------------------------------------------

    def note_completed(self, store: Any) -> None:
        """Remember which tool calls the journal holds as completed: none of these may run again."""
        for event in store.read_all(limit=1000).events:
            if event.type is EventType.TOOL_CALL_COMPLETED:
                key = f"{event.data['tool_name']} {event.data['tool_output'].split()[-1]}"
                self.completed.setdefault(key, self.executed[key])

    def faults(self, sim: Any, *, may_fail: str | None = None) -> list[str]:
        """Say what did not come to its proper end, or was done too often.

        Args:
            sim: The system.
            may_fail: A code with which runs may have failed.
        """
        (session,) = sim.store.sessions()
        faults = [] if session.status == "completed" else [f"the session is {session.status}"]
        runs = {run.input: run for run in sim.store.runs(session.id)}
        for asked, status in (("talk", "completed"), ("use tools", "completed"), ("never mind", "cancelled")):
            run = runs.get(asked)
            if run is not None and run.status == "failed" and run.error and run.error["code"] == may_fail:
                continue
            if run is None or run.status != status:
                faults.append(f"{asked!r} is {run and run.status}, not {status}: {run and run.error}")
        if runs["talk"].status == "completed":
            faults += self.talk_faults(runs["talk"])
        self.note_completed(sim.store)
        for key, before in self.completed.items():
            if self.executed[key] != before:
                faults.append(f"{key} was completed and was executed again")
        for key, count in self.executed.items():
            if key.startswith("pay") and count > 1:
                faults.append(f"{key} was executed {count} times, and must not be repeated")
        return faults
