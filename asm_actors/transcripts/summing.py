"""Compaction: when a conversation is summed up, what of it, and what is made of the summary. Pure but for one read.

The run that does it is an ordinary run whose option ``purpose`` is ``compaction``; nothing that it says is part of the
conversation. It is sent the conversation as one text, for a model that is sent the messages themselves goes on with the
conversation instead. Its end writes `transcript_compacted` in the same append as `run_completed`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from asm_actors.config import CHARS_PER_TOKEN
from asm_actors.events import EventType
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run, RunStatus
from asm_actors.serialization import check_integer, check_text, invalid, json_map
from asm_actors.transcripts.message import Message, MessageRole
from asm_actors.transcripts.options import COMPACTION, KEEP_LAST
from asm_actors.transcripts.transcript import Transcript

__all__ = [
    "INSTRUCTIONS",
    "Part",
    "compacted_data",
    "compaction_for",
    "compaction_run",
    "must_compact",
    "summed_up",
    "to_sum_up",
    "tokens_of",
]

INSTRUCTIONS: Final = (
    "Above is the record of a conversation. Write a summary that can stand in its place: whoever reads it must be able "
    "to go on without the record. Keep what was asked and decided, facts, names, numbers, file paths and identifiers, "
    "results of tools that still matter, what is unfinished, and how the user wants things done. Write the summary "
    "alone, in the language of the conversation."
)
"""What the model is asked that sums a conversation up."""

_SHOWN: Final = 4000
"""Characters of what a tool was given or answered that a summary is made from."""


class Part(NamedTuple):
    """The part of a conversation that is summed up."""

    text: str
    """It, as one text."""
    up_to_sequence: int
    """Sequence number of its last message."""
    n_messages: int
    """How many messages it is."""


def tokens_of(messages: Iterable[Message], chars_per_token: int = CHARS_PER_TOKEN) -> int:
    """About how many tokens messages have, calls of tools and their answers included."""
    return sum(len(_shown(message)) for message in messages) // chars_per_token


def must_compact(messages: Iterable[Message], bound: int, chars_per_token: int = CHARS_PER_TOKEN) -> bool:
    """Tell whether messages have more tokens than a bound."""
    return tokens_of(messages, chars_per_token) > bound


def to_sum_up(messages: Sequence[Message], keep_last: int) -> Part | None:
    """Return the part of a conversation that is to be summed up; None if there is none.

    Args:
        messages: what was said, in order, each finished.
        keep_last: how many of the newest ones stay as they are. They begin with something that the user said, so there
            may be more of them.
    """
    end = max(0, len(messages) - keep_last)
    while 0 < end < len(messages) and messages[end].role is not MessageRole.USER:
        end -= 1
    part = messages[:end]
    numbers = [message.metadata.get("sequence_number") or 0 for message in part]
    if not numbers or not max(numbers):
        return None
    if all(message.metadata.get("event_type") == EventType.TRANSCRIPT_COMPACTED for message in part):
        return None  # a summary already
    text = "\n\n".join(_line(message) for message in part)
    return Part(f"<conversation>\n{text}\n</conversation>", max(numbers), len(part))


def compaction_run(
    run_id: str,
    session_id: str,
    now: int,
    *,
    provider: str | None = None,
    keep_last: int = KEEP_LAST,
    instructions: str | None = None,
    adapter_opts: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Run:
    """Make the record of a run that sums the conversation of its session up.

    Args:
        run_id: its name.
        session_id: its session.
        now: microseconds since the epoch.
        provider: who does it; None: the session's provider.
        keep_last: messages that stay as they are, at least, the newest ones.
        instructions: what the summary is to be like; None: :data:`INSTRUCTIONS`.
        adapter_opts: options for the provider.
        metadata: facts, JSON.

    Raises:
        ValidationError: something is malformed.
    """
    options: dict[str, Any] = {
        "submitted": True,
        "purpose": COMPACTION,
        COMPACTION: {"keep_last": check_integer(keep_last, "keep_last", least=0)},
        # What it is sent is found when it begins, as for a run that goes on from the conversation.
        "continuation": "replay",
        "tools": [],
    }
    if adapter_opts is not None and (for_provider := json_map(adapter_opts, "adapter_opts")):
        options["adapter_opts"] = for_provider
    asked = INSTRUCTIONS if instructions is None else check_text(instructions, "instructions")
    if not asked:
        raise invalid("instructions", "must say something", instructions)
    return Run.new(
        id=run_id,
        now=now,
        session_id=session_id,
        input={"prompt": asked},
        provider=provider,
        metadata=metadata,
        options=options,
    )


def compaction_for(run: Run, run_id: str, now: int) -> Run:
    """Make the record of the run that sums the conversation up for another one, which is to begin after it."""
    opts, adapter = run.options.get("continuation_opts") or {}, run.options.get("adapter_opts")
    model = adapter.get("model") if isinstance(adapter, Mapping) else None
    metadata = {"compacts_for": run.id}
    if "correlation_id" in run.metadata:
        metadata["correlation_id"] = run.metadata["correlation_id"]
    return compaction_run(
        run_id,
        run.session_id,
        now,
        provider=run.provider,
        keep_last=opts.get("keep_last", KEEP_LAST),
        adapter_opts=None if model is None else {"model": model},
        metadata=metadata,
    )


def compacted_data(run: Run) -> dict[str, Any] | None:
    """Payload of `transcript_compacted` for a run that has completed; None if it is no compaction, or said nothing."""
    facts = run.details.get("continuation") or {}
    summary = (run.output or {}).get("content")
    if run.status is not RunStatus.COMPLETED or "up_to_sequence" not in facts:
        return None
    if not isinstance(summary, str) or not summary.strip():
        return None
    return {
        "summary": summary.strip(),
        "up_to_sequence": facts["up_to_sequence"],
        "run_id": run.id,
        "messages": facts["messages"],
    }


def summed_up(store: Store, whole: Transcript, run_id: str) -> tuple[Transcript, str | None]:
    """Return a conversation with the summary that a run made of it; it may have been made after the transcript ends.

    Args:
        store: where its events are.
        whole: the conversation.
        run_id: the run that was to sum it up.

    Returns:
        The conversation; and why it is not summed up, or None.
    """
    if not store.has_run(run_id):
        return whole, f"run {run_id}, which was to sum the conversation up, is not there any more"
    run = store.run(run_id)
    wanted = EventFilter(run_ids=run_id, types=EventType.TRANSCRIPT_COMPACTED, after=run.from_sequence)
    events = store.read_session(whole.session_id, wanted)
    if events:
        return whole.updated(events), None
    if run.status not in TERMINAL_RUN_STATUSES:
        return whole, f"run {run_id} has not summed the conversation up yet"
    why = (run.error or {}).get("message") or "it said nothing"
    return whole, f"run {run_id} could not sum the conversation up: {why}"


def _line(message: Message) -> str:
    if message.role is MessageRole.ASSISTANT and message.tool_name is not None:
        return f"[assistant calls {message.tool_name} with {_shown(message)}]"
    if message.role is MessageRole.TOOL and message.tool_call_id is not None:
        return f"[{message.tool_name or 'the tool'} answers: {_shown(message)}]"
    return f"{message.role.value}: {message.content}"


def _shown(message: Message) -> str:
    if message.tool_call_id is None and message.tool_name is None:
        return message.content
    value = message.tool_input if message.role is MessageRole.ASSISTANT else message.tool_output
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} … ({len(text)} characters)"
