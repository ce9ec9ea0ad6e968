"""A program that brings one flow to one state, and stays there until it is killed.

Arguments: the journal's directory, the name of the state, a directory for files.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import asm_actors as asm
from asm_actors.runs.workspaces import Files
from asm_actors.testing.claims import Reporter
from tests.crash.flow_script import LIMITS, PRICING, Provider, Spot, tools


class Stage:
    """A system, and ways to bring runs where they are wanted."""

    def __init__(self, journal, folder):
        self.report, self.spot, self.folder = Reporter(), Spot(), Path(folder)
        self.report.opening()
        self.system = asm.ActorSystem.start(
            journal,
            {"mock": Provider(self.spot)},
            LIMITS,
            tools=tools(self.report, self.spot),
            pricing=PRICING,
        )
        self.sessions = self.system.sessions

    def session(self, name="ses_1", **options):
        made = self.sessions.start_session(agent_id="agent", id=name, **options)
        self.report.session(self.sessions.activate_session(made.id))
        return name

    def submit(self, *turns, run="run_1", session="ses_1", asked=None, **options):
        given = {"prompt": "Go.", "turns": [list(turn) for turn in turns], **(asked or {})}
        self.report.run(self.sessions.submit_run(session, given, id=run, **options))
        return run

    def said(self, kind, run="run_1", session="ses_1"):
        """Wait until there is such an event of the run."""
        stream = self.sessions.stream_session_events(
            session, run_id=run, type=kind, limit=1, wait_timeout_ms=30_000
        )
        assert len(list(stream)) == 1, f"no {kind} of {run}"

    def stays(self):
        """Wait until something has come to the spot."""
        assert self.spot.reached.wait(30.0)

    def occupied(self):
        """Have both slots taken by runs that stay."""
        for n in (1, 2):
            self.session(f"ses_busy{n}")
            self.submit(run=f"run_busy{n}", session=f"ses_busy{n}", asked={"stays": 1})
            self.said("run_started", f"run_busy{n}", f"ses_busy{n}")

    def beside(self, work):
        """Ask for something whose answer does not come."""
        threading.Thread(target=work, daemon=True).start()

    # --- Questions -------------------------------------------------------------------------------------------------

    def asked(self, *more, **options):
        self.session()
        self.submit([["pay", "a"], *more], **options)
        self.said("tool_approval_requested")

    def asked_live(self):
        self.asked(["look", "b!"])
        self.stays()

    def asked_for_a_moment(self):
        self.asked(policy={"approval_timeout": 0.2})

    def granted(self):
        self.asked()
        self.occupied()
        self.report.run(
            self.sessions.grant_approval("run_1", "c1.0", tool_input={"key": "less"}, scope="run")
        )

    def denied(self):
        self.asked()
        self.occupied()
        self.report.run(self.sessions.deny_approval("run_1", "c1.0", by="ann", reason="no"))

    def granted_live(self):
        self.asked(["look", "b!"])
        self.stays()
        self.report.run(self.sessions.grant_approval("run_1", "c1.0"))
        self.said("tool_call_completed")

    def denied_live(self):
        self.asked(["look", "b!"])
        self.stays()
        self.report.run(self.sessions.deny_approval("run_1", "c1.0", by="ann"))

    def granted_call(self, **options):
        self.asked(**options)
        self.sessions.grant_approval("run_1", "c1.0", tool_input={"key": "less!"})
        self.stays()

    def granted_call_ask(self):
        self.granted_call(on_unknown_outcome="ask")

    def granted_call_report(self):
        self.granted_call(on_unknown_outcome="report")

    def granted_call_safe(self):
        self.session()
        self.submit([["look", "a!"]], policy={"tool_rules": [("ask", ["look"])]})
        self.said("tool_approval_requested")
        self.sessions.grant_approval("run_1", "c1.0")
        self.stays()

    # --- Pauses ----------------------------------------------------------------------------------------------------

    def pause_wished(self):
        self.session()
        self.submit([["send", "a"]], asked={"stays": 1})
        self.stays()
        self.report.run(self.sessions.pause_run("run_1", by="ann"))

    def pause_wished_in_a_call(self):
        self.session()
        self.submit([["look", "a!"]])
        self.stays()
        self.report.run(self.sessions.pause_run("run_1"))

    def paused(self):
        self.asked()
        self.sessions.pause_run("run_1")
        self.sessions.grant_approval("run_1", "c1.0")
        self.said("run_paused")

    def resuming(self):
        self.paused()
        self.occupied()
        self.report.run(self.sessions.resume_run("run_1"))

    def session_pausing(self):
        self.session()
        self.submit([["send", "a"]], asked={"stays": 1})
        self.stays()
        self.submit(run="run_2")
        self.report.session(self.sessions.pause_session("ses_1"))

    def session_paused(self):
        self.asked()
        self.sessions.pause_session("ses_1")
        self.submit(run="run_2")
        self.sessions.grant_approval("run_1", "c1.0")
        self.said("run_paused")

    def session_resuming(self):
        self.session_paused()
        self.occupied()
        self.report.session(self.sessions.resume_session("ses_1"))

    # --- Ends ------------------------------------------------------------------------------------------------------

    def cancelling(self):
        self.session()
        self.submit(asked={"stays": 1, "clings": True})
        self.stays()
        self.spot.reached.clear()
        self.beside(lambda: self.sessions.cancel_run("run_1", reason="enough"))
        self.stays()

    def cancelling_a_call(self):
        self.session()
        self.submit([["send", "a?"]])
        self.said("tool_call_started")
        self.beside(lambda: self.sessions.interrupt_run("run_1"))
        self.stays()

    def cancelling_a_tree(self):
        self.session()
        self.session("ses_2", parent_session_id="ses_1")
        self.submit(asked={"stays": 1, "clings": True}, session="ses_2")
        self.stays()
        self.spot.reached.clear()
        self.beside(lambda: self.sessions.cancel_session("ses_1", cascade=True))
        self.said("session_cancelled", None)
        self.stays()

    def superseding(self, second_run="interrupt"):
        self.session(second_run=second_run)
        self.submit(asked={"stays": 1, "clings": True})
        self.stays()
        self.spot.reached.clear()
        self.submit(run="run_2")
        self.stays()

    def rolling_back(self):
        self.superseding("rollback")

    # --- Budgets ---------------------------------------------------------------------------------------------------

    def over_budget(self, on_violation="request_approval"):
        self.session()
        policy = {"limits": {"max_cost_usd": 0.1}, "on_violation": on_violation}
        self.submit([["send", "a"]], [["send", "b"]], policy=policy)
        self.said("tool_approval_requested")

    def out_of_time(self):
        self.asked(policy={"limits": {"max_duration_ms": 150}})

    # --- Before, after, besides --------------------------------------------------------------------------------------

    def with_files(self, **options):
        (self.folder / "kept.txt").write_text("kept")
        files = {
            "enabled": True,
            "path": str(self.folder),
            "strategy": "hash",
            "store_path": str(self.folder.parent / "copies"),
            **options,
        }
        self.session()
        self.submit([["send", "a"]], workspace=files, continuation="replay")

    def preparing(self):
        Files.before = self.spot.block
        self.with_files()
        self.stays()

    def finishing(self):
        Files.after = self.spot.block
        self.with_files()
        self.stays()

    def compacting(self):
        self.session()
        self.submit([["send", "a"]], run="run_0")
        self.sessions.await_run("run_0", timeout=30.0)
        opts = {"compact_over_tokens": 1, "keep_last": 0}
        self.submit(continuation="replay", continuation_opts=opts)
        self.stays()

    def correcting(self):
        self.session()
        self.submit(asked={"stays": 2, "misses": 1}, output_schema={"type": "object", "required": ["n"]})
        self.stays()
        self.said("turn_completed")


def main():
    stage = Stage(sys.argv[1], sys.argv[3])
    getattr(stage, sys.argv[2])()
    with stage.report.doing(sys.argv[2]):
        threading.Event().wait()


main()
