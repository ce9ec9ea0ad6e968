"""The storm's callers: they do everything with sessions and runs that can be done, and tell what they were told."""

from __future__ import annotations

import time

import pykka

import asm_actors as asm
from tests.crash.script import some_input

# How calls may end in such a crowd; anything else is a defect.
EXPECTED = {
    "cancelled",
    "timeout",
    "interrupted",
    "outcome_unknown",
    "provider_error",
    "provider_unavailable",
    "max_runs_exceeded",
    "invalid_operation",
    "invalid_transition",
    "stream_closed",
}
PINNED = ("pinned",)
"""The tag of sessions from which no event is ever pruned."""


class Callers:
    """Part of `Storm`."""

    def calls_once(self, dice, name):
        callback = None
        if dice.random() < 0.2:
            callback = lambda event: self.report.seen(event.session_id, [event])
        deadline = 0.02 if dice.random() < 0.1 else None
        self.report.result(
            self.sessions.run_once(
                some_input(dice, name), tags=PINNED, event_callback=callback, deadline=deadline
            )
        )

    def uses_sessions(self, dice, name):
        session = self.sessions.start_session(
            agent_id="agent", tags=PINNED, metadata={"correlation_id": name}
        )
        self.report.session(session)
        self.recent.append(session.id)
        created = None
        if dice.random() < 0.3:
            created = self.sessions.start_run(session.id, some_input(dice, f"{name} created"))
            self.report.run(created)
        self.report.session(self.sessions.activate_session(session.id))
        self.works_in(dice, name, session.id)
        if created is not None and dice.random() < 0.5:
            self.report.result(self.sessions.execute_run(created.id))
        self.ends(dice, session.id)

    def goes_on(self, dice, name):
        """Take up a session that an earlier life may have begun, and leave it: it goes out of memory again."""
        key = f"key {dice.randint(0, 5)}"
        session = self.keyed_session(key)
        if session.status != "active":
            self.report.session(self.sessions.activate_session(session.id))
        self.works_in(dice, name, session.id)

    def keyed_session(self, key):
        session = self.sessions.start_session(agent_id="agent", tags=PINNED, idempotency_key=key)
        self.report.key(key, session.id)
        self.recent.append(session.id)
        return session

    def works_in(self, dice, name, session_id):
        runs = []
        for number in range(dice.randint(1, 6)):
            asked = some_input(dice, f"{name} run {number}")
            chosen = {"idempotency_key": asked["name"]} if dice.random() < 0.2 else {}
            if dice.random() < 0.1:
                chosen["deadline"] = 0.01
            runs.append(self.sessions.submit_run(session_id, asked, **chosen))
            self.report.run(runs[-1])
        if dice.random() < 0.3:
            with self.report.doing("pausing"):
                self.report.session(self.sessions.pause_session(session_id))
            self.report.run(self.sessions.cancel_run(dice.choice(runs).id))
            with self.report.doing("resuming"):
                self.report.session(self.sessions.resume_session(session_id))
        for run in runs:
            chance = dice.random()
            if chance < 0.3:
                with self.report.doing("cancelling"):
                    self.report.run(self.sessions.cancel_run(run.id, reason="as drawn"))
            elif chance < 0.6:
                self.awaits(run, dice.uniform(0, 0.3))

    def awaits(self, run, timeout):
        try:
            self.report.result(self.sessions.await_run(run.id, timeout=timeout))
        except pykka.Timeout:
            pass  # it had only so much time
        except asm.AsmError as error:
            if error.code not in self.expected:
                raise
            self.report.run(self.sessions.get_run(run.id))

    def ends(self, dice, session_id):
        with self.report.doing("ending a session"):
            self._ends(dice, session_id)

    def _ends(self, dice, session_id):
        match dice.randint(0, 5):
            case 0:
                self.report.session(self.sessions.complete_session(session_id, cancel_runs=True))
            case 1:
                self.report.session(self.sessions.cancel_session(session_id))
            case 2:
                self.report.session(self.sessions.fail_session(session_id, "as drawn"))
            case 3:
                self.report.session(self.sessions.pause_session(session_id))
            case 4:
                self.report.session(self.sessions.cancel_session(session_id))
                self.report.session(self.sessions.delete_session(session_id))
            case _:
                self.report.session(self.sessions.get_session(session_id))

    # --- Tools, decisions ----------------------------------------------------------------------------------------

    def uses_tools(self, dice, name):
        session = self.sessions.start_session(agent_id="agent", tags=PINNED)
        self.report.session(session)
        self.report.session(self.sessions.activate_session(session.id))
        runs = []
        for number in range(dice.randint(1, 3)):
            run = self.sessions.submit_run(
                session.id,
                some_input(dice, f"{name} run {number}", ("tools",)),
                on_restart=dice.choice([None, None, None, "resume", "retry", "fail"]),
                on_unknown_outcome=dice.choice([None, "fail", "report", "report", "ask", "ask", "ask"]),
            )
            self.report.run(run)
            runs.append(run)
        for run in runs:
            if dice.random() < 0.1:
                self.report.run(self.sessions.cancel_run(run.id))
            self.awaits(run, 0.2)

    def decides(self, dice, name):
        """Somebody is asked about calls whose outcome a kill has left unknown."""
        time.sleep(0.02)
        for run in self.system.store.open_runs():
            if run.status != "awaiting_approval":
                continue
            asked = self.sessions.get_session_events(
                run.session_id, run_id=run.id, type="tool_approval_requested"
            )
            call_id = dice.choice(asked).data["tool_call_id"]
            with self.report.doing("deciding"):
                chance = dice.random()
                if chance < 0.1:
                    self.report.run(self.sessions.cancel_run(run.id))
                elif chance < 0.6:
                    self.report.run(self.sessions.grant_approval(run.id, call_id, by=name))
                else:
                    self.report.run(self.sessions.deny_approval(run.id, call_id, by=name))
            if dice.random() < 0.5:
                self.awaits(run, 0.1)

    # --- Forks ---------------------------------------------------------------------------------------------------

    def forks(self, dice, name):
        if not self.recent:
            return
        parent = self.sessions.get_session(dice.choice(tuple(self.recent)))
        at = dice.choice([None, dice.randint(1, parent.last_sequence)])
        with self.report.doing("forking"):
            fork = self.sessions.fork_session(parent.id, at)
            self.report.session(fork)
        self.recent.append(fork.id)
        self.report.session(self.sessions.activate_session(fork.id))
        self.works_in(dice, name, fork.id)
        shared = self.sessions.get_session_events(fork.id, before=fork.forked_at + 1)
        self.report.seen(fork.id, shared, 0)
        self.sessions.transcript(fork.id)
        self.ends(dice, fork.id)
