"""What the tests of stores are made of: appends, and checks of their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.append import Append, Appended, Draft
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = [
    "NOW",
    "block",
    "chunks",
    "more",
    "names",
    "new_session",
    "numbers",
    "put",
    "raises",
    "refusal",
    "run_of",
    "taken",
]

NOW: Final = 1_700_000_000_000_000
_BLOCKS: Final = count(1)


def chunks(n: int, run_id: str | None = None, *, start: int = 0, **fields: Any) -> list[Draft]:
    """Make ``n`` drafts of streamed text, one microsecond apart."""
    return [
        Draft(
            EventType.MESSAGE_STREAMED, NOW + start + k, run_id, {"content": f"chunk {start + k}"}, **fields
        )
        for k in range(n)
    ]


def block() -> int:
    """Make a new base for event ids."""
    return next(_BLOCKS) << 32


def new_session(session_id: str, n_events: int = 0, **fields: Any) -> Append:
    """Make the append that creates a session."""
    fields.setdefault("agent_id", "agent")
    session = Session(id=session_id, created_us=NOW, updated_us=NOW, **fields)
    return Append(session_id, chunks(n_events), block(), session, (), 0)


def more(session_id: str, n_events: int, expect: int | None, **fields: Any) -> Append:
    """Make an append of further events."""
    return Append(session_id, chunks(n_events, start=expect or 0), block(), expect=expect, **fields)


def run_of(session_id: str, run_id: str, **fields: Any) -> Run:
    """Make a run's record."""
    return Run(id=run_id, session_id=session_id, created_us=NOW, **fields)


def taken(answer: Appended | AsmError) -> Appended:
    """Return an answer that must not be an error."""
    assert isinstance(answer, Appended), answer
    return answer


def put(store: Store, *appends: Append) -> list[Appended]:
    """Commit appends of which none may be refused."""
    return [taken(answer) for answer in store.commit(appends)]


def refusal(store: Store, append: Append) -> AsmError:
    """Commit an append that must be refused, and return why it was."""
    (answer,) = store.commit([append])
    assert isinstance(answer, AsmError), answer
    return answer


@contextmanager
def raises(code: ErrorCode) -> Iterator[None]:
    """Expect an error of a code from the block."""
    found: AsmError | None = None
    try:
        yield
    except AsmError as error:
        found = error
    assert found is not None, f"{code} was not raised"
    assert found.code is code, found


def numbers(events: Sequence[Event]) -> list[int | None]:
    """Return the sequence numbers of events."""
    return [event.sequence_number for event in events]


def names(records: Sequence[Session] | Sequence[Run]) -> list[str]:
    """Return the ids of records."""
    return [record.id for record in records]
