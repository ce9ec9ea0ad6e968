"""The storm's subscribers, and those who keep its journal small."""

from __future__ import annotations

import time
from pathlib import Path

import asm_actors as asm
from tests.crash.script import some_input


class Followers:
    """Part of `Storm`: subscribers."""

    def follows_all(self, dice, name):
        with self.sessions.subscribe(after=dice.randint(0, self.system.store.last_position())) as events:
            for _ in range(50):
                after = events.cursor
                self.report.seen(None, events.pull(dice.randint(1, 200), timeout=0.05), after)

    def follows_one(self, dice, name):
        if not self.recent:
            self.report.session(self.sessions.start_session(agent_id="agent", tags=("pinned",)))
            return
        session_id = dice.choice(tuple(self.recent))
        with self.sessions.subscribe(session_id) as events:
            until = time.monotonic() + 0.1
            while not events.is_over and time.monotonic() < until:
                after = events.cursor
                self.report.seen(session_id, events.pull(dice.randint(1, 50), timeout=0.02), after)

    def follows_by_name(self, dice, name):
        """A durable subscription to the journal: whoever reads it goes on where the last one stood."""
        self._follows_durably(dice, "all", None)

    def follows_key_by_name(self, dice, name):
        """A durable subscription to one session."""
        self._follows_durably(dice, "of key 0", self.keyed_session("key 0").id)

    def _follows_durably(self, dice, name, session_id):
        with self.sessions.subscribe(session_id, name=name, after=0) as events:
            self.report.resumed(name, events.acknowledged)
            for _ in range(dice.randint(1, 20)):
                after = events.cursor
                found = events.pull(dice.randint(1, 100), timeout=0.05)
                self.report.seen(session_id, found, after, name=name)
                chance = dice.random()
                if chance < 0.6:
                    place = events.cursor
                    self.report.acking(name, place)
                    with self.report.doing("acknowledging"):
                        events.ack(durable=chance < 0.3)
                    if chance < 0.3:
                        self.report.acked(name, place)


class Keepers:
    """Part of `Storm`: backups, compacting, pruning, deleting for good. What they lose is their own sessions'."""

    def keeps(self, dice, name):
        time.sleep(dice.uniform(0, 0.02))
        dice.choice([self._backs_up, self._compacts, self._erases, self._erases, self._prunes])(dice, name)

    def _backs_up(self, dice, name):
        path = Path(self.journal).with_name(name)
        with self.report.doing("backing up"):
            made = self.system.maintenance.backup(path, compact=dice.random() < 0.5)
        self.report.backup(str(path), made.last_position)

    def _compacts(self, dice, name):
        with self.report.doing("compacting"):
            self.system.maintenance.compact()
        self.report.upkeep("compact")

    def _own_session(self, dice, name):
        session = self.sessions.start_session(agent_id="agent")
        self.sessions.activate_session(session.id)
        for number in range(dice.randint(1, 3)):
            asked = some_input(dice, f"{name} {number}", ("talk", "tool", "again"))
            self.report.run(self.sessions.submit_run(session.id, asked))
        ended = self.sessions.complete_session(session.id, cancel_runs=dice.random() < 0.3)
        self.report.session(ended)
        return ended

    def _erases(self, dice, name):
        session = self.sessions.run_once(some_input(dice, name, ("talk", "tool", "again"))).run.session_id
        gone = [session]
        if dice.random() < 0.3:
            fork = self.sessions.fork_session(session)
            self.report.session(fork)
            gone.insert(
                0, self.sessions.cancel_session(fork.id).id
            )  # before the session whose history it shares
        for session_id in gone:
            self.report.session(self.sessions.delete_session(session_id))
            self.report.erasing(self.sessions.get_session(session_id))
            with self.report.doing("deleting"):
                self.system.maintenance.delete_for_good(session_id)
            self.report.erased(session_id)

    def _prunes(self, dice, name):
        session = self._own_session(dice, name)
        policy = asm.RetentionPolicy(max_events_per_session=dice.randint(1, 20))
        if dice.random() < 0.5:
            self.report.pruning(session.id)
            with self.report.doing("pruning"):
                self.system.maintenance.prune_session_events(session.id, policy)
        else:
            self.report.pruning()
            with self.report.doing("pruning"):
                self.system.maintenance.execute(policy)
