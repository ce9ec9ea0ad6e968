"""Journals to maintain: built by hand in memory and on disk, and a fake service that keeps objects."""

from __future__ import annotations

import pytest

from asm_actors.events import EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.maintenance.execution import Execution
from asm_actors.maintenance.hands import Alone
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

DAY = 86_400_000_000
NOW = 1_700_000_000_000_000


class Around:
    """A world whose clock stands still; it notes its pauses."""

    def __init__(self, now=NOW):
        self.now = now
        self.pauses = []
        self._blocks = 1 << 100

    def now_us(self):
        return self.now

    def seconds(self):
        return 5.0

    def pause(self, seconds):
        self.pauses.append(seconds)

    def block(self):
        self._blocks += 1 << 32
        return self._blocks


class Journal:
    """A store, and how to fill and maintain it."""

    def __init__(self, store):
        self.store = store
        self.around = Around()
        self.hands = Alone(store)
        self._blocks = 0

    def session(self, name, *, kinds=("message_sent",), age=0, quiet=None, deleted=None, runs=(), **fields):
        """Make a session with events of these types; ages are in days before `NOW`."""
        updated = NOW - (age if quiet is None else quiet) * DAY
        fields.setdefault("status", SessionStatus.COMPLETED)
        fields.setdefault("agent_id", "agent")
        session = Session(
            id=name,
            created_us=NOW - age * DAY,
            updated_us=updated,
            deleted_us=None if deleted is None else NOW - deleted * DAY,
            **fields,
        )
        first = session.forked_at or 0
        drafts = [
            Draft(EventType(kind), NOW + k, None, {"content": f"{name} {k}"}) for k, kind in enumerate(kinds)
        ]
        self._blocks += 1 << 32
        records = tuple(
            Run(id=run, session_id=name, status=RunStatus(status), created_us=NOW - age * DAY)
            for run, status in runs
        )
        (answer,) = self.store.commit([Append(name, drafts, self._blocks, session, records, first)])
        assert answer.count == len(drafts), answer
        return session

    def execute(self, policy, **options):
        return Execution(self.hands, policy, self.around, **options).run()

    def types(self, name):
        return [event.type.value for event in self.store.read_session(name)]

    def sequences(self, name):
        return [event.sequence_number for event in self.store.read_session(name)]

    def names(self, **options):
        return [session.id for session in self.store.sessions(**options)]


@pytest.fixture(params=["memory", "lmdb"])
def journal(request, tmp_path):
    store = MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "journal", durability="none")
    store.open()
    yield Journal(store)
    store.close()


@pytest.fixture
def another(tmp_path):
    """Makes further journals in memory."""
    made = []

    def make(kind="memory"):
        store = (
            MemoryStore()
            if kind == "memory"
            else LmdbStore(tmp_path / f"journal-{len(made)}", durability="none")
        )
        store.open()
        made.append(store)
        return Journal(store)

    yield make
    for store in made:
        store.close()


class FakeService:
    """Objects by bucket and key, as a client of an object service has them; may be told to fail."""

    class ClientError(Exception):
        def __init__(self, code):
            super().__init__(f"the service says {code}")
            self.response = {"Error": {"Code": code}}

    class _Body:
        def __init__(self, data):
            self._data = data

        def read(self):
            return self._data

    def __init__(self):
        self.objects = {}
        self.failing = None

    def _check(self):
        if self.failing is not None:
            raise self.failing

    def put_object(self, *, Bucket, Key, Body):  # noqa: N803
        self._check()
        self.objects[Bucket, Key] = Body

    def get_object(self, *, Bucket, Key):  # noqa: N803
        self._check()
        if (Bucket, Key) not in self.objects:
            raise self.ClientError("NoSuchKey")
        return {"Body": self._Body(self.objects[Bucket, Key])}

    def delete_object(self, *, Bucket, Key):  # noqa: N803
        self._check()
        self.objects.pop((Bucket, Key), None)


@pytest.fixture
def service():
    return FakeService()
