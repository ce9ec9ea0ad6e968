"""What the steps of maintenance share: batches, archives, errors that are noted and not fatal."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Final, Protocol

from attrs import define, field

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.maintenance.artifact import ArtifactStore
from asm_actors.maintenance.export import export_lines
from asm_actors.maintenance.hands import Hands
from asm_actors.maintenance.policy import RetentionPolicy
from asm_actors.maintenance.report import MaintenanceProgress, OnProgress, Tally
from asm_actors.serialization import iso_from_us
from asm_actors.sessions.session import Session, SessionStatus

__all__ = ["Surroundings", "Work", "collected", "foreign", "told"]

_PAGE: Final = 1_000
_LONGEST_KEY: Final = 120
_STRANGE: Final = ErrorCode.MAINTENANCE_ERROR


class Surroundings(Protocol):
    """What an execution needs of the world."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        ...

    def seconds(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    def pause(self, seconds: float) -> None:
        """Let others have their turn."""
        ...

    def block(self) -> int:
        """A new base for the ids of events."""
        ...


@define
class Work:
    """One execution of a policy.

    Attributes:
        hands: Reach the journal.
        policy: What is kept.
        around: The world.
        artifact_store: Where the bytes of artifacts are; None leaves artifacts alone.
        progress: Called now and then.
        is_dry_run: Only count.
    """

    hands: Hands
    policy: RetentionPolicy
    around: Surroundings
    artifact_store: ArtifactStore | None = None
    progress: OnProgress | None = None
    is_dry_run: bool = False
    _tally: Tally = field(factory=Tally, init=False)
    _now: int = field(default=0, init=False)

    @property
    def _store(self) -> Store:
        return self.hands.store

    def _sessions(
        self, statuses: frozenset[SessionStatus] | None = None, *, include_deleted: bool = False
    ) -> Iterator[Session]:
        """Yield sessions in the order of their creation."""
        after: str | None = None
        while True:
            page = self._store.sessions(
                status=statuses, include_deleted=include_deleted, limit=_PAGE, after=after
            )
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def _types(self, session: Session) -> Iterator[tuple[int, EventType]]:
        cursor = session.forked_at or 0
        while True:
            page = self._store.read_session(session.id, EventFilter(after=cursor, limit=_PAGE))
            for event in page:
                cursor = event.sequence_number or 0
                yield cursor, event.type
            if len(page) < _PAGE:
                return

    def _archive(self, session_id: str) -> None:
        """Archive a session, if that is wanted.

        Raises:
            AsmError: It could not be done.
        """
        policy = self.policy
        if not policy.archive_before_prune:
            return
        assert policy.archive_store is not None
        if not self.is_dry_run:
            lines = "".join(export_lines(self._store, self._now, session_id=session_id))
            packed = gzip.compress(lines.encode(), mtime=0)
            with foreign(f"session {session_id} cannot be archived"):
                policy.archive_store.put(_archive_key(session_id, self._now), packed)
        self._tally.archived += 1

    def _is_archived(self, session_id: str) -> bool:
        """Archive a session, if that is wanted; False if it could not be done, which is noted."""
        with collected(self._tally, f"archive of {session_id}"):
            self._archive(session_id)
            return True
        return False

    def _in_batches(
        self, step: str, session_ids: Sequence[str], work: Callable[[Sequence[str]], None]
    ) -> None:
        """Do something batch by batch; one that fails is noted, and the others are taken all the same."""
        size, total = self.policy.batch_size, len(session_ids)
        for start in range(0, total, size):
            began = self.around.seconds()
            with collected(self._tally, step):
                work(session_ids[start : start + size])
            self._tell(MaintenanceProgress(step, min(start + size, total), total))
            if not self.is_dry_run and start + size < total:
                self.around.pause(self.around.seconds() - began)

    def _tell(self, progress: MaintenanceProgress) -> None:
        if self.progress is not None:
            try:
                self.progress(progress)
            except Exception as error:
                self._tally.ended_by = error
                raise


class collected:  # noqa: N801 - reads as a function
    """A block whose error is noted, and is not fatal; but what the callback of progress raises ends everything."""

    def __init__(self, tally: Tally, what: str) -> None:
        self._tally = tally
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception) or error is self._tally.ended_by:
            return False
        self._tally.errors.append(f"{self._what}: {told(error)}")
        return True


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """A block that calls code of others, which may raise whatever it likes.

    Args:
        what: What cannot be done then.

    Raises:
        AsmError: The block's own; ``storage_error`` for any other exception.
    """
    try:
        yield
    except AsmError:
        raise
    except Exception as error:
        raise AsmError.wrap(ErrorCode.STORAGE_ERROR, error, f"{what}: {told(error)}") from error


def told(error: Exception) -> str:
    """Say what is wrong: by its message if it is one of ours, else by its kind too."""
    return (
        error.message
        if isinstance(error, AsmError)
        else f"{type(error).__name__}: {AsmError.wrap(_STRANGE, error).message}"
    )


def _archive_key(session_id: str, now: int) -> str:
    """Name an archive; the time keeps apart those of one session that was pruned again and again."""
    name = session_id if len(session_id.encode()) <= _LONGEST_KEY else sha256(session_id.encode()).hexdigest()
    return f"archive/{name}/{iso_from_us(now)}.jsonl.gz"
