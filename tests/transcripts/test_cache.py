"""The cache of transcripts: only what is new is read, and nothing is told that is not so any more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from asm_actors.errors import AsmError
from asm_actors.events import EventType
from asm_actors.ids import SequentialIds
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.memory import MemoryStore
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.transcripts.cache import TranscriptCache
from asm_actors.transcripts.reading import read_transcript


class Counting:
    """A store that counts the events which are read from it."""

    def __init__(self, store):
        self._store = store
        self.calls = self.events = 0

    def read_session(self, session_id, wanted):
        found = self._store.read_session(session_id, wanted)
        self.calls += 1
        self.events += len(found)
        return found

    def __getattr__(self, name):
        return getattr(self._store, name)


class Book:
    """A store to write conversations into."""

    def __init__(self):
        self.memory = MemoryStore()
        self.memory.open()
        self.ids = SequentialIds()
        self.store = Counting(self.memory)

    def begin(self, session_id="ses_1", created=1, **fields):
        record = Session(
            id=session_id,
            agent_id="a",
            status=SessionStatus.ACTIVE,
            created_us=created,
            updated_us=created,
            **fields,
        )
        kind = EventType.SESSION_FORKED if record.forked_at else EventType.SESSION_CREATED
        self.write(session_id, (kind, {"agent_id": "a"}), session=record)
        return self.memory.session(session_id)

    def write(self, session_id, *specs, session=None):
        drafts = [
            Draft(EventType(kind), 5, run_id[0] if run_id else None, data) for kind, data, *run_id in specs
        ]
        named = {draft.run_id for draft in drafts if draft.run_id is not None}
        runs = [Run(id=run_id, session_id=session_id) for run_id in sorted(named)]
        (answer,) = self.memory.commit([Append(session_id, drafts, self.ids.block(), session, runs)])
        assert not isinstance(answer, AsmError), answer

    def say(self, session_id, *texts):
        self.write(session_id, *(("message_received", {"content": text}) for text in texts))

    def head(self, session_id="ses_1"):
        return self.memory.head(session_id)


@pytest.fixture
def book():
    made = Book()
    yield made
    made.memory.close()


def texts(transcript):
    return [message.content for message in transcript.messages]


def test_what_was_read_is_not_read_again(book):
    session, cache = book.begin(), TranscriptCache()
    book.say("ses_1", "a", "b")
    assert texts(cache.read(book.store, session, book.head())) == ["a", "b"]
    assert book.store.events == 3
    cache.read(book.store, session, book.head())
    assert (book.store.calls, book.store.events) == (1, 3)
    book.say("ses_1", "c")
    assert texts(cache.read(book.store, session, book.head())) == ["a", "b", "c"]
    assert book.store.events == 4


def test_an_earlier_place_is_read_anew_and_does_not_replace_the_later_one(book):
    session, cache = book.begin(), TranscriptCache()
    book.say("ses_1", "a", "b")
    cache.read(book.store, session, 3)
    assert texts(cache.read(book.store, session, 2)) == ["a"]
    events = book.store.events
    assert texts(cache.read(book.store, session, 3)) == ["a", "b"]
    assert book.store.events == events


def test_any_way_of_reading_on_is_reading_all(book):
    session, cache = book.begin(), TranscriptCache()
    for number in range(30):
        book.say("ses_1", f"t{number}")
        if number % 7 == 0:
            cache.read(book.store, session, book.head())
    found = cache.read(book.store, session, book.head())
    assert found == read_transcript(book.memory, "ses_1", at=book.head())


def test_a_fork_has_a_transcript_of_its_own(book):
    session, cache = book.begin(), TranscriptCache()
    book.say("ses_1", "a", "b")
    fork = book.begin("ses_2", parent_session_id="ses_1", forked_at=2, last_sequence=2)
    book.say("ses_1", "c")
    book.say("ses_2", "other")
    assert texts(cache.read(book.store, session, book.head())) == ["a", "b", "c"]
    assert texts(cache.read(book.store, fork, book.head("ses_2"))) == ["a", "other"]
    book.say("ses_2", "more")
    assert texts(cache.read(book.store, fork, book.head("ses_2"))) == ["a", "other", "more"]


def test_another_session_of_the_same_id_is_another_one(book):
    session, cache = book.begin(), TranscriptCache()
    book.say("ses_1", "a", "b")
    cache.read(book.store, session, book.head())
    later = Book()
    again = later.begin(created=2)
    later.say("ses_1", "new", "newer")
    assert texts(cache.read(later.store, again, later.head())) == ["new", "newer"]
    later.memory.close()


def test_compaction_and_rollback_are_events_like_others(book):
    session, cache = book.begin(), TranscriptCache()
    book.say("ses_1", "a", "b")
    cache.read(book.store, session, book.head())
    book.write(
        "ses_1",
        ("message_received", {"content": "no"}, "r1"),
        ("run_cancelled", {"rolled_back": True}, "r1"),
        ("transcript_compacted", {"summary": "gist", "up_to_sequence": 2}, "r2"),
    )
    found = cache.read(book.store, session, book.head())
    assert [text.rpartition(": ")[2] for text in texts(found)] == ["gist", "b"]
    assert found == read_transcript(book.memory, "ses_1", at=book.head())


def test_what_is_forgotten_is_read_anew(book):
    session, cache = book.begin(), TranscriptCache()
    book.say("ses_1", "a")
    for forget in (lambda: cache.forget("ses_1"), cache.forget, lambda: cache.forget("ses_2")):
        cache.read(book.store, session, 2)
        assert len(cache) == 1
        forget()
    assert len(cache) == 1
    cache.forget()
    before = book.store.events
    cache.read(book.store, session, 2)
    assert book.store.events == before + 2


def test_what_is_forgotten_while_it_is_read_is_not_kept(book):
    session, cache = book.begin(), TranscriptCache()
    book.say("ses_1", "a")

    class Forgetting(Counting):
        def read_session(self, session_id, wanted):
            found = super().read_session(session_id, wanted)
            cache.forget("ses_1")
            return found

    assert texts(cache.read(Forgetting(book.memory), session, 2)) == ["a"]
    assert len(cache) == 0


def test_the_least_used_ones_go_first(book):
    cache = TranscriptCache(max_sessions=2)
    sessions = [book.begin(f"ses_{number}") for number in range(3)]
    cache.read(book.store, sessions[0], 1)
    cache.read(book.store, sessions[1], 1)
    cache.read(book.store, sessions[0], 1)  # used again
    cache.read(book.store, sessions[2], 1)
    assert len(cache) == 2
    before = book.store.calls
    cache.read(book.store, sessions[0], 1)
    assert book.store.calls == before
    cache.read(book.store, sessions[1], 1)
    assert book.store.calls == before + 1


def test_it_holds_no_more_text_than_it_may(book):
    cache = TranscriptCache(max_chars=2000)
    sessions = [book.begin(f"ses_{number}") for number in range(3)]
    for session in sessions[:2]:
        book.say(session.id, "x" * 800)
        cache.read(book.store, session, 2)
    assert len(cache) == 1
    book.say("ses_2", "x" * 5000)
    assert len(texts(cache.read(book.store, sessions[2], 2))) == 1
    assert len(cache) == 1, "one that does not fit at all drives out nobody"


def test_many_threads_read_what_is_there(book):
    session, cache = book.begin(), TranscriptCache(max_sessions=2)
    book.say("ses_1", *(f"t{number}" for number in range(40)))
    places = [1 + (number * 7) % 41 for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: cache.read(book.memory, session, at), places))
    for at, transcript in zip(places, found, strict=True):
        assert texts(transcript) == [f"t{number}" for number in range(at - 1)]
