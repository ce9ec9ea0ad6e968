"""Systems whose provider is Claude over real HTTP, and what their journals say once they have stopped."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

import asm_actors as asm
from asm_actors.testing.promises import RUN_ENDS, journal_faults

KEY = "sk-mock-not-a-key"
# Tiny waits: the tests are about what is done, and how often.
RETRY = asm.RetryPolicy(max_attempts=3, initial=0.01, maximum=0.02, jitter=0.0)


class Story:
    """What a journal tells of one run."""

    def __init__(self, store, run_id):
        self.run = store.run(run_id)
        self.events = store.read_session(self.run.session_id, asm.EventFilter(run_ids=run_id))
        self.types = [event.type.value for event in self.events]
        self.ends = [event for event in self.events if event.type in RUN_ENDS]

    def data(self, kind):
        """The payloads of its events of one type."""
        return [event.data for event in self.events if event.type.value == kind]

    @property
    def streamed(self):
        """What it said, put together from its deltas."""
        return "".join(data["content"] for data in self.data("message_streamed"))


class Served:
    """A system on the blocking surface with one provider, ``claude``, and its journal on disk."""

    def __init__(self, path, base_url, *, key=KEY, limits=None, **options):
        self.path = path
        provider = asm.AnthropicProvider("claude-test", api_key=key, base_url=base_url)
        self.system = asm.ActorSystem.start(path, {"claude": provider}, limits, retry=RETRY, **options)
        self.sessions = self.system.sessions

    def session(self):
        """An active session."""
        return self.sessions.activate_session(self.sessions.start_session(agent_id="agent").id)

    def submit(self, text, **options):
        """A run in a session of its own."""
        return self.sessions.submit_run(self.session().id, text, **options)

    def outcome(self, run):
        """How a run ends: its error, or None if it completed."""
        try:
            self.sessions.await_run(run.id, timeout=20.0)
        except asm.AsmError as error:
            return error
        return None

    def speaking(self, text, **options):
        """A run that has said something which is in the journal."""
        run = self.submit(text, **options)
        first = self.sessions.stream_session_events(
            run.session_id, run_id=run.id, type="message_streamed", limit=1, wait_timeout_ms=20_000
        )
        assert len(list(first)) == 1
        return run


@pytest.fixture
def journal(tmp_path):
    """Where the system of this test keeps its journal."""
    return tmp_path / "journal"


@pytest.fixture
def serve(journal, monkeypatch):
    """Starts a system on the blocking surface: ``serve(base_url)``."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    with ExitStack() as stack:

        def start(base_url, **options):
            served = Served(journal, base_url, **options)
            stack.callback(served.system.stop)
            return served

        yield start


@pytest.fixture
def reopen(journal):
    """Opens the journal of a stopped system for reading; it must be sound and keep every promise."""
    with ExitStack() as stack:

        def read():
            store = asm.LmdbStore(journal, readonly=True)
            store.open()
            stack.callback(store.close)
            assert store.verify().problems == ()
            assert journal_faults(store) == []
            return store

        yield read


@pytest.fixture
def told(reopen):
    """``told(served, run)``: stops the system, and returns what its journal tells of the run."""

    def tell(served, run):
        served.system.stop()
        return Story(reopen(), run.id)

    return tell


@pytest.fixture
def story():
    """`Story`: ``story(store, run_id)``."""
    return Story


@pytest.fixture
def asked(mock_model_server):
    """How often the mock model server was asked with a text."""

    def count(text):
        requests = mock_model_server.requests(limit=10_000)
        return sum(request["body"]["messages"][-1]["content"] == text for request in requests)

    return count
