"""The runtime in `cold`: sessions that nobody asked about for long, in a journal that holds a great many.

`python -m bench.asm_cases.cold DIRECTORY OPTIONS` is the process that fills the journal: what it leaves in memory shall
not be in the figures.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Final

import asm_actors as asm
from asm_actors import messages
from asm_actors.ids import RandomIds
from asm_actors.journal.append import EMPTY, Append, Draft
from asm_actors.journal.codec import pack_drafts
from bench.asm_cases.running import UNLIMITED, WorkloadProvider, journal_of
from bench.baselines.plain import VerificationError
from bench.harness import (
    Durability,
    Meter,
    Options,
    Result,
    measures,
    private_bytes,
    rss_bytes,
    scratch,
)
from bench.workload import AGENT_ID, CONTEXT, PROMPT, PROVIDER, TAGS, Workload, chunk_data

__all__ = ["cold", "fill"]

_ACTIVE_EACH: Final = 10
"""One session of so many is active, the others are completed."""
_AT_ONCE: Final = 1_000
"""Sessions whose events lie mixed in the journal."""
_PARTS: Final = 2
"""Appends of each session's events."""
_READ: Final = 100
_TURNS: Final = 12
_GROUPS: Final = 40
"""Commits of a turn."""
_APPENDS: Final = 100
_BATCH: Final = 10
_START_US: Final = 1_750_000_000_000_000


def cold(options: Options) -> Result:
    """Open a big journal and ask for sessions of it; latency is a session's first answer with its first 100 events."""
    with _filled(options) as directory:
        journal = journal_of(directory, options.durability)
        begun = time.perf_counter()
        journal.open()
        open_s = time.perf_counter() - begun
        opened = {"open_rss_bytes": rss_bytes(), "open_private_bytes": private_bytes()}
        _check(journal, options)
        journal.close()
        meter = Meter()
        latencies_s, start_s = _ask(directory, options, meter)
        growth = _append_rates(directory, options)
        size = sum(file.stat().st_blocks * 512 for file in directory.iterdir())
    return measures(
        meter.measured,
        latencies_s=latencies_s,
        open_s=round(open_s, 4),
        start_s=round(start_s, 4),
        private_bytes=private_bytes(),
        journal_bytes=size,
        **opened,
        **growth,
    )


def _session_id(number: int) -> str:
    """As scattered as the runtime's own ids are, and known by number."""
    return f"ses_{_scattered(number)}"


def _scattered(number: int) -> str:
    # Those of a few milliseconds begin alike, the rest is random.
    begin = _START_US // 1000 + number // _AT_ONCE
    return f"{begin:012x}{blake2b(number.to_bytes(8, 'big'), digest_size=10).hexdigest()}"


@contextlib.contextmanager
def _filled(options: Options) -> Iterator[Path]:
    """Give a journal of the wanted size: the one that is to be used again, or a new one that is removed afterwards."""
    with contextlib.ExitStack() as stack:
        kept = options.journal
        directory = stack.enter_context(scratch(options)) if kept is None else Path(kept)
        if not (directory / "data.mdb").exists():
            command = [sys.executable, "-m", __name__, str(directory), options.to_json()]
            try:
                subprocess.run(command, check=True)
            except BaseException:
                if kept is not None:  # half of a journal is of no use again
                    shutil.rmtree(directory, ignore_errors=True)
                raise
        yield directory


def _check(journal: asm.LmdbStore, options: Options) -> None:
    """Refuse a journal that holds less than was asked for; a bench that ran on it before has added some."""
    found = journal.statistics()
    events = _events_each(options) * options.size("sessions")
    if found.sessions < options.size("sessions") or found.events < events:
        raise VerificationError(
            f"{journal.description} holds {found.sessions:,} sessions and {found.events:,} events; name another "
            "journal, or remove it"
        )


# --- Asking ------------------------------------------------------------------------------------------------------


def _ask(directory: Path, options: Options, meter: Meter) -> tuple[list[float], float]:
    begun = time.perf_counter()
    with asm.ActorSystem.start(
        journal=journal_of(directory, options.durability),
        providers={PROVIDER: WorkloadProvider(Workload())},
        limits=UNLIMITED,
        durability="commit" if options.durability is Durability.FSYNC else "none",
    ) as system:
        start_s = time.perf_counter() - begun
        chosen = random.Random(7)
        numbers = [chosen.randrange(options.size("sessions")) for _ in range(options.size("asked"))]
        latencies_s: list[float] = []
        expected = min(_READ, _events_each(options))
        with meter:
            for number in numbers:
                session_id = _session_id(number)
                asked_at = time.perf_counter()
                session = system.session(session_id).ask(messages.GetSession())
                events = system.sessions.get_session_events(session_id, limit=_READ)
                latencies_s.append(time.perf_counter() - asked_at)
                if session.id != session_id or len(events) < expected:
                    raise VerificationError(
                        f"{session_id} was answered with {session} and {len(events)} events"
                    )
            meter.sample()
    return latencies_s, start_s


# --- Appending ---------------------------------------------------------------------------------------------------


