"""The one definition of the work that every case does in `storm`, `single` and `streams`.

A session is created, runs once and is completed. Its provider streams `chunks` pieces of text;
with 20 of them a session has 28 events, always the same types in the same order. All cases write
the same events from the same texts, so that they differ in nothing but in how they carry the work
out: the runtime makes its events itself, the others take their data from here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import attrs

__all__ = [
    "AGENT_ID",
    "AROUND",
    "CONTEXT",
    "PROMPT",
    "PROVIDER",
    "TAGS",
    "Workload",
    "chunk_data",
    "closing",
    "expected_types",
    "opening",
    "stream",
    "stream_blocking",
    "usage",
]

#: Events of a session beside its chunks: four before the first one, four after the last.
AROUND: Final = 8

AGENT_ID: Final = "bench-agent"
PROVIDER: Final = "scripted"
CONTEXT: Final = {"system_prompt": "Be brief."}
TAGS: Final = ("bench",)
PROMPT: Final = "What is a conversation, and who may write what comes next in it?"

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
            {"agent_id": AGENT_ID, "provider": PROVIDER, "context": dict(CONTEXT), "tags": list(TAGS)},
        ),
        ("session_started", False, {}),
        ("message_sent", True, {"role": "user", "content": PROMPT}),
        ("run_started", True, {"provider": PROVIDER, "turn": 1}),
    )


def chunk_data(text: str) -> dict[str, Any]:
    """Return the data of the event for one piece of text."""
    return {"content": text, "delta": text}


def usage(work: Workload) -> tuple[int, int]:
    """Return the tokens that a run takes in and gives out."""
    return 42, 6 * work.chunks


def closing(work: Workload, content: str) -> tuple[Fields, ...]:
    """Return what follows the last chunk, `content` being the whole message."""
    input_tokens, output_tokens = usage(work)
    tokens = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    return (
        ("message_received", True, {"content": content, "role": "assistant"}),
        ("token_usage_updated", True, dict(tokens)),
        ("run_completed", True, {"stop_reason": "end_turn", "num_turns": 1, "token_usage": tokens}),
        ("session_completed", False, {}),
    )


def expected_types(work: Workload) -> list[str]:
    """Return the types of a session's events in their order, to check what was written."""
    return [
        *(kind for kind, _, _ in opening()),
        *["message_streamed"] * work.chunks,
        *(kind for kind, _, _ in closing(work, "")),
    ]
