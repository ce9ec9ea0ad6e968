"""The journal's actor: durable before visible, failures in the open, and nobody's fault becomes its own."""

from __future__ import annotations

import pytest

from asm_actors.effects import Note, Refuse, Reply
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal import batch
from asm_actors.journal import messages as m
from asm_actors.journal.append import Append
from supervisors import ActorDeadError
from supervisors.exits import NORMAL, Crashed
from supervisors.testing import Probe


def test_what_follows_a_write_follows_its_commit_and_not_the_telling(journal):
    j = journal()
    writer, reply = j.writer(), j.reply()
    j.tell(writer, j.append("s", 2), Reply(reply, "done"), Note("durable"))
    assert not reply.is_done
    assert not j.store.has_session("s")
    j.dispatcher.run_until_idle()
    assert reply.get() == "done"
    assert writer.messages == ["durable"]
    assert [event.position for event in j.store.read_session("s")] == [1, 2]
    assert j.actor.tail.position == 2


def test_a_refusal_can_follow_a_write_too(journal):
    j = journal()
    reply = j.reply()
    j.tell(
        j.writer(),
        j.append("s"),
        Refuse(reply, AsmError(ErrorCode.CANCELLED)),
        Reply(None, 1),
        Refuse(None, j.full),
    )
    j.dispatcher.run_until_idle()
    with pytest.raises(AsmError, match="cancelled"):
        reply.get()


def test_what_arrives_while_a_commit_is_under_way_is_one_group(journal):
    j = journal(seed=3)
    for name in ("a", "b", "c"):
        j.tell(j.writer(), j.append(name))
    j.dispatcher.run_until_idle()
    assert sum(j.store.groups) == 3
    assert j.actor.statistics().commits == len(j.store.groups)


def test_a_flush_answers_behind_everything_told_before(journal):
    j = journal()
    j.tell(j.writer(), j.append("s", 3))
    asked = j.ref.ask(m.Flush(), block=False)
    asked.get()
    assert j.store.head("s") == 3
    j.ref.tell(m.Flush())
    j.ref.ask(m.Flush())


def test_an_append_the_store_refuses_fails_alone(journal):
    j = journal()
    good, bad, also_good = j.writer(), j.writer(), j.writer()
    replies = [j.reply() for _ in range(3)]
    j.tell(good, j.append("a"), Reply(replies[0], 1))
    j.tell(bad, Append("unknown", j.append("x").drafts, 1 << 90), Reply(replies[1], 1), Note("never"))
    j.tell(also_good, j.append("c"), Reply(replies[2], 1))
    j.dispatcher.run_until_idle()
    assert replies[0].get() == replies[2].get() == 1
    with pytest.raises(AsmError) as caught:
        replies[1].get()
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
    assert [type(message) for message in bad.messages] == [m.WriteFailed]
    assert good.messages == also_good.messages == []


def test_a_failed_commit_is_tried_again_until_it_goes_through(journal):
    j = journal()
    j.store.failing = [j.full] * 5
    writer, reply = j.writer(), j.reply()
    j.tell(writer, j.append("s", 2), Reply(reply, 1))
    j.dispatcher.run_until_idle()
    assert not reply.is_done
    assert j.actor.tail.position == 0
    j.dispatcher.advance(9.0)
    assert reply.get() == 1
    assert writer.messages == []
    assert j.actor.statistics().failures == 5


def test_the_pause_between_tries_grows_and_starts_small_again_after_a_success(journal):
    j = journal()
    j.store.failing = [j.full] * 4
    j.write("s")
    j.dispatcher.advance(0.05 + 0.1 + 0.2 + 0.4 + 0.01)
    assert j.store.head("s") == 1
    j.store.failing = [j.full]
    j.write("s")
    j.dispatcher.advance(0.051)
    assert j.store.head("s") == 2


def test_after_its_patience_the_writers_are_told_and_nothing_was_shown(journal):
    j = journal(patience=2.0)
    j.store.always = j.full
    writer, reply = j.writer(), j.reply()
    j.tell(writer, j.append("s", 2), Reply(reply, 1), Note("never"))
    j.dispatcher.advance(1.9)
    assert not reply.is_done
    j.dispatcher.advance(0.2)
    with pytest.raises(AsmError) as caught:
        reply.get()
    assert caught.value.code is ErrorCode.STORAGE_WRITE_FAILED
    assert writer.messages == [m.WriteFailed(caught.value)]
    assert j.actor.tail.position == 0


