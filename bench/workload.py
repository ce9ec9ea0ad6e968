"""The one definition of the work that every case does in `storm`, `single` and `streams`.

A session is created, runs once and is completed. Its provider streams `chunks` pieces of text;
with 20 of them a session has 26 events, always the same types in the same order. All cases take
their events' data from here and read the same stubs, so that they differ in nothing but in how
they carry the work out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import attrs

__all__ = [
    "AROUND",
    "Workload",
    "chunk_data",
    "closing",
    "expected_types",
    "opening",
    "stream",
    "stream_blocking",
]

#: Events of a session beside its chunks: two before the first one, four after the last.
AROUND: Final = 6

#: Fields of one event that the workload decides: its type, whether it belongs to the run, its data.
Fields = tuple[str, bool, dict[str, Any]]

_TEXT: Final = (
    "A conversation is a list of things that happened, in order, and whoever can read that list "
    "again can carry on from where it stopped; the rest is bookkeeping about who may write next. "
)
_CHUNK_CHARACTERS: Final = 24


@attrs.frozen
class Workload:
    """What one session's provider does.

    Args:
        chunks: Pieces of text which the provider streams.
        pause_s: Seconds before each piece; 0 means that the next one is there at once.
        burst: Whether the provider hands over all its pieces without waiting for anything. Without
            it every piece takes a turn of the loop (or of the thread scheduler), as one that is
            read from a socket would, and this is what makes sessions started together overlap.
        texts: The pieces; derived.
    """

    chunks: int = 20
    pause_s: float = 0.0
    burst: bool = False
    texts: tuple[str, ...] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.chunks < 1 or self.pause_s < 0:
            raise ValueError("a workload needs at least one chunk and a pause that is not negative")
        if self.burst and self.pause_s:
            raise ValueError("a burst has no pauses")
        starts = (index * _CHUNK_CHARACTERS % len(_TEXT) for index in range(self.chunks))
        doubled = _TEXT + _TEXT
        object.__setattr__(self, "texts", tuple(doubled[at : at + _CHUNK_CHARACTERS] for at in starts))

    @property
    def events_per_session(self) -> int:
        """Events which one session writes."""
        return self.chunks + AROUND


async def stream(work: Workload) -> AsyncIterator[str]:
    """Yield the pieces of text as an asynchronous provider does."""
    for text in work.texts:
        if not work.burst:
            await asyncio.sleep(work.pause_s)
        yield text


def stream_blocking(work: Workload) -> Iterator[str]:
    """Yield the pieces of text as a provider with a blocking client does."""
    for text in work.texts:
        if not work.burst:
            time.sleep(work.pause_s)
        yield text


def opening() -> tuple[Fields, ...]:
    """Return what precedes the first chunk; the data is fresh with each call."""
    return (
        (
            "session_created",
            False,
            {
                "agent_id": "bench-agent",
                "provider": "scripted",
                "context": {"system_prompt": "Be brief."},
                "tags": ["bench"],
            },
        ),
        ("run_started", True, {"provider": "scripted", "model": "scripted-1"}),
    )


def chunk_data(text: str) -> dict[str, Any]:
    """Return the data of the event for one piece of text."""
    return {"content": text, "delta": text}


def closing(work: Workload, content: str) -> tuple[Fields, ...]:
    """Return what follows the last chunk, `content` being the whole message."""
    usage = {"input_tokens": 42, "output_tokens": 6 * work.chunks, "total_tokens": 42 + 6 * work.chunks}
    return (
        ("message_received", True, {"content": content, "role": "assistant"}),
        ("token_usage_updated", True, dict(usage)),
        ("run_completed", True, {"stop_reason": "end_turn", "token_usage": usage}),
        ("session_completed", False, {}),
    )


def expected_types(work: Workload) -> list[str]:
    """Return the types of a session's events in their order, to check what was written."""
    return [
        *(kind for kind, _, _ in opening()),
        *["message_streamed"] * work.chunks,
        *(kind for kind, _, _ in closing(work, "")),
    ]
