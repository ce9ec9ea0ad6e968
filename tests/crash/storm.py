"""The program that is killed: callers and subscribers who never rest. It tells what they were told.

Arguments: the journal's directory, a seed, a durability.

Four callers use `run_once`, four make sessions and do everything with them that can be done, two go on with sessions
that earlier lives had begun, and three subscribers follow.
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
from asm_actors.providers.script import Script, fail, sleep, text, tool_call, tool_result, usage
from asm_actors.testing.claims import Reporter

# How calls may end in such a crowd; anything else is a defect.
EXPECTED = {
    "cancelled",
    "timeout",
    "interrupted",
    "provider_error",
    "provider_unavailable",
    "max_runs_exceeded",
    "invalid_operation",
    "invalid_transition",
    "stream_closed",
}
RETRY = asm.RetryPolicy(initial=0.002, maximum=0.01)
LIMITS = asm.Limits(
    max_parallel_sessions=None, max_parallel_runs=6, max_concurrent_runs=2, max_queued_runs=12
)


def pieces_of(asked):
    return [f"{asked['name']} {k} " for k in range(asked["pieces"])]


def provider(pause):
    """Plays what the input asks for; `pause` is how many seconds pass between the pieces of a slow answer."""

    def script(request):
        asked = request.input
        pieces = pieces_of(asked)
        talk = [text(piece) for piece in pieces]
        match asked["do"]:
            case "slow":
                steps = [step for piece in talk for step in (piece, sleep(pause))]
            case "fail":
                steps = [*talk, fail("provider_error", "as asked", retryable=False)]
            case "again" if request.attempt == 1:
                steps = [fail("provider_unavailable", "as asked")]
            case "tool":
                steps = [*talk, tool_call("c", "look"), tool_result("c", "look", {"found": asked["name"]})]
            case _:
                steps = talk
        return Script(*steps) if asked["do"] == "fail" else Script(*steps, usage(3, len(pieces)))

    return asm.ScriptedProvider(script)


def some_input(dice, name):
    kind = dice.choice(["talk", "talk", "slow", "slow", "fail", "again", "tool"])
    return {"prompt": name, "name": name, "do": kind, "pieces": dice.randint(1, 20)}


class Storm:
    def __init__(self, journal, seed, durability):
        self.report = Reporter()
        self.seed = seed
        dice = random.Random(seed)
        store = asm.LmdbStore(
            journal,
            durability=durability,
            map_size=1 << 18,
            settle_after=dice.choice([0, 50, 1000]),
        )
        self.report.opening()
        self.system = asm.ActorSystem.start(
            store, {"mock": provider(0.002)}, LIMITS, durability=durability, retry=RETRY
        )
        self.sessions = self.system.sessions
        self.recent = deque(maxlen=20)

    def rage(self):
        players = [self.calls_once] * 4 + [self.uses_sessions] * 4 + [self.goes_on] * 2
        players += [self.follows_all] + [self.follows_one] * 2
        for number, player in enumerate(players):
            dice = random.Random(f"{self.seed} {number}")
            name = f"life {self.seed} player {number}"
            threading.Thread(target=self.play, args=(player, dice, name)).start()

    def play(self, player, dice, name):
        for turn in range(1_000_000):
            try:
                player(dice, f"{name} turn {turn}")
            except asm.AsmError as error:
                if error.code not in EXPECTED:
                    self.report.defect(f"{player.__name__}: {error}")
            except pykka.Timeout:
                pass  # of an await that had only so much time
            except BaseException:
                self.report.defect(f"{player.__name__}: {traceback.format_exc()[-250:]}")
                raise

    # --- Callers

    def calls_once(self, dice, name):
        callback = None
        if dice.random() < 0.2:
            callback = lambda event: self.report.seen(event.session_id, [event])
        deadline = 0.02 if dice.random() < 0.1 else None
        self.report.result(
            self.sessions.run_once(
                some_input(dice, name), tags=("once",), event_callback=callback, deadline=deadline
            )
        )

    def uses_sessions(self, dice, name):
        session = self.sessions.start_session(agent_id="agent", metadata={"correlation_id": name})
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
        key = f"key {dice.randint(0, 5)}"
        session = self.sessions.start_session(agent_id="agent", idempotency_key=key)
        self.report.key(key, session.id)
        self.recent.append(session.id)
        if session.status != "active":
            self.report.session(self.sessions.activate_session(session.id))
        self.works_in(dice, name, session.id)

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
            self.report.session(self.sessions.pause_session(session_id))
            self.report.run(self.sessions.cancel_run(dice.choice(runs).id))
            self.report.session(self.sessions.resume_session(session_id))
        for run in runs:
            chance = dice.random()
            if chance < 0.3:
                self.report.run(self.sessions.cancel_run(run.id, reason="as drawn"))
            elif chance < 0.6:
                self.awaits(run, dice.uniform(0, 0.3))

    def awaits(self, run, timeout):
        try:
            self.report.result(self.sessions.await_run(run.id, timeout=timeout))
        except asm.AsmError as error:
            if error.code not in EXPECTED:
                raise
            self.report.run(self.sessions.get_run(run.id))

    def ends(self, dice, session_id):
        match dice.randint(0, 4):
            case 0:
                self.report.session(self.sessions.complete_session(session_id, cancel_runs=True))
            case 1:
                self.report.session(self.sessions.cancel_session(session_id))
            case 2:
                self.report.session(self.sessions.fail_session(session_id, "as drawn"))
            case 3:
                self.report.session(self.sessions.pause_session(session_id))
            case _:
                self.report.session(self.sessions.get_session(session_id))

    # --- Subscribers

    def follows_all(self, dice, name):
        with self.sessions.subscribe(after=dice.randint(0, self.system.store.last_position())) as events:
            for _ in range(50):
                self.report.seen(None, events.pull(dice.randint(1, 200), timeout=0.05))

    def follows_one(self, dice, name):
        if not self.recent:
            self.report.session(self.sessions.start_session(agent_id="agent"))
            return
        session_id = dice.choice(tuple(self.recent))
        with self.sessions.subscribe(session_id) as events:
            until = time.monotonic() + 0.1
            while not events.is_over and time.monotonic() < until:
                self.report.seen(session_id, events.pull(dice.randint(1, 50), timeout=0.02))


if __name__ == "__main__":
    Storm(sys.argv[1], int(sys.argv[2]), sys.argv[3]).rage()
