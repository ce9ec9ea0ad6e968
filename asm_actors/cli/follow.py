"""`asm events`: read and follow the events of a journal, also of one that another process writes.

Reading and following are one loop: read after the cursor, print, look whether there is more. From another process
there are no wake-ups, so following looks at the last place every now and then, which costs microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from asm_actors.cli.common import Failure, json_option, open_for_reading
from asm_actors.cli.locating import journal_option
from asm_actors.cli.showing import format_option, shower
from asm_actors.cli.text import event_line
from asm_actors.events import Event, EventType
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.store import EventFilter

__all__ = ["events"]

_PAGE: Final = 1000
_LOOK_EVERY_S: Final = 0.2


@frozen
class _Wanted:
    """Which events to read.

    Attributes:
        session_id: of this session; None reads the whole journal.
        run_id: of this run.
        types: of these types; empty for all.
        after: sequence number (of a session) or position (of the journal) after which to begin.
        follow: whether to wait for those to come.
    """

    session_id: str | None
    run_id: str | None
    types: tuple[str, ...]
    after: int
    follow: bool

    def filter(self, after: int | None = None, limit: int | None = None) -> EventFilter:
        return EventFilter(run_ids=self.run_id, types=self.types or None, after=after, limit=limit)


@click.command(short_help="Print events, and follow those to come.")
@click.argument("session", required=False)
@journal_option
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Wait for those to come, until Ctrl-C or until the session or run is over.",
)
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Begin after sequence number N of the SESSION, or after position N of the journal.",
)
@click.option("--type", "types", multiple=True, metavar="T", help="Only of this type; may be repeated.")
@click.option("--run", "run_id", metavar="RUN", help="Only of this run.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many.")
@format_option("lines", "by default one line for each.")
@json_option
def events(
    *,
    session: str | None,
    journal: Path,
    follow: bool,
    after: int,
    types: tuple[str, ...],
    run_id: str | None,
    limit: int | None,
    style: str | None,
    as_json: bool,
) -> None:
    """Print events in order: of one SESSION, of one run, or of the whole journal.

    Works also while another process writes the journal.
    """
    _check_types(types)
    with open_for_reading(journal) as store:
        if run_id is not None:
            session = _session_of(store, run_id, session)
        wanted = _Wanted(session, run_id, types, after, follow)
        show = shower(style, _line_of(with_session=session is None), as_json=as_json)
        for event in islice(_read(store, wanted), limit):
            show(event)
        show.end()


def _line_of(*, with_session: bool) -> Callable[[Event], None]:
    return lambda event: click.echo(event_line(event, with_session=with_session))


def _check_types(types: tuple[str, ...]) -> None:
    known = [kind.value for kind in EventType]
    for name in types:
        if name not in known:
            raise Failure(f"there is no event type {name!r}; there are: {', '.join(known)}")


def _session_of(store: LmdbStore, run_id: str, session: str | None) -> str:
    found = store.run(run_id).session_id
    if session not in (None, found):
        raise Failure(f"run {run_id} belongs to session {found}; leave the session out, or name that one")
    return found


def _read(store: LmdbStore, wanted: _Wanted) -> Iterator[Event]:
    cursor = wanted.after
    while True:
        seen = _last_place(store, wanted)
        is_over = _is_over(store, wanted)
        for page, place in _pages(store, wanted, cursor):
            cursor = place
            yield from page
        # Asked before reading: whatever ended it was committed by then, and so has been read.
        if not wanted.follow or is_over:
            return
        while _last_place(store, wanted) == seen:
            time.sleep(_LOOK_EVERY_S)


def _last_place(store: LmdbStore, wanted: _Wanted) -> int:
    return store.last_position() if wanted.session_id is None else store.head(wanted.session_id)


def _pages(store: LmdbStore, wanted: _Wanted, cursor: int) -> Iterator[tuple[list[Event], int]]:
    """Yield pages of events, each with the cursor behind it, up to the present end."""
    if wanted.session_id is None:
        end = store.last_position()
        while cursor < end:
            found = store.read_all(after=cursor, limit=_PAGE, filter=wanted.filter())
            yield found.events, found.position
            if found.position <= cursor:
                return
            cursor = found.position
        return
    head = store.head(wanted.session_id)
    while cursor < head:
        events_ = store.read_session(wanted.session_id, wanted.filter(cursor, _PAGE))
        last = events_[-1].sequence_number if events_ else None
        # A page that is not full means that the rest, up to the head, is not wanted.
        cursor = max(head, last or 0) if len(events_) < _PAGE else (last or head)
        yield events_, cursor


def _is_over(store: LmdbStore, wanted: _Wanted) -> bool:
    if wanted.run_id is not None:
        return store.run(wanted.run_id).is_terminal
    return wanted.session_id is not None and store.session(wanted.session_id).is_terminal
