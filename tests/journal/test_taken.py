"""What was told to the journal's actors is written once, whatever is lost on the way: answers of a disk, or time."""

from __future__ import annotations

import pytest

from asm_actors.effects import Reply
from asm_actors.errors import ErrorCode
from asm_actors.journal.append import Append
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.cursor_book import Acknowledge, Claim, Holder
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.subscription import Scope
from asm_actors.journal.taken import commit_again
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session
from asm_actors.testing.store_builders import block, chunks, put, refusal


@pytest.fixture
def store():
    store = MemoryStore()
    store.open()
    return store


def events(name, count, expect, session=None, runs=()):
    base = block()
    return Append(name, pack_drafts(base, chunks(count)), base, session, runs, expect)


def records(name, expect, *run_ids):
    return Append(name, (), block(), None, tuple(Run(run_id, name) for run_id in run_ids), expect)


def test_what_was_taken_is_answered_and_what_is_new_is_written(store):
    first, second = events("a", 2, 0, Session("a", "agent")), events("a", 1, 2)
    put(store, first, second)
    new = events("a", 1, 3)
    assert commit_again(store, [first, second, new], [0, 1], sync=True) == [(1, 1, 2), (3, 3, 1), (4, 4, 1)]
    assert store.head("a") == 4


def test_records_that_come_beside_what_was_taken_are_written(store):
    """They were not in the group whose answer was lost."""
    taken = events("a", 2, 0, Session("a", "agent"))
    put(store, taken)
    assert commit_again(store, [taken, records("a", 2, "r")], [0], sync=False)[1] == (3, 3, 0)
    assert store.has_run("r")


def test_records_that_were_in_a_group_which_was_not_taken_are_written(store):
    """Another part of the line was tried, and taken, since."""
    one, other = events("a", 2, 0, Session("a", "agent")), events("b", 1, 0, Session("b", "agent"))
    put(store, one)
    answers = commit_again(store, [one, other, records("b", 1, "r")], [0, 1, 2], sync=False)
    assert answers == [(1, 1, 2), (1, 3, 1), (2, 4, 0)]
    assert store.has_run("r")


def test_records_behind_which_their_session_went_on_were_taken(store):
    group = [events("a", 1, 0, Session("a", "agent")), records("a", 1, "r"), events("a", 1, 1)]
    put(store, *group)
    over = Run("r", "a", turn_count=7)
    put(store, Append("a", (), block(), None, (over,), 2))
    answers = commit_again(store, group, [0, 1, 2], sync=False)
    assert [answer.count for answer in answers] == [1, 0, 1]
    assert store.run("r") == over, "an old record was written over a newer one"


def test_records_that_were_refused_in_a_group_are_refused_again_for_that_reason(store):
    put(store, events("a", 1, 0, Session("a", "agent"), (Run("r", "a", idempotency_key="k"),)))
    twin = Append("a", (), block(), None, (Run("s", "a", idempotency_key="k"),), 1)
    last = events("a", 1, 1)
    assert refusal(store, twin).code is ErrorCode.ALREADY_EXISTS
    put(store, last)
    refused, found = commit_again(store, [twin, last], [0, 1], sync=False)
    assert refused.code is ErrorCode.ALREADY_EXISTS
    assert found == (2, 2, 1)


def test_a_record_told_while_the_disk_lies_is_there_when_its_answer_comes(journal):
    """Half of a group whose answer was lost is tried first; what came since stands behind the other half."""
    j = journal(patience=10.0)
    commit, lies = type(j.store).__mro__[1].commit, [2]

    def commit_and_lie(appends, *, sync=True):
        answers = commit(j.store, appends, sync=sync)
        if lies and lies[0]:
            lies[0] -= 1
            raise j.full
        return answers

    j.store.commit = commit_and_lie
    writer = j.writer()
    for _ in range(4):
        j.tell(writer, j.append("a"))
    j.dispatcher.run_until_idle()
    reply = j.reply()
    j.tell(writer, records("a", 4, "r"), Reply(reply, "told"))
    j.dispatcher.advance(20.0)
    assert reply.get() == "told"
    assert j.store.has_run("r")
    assert j.store.head("a") == 4


def test_what_is_in_line_for_the_journal_when_it_is_asked_to_leave_is_written(journal):
    j = journal()
    reply = j.reply()
    j.tell(j.writer(), j.append("a", 2), Reply(reply, 1))
    j.ref.shutdown()
    j.dispatcher.advance(1.0)
    assert not j.ref.is_alive()
    assert reply.get() == 1
    assert j.store.head("a") == 2


def test_what_is_acknowledged_when_the_keeper_is_asked_to_leave_is_kept(held):
    held.write("a", 3)
    holder = Holder("mine", Scope(None).to_map())
    held.keeper.ask(Claim(holder, 0, takeover=True, acknowledged=None), block=False)
    held.flush()
    held.keeper.tell(Acknowledge(holder, 2))
    held.keeper.shutdown()
    held.dispatcher.advance(1.0)
    assert not held.keeper.is_alive()
    assert held.store.cursor("mine").cursor == 2
