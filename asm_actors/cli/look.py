"""`asm sessions`, `asm runs`, `asm show`: records of a journal, read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from asm_actors.cli.common import Failure, echo_json, hint, json_option, open_for_reading
from asm_actors.cli.locating import journal_option
from asm_actors.cli.text import details, run_line, session_line
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.search import MAX_PAGE, RunSearch, SessionSearch
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, RunStatus
from asm_actors.sessions.session import SessionStatus

__all__ = ["runs", "sessions", "show"]

_cursor_option = click.option(
    "--cursor", metavar="TEXT", help="Go on where an earlier list ended, as that list says."
)


@click.command(short_help="List sessions, newest first.")
@journal_option
@click.option(
    "--status",
    multiple=True,
    type=click.Choice([status.value for status in SessionStatus]),
    help="Only of this status; may be repeated.",
)
@click.option("--agent", metavar="ID", help="Only of this agent.")
@click.option("--tag", "tags", multiple=True, help="Only with this tag; may be repeated: all must be there.")
@click.option("--provider", metavar="NAME", help="Only of this provider, or with a run of this provider.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@_cursor_option
@json_option
def sessions(
    *,
    journal: Path,
    status: tuple[str, ...],
    agent: str | None,
    tags: tuple[str, ...],
    provider: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List sessions, newest first.

    Works also while another process writes the journal.
    """
    with open_for_reading(journal) as store:
        search = partial(
            SessionSearch,
            status=status or None,
            agent_id=agent,
            tags=tags,
            provider=provider,
            order_by="created_at_desc",
        )
        page = _Pages(lambda **place: store.search_sessions(search(**place)), "sessions", limit, cursor)
        for session in page:
            if as_json:
                echo_json(session.to_map())
            else:
                click.echo(session_line(session))
        if not as_json:
            page.close("session")


@click.command(short_help="List runs, of one session or of all.")
@click.argument("session", required=False)
@journal_option
@click.option(
    "--status",
    multiple=True,
    type=click.Choice([status.value for status in RunStatus]),
    help="Only of this status; may be repeated.",
)
@click.option("--provider", metavar="NAME", help="Only of this provider.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are not over.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@_cursor_option
@json_option
def runs(
    *,
    session: str | None,
    journal: Path,
    status: tuple[str, ...],
    provider: str | None,
    only_open: bool,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List runs, oldest first: of one SESSION, or of the whole journal."""
    if only_open and status:
        raise Failure("--open and --status exclude each other: give one of them")
    wanted = frozenset(RunStatus) - TERMINAL_RUN_STATUSES if only_open else status or None
    with open_for_reading(journal) as store:
        if session is not None:
            store.head(session)  # one that is not there is a mistake, and no empty list
        search = partial(
            RunSearch, session_id=session, status=wanted, provider=provider, order_by="started_at_asc"
        )
        page = _Pages(lambda **place: store.search_runs(search(**place)), "runs", limit, cursor)
        for run in page:
            if as_json:
                echo_json(run.to_map())
            else:
                click.echo(run_line(run))
        if not as_json:
            page.close("run")


@click.command(short_help="Show one session or one run.")
@click.argument("name", metavar="SESSION|RUN")
@journal_option
@json_option
def show(name: str, journal: Path, as_json: bool) -> None:
    """Show one session with its runs, or one run with its output."""
    with open_for_reading(journal) as store:
        if store.has_session(name):
            _show_session(store, name, as_json)
        elif store.has_run(name):
            _show_run(store, name, as_json)
        else:
            raise Failure(
                f"there is no session or run {name} in the journal at {journal};"
                f" list them with: {hint('sessions', journal)}"
            )


def _show_session(store: LmdbStore, name: str, as_json: bool) -> None:
    session, found = store.session(name), store.runs(name)
    if as_json:
        echo_json({"kind": "session", **session.to_map(), "runs": [run.to_map() for run in found]})
        return
    click.echo(details(session.to_map()))
    click.echo(f"\n{_count(len(found), 'run')}" + (":" if found else ""))
    for run in found:
        click.echo(run_line(run))


def _show_run(store: LmdbStore, name: str, as_json: bool) -> None:
    run = store.run(name)
    if as_json:
        echo_json({"kind": "run", **run.to_map()})
        return
    fields: dict[str, Any] = run.to_map()
    output = fields.pop("output") or {}
    content = output.pop("content", None)
    click.echo(details({**fields, "output": output}))
    if content:
        click.echo(f"\n{details({'content': content})}")


class _Pages:
    """Items of a search up to a limit, page by page.

    Args:
        ask: returns the page for a ``limit`` and a ``cursor``.
        items: the name of a page's items.
        limit: at most so many.
        cursor: where to begin, or None.
    """

    def __init__(self, ask: Callable[..., Any], items: str, limit: int, cursor: str | None) -> None:
        self._ask = ask
        self._items = items
        self._limit = limit
        self._cursor = cursor
        self._found = 0

    def __iter__(self) -> Iterator[Any]:
        while self._found < self._limit:
            page = self._ask(limit=min(self._limit - self._found, MAX_PAGE), cursor=self._cursor)
            items = getattr(page, self._items)
            yield from items
            self._found += len(items)
            if page.cursor is None:
                return
            self._cursor = page.cursor

    def close(self, what: str) -> None:
        """Say that nothing was found, or how to see more."""
        if not self._found:
            click.echo(f"no {what}s match", err=True)
        elif self._found >= self._limit and self._ask(limit=1, cursor=self._cursor).cursor is not None:
            click.echo(
                f"… there are more; see them with --limit {self._limit * 10}, or the next ones with "
                f"--cursor {self._cursor}",
                err=True,
            )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