def test_while_the_disk_stays_full_later_writes_do_not_wait_again(journal):
    j = journal(patience=2.0)
    j.store.always = j.full
    j.write("a")
    j.dispatcher.advance(3.0)
    reply = j.reply()
    j.tell(j.writer(), j.append("b"), Reply(reply, 1))
    j.dispatcher.advance(1.0)
    with pytest.raises(AsmError, match="disk is full"):
        reply.get()
    j.store.always = None
    j.write("c")
    j.dispatcher.advance(1.0)
    assert j.store.head("c") == 1
    j.store.always = j.full
    late = j.reply()
    j.tell(j.writer(), j.append("d"), Reply(late, 1))
    j.dispatcher.advance(1.0)
    assert not late.is_done, "after a success there is patience again"
    j.store.always = None
    j.dispatcher.advance(1.0)
    assert late.get() == 1


def test_a_write_that_brings_every_group_down_does_not_keep_the_others_from_the_disk(journal):
    j = journal(patience=5.0)
    commit = type(j.store).__mro__[1].commit

    def refuse_groups_with_poison(appends, *, sync=True):
        if any(append.session_id == "poison" for append in appends):
            raise j.full
        return commit(j.store, appends, sync=sync)

    j.store.commit = refuse_groups_with_poison
    names = [f"s{k}" for k in range(8)]
    names.insert(4, "poison")
    replies = {}
    for name in names:
        replies[name] = j.reply()
        j.tell(j.writer(), j.append(name), Reply(replies[name], 1))
    j.dispatcher.advance(30.0)
    with pytest.raises(AsmError, match="disk is full"):
        replies.pop("poison").get()
    assert all(reply.get() == 1 for reply in replies.values())


def test_an_error_that_no_store_should_raise_is_the_journals_crash(journal):
    j = journal()
    j.store.failing = [ZeroDivisionError("a defect")]
    j.tell(j.writer(), j.append("s"))
    j.dispatcher.run_until_idle()
    assert isinstance(j.ref.exit_reason, Crashed)


def test_an_asker_that_has_its_answer_already_is_passed_over(journal):
    j = journal()
    told, refused = j.reply(), j.reply()
    j.tell(j.writer(), j.append("s"), Reply(told, 1), Refuse(refused, j.full))
    told.set_error(ActorDeadError("its session was killed meanwhile"))
    refused.set("something else")
    j.dispatcher.run_until_idle()
    assert j.ref.is_alive()
    j.store.always = j.full
    late = j.reply()
    j.tell(j.writer(), j.append("s"), Reply(late, 1))
    late.set_error(ActorDeadError("gone"))
    j.dispatcher.advance(30.0)
    assert j.ref.is_alive()


def test_a_writer_that_is_gone_is_passed_over(journal):
    j = journal()
    writer = j.writer()
    j.tell(writer, j.append("s"), Note("durable"))
    writer.ref.kill()
    j.dispatcher.run_until_idle()
    assert j.ref.is_alive()
    assert j.store.head("s") == 1


def test_a_writer_with_a_full_mailbox_hears_of_its_writes_all_the_same(journal):
    j = journal()
    writer = j.writer()
    writer.ref.life.capacity = 0
    j.tell(writer, j.append("s"), Note("durable"))
    j.dispatcher.run_until_idle()
    assert writer.messages == ["durable"]


def test_stopping_makes_durable_what_was_told_before(journal):
    j = journal()
    reply = j.reply()
    j.tell(j.writer(), j.append("s", 2), Reply(reply, 1))
    j.ref.stop()
    assert reply.get() == 1
    assert j.ref.exit_reason == NORMAL


def test_stopping_while_the_disk_fails_waits_for_its_patience_and_not_longer(journal):
    j = journal(patience=3.0)
    j.store.always = j.full
    writer = j.writer()
    j.tell(writer, j.append("s", 2))
    j.dispatcher.run_until_idle()
    j.ref.shutdown()
    j.dispatcher.advance(2.0)
    assert j.ref.is_alive()
    j.dispatcher.advance(2.0)
    assert not j.ref.is_alive()
    assert [type(message) for message in writer.messages] == [m.WriteFailed]


def test_a_new_life_waits_for_the_commit_that_the_last_one_left_under_way(simulation, journal):
    for seed in range(20):
        j = journal(seed)
        j.tell(j.writer(), j.append("s", 3))
        while not j.dispatcher._blocking:
            j.dispatcher.step()
        j.ref.kill()
        j.dispatcher.names.forget(j.ref)
        j.start()
        asked = j.ref.ask(m.Flush(), block=False)
        asked.get()
        assert j.store.head("s") == 3
        assert j.actor.tail.position == 3


