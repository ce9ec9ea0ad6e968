"""What redaction costs: in a whole storm, per event of a session's writes, and per megabyte of text."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import asm_actors as asm
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.settings import Redaction
from asm_actors.redaction.writes import WriteRedactor
from bench.asm_cases.running import ONCE, UNLIMITED, WorkloadProvider, check_journal, journal_of
from bench.harness import Durability, Meter, Options, Result, measures, scratch
from bench.workload import PROVIDER, Workload

__all__ = ["storms", "texts", "writes"]

#: A key as a tool may print it; nobody ever issued it.
_SECRET: Final = "sk-ant-api03-" + "Zq7Lx2Vb9Nc4Mk1Jh8Gf" * 4
_PROSE: Final = "Whoever can read that list again can carry on from where it stopped, and nothing was lost. "
_CODE: Final = (
    "def total(rows: list[Row]) -> int:\n    return sum(row.count for row in rows if row.kind == 'paid')\n\n"
)


def storms(options: Options) -> Result:
    """Storms with and without redaction, in turns; the median of the ratios of their CPU seconds."""
    on: list[float] = []
    off: list[float] = []
    sessions = options.size("sessions")
    meter = Meter()
    with meter:
        for turn in range(options.size("turns")):
            # Who comes first changes, so that what grows over time weighs on neither.
            order = ((on, True), (off, False)) if turn % 2 else ((off, False), (on, True))
            for found, redaction in order:
                found.append(_storm(options, sessions, redaction=redaction))
    events = 2 * len(on) * sessions * options.workload().events_per_session
    return measures(
        meter.measured,
        events=events,
        cpu_ratio=round(statistics.median(one / other for one, other in zip(on, off, strict=True)), 4),
        on_us_per_session=round(min(on) / sessions * 1e6, 1),
        off_us_per_session=round(min(off) / sessions * 1e6, 1),
    )


def _storm(options: Options, sessions: int, *, redaction: bool) -> float:
    work = options.workload()
    with scratch(options) as directory:

        async def main() -> float:
            async with asm.AsyncActorSystem.start(
                journal=journal_of(directory, options.durability),
                providers={PROVIDER: WorkloadProvider(work)},
                limits=UNLIMITED,
                durability="commit" if options.durability is Durability.FSYNC else "none",
                redaction=redaction,
            ) as system:
                run_once = system.sessions.run_once
                gc.collect()
                begun = time.process_time()
                await asyncio.gather(*(run_once(**ONCE) for _ in range(sessions)))
                return time.process_time() - begun

        cpu_s = asyncio.run(main())
        check_journal(directory, work, sessions)
    return cpu_s


def writes(options: Options) -> Result:
    """Nanoseconds of CPU per event that sessions write: clean ones, some with a secret, and with more patterns."""
    work, sessions = options.workload(), options.size("sessions")
    clean, leaky = _session(work, ""), _session(work, _SECRET)
    known = [f"known-secret-{number:04d}" for number in range(100)]
    plain, many = Redactor(), Redactor(Redaction(known_secrets=known, environment=False))
    own = Redactor(Redaction(patterns=[r"CUST-\d{8}"], environment=False))
    found: Result = {}
    meter = Meter()
    with meter:
        for name, redactor, drafts in (
            ("clean", plain, clean),
            ("with_secrets", plain, leaky),
            ("clean_100_known_secrets", many, clean),
            ("clean_pattern_without_triggers", own, clean),
        ):
            found[f"ns_per_event_{name}"] = _per_event(redactor, drafts, sessions, options.size("turns"))
    return measures(meter.measured) | {"sessions": sessions} | found


def _session(work: Workload, secret: str) -> list[Sequence[Draft]]:
    """What a session writes while its run streams: pieces as they come, then the message and the end."""
    run_id, content = "run_" + "0f" * 16, "".join(work.texts) + secret
    pieces = [content[at : at + 24] for at in range(0, len(content), 24)]
    streamed = [
        _draft(EventType.MESSAGE_STREAMED, run_id, {"content": piece, "delta": piece}) for piece in pieces
    ]
    last = [
        _draft(EventType.MESSAGE_RECEIVED, run_id, {"content": content, "role": "assistant"}),
        _draft(EventType.TOKEN_USAGE_UPDATED, run_id, {"input_tokens": 42, "output_tokens": 120}),
        _draft(EventType.RUN_COMPLETED, run_id, {"stop_reason": "end_turn", "num_turns": 1}),
    ]
    return [*(streamed[at : at + 4] for at in range(0, len(streamed), 4)), last]


def _draft(kind: EventType, run_id: str, data: dict[str, Any]) -> Draft:
    return Draft(kind, 0, run_id, data, EMPTY, PROVIDER)


def _per_event(redactor: Redactor, drafts: list[Sequence[Draft]], sessions: int, turns: int) -> float:
    def play() -> None:
        for _ in range(sessions):
            redact = WriteRedactor(redactor).drafts
            for each in drafts:
                redact(each)

    return round(_best_s(play, turns) / sessions / sum(map(len, drafts)) * 1e9, 1)


def texts(options: Options) -> Result:
    """Megabytes of text per second: prose, code, and code with a secret every few kilobytes."""
    size = options.size("bytes")
    redactor, meter = Redactor(), Meter()
    found: Result = {}
    leaky = (_CODE * 40 + f"api_key = '{_SECRET}'\n") * (size // (len(_CODE) * 40) + 1)
    made = {
        "prose": _PROSE * (size // len(_PROSE) + 1),
        "code": _CODE * (size // len(_CODE) + 1),
        "with_secrets": leaky,
    }
    with meter:
        for name, text in made.items():
            best_s = _best_s(lambda text=text: redactor.text(text), options.size("turns"))  # type: ignore[misc]
            found[f"mb_per_s_{name}"] = round(len(text) / best_s / 1e6, 1)
    return measures(meter.measured) | found


def _best_s(play: Callable[[], Any], turns: int) -> float:
    best = float("inf")
    for _ in range(turns):
        begun = time.process_time()
        play()
        best = min(best, time.process_time() - begun)
    return max(best, 1e-9)
