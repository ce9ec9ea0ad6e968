"""The scenarios find what they are there to find: each test breaks the runtime in one place, and some seed tells."""

from __future__ import annotations

from asm_actors.journal import actor as journal
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.subscription import SubscriptionState
from asm_actors.providers import messages as provider_messages
from asm_actors.providers.actor import ProviderActor
from asm_actors.sessions.queue import RunQueue
from supervisors.slots import SlotTable
from tests.simulation.scenario import play


def _found(*sentences, seeds=60):
    for seed in range(seeds):
        faults = play(seed).faults
        if any(sentence in fault for fault in faults for sentence in sentences):
            return True
    return False


def test_an_answer_before_the_commit_is_found(monkeypatch):
    take = journal.JournalActor._take

    def hasty(self, commit):
        for effect in commit.then:
            journal.follow_up(effect, commit.writer)
        take(self, commit._replace(then=()))

    monkeypatch.setattr(journal.JournalActor, "_take", hasty)
    assert _found("before the journal knew")


def test_an_asker_who_is_forgotten_is_found(monkeypatch):
    follow_up = journal.follow_up
    count = iter(range(100_000))

    def forgetful(effect, writer):
        if type(effect) is not journal.Reply or next(count) % 5:
            follow_up(effect, writer)

    monkeypatch.setattr(journal, "follow_up", forgetful)
    # A session that is over leaves only when nobody waits any more.
    assert _found("nobody ever answered", "not idle after")


def test_a_slot_that_is_not_freed_is_found(monkeypatch):
    monkeypatch.setattr(SlotTable, "exited", lambda self, holder: ())
    assert _found("when all is quiet")


def test_a_stream_that_outlives_its_cancel_is_found(monkeypatch):
    def careless(self, run_id):
        call = self._calls.get(run_id)
        if call is not None:
            call.run.post(provider_messages.TurnStopped(()))

    monkeypatch.setattr(ProviderActor, "_cancel", careless)
    assert _found("while its stream is open")


def test_a_subscription_that_skips_an_event_is_found(monkeypatch):
    found = SubscriptionState.found

    def skipping(self, *args, **kwargs):
        page = found(self, *args, **kwargs)
        return page._replace(events=page.events[1:]) if page and len(page.events) > 1 else page

    monkeypatch.setattr(SubscriptionState, "found", skipping)
    assert _found("the journal has")


def test_a_run_that_overtakes_another_is_found(monkeypatch):
    def newest(self):
        return next(reversed(tuple(self)), None)

    monkeypatch.setattr(RunQueue, "first", newest)
    monkeypatch.setattr(RunQueue, "dequeue", lambda self: self.remove(newest(self)))
    assert _found("which were submitted earlier", seeds=200)


def test_an_event_without_its_record_is_found(monkeypatch):
    commit = MemoryStore.commit

    def careless(self, appends, *, sync=True):
        return commit(
            self, [append._replace(session=None) if append.expect else append for append in appends]
        )

    monkeypatch.setattr(MemoryStore, "commit", careless)
    assert _found("its last event")