def test_an_interval_sync_that_fails_is_tried_at_the_next_interval(journal):
    j = journal(durability="interval")
    j.write("s")
    j.store.sync_error = j.full
    j.dispatcher.advance(1.1)
    assert j.store.syncs == 1
    assert j.actor.statistics().failures == 1
    j.store.sync_error = None
    j.dispatcher.advance(1.0)
    assert j.store.syncs == 2
    j.dispatcher.advance(5.0)
    assert j.store.syncs == 2, "nothing new, nothing to sync"


# --- The line is bounded -----------------------------------------------------------------------------------------


def test_a_long_line_holds_runs_back_a_longer_one_refuses_new_work_and_both_end(journal, monkeypatch):
    monkeypatch.setattr(batch, "MAX_EVENTS", 4)
    monkeypatch.setattr(batch, "BEHIND_EVENTS", 8)
    monkeypatch.setattr(batch, "FULL_EVENTS", 16)
    j = journal()
    run = Probe(j.dispatcher)
    j.store.failing = [j.full]
    seen = []
    for _ in range(20):
        j.tell(j.writer(), j.append("s", 1))
        j.dispatcher.run_until_idle()
        seen.append((j.directory.journal_is_behind, j.directory.journal_is_full))
    j.directory.held_back.append(run.ref)
    assert seen[0] == (False, False)
    assert (True, False) in seen
    assert seen[-1] == (True, True)
    assert seen == sorted(seen)
    assert j.actor.statistics().held_back == 1
    j.dispatcher.advance(1.0)
    assert run.messages == [m.HasRoom()]
    assert (j.directory.journal_is_behind, j.directory.journal_is_full) == (False, False)
    assert j.directory.held_back == []
    assert j.store.head("s") == 20


def test_a_new_life_of_the_journal_holds_nobody_back(journal):
    j = journal()
    j.directory.journal_is_behind = j.directory.journal_is_full = True
    j.directory.held_back.append(None)
    j.ref.kill()
    j.dispatcher.run_until_idle()
    j.start()
    assert (j.directory.journal_is_behind, j.directory.journal_is_full) == (False, False)
    assert j.directory.held_back == []


# --- Followers ---------------------------------------------------------------------------------------------------


def test_a_follower_is_woken_once_and_only_for_what_it_follows(journal):
    j = journal()
    of_a, of_all = Probe(j.dispatcher), Probe(j.dispatcher)
    for probe, session_id in ((of_a, "a"), (of_all, None)):
        j.ref.tell(m.Follow(probe.ref))
        j.ref.tell(m.Await(probe.ref, session_id, 0))
    j.write("b")
    assert of_a.messages == []
    assert of_all.messages == [m.Wake(1)]
    j.write("a")
    j.write("a")
    assert of_a.messages == [m.Wake(2)]
    assert of_all.messages == [m.Wake(1)]


def test_a_wish_that_comes_late_is_granted_at_once(journal):
    j = journal()
    probe = Probe(j.dispatcher)
    j.ref.tell(m.Follow(probe.ref))
    j.dispatcher.run_until_idle()
    j.write("a", 2)
    j.ref.tell(m.Await(probe.ref, "a", 1))
    j.dispatcher.run_until_idle()
    assert probe.messages == [m.Wake(2)]


def test_a_wish_replaces_the_one_before(journal):
    j = journal()
    probe = Probe(j.dispatcher)
    j.ref.tell(m.Follow(probe.ref))
    j.ref.tell(m.Await(probe.ref, "a", 0))
    j.ref.tell(m.Await(probe.ref, "b", 0))
    j.dispatcher.run_until_idle()
    j.write("a")
    assert probe.messages == []
    j.write("b")
    assert len(probe.messages) == 1


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_follower_that_ends_in_any_way_is_forgotten(journal, how):
    j = journal()
    probe = Probe(j.dispatcher)
    j.ref.tell(m.Follow(probe.ref))
    j.ref.tell(m.Await(probe.ref, None, 0))
    j.dispatcher.run_until_idle()
    assert j.actor.statistics().followers == 1
    getattr(probe.ref, how)()
    j.dispatcher.run_until_idle()
    assert j.actor.statistics().followers == 0
    assert len(j.actor._sleepers) == 0
    j.write("a")
    assert j.ref.is_alive()


def test_records_alone_wake_nobody(journal):
    j = journal()
    probe = Probe(j.dispatcher)
    j.ref.tell(m.Follow(probe.ref))
    j.ref.tell(m.Await(probe.ref, None, 0))
    j.write("a", 0)
    assert j.store.has_session("a")
    assert probe.messages == []
