"""The benches, their sizes, and the programs that take part in each.

A case is named here as `module:function` and imported only in the process that runs it, so that
no case pays for the imports of another, and listing the benches imports none. The case called `asm`
is the runtime itself, from `bench/asm_cases/`; a bench has exactly the cases which the table names.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Final, cast

import attrs

from bench.harness import CaseFunction

__all__ = ["BENCHES", "CASES", "Bench", "Size", "cases_of", "load"]


@attrs.frozen
class Size:
    """One size a bench takes as an option.

    Args:
        name: The option's name, and the key in the result.
        default: What applies if the option is not given.
        help: What it counts.
        aliases: Further names of the option.
    """

    name: str
    default: int
    help: str
    aliases: tuple[str, ...] = ()


@attrs.frozen
class Bench:
    """One question that is answered by measuring.

    Args:
        name: The bench's name.
        summary: The question, in one line.
        details: What is done, what the latencies are, and what is not in the figures.
        sizes: The sizes it takes.
        pause_ms: Milliseconds between two chunks unless asked otherwise; None if nothing is streamed.
        warm_up: Whether a tiny run of the case precedes the measured one in its process.
        keeps_journal: Whether a journal that was made for it can be kept and used again. Making one takes minutes: what
            its cases say on the standard error stream is shown.
    """

    name: str
    summary: str
    details: str
    sizes: tuple[Size, ...]
    pause_ms: float | None = None
    warm_up: bool = True
    keeps_journal: bool = False


_CHUNKS: Final = Size("chunks", 20, "Chunks of text which each run streams; a session has 8 events more.")
_LAG: Final = (
    "p50, p99 and max are the loop's lag: how much later than asked a sleeper on the loop wakes, "
    "read every 5 ms (with threads: a sleeping thread)."
)

_TABLE: Final = (
    Bench(
        "mailbox",
        "How many messages a second do actors pass?",
        "One sender tells messages to many actors in turn. Then it asks one actor after another; "
        "p50, p99 and max are the time from an ask to its answer.",
        (Size("messages", 200_000, "Messages told."), Size("actors", 1_000, "Actors that receive them.")),
    ),
    Bench(
        "journal",
        "How many events a second does the journal make durable?",
        "Writers append events of many sessions as fast as the journal takes them. p50, p99 and max "
        "are the time from an append to its acknowledgement.",
        (
            Size("events", 200_000, "Events appended."),
            Size("sessions", 1_000, "Sessions they belong to; each appends again when it is acknowledged."),
            Size("batch", 10, "Events of one append."),
        ),
    ),
    Bench(
        "fanout",
        "What do many subscribers cost the writer, and when do they see an event?",
        "One writer: a run that streams. Many subscribers follow its session live; some of them never "
        "read. p50, p99 and max are the time from an event's making, its commit included, to a reader "
        "that gets it, of the oldest event in each page that a reader gets.",
        (
            Size("subscribers", 1_000, "Live subscribers."),
            Size("stalled", 10, "How many of them never read."),
            Size("chunks", 100, "Chunks which the run streams."),
        ),
        pause_ms=50.0,
        warm_up=False,
    ),
    Bench(
        "restart",
        "How long is a crashed actor away?",
        "Supervised actors crash one by one; p50, p99 and max are the time from a crash to the registered "
        "replacement. Then all crash at once: at_once_ms is from the first crash to the last replacement. "
        "Then all crash again and again: restarts_per_s.",
        (Size("actors", 1_000, "Actors that crash."),),
    ),
    Bench(
        "storm",
        "How fast are many sessions carried out that start at once?",
        "Each session is created, runs once and completes; its result counts when its last event is "
        "durable. p50, p99 and max are the time from the start of the storm to a session's result. "
        "Opening and closing the journal and checking what it holds are not in the figures.",
        (Size("sessions", 1_000, "Sessions started at once."), _CHUNKS),
        pause_ms=0.0,
    ),
    Bench(
        "single",
        "How long does one session take on an idle system?",
        "Sessions one after another, each to the durable end of its run. p50, p99 and max are the "
        "time of one session.",
        (Size("sessions", 300, "Sessions, one after another."), _CHUNKS),
        pause_ms=0.0,
    ),
    Bench(
        "streams",
        "Do many runs keep pace with their providers?",
        "All runs stream at once, each in a session of its own; with no cost at all it would take "
        f"chunks x pause. {_LAG}",
        (Size("runs", 1_000, "Runs that stream at once.", ("sessions",)), _CHUNKS),
        pause_ms=50.0,
    ),
    Bench(
        "idle",
        "What does a live session that does nothing cost?",
        "Sessions are started, activated and left alone. bytes_per_session is the growth of the resident "
        "set, private_bytes_per_session that without the journal's pages, which the kernel takes back when "
        "it needs them.",
        (Size("sessions", 100_000, "Live sessions."),),
        warm_up=False,
    ),
    Bench(
        "cancel",
        "How soon is a run stopped while thousands stream?",
        "All runs stream without end. Some are cancelled one by one (or, in another case, all at once). "
        "p50, p99 and max are the time from the request to its return, when run_cancelled is durable.",
        (
            Size("runs", 5_000, "Runs that stream at once.", ("sessions",)),
            Size("cancels", 200, "How many of them are cancelled, one by one."),
            Size("chunks", 5, "Chunks after which a run counts as streaming; it goes on without end."),
        ),
        pause_ms=100.0,
    ),
    Bench(
        "recovery",
        "How soon does a system serve again after a kill, and when are all open runs taken up?",
        "A process opens runs, each in a session of its own, half of them streaming and half in line, and is "
        "killed with SIGKILL. A system is started on what it left. serving_s is from the start to the durable "
        "result of a first new session, recovered_s to the durable end of the last recovered run; wall_s counts "
        "the stop as well. p50, p99 and max are the time of new sessions, one after another, meanwhile.",
        (
            Size("runs", 10_000, "Runs that are open when the process is killed."),
            Size("chunks", 5, "Chunks which a run streams after the restart."),
        ),
        pause_ms=0.0,
    ),
    Bench(
        "cold",
        "What do a million sessions on the disk cost?",
        "A journal is filled, unless --journal names one that is. open_s is the opening of its store, start_s "
        "that of a system on it. Then sessions chosen at random are asked for, one after another: p50, p99 and "
        "max are the time from the question to the answers of GetSession and the first 100 events. Last, events "
        "are appended to this journal and to an empty one by turns, synced: append_ratio is what of the empty "
        "one's rate is reached.",
        (
            Size("sessions", 100_000, "Sessions in the journal, one run each, one of ten still active."),
            Size("events", 1_000_000, "Events in the journal."),
            Size("asked", 200, "Sessions that are asked for."),
        ),
        warm_up=False,
        keeps_journal=True,
    ),
    Bench(
        "redaction",
        "What does it cost that no secret reaches the disk?",
        "Storms with and without redaction, in turns: cpu_ratio is the median of their ratios of CPU seconds. In "
        "further cases: the CPU of looking at what sessions write, per event, and the rate at which long texts "
        "are looked at.",
        (
            Size("sessions", 500, "Sessions of one storm."),
            Size("turns", 20, "Storms of each kind; the best of so many tries in the other cases."),
            _CHUNKS,
            Size("bytes", 1_000_000, "Size of a long text."),
        ),
        pause_ms=0.0,
        warm_up=False,
    ),
)

#: The benches by name, in the order in which they are listed.
BENCHES: Final[Mapping[str, Bench]] = MappingProxyType({bench.name: bench for bench in _TABLE})

#: Where each case is found. Within a bench the order is the one in which cases run and are shown.
CASES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("mailbox", "asm"): "bench.asm_cases.mailbox:mailbox",
        ("mailbox", "asm_bounded"): "bench.asm_cases.mailbox:bounded",
        ("mailbox", "asm_inside"): "bench.asm_cases.mailbox:inside",
        ("mailbox", "pykka_threads"): "bench.baselines.pykka_mailbox:mailbox",
        ("journal", "asm"): "bench.asm_cases.journal:actor",
        ("journal", "asm_store"): "bench.asm_cases.journal:store",
        ("journal", "bare_lmdb"): "bench.baselines.bare_lmdb:journal",
        ("journal", "bare_lmdb_by_session"): "bench.baselines.bare_lmdb:by_session",
        ("restart", "asm"): "bench.asm_cases.restart:restart",
        ("fanout", "asm"): "bench.asm_cases.fanout:fanout",
        ("fanout", "asm_no_subscribers"): "bench.asm_cases.fanout:alone",
        ("storm", "asm"): "bench.asm_cases.storm:storm",
        ("storm", "asyncio_lmdb"): "bench.baselines.asyncio_lmdb:PROGRAM.storm",
        ("storm", "asyncio_sqlite"): "bench.baselines.asyncio_sqlite:PROGRAM.storm",
        ("storm", "pykka_threads"): "bench.baselines.pykka_threads:storm",
        ("storm", "asyncio_lmdb_tuned"): "bench.baselines.asyncio_lmdb:TUNED.storm",
        ("single", "asm"): "bench.asm_cases.storm:single",
        ("single", "asm_blocking"): "bench.asm_cases.storm:single_blocking",
        ("single", "asyncio_lmdb"): "bench.baselines.asyncio_lmdb:PROGRAM.single",
        ("single", "asyncio_sqlite"): "bench.baselines.asyncio_sqlite:PROGRAM.single",
        ("single", "pykka_threads"): "bench.baselines.pykka_threads:single",
        ("single", "asyncio_lmdb_tuned"): "bench.baselines.asyncio_lmdb:TUNED.single",
        ("streams", "asm"): "bench.asm_cases.storm:streams",
        ("streams", "asyncio_lmdb"): "bench.baselines.asyncio_lmdb:PROGRAM.streams",
        ("streams", "asyncio_sqlite"): "bench.baselines.asyncio_sqlite:PROGRAM.streams",
        ("streams", "pykka_threads"): "bench.baselines.pykka_threads:streams",
        ("streams", "asyncio_lmdb_tuned"): "bench.baselines.asyncio_lmdb:TUNED.streams",
        ("idle", "asm"): "bench.asm_cases.idle:idle",
        ("cancel", "asm"): "bench.asm_cases.cancel:one_by_one",
        ("cancel", "asm_at_once"): "bench.asm_cases.cancel:at_once",
        ("redaction", "asm"): "bench.asm_cases.redaction:storms",
        ("redaction", "asm_writes"): "bench.asm_cases.redaction:writes",
        ("redaction", "asm_texts"): "bench.asm_cases.redaction:texts",
        ("recovery", "asm"): "bench.asm_cases.recovery:recovery",
        ("cold", "asm"): "bench.asm_cases.cold:cold",
    }
)

#: Cases that run only if they are named.
_ON_REQUEST: Final = frozenset({"asyncio_lmdb_tuned"})


def cases_of(bench: str, *, on_request: bool = True) -> tuple[str, ...]:
    """Return the names of a bench's cases, without those that must be asked for if so wanted."""
    names = (case for name, case in CASES if name == bench)
    return tuple(case for case in names if on_request or case not in _ON_REQUEST)


def load(bench: str, case: str) -> CaseFunction:
    """Import a case and return its function; KeyError if the bench has no such case."""
    module, _, path = CASES[bench, case].partition(":")
    return cast("CaseFunction", attrgetter(path)(importlib.import_module(module)))
