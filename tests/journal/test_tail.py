"""The shared tail answers as the store would, for the newest part, and says so where it cannot."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.events import EventType
from asm_actors.journal import tail as module
from asm_actors.journal.append import Append, Appended, Draft, Packed
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.tail import Tail

BLOCKS = count(1)


class Feed:
    """Adds appends to a tail, and to a list that is what a store would hold."""

    def __init__(self, followers=1, position=0):
        self.tail = Tail(position)
        self.tail.n_followers = followers
        self.position = position
        self.heads = {}
        self.all = []

    def add(self, session_id="s", n=1, size=1):
        drafts = [Draft(EventType.MESSAGE_STREAMED, k, None, {"content": "x" * size}) for k in range(n)]
        base = next(BLOCKS) << 32
        head = self.heads.get(session_id, 0)
        self.tail.add(
            Append(session_id, pack_drafts(base, drafts), base), Appended(head + 1, self.position + 1, n)
        )
        self.all += [(session_id, head + k, self.position + k) for k in range(1, n + 1)]
        self.heads[session_id] = head + n
        self.position += n

    def expected(self, session_id, after, limit):
        place = 2 if session_id is None else 1
        wanted = [one for one in self.all if session_id is None or one[0] == session_id]
        return [one for one in wanted if one[place] > after][:limit]


def places(events):
    return [(event.session_id, event.sequence_number, event.position) for event in events]


def test_it_gives_what_was_added_after_a_cursor_by_session_and_by_position():
    feed = Feed()
    feed.add("a", 3)
    feed.add("b", 2)
    feed.add("a", 2)
    assert places(feed.tail.read_session("a", 2, 10)) == [("a", 3, 3), ("a", 4, 6), ("a", 5, 7)]
    assert places(feed.tail.read_all(4, 2)) == [("b", 2, 5), ("a", 4, 6)]
    assert feed.tail.read_session("a", 5, 10) == []
    assert feed.tail.read_all(7, 10) == []


def test_it_knows_nothing_of_what_was_there_before_it():
    feed = Feed(position=10)
    feed.heads["a"] = 4
    feed.add("a", 1)
    assert feed.tail.read_session("a", 3, 10) is None
    assert places(feed.tail.read_session("a", 4, 10)) == [("a", 5, 11)]
    assert feed.tail.read_all(9, 10) is None
    assert places(feed.tail.read_all(10, 10)) == [("a", 5, 11)]
    assert feed.tail.read_session("unknown", 0, 10) is None


def test_without_followers_nothing_is_kept_and_the_first_follower_starts_afresh():
    feed = Feed(followers=0)
    feed.add("a", 3)
    assert len(feed.tail) == 0
    feed.tail.n_followers = 1
    feed.add("a", 1)
    assert feed.tail.read_all(2, 10) is None
    assert places(feed.tail.read_all(3, 10)) == [("a", 4, 4)]
    feed.tail.n_followers = 0
    feed.add("a", 1)
    assert len(feed.tail) == 0
    assert feed.tail.position == 5
    feed.tail.n_followers = 1
    assert feed.tail.read_session("a", 4, 10) is None


def test_an_append_of_which_some_events_were_there_before_is_left_to_the_store():
    feed = Feed()
    feed.add("a", 2)
    feed.tail.add(Append("a", Packed(3, b""), 0), Appended(3, 3, 2))
    assert feed.tail.read_session("a", 0, 10) is None
    assert feed.tail.read_all(2, 10) is None
    assert feed.tail.read_all(4, 10) == []
    assert feed.tail.has_grown("a", 2)
    feed.tail.add(Append("a", (), 0), Appended(5, 5, 0))
    assert feed.tail.position == 4


def test_it_keeps_a_bounded_number_of_events(monkeypatch):
    monkeypatch.setattr(module, "MAX_EVENTS", 10)
    feed = Feed()
    for _ in range(200):
        feed.add("a", 3)
        feed.add("b", 1)
    assert len(feed.tail) <= 10
    assert feed.tail.read_all(780, 100) is None
    assert places(feed.tail.read_all(793, 100)) == feed.expected(None, 793, 100)
    assert places(feed.tail.read_session("b", 198, 100)) == feed.expected("b", 198, 100)
    held = sum(segment is not None for line in feed.tail._lines.values() for segment in line._segments)
    assert held <= 10


def test_it_keeps_a_bounded_number_of_bytes(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    feed = Feed()
    for _ in range(50):
        feed.add("a", 1, size=3_000)
    assert len(feed.tail) == 3
    feed.add("a", 1, size=50_000)
    assert len(feed.tail) == 1, "the newest append is always kept"


def test_reading_at_the_end_does_not_look_at_what_lies_before(monkeypatch):
    feed = Feed()
    for _ in range(2_000):
        feed.add("a", 1)
    looked = []
    read = module._Segment.read
    monkeypatch.setattr(module._Segment, "read", lambda self: looked.append(self) or read(self))
    assert len(feed.tail.read_all(1_999, 100)) == 1
    assert len(feed.tail.read_session("a", 1_998, 100)) == 2
    assert len(looked) == 3


def test_events_are_decoded_once_for_all_readers():
    feed = Feed()
    feed.add("a", 2)
    assert feed.tail.read_all(0, 10)[1] is feed.tail.read_session("a", 1, 10)[0]


def test_growth_is_known_by_session():
    feed = Feed()
    feed.add("a")
    seen = feed.tail.position
    assert not feed.tail.has_grown("a", seen)
    assert not feed.tail.has_grown(None, seen)
    feed.add("b")
    assert not feed.tail.has_grown("a", seen)
    assert feed.tail.has_grown("b", seen)
    assert feed.tail.has_grown(None, seen)


def test_growth_that_is_long_ago_is_taken_for_possible(monkeypatch):
    monkeypatch.setattr(module, "MAX_EVENTS", 3)
    feed = Feed()
    for name in "abcdef":
        feed.add(name)
    assert feed.tail.has_grown("a", 0)
    assert feed.tail.has_grown("unknown", 1)
    assert not feed.tail.has_grown("unknown", 5)


def test_it_can_begin_anew_at_a_later_position():
    feed = Feed()
    feed.add("a", 2)
    feed.tail.begin(7)
    assert feed.tail.position == 7
    assert feed.tail.read_all(2, 10) is None
    assert feed.tail.read_session("a", 0, 10) is None
    assert feed.tail.has_grown("a", 3)


@settings(max_examples=50)
@given(data=st.data())
@pytest.mark.parametrize("bound", [5, 40])
def test_it_never_answers_otherwise_than_the_store_would(bound, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_EVENTS", bound)
        feed = Feed()
        for _ in range(data.draw(st.integers(1, 60))):
            feed.add(data.draw(st.sampled_from("abc")), data.draw(st.integers(1, 4)))
        for _ in range(10):
            session_id = data.draw(st.sampled_from(["a", "b", "c", None]))
            after, limit = data.draw(st.integers(0, feed.position + 2)), data.draw(st.integers(1, 12))
            got = (
                feed.tail.read_all(after, limit)
                if session_id is None
                else feed.tail.read_session(session_id, after, limit)
            )
            if got is not None:
                assert places(got) == feed.expected(session_id, after, limit)
            last = feed.position if session_id is None else feed.heads.get(session_id, 0)
            if last - after <= bound - 4 and (session_id is None or after >= last - 1) and after < last:
                assert session_id is not None or got is not None, "the newest events are there"
