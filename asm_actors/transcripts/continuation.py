"""How a run goes on from the conversation before it: what its provider is sent, and whether it knows that already.

1. The conversation is that of the runs which were over when the run began; that of a run which still waits for an
   approval counts too. It is the same whenever it is asked for: it ends at the run's ``from_sequence``.
2. Options choose events, and so what was said. What became of a run is told by all events before this run, chosen or
   not: one that is over counts as such, also if its end was not chosen.
3. A provider goes on by itself (*native*) only if its own conversation is the whole of this one. That is so if the last
   run was its own, in this session, completed, and had gone on itself from whatever was there before; if no other run
   has begun since, not even one that was rolled back; if the conversation was not summed up since; and if options leave
   nothing out of it. In doubt the messages are sent again (*replay*), since the journal is the record and a provider's
   own conversation is a copy of it.
4. A run that was cut in the middle is not continued natively: nobody knows what the provider kept of it.

All of it blocks: it reads the store.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import Factory, evolve, frozen

from asm_actors.capabilities.manifest import Manifest
from asm_actors.config import CHARS_PER_TOKEN
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.transcripts.cache import TranscriptCache
from asm_actors.transcripts.mending import by_runs, turn_messages
from asm_actors.transcripts.message import Message
from asm_actors.transcripts.options import (
    COMPACTION,
    NATIVE_CONTINUATION,
    ContinuationOptions,
    check_continuation_opts,
    check_mode,
)
from asm_actors.transcripts.reading import read_transcript, read_window
from asm_actors.transcripts.summing import must_compact, summed_up, to_sum_up
from asm_actors.transcripts.transcript import Transcript

__all__ = [
    "Continuation",
    "can_continue_natively",
    "check_continuation_opts",
    "check_mode",
    "check_native",
    "check_to_sum_up",
    "continue_from",
]


_SUMMED_UP: Final = "the conversation was summed up since, and the provider does not know the summary"


@frozen
class Continuation:
    """What a run goes on from.

    Attributes:
        messages: the earlier messages, as `TurnRequest.messages` has them; they come before those of the run.
        provider_session_id: the provider's own conversation, which it is to go on with.
        data: how it goes on, JSON, for the run's details: ``mode used messages``, perhaps ``reason``, and
            ``not_applied``, the options that a provider's own conversation cannot obey.
        needs_compaction: whether the conversation is to be summed up before the run begins; see
            `ContinuationOptions.compact_over_tokens`. The messages are those to take if it cannot be.
    """

    messages: tuple[dict[str, Any], ...] = ()
    provider_session_id: str | None = None
    data: dict[str, Any] = Factory(dict)
    needs_compaction: bool = False


def can_continue_natively(manifest: Manifest) -> bool:
    """Tell whether a provider says that it can go on with a conversation of its own.

    It does so by an enabled capability named ``native_continuation``, or ``resume``; beside one named ``pause`` that is
    something else.
    """
    names = {capability.name for capability in manifest.enabled_capabilities}
    return NATIVE_CONTINUATION in names or ("resume" in names and "pause" not in names)


def check_native(manifest: Manifest, provider: str) -> None:
    """Refuse the mode ``native`` for a provider that cannot go on by itself.

    Raises:
        ConcurrencyError: ``capability_not_supported``.
    """
    if not can_continue_natively(manifest):
        raise AsmError(
            ErrorCode.CAPABILITY_NOT_SUPPORTED,
            f"provider {provider} keeps no conversation of its own; continue with 'auto' or 'replay'",
            details={"capability": NATIVE_CONTINUATION, "continuation": "native"},
            context={"provider": provider},
        )


def continue_from(
    store: Store,
    session: Session,
    run: Run,
    manifest: Manifest,
    cache: TranscriptCache | None = None,
    chars_per_token: int = CHARS_PER_TOKEN,
) -> Continuation:
    """Find what a run goes on from, by its options ``continuation`` and ``continuation_opts``.

    Args:
        store: where the session's events are; those up to the run's ``from_sequence`` must be there.
        session: its session's record.
        run: its record. One that has not begun goes on from the session's last event.
        manifest: what its provider can do.
        cache: transcripts that were read before.
        chars_per_token: how many characters a token has, roughly.

    Raises:
        ValidationError: an option is malformed.
        ConcurrencyError: ``capability_not_supported``: the mode is ``native``, and the provider cannot;
            ``invalid_operation``: a run that is to sum the conversation up finds nothing to sum up.
        ResourceError: ``session_not_found``.
        StorageError: the journal cannot be read.
        AsmError: ``internal_error``: events before the run are not in the journal yet.
    """
    at = _place(store, run)
    if run.options.get("purpose") == COMPACTION:
        return _compaction(_read(store, session, at, cache), run)
    mode = check_mode(run.options.get("continuation", False))
    if mode is False:
        return Continuation(data={"mode": False, "used": "none", "messages": 0})
    provider = _provider(session, run, manifest)
    if mode == "native":
        check_native(manifest, provider)
    opts = ContinuationOptions.of(run.options.get("continuation_opts") or {}, chars_per_token)
    whole = _read(store, session, at, cache)
    under_way = _under_way(whole)
    chosen = whole if opts.takes_all or not at else read_window(store, session.id, at, opts.wanted)
    reason = None
    if mode != "replay" and can_continue_natively(manifest):
        known, reason = _own_conversation(store, session, run, provider, whole, at)
        if known is not None and _is_part(opts, chosen, whole, under_way):
            reason = f"its options choose a part of what was said, and provider {provider} knows all of it"
        elif known is not None:
            data: dict[str, Any] = {"mode": mode, "used": "native", "messages": 0}
            if opts.compact_over_tokens is not None:
                data["not_applied"] = ["compact_over_tokens"]  # what the provider keeps is not ours to sum up
            return Continuation((), known, data)
    elif mode == "auto":
        reason = f"provider {provider} keeps no conversation of its own"
    return _replay(store, run, str(mode), opts, chosen, under_way, reason)


def _place(store: Store, run: Run) -> int:
    last = store.head(run.session_id)
    if run.from_sequence is None:
        return last
    if run.from_sequence > last:
        raise AsmError(
            ErrorCode.INTERNAL_ERROR,
            f"run {run.id} goes on from event {run.from_sequence}, and the journal ends at {last} so far",
            context={"session_id": run.session_id, "run_id": run.id},
        )
    return run.from_sequence


def _read(store: Store, session: Session, at: int, cache: TranscriptCache | None) -> Transcript:
    if not at:
        return Transcript(session.id)
    return read_transcript(store, session.id, at=at) if cache is None else cache.read(store, session, at)


def _provider(session: Session, run: Run, manifest: Manifest) -> str:
    return run.provider or session.provider or manifest.provider or manifest.name


# --- Replay ----------------------------------------------------------------------------------------------------


def _replay(
    store: Store,
    run: Run,
    mode: str,
    opts: ContinuationOptions,
    whole: Transcript,
    under_way: frozenset[str],
    reason: str | None,
) -> Continuation:
    truncation, bound = opts.truncation, opts.compact_over_tokens
    needs_compaction = False
    if bound is not None:
        tried = run.details.get("compaction")
        if tried is not None:
            whole, failure = summed_up(store, whole, tried)
            reason = failure or reason
        said = _said_before(whole, under_way)
        if must_compact(said, bound, truncation.chars_per_token):
            # One that was under way already cannot give its place up any more.
            may_wait = tried is None and not run.turn_count
            needs_compaction = may_wait and to_sum_up(_settled(whole), opts.keep_last) is not None
            if truncation.takes_all:
                truncation = evolve(truncation, max_tokens_approx=bound)
    kept = truncation.cut(by_runs(_said_before(whole, under_way)))
    messages = turn_messages(kept)
    data: dict[str, Any] = {"mode": mode, "used": "replay" if messages else "none", "messages": len(messages)}
    if not messages:
        reason = "there is nothing to go on from" if not whole.messages else "no message fits its bounds"
    if reason is not None:
        data["reason"] = reason
    return Continuation(messages, None, data, needs_compaction)


def _is_part(
    opts: ContinuationOptions, chosen: Transcript, whole: Transcript, under_way: frozenset[str]
) -> bool:
    """Whether options leave out anything that was said."""
    if opts.takes_all and opts.truncation.takes_all:
        return False
    kept = opts.truncation.cut(by_runs(_said_before(chosen, under_way)))
    return kept != by_runs(_said_before(whole, under_way))


def _under_way(whole: Transcript) -> frozenset[str]:
    """The runs which go on at the end of a conversation; one that waits for an approval says so, and counts."""
    if not whole.open_runs:
        return frozenset()
    last = {message.metadata.get("run_id"): message.metadata.get("event_type") for message in whole.messages}
    return frozenset(
        run_id for run_id in whole.open_runs if last.get(run_id) != EventType.TOOL_APPROVAL_REQUESTED
    )


def _said_before(transcript: Transcript, under_way: frozenset[str]) -> tuple[Message, ...]:
    """The messages without those of runs which are under way."""
    if not under_way:
        return transcript.messages
    return tuple(one for one in transcript.messages if one.metadata.get("run_id") not in under_way)


def _settled(transcript: Transcript) -> tuple[Message, ...]:
    """The messages before the first one of a run that is under way: a summary must not cut that in two."""
    for place, message in enumerate(transcript.messages):
        if message.is_partial or message.metadata.get("run_id") in transcript.open_runs:
            return transcript.messages[:place]
    return transcript.messages


# --- Native ----------------------------------------------------------------------------------------------------


def _own_conversation(
    store: Store, session: Session, run: Run, provider: str, whole: Transcript, at: int
) -> tuple[str | None, str]:
    """The provider's name of its own conversation if that is the whole of this one; else why not."""
    sessions = session.metadata.get("provider_sessions")
    facts = sessions.get(provider) if isinstance(sessions, dict) else None
    known = facts.get("provider_session_id") if isinstance(facts, dict) else None
    if not isinstance(known, str) or not known:
        return None, f"no conversation of provider {provider} is known in this session"
    if run.recoveries or run.attempt:
        return None, "the run was cut, and nobody knows what the provider kept of it"
    if not whole.messages:
        return None, "there is nothing to go on from"
    last = whole.messages[-1].metadata
    last_id, place = last.get("run_id"), last.get("sequence_number") or 0
    if last.get("event_type") == EventType.TRANSCRIPT_COMPACTED:
        return None, _SUMMED_UP
    if last_id is None or not store.has_run(last_id):
        return None, f"what was said last is not known to provider {provider}"
    before = store.run(last_id)
    if before.session_id != session.id:
        return None, "the provider's conversation belongs to the session from which this one was forked"
    if before.status is not RunStatus.COMPLETED:
        return None, f"run {last_id} was {before.status.value}, and nobody knows what the provider kept of it"
    if before.provider_metadata.get("provider_session_id") != known:
        return None, f"run {last_id} was answered by another provider, or in another conversation of it"
    used = (before.details.get("continuation") or {}).get("used")
    if used not in ("native", "replay") and any(
        message.metadata.get("run_id") != last_id for message in whole.messages
    ):
        return None, "the provider does not know what was said before its own conversation"
    return (known, "") if (why := _changed_since(store, run, before, place, at)) is None else (None, why)


