"""The program that is killed: callers, subscribers and keepers who never rest. It tells what they were told.

Arguments: the journal's directory, a seed, a durability.

Some lives stop their system in order, now and then, and start it again.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import traceback
from collections import deque

import pykka

import asm_actors as asm
from asm_actors.testing.claims import Reporter
from tests.crash.callers import EXPECTED, Callers
from tests.crash.followers import Followers, Keepers
from tests.crash.script import LIMITS, provider, tools

RETRY = asm.RetryPolicy(initial=0.002, maximum=0.01)
PAUSE = 0.002


class Storm(Callers, Followers, Keepers):
    def __init__(self, journal, seed, durability):
        self.report = Reporter()
        self.journal = journal
        self.seed = seed
        self.durability = durability
        self.dice = random.Random(seed)
        self.recent = deque(maxlen=20)
        self.stops_at_times = self.dice.random() < 0.4
        # Whoever reads from a system that was stopped meanwhile is told so.
        self.expected = EXPECTED | ({"storage_connection_failed"} if self.stops_at_times else set())
        self.start()

    def start(self):
        store = asm.LmdbStore(
            self.journal,
            durability=self.durability,
            map_size=1 << 18,
            settle_after=self.dice.choice([0, 50, 1000]),
        )
        self.report.opening()
        self.system = asm.ActorSystem.start(
            store,
            {"mock": provider(PAUSE)},
            LIMITS,
            durability=self.durability,
            retry=RETRY,
            tools=tools(self.report, PAUSE),
            linger=self.dice.choice([0.0, 0.02, 300.0]),
            on_restart=self.dice.choice(["resume", "resume", "retry", "fail"]),
            max_recoveries=self.dice.choice([1, 2, 3]),
        )

    @property
    def sessions(self):
        return self.system.sessions

    def rage(self):
        players = [self.calls_once] * 3 + [self.uses_sessions] * 3 + [self.goes_on] * 2
        players += [self.uses_tools] * 3 + [self.decides] + [self.forks] + [self.keeps]
        players += [self.follows_all, self.follows_by_name, self.follows_key_by_name]
        players += [self.follows_one] * 2
        for number, player in enumerate(players):
            dice = random.Random(f"{self.seed} {number}")
            name = f"life {self.seed} player {number}"
            threading.Thread(target=self.play, args=(player, dice, name)).start()
        if self.stops_at_times:
            self.play(self.stops, self.dice, "stops")

    def play(self, player, dice, name):
        for turn in range(1_000_000):
            try:
                player(dice, f"{name} turn {turn}")
            except asm.AsmError as error:
                if error.code not in self.expected:
                    self.report.defect(f"{player.__name__}: {error.code}: {error}")
                time.sleep(0.001)
            except pykka.Timeout:
                pass  # of an await that had only so much time
            except BaseException:
                self.report.defect(f"{player.__name__}: {traceback.format_exc()[-250:]}")
                raise

    def stops(self, dice, name):
        """Stop in order, and begin again."""
        time.sleep(dice.uniform(0.02, 0.3))
        with self.report.doing("stopping in order"):
            match dice.randint(0, 3):
                case 0:
                    self.system.stop(drain=True, timeout=0.1)
                case 1:
                    self.system.stop(cancel_runs=True)
                case _:
                    self.system.stop()
        self.report.upkeep("stopped")
        self.start()


if __name__ == "__main__":
    Storm(sys.argv[1], int(sys.argv[2]), sys.argv[3]).rage()
