"""A journal's actor alone, in a simulation, on a store that can be told to fail."""

from __future__ import annotations

from itertools import count

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal import messages as m
from asm_actors.journal.actor import JournalActor
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.cursor_keeper import CursorKeeper
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.subscriber import SubscriptionActor
from asm_actors.journal.subscription import Pull, Scope
from asm_actors.services import CURSORS, JOURNAL, SUBSCRIPTIONS
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.starting import make_services
from supervisors import ChildSpec, DynamicSupervisor, Future, Restart
from supervisors.testing import Probe, settle


class BrittleStore(MemoryStore):
    """A store in memory whose next commits raise what `failing` holds; None lets one through."""

    def __init__(self):
        super().__init__()
        self.failing = []
        self.always = None
        self.groups = []
        self.syncs = 0
        self.sync_error = None

    def commit(self, appends, *, sync=True):
        self.groups.append(len(appends))
        error = self.failing.pop(0) if self.failing else self.always
        if error is not None:
            raise error
        return super().commit(appends, sync=sync)

    def sync(self):
        self.syncs += 1
        if self.sync_error is not None:
            raise self.sync_error
        super().sync()


class Journal:
    """A journal's actor and what a test does with it."""

    full = AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")

    def __init__(self, dispatcher, *, patience=10.0, durability="commit", store=None):
        self.dispatcher = dispatcher
        self.store = store or BrittleStore()
        self.store.open()
        self.services = make_services(
            self.store, {}, None, dispatcher=dispatcher, durability=durability, seed=0, patience=patience
        )
        self.ref = None
        self._heads = {}
        self._blocks = count(1)
        self.start()

    def start(self):
        self.ref = self.dispatcher.start(JournalActor, self.services)
        self.dispatcher.names.register(JOURNAL, self.ref)
        settle(self.dispatcher)

    @property
    def actor(self):
        return self.ref.life.actor

    @property
    def directory(self):
        return self.services.directory

    def writer(self):
        return Probe(self.dispatcher)

    def append(self, session_id, n_events=1, *, expect=..., types=None, contents=None):
        """An append of text, packed as a session's actor packs it; the first one of a session makes it."""
        head = self._heads.get(session_id)
        new = None if head is not None else Session(id=session_id, agent_id="agent")
        kinds = types or [EventType.MESSAGE_STREAMED] * n_events
        start = head or 0
        texts = contents or [f"{session_id}-{start + k + 1}" for k in range(len(kinds))]
        drafts = [
            Draft(kind, 1_000 + k, None, {"content": text})
            for k, (kind, text) in enumerate(zip(kinds, texts, strict=True))
        ]
        base = next(self._blocks) << 32
        self._heads[session_id] = start + len(drafts)
        packed = pack_drafts(base, drafts) if drafts else ()
        return Append(session_id, packed, base, new, (), start if expect is ... else expect)

    def tell(self, writer, append, *then):
        self.ref.tell(m.Commit(writer.ref, append, then))

    def write(self, session_id, n_events=1, **fields):
        """Write and come to rest."""
        writer = self.writer()
        self.tell(writer, self.append(session_id, n_events, **fields))
        self.flush()
        writer.ref.stop()

    def flush(self):
        """Have everything durable that was told, unless the disk fails, and come to rest."""
        self.ref.tell(m.Flush())
        settle(self.dispatcher)

    def end(self, session_id):
        """Write the last event of a session, and that it is over."""
        append = self.append(session_id, types=[EventType.SESSION_COMPLETED])
        session = self.store.session(session_id).replace(status=SessionStatus.COMPLETED)
        self.tell(self.writer(), append._replace(session=session))
        self.flush()

    def stored(self, session_id=None):
        """All events of a session, or of the journal."""
        if session_id is None:
            return self.store.read_all(limit=100_000).events
        return self.store.read_session(session_id)

    def reply(self):
        future = Future()
        future._driver = self.dispatcher
        return future

    def subscribe(self, session_id=None, cursor=0, **fields):
        ref = self.dispatcher.start(SubscriptionActor, self.services, Scope(session_id, **fields), cursor)
        self.dispatcher.run_until_idle()
        return ref

    def pull(self, ref, limit=100, timeout=0.0, after=None, **fields):
        """Ask a subscription's actor, and come to rest; the future of a page."""
        future = ref.ask(Pull(limit, timeout, after, **fields), block=False)
        self.dispatcher.run_until_idle()
        return future

    def with_supervisors(self):
        """Put what subscribers need beside the journal, as the tree has it."""
        spec = ChildSpec("subscription", SubscriptionActor, (self.services,), restart=Restart.TEMPORARY)
        self.supervisor = self.dispatcher.start(DynamicSupervisor, spec)
        self.dispatcher.names.register(SUBSCRIPTIONS, self.supervisor)
        self.directory.root = self.supervisor
        self.start_keeper()
        return self

    def start_keeper(self):
        """Start the keeper of named cursors, after the last one has ended."""
        self.keeper = self.dispatcher.start(CursorKeeper, self.services)
        self.dispatcher.names.register(CURSORS, self.keeper)


@pytest.fixture(scope="session")
def journal_class():
    """`Journal`, for tests that make their own dispatchers."""
    return Journal


@pytest.fixture
def journal(simulation):
    """Makes a `Journal` on a simulation of its own."""

    def make(seed=0, **options):
        return Journal(simulation(seed), **options)

    return make


@pytest.fixture
def held(journal):
    """A `Journal` with all that subscribers need."""
    return journal().with_supervisors()


@pytest.fixture
def live(dispatcher, journal_class):
    """The same on a loop's thread."""
    return journal_class(dispatcher).with_supervisors()