def _changed_since(store: Store, run: Run, before: Run, place: int, at: int) -> str | None:
    """What else became of a conversation after what its last run went on from, or had said; None: nothing."""
    known = place if before.from_sequence is None else min(place, before.from_sequence)
    kinds = (EventType.RUN_STARTED, EventType.TRANSCRIPT_COMPACTED)
    for event in store.read_session(run.session_id, EventFilter(types=kinds, after=known, before=at + 1)):
        if event.type is EventType.TRANSCRIPT_COMPACTED:
            return _SUMMED_UP
        is_later = (event.sequence_number or 0) > place
        if is_later and event.run_id not in (before.id, run.id) and "purpose" not in event.data:
            return "another run has begun since"
    return None


# --- Summing up ------------------------------------------------------------------------------------------------


def check_to_sum_up(
    store: Store, session_id: str, keep_last: int, cache: TranscriptCache | None = None
) -> None:
    """Refuse to sum a session's conversation up if nothing is there, and no run is on the way that may say something.

    Sessions that take no runs are left to whoever refuses these.

    Args:
        store: where the session is.
        session_id: which session.
        keep_last: how many of the newest messages are to stay as they are, at least.
        cache: transcripts that were read before.

    Raises:
        ConcurrencyError: ``invalid_operation``.
        ResourceError: ``session_not_found``.
        StorageError: the journal cannot be read.
    """
    session = store.session(session_id)
    if session.status not in (SessionStatus.ACTIVE, SessionStatus.PAUSED):
        return
    for run in store.open_runs(session_id):
        if run.status is not RunStatus.PENDING or run.options.get("submitted"):
            return
    if to_sum_up(_settled(_read(store, session, store.head(session_id), cache)), keep_last) is None:
        raise _nothing_to_sum_up({"session_id": session_id})


def _nothing_to_sum_up(context: dict[str, Any]) -> AsmError:
    text = f"session {context['session_id']} has nothing to sum up"
    return AsmError(ErrorCode.INVALID_OPERATION, text, context=context)


def _compaction(whole: Transcript, run: Run) -> Continuation:
    """What a run is sent that sums the conversation up."""
    asked = run.options.get("compaction") or {}
    part = to_sum_up(_settled(whole), asked.get("keep_last", 0))
    if part is None:
        raise _nothing_to_sum_up({"session_id": run.session_id, "run_id": run.id})
    data = {
        "mode": COMPACTION,
        "used": "replay",
        "messages": part.n_messages,
        "up_to_sequence": part.up_to_sequence,
    }
    return Continuation(({"role": "user", "content": part.text},), None, data)