def _append_rates(directory: Path, options: Options) -> Result:
    """Append to the big journal and to an empty one by turns; what is settled meanwhile is in the time."""
    rates: dict[str, list[float]] = {"big": [], "empty": []}
    with scratch(options) as empty, contextlib.ExitStack() as stack:
        journals = {"big": directory, "empty": empty}
        writers = {
            name: _Writer(stack.enter_context(contextlib.closing(journal_of(path, options.durability))))
            for name, path in journals.items()
        }
        turns = 1 if options.size("sessions") < _AT_ONCE else _TURNS
        for turn in range(turns + 1):
            for name in sorted(writers, reverse=bool(turn % 2)):
                rate = writers[name].turn()
                if turn:  # the first one warms up
                    rates[name].append(rate)
    quotients = [big / small for big, small in zip(rates["big"], rates["empty"], strict=True)]
    return {
        "append_per_s": round(statistics.median(rates["big"])),
        "append_to_empty_per_s": round(statistics.median(rates["empty"])),
        "append_ratio": round(statistics.median(quotients), 3),
    }


class _Writer:
    """Appends to a journal: half of it to new sessions, half to those it made before."""

    def __init__(self, journal: asm.LmdbStore) -> None:
        journal.open()
        self._journal = journal
        self._ids = RandomIds()
        self._heads: dict[str, int] = {}
        self._chosen = random.Random(11)

    def turn(self) -> float:
        """Commit some groups and settle what waits; return events per second."""
        groups = [self._group() for _ in range(_GROUPS)]
        begun = time.perf_counter()
        for group in groups:
            for answer in self._journal.commit(group):
                if isinstance(answer, asm.AsmError):
                    raise answer
        self._journal.settle()
        return _GROUPS * _APPENDS * _BATCH / (time.perf_counter() - begun)

    def _group(self) -> list[Append]:
        known = list(self._heads)
        again = self._chosen.sample(known, min(len(known), _APPENDS // 2))
        new = [self._ids.session() for _ in range(_APPENDS - len(again))]
        appends = []
        for session_id in (*again, *new):
            head = self._heads.get(session_id, 0)
            base_id = self._ids.block()
            packed = pack_drafts(base_id, _drafts(_BATCH, head, None))
            session = None if head else _session(session_id, _START_US)
            appends.append(Append(session_id, packed, base_id, session, (), head))
            self._heads[session_id] = head + _BATCH
        return appends


def _session(session_id: str, now_us: int) -> asm.Session:
    return asm.Session.new(
        id=session_id, now=now_us, agent_id=AGENT_ID, provider=PROVIDER, context=CONTEXT, tags=TAGS
    )


def _drafts(number: int, head: int, run_id: str | None) -> list[Draft]:
    texts = Workload(chunks=number).texts
    return [
        Draft(
            asm.EventType.MESSAGE_STREAMED,
            _START_US + head + place,
            run_id,
            chunk_data(text),
            EMPTY,
            PROVIDER,
        )
        for place, text in enumerate(texts)
    ]


# --- The process that fills the journal --------------------------------------------------------------------------


def _events_each(options: Options) -> int:
    return max(1, options.size("events") // options.size("sessions"))


def fill(directory: Path, options: Options) -> None:
    """Write sessions of one run each, with progress on the standard error stream."""
    sessions, each = options.size("sessions"), _events_each(options)
    blocks = count(1)
    begun = time.perf_counter()
    with contextlib.closing(asm.LmdbStore(directory, durability="none")) as journal:
        journal.open()
        for first in range(0, sessions, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, sessions))
            for part in range(_PARTS):
                appends = [_part(number, part, each, next(blocks) << 32) for number in numbers]
                for answer in journal.commit(appends, sync=False):
                    if isinstance(answer, asm.AsmError):
                        raise answer
            if not (numbers.stop // _AT_ONCE) % 50:
                rate = numbers.stop * each / (time.perf_counter() - begun)
                print(f"{numbers.stop:,} of {sessions:,} sessions, {rate:,.0f} events/s", file=sys.stderr)
        journal.settle()
        journal.sync()


def _part(number: int, part: int, each: int, base_id: int) -> Append:
    """One of a session's appends: the first makes session and run, the last ends both, mostly."""
    session_id, run_id = _session_id(number), f"run_{_scattered(number)}"
    begin, end = each * part // _PARTS, each * (part + 1) // _PARTS
    packed = pack_drafts(base_id, _drafts(end - begin, begin, run_id)) if end > begin else ()
    now_us = _START_US + number
    session = _session(session_id, now_us).with_status(asm.SessionStatus.ACTIVE, now_us)
    run = asm.Run.new(id=run_id, now=now_us, session_id=session_id, input={"prompt": PROMPT})
    if part:
        run = run.with_status(asm.RunStatus.RUNNING, now_us).with_output({"content": "done"}, now_us)
        if number % _ACTIVE_EACH:
            session = session.with_status(asm.SessionStatus.COMPLETED, now_us)
    return Append(session_id, packed, base_id, session, (run,), begin)


if __name__ == "__main__":
    fill(Path(sys.argv[1]), Options.from_json(sys.argv[2]))
