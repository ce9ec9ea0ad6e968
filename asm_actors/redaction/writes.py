"""`WriteRedactor`: what one session is about to write, without its secrets. Pure.

1. Nothing reaches the journal around it: events, the session's record, records of runs.
2. Whoever is answered sees what is stored. The session's actor, and the runs under way, go on with the original.
3. Pieces of a run's text are one text: a piece may wait for the next one (`redaction.stream`), and is shown before
   anything else that the run says. A piece of which nothing is left is no event.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from asm_actors.effects import Refuse, Reply, Then
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.stream import StreamRedactor
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["WriteRedactor"]

_STREAMED: Final = EventType.MESSAGE_STREAMED
# Their payloads hold ids, names and numbers only, each checked where it came in.
_PLAIN: Final = frozenset(
    {
        EventType.SESSION_CREATED,
        EventType.SESSION_STARTED,
        EventType.SESSION_RESUMED,
        EventType.SESSION_COMPLETED,
        EventType.TOKEN_USAGE_UPDATED,
    }
)
_PAYLOADS: Final = ("input", "output", "error", "options", "token_usage", "details")
_FIELDS: Final = (*_PAYLOADS, "metadata", "provider_metadata")
_READ: Final = {names: attrgetter(*names) for names in (_PAYLOADS, _FIELDS)}
_NOTHING: Final = (None,) * len(_FIELDS)

_join: Final = "".join


class _Text(StreamRedactor):
    """What one run streams just now."""

    __slots__ = ("correlation_id", "is_changed", "is_thinking", "last")

    def __init__(self, redactor: Redactor, correlation_id: str | None) -> None:
        super().__init__(redactor)
        self.is_thinking = False
        self.correlation_id: Any = correlation_id
        """That of its pieces; nothing's if it holds a secret, so that each piece is looked at by itself."""
        if correlation_id is not None and redactor.text(correlation_id) != correlation_id:
            self.correlation_id = ...
        self.is_changed = False
        """Whether not all of it passed as it was."""
        self.last: Draft | None = None
        """The newest piece that was looked at by itself."""

    def is_text(self, said: Sequence[Any], correlation_id: str | None) -> bool:
        """Take pieces of text if they can be shown as they are; else none of them is taken."""
        if self.is_thinking or correlation_id is not self.correlation_id:
            return False
        try:
            return self.passes(said[0] if len(said) == 1 else _join(said))
        except TypeError:
            return False  # one of them is no text


class WriteRedactor:
    """See the module. One per session's actor.

    Args:
        redactor: The system's.
    """

    __slots__ = (
        "_context",
        "_facts",
        "_names",
        "_parts",
        "_parts_of",
        "_redactor",
        "_run",
        "_run_shown",
        "_scans_metadata",
        "_texts",
    )

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._scans_metadata = redactor.redaction.scan_metadata
        self._texts: dict[str | None, _Text] | None = None
        # What was looked at last, as it was and as it is to be: most writes repeat it.
        self._context: tuple[Any, Any] = (None, None)
        self._facts: tuple[Any, Any] = (None, None)
        self._run: Run | None = None
        self._run_shown: Any = None
        names = self._names = _FIELDS if self._scans_metadata else _PAYLOADS
        self._parts_of = _READ[names]
        self._parts: tuple[Any, ...] = _NOTHING

    # --- Events ------------------------------------------------------------------------------------------------

    def drafts(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Return the events to write, in order."""
        # What the pieces of text say that are as `runs.turn` makes them: the same text twice, and nothing else.
        said: list[Any] = []
        try:
            for draft in drafts:
                if draft[0] is _STREAMED:
                    data = draft[3]
                    text = data["delta"]
                    if data["content"] is text and len(data) == 2:
                        said.append(text)
        except KeyError:
            return self._one_by_one(drafts)
        if len(said) == len(drafts):
            # The hot path: one run streams, and nothing in what it says looks like a secret.
            known, run_id = self._texts, drafts[0][2]
            if (
                known is not None
                and len(known) == 1
                and run_id in known
                and drafts[-1][2] is run_id
                and known[run_id].is_text(said, drafts[0][6])
            ):
                return drafts
            return self._pieces(drafts, said)
        types = [draft[0] for draft in drafts]
        count = types.count(_STREAMED)
        if not count:
            return self._others(drafts, [])
        start = types.index(_STREAMED)
        end = start + count
        if len(said) < count or types[start:end].count(_STREAMED) < count:
            return self._one_by_one(drafts)
        # Pieces of text mostly stand in one row, before or behind what else there is.
        made = self._others(drafts[:start], [])
        made += self._pieces(drafts[start:end], said)
        return self._others(drafts[end:], made)

    def _one_by_one(self, drafts: Sequence[Draft]) -> list[Draft]:
        made: list[Draft] = []
        for draft in drafts:
            if draft[0] is _STREAMED:
                made += self._pieces((draft,), ())
            else:
                self._others((draft,), made)
        return made

    def _others(self, drafts: Sequence[Draft], made: list[Draft]) -> list[Draft]:
        is_clean = self._redactor.is_clean
        for draft in drafts:
            if self._texts:
                self._end(draft[2], made)
            if (
                draft[4]
                or draft[6] is not None
                or (draft[0] not in _PLAIN and draft[3] and not is_clean(draft[3]))
            ):
                made.append(self.draft(draft))
            else:
                made.append(draft)
        return made

    def draft(self, draft: Draft) -> Draft:
        """Return one event, looked at by itself."""
        redactor, data, metadata, correlation = (
            self._redactor,
            draft.data,
            draft.metadata,
            draft.correlation_id,
        )
        if data:
            data = redactor.map(data)
        if metadata and self._scans_metadata:
            metadata = redactor.map(metadata)
        if correlation is not None:
            correlation = redactor.text(correlation)
        if data is draft.data and metadata is draft.metadata and correlation is draft.correlation_id:
            return draft
        return draft._replace(data=data, metadata=metadata, correlation_id=correlation)

    def _pieces(self, pieces: Sequence[Draft], said: Sequence[Any]) -> Sequence[Draft]:
        """Take pieces of text, as many as came at once, and what they say if it is all that they hold."""
        texts = self._texts
        if texts is None:
            texts = self._texts = {}
        run_id = pieces[0][2]
        text = texts.get(run_id)
        if text is None:
            text = texts[run_id] = _Text(self._redactor, pieces[0][6])
        is_one = len(texts) == 1 or all(piece[2] is run_id for piece in pieces)
        if said and is_one and text.is_text(said, pieces[0][6]):
            return pieces
        made: list[Draft] = []
        for piece in pieces:
            one = texts.get(piece.run_id)
            if one is None:
                one = texts[piece.run_id] = _Text(self._redactor, piece.correlation_id)
            one.is_changed = True
            self._take_one(one, piece, made)
        return made

    def _take_one(self, text: _Text, piece: Draft, made: list[Draft]) -> None:
        data = piece.data
        is_thinking = "thinking" in data
        if is_thinking != text.is_thinking:
            self._flush(text, made)
            text.is_thinking = is_thinking
        said = data.get("thinking" if is_thinking else "delta")
        if not isinstance(said, str):
            self._flush(text, made)
            made.append(self.draft(piece))
            return
        text.last = piece
        shown = text.feed(said)
        if shown:
            made.append(self._piece(piece, said, shown))

    def _flush(self, text: _Text, made: list[Draft]) -> None:
        shown = text.flush()
        if shown and text.last is not None:
            made.append(self._piece(text.last, None, shown))

    def _piece(self, piece: Draft, said: str | None, shown: str) -> Draft:
        """The event of a piece of which this is shown."""
        data = piece.data
        if shown != said:
            name = "thinking" if "thinking" in data else "delta"
            again = ("content",) if name == "delta" and data.get("content") == data["delta"] else ()
            data = {**data, **dict.fromkeys((name, *again), shown)}
        # Whatever else it holds.
        return self.draft(piece if data is piece.data else piece._replace(data=data))

    def _end(self, run_id: str | None, made: list[Draft]) -> None:
        """Something else happens in a run: what it said before comes first."""
        assert self._texts is not None
        text = self._texts.pop(run_id, None)
        if text is None:
            return
        if not self._texts:
            self._texts = None
        if text.is_changed:
            self._flush(text, made)
        else:
            # Its message is about to come, and says the same.
            self._redactor.newest = text.seen

    # --- Records -----------------------------------------------------------------------------------------------

    def records(
        self, session: Session | None, runs: Sequence[Run], then: Sequence[Then]
    ) -> tuple[Session | None, Sequence[Run], Sequence[Then]]:
        """Return the records of a write, and the answers that hang on it, which hold records and errors as well."""
        if session is not None:
            session = self.session(session)
        if runs:
            runs = [self.run(run) for run in runs]
        if then:
            then = [self._answer(one) for one in then]
        if self._run is not None and self._run.ended_us is not None:
            # It is over: nothing of it is kept in memory.
            self._run = self._run_shown = None
            self._parts = _NOTHING
        return session, runs, then

    def session(self, session: Session) -> Session:
        """Return a session's record."""
        context, facts = session.context, session.metadata
        if context:
            if context is not self._context[0]:
                self._context = (context, self._redactor.map(context))
            context = self._context[1]
        if facts and self._scans_metadata:
            if facts is not self._facts[0]:
                self._facts = (facts, self._redactor.map(facts))
            facts = self._facts[1]
        options = session.options
        if options:
            options = self._redactor.map(options)
        if context is session.context and facts is session.metadata and options is session.options:
            return session
        return session.replace(context=context, metadata=facts, options=options)

    def run(self, run: Run) -> Run:
        """Return a run's record."""
        if run is not self._run:
            self._run_shown = self._redacted(run)
            self._run = run
        return self._run_shown  # type: ignore[no-any-return]

    def _redacted(self, run: Run) -> Run:
        parts, before = self._parts_of(run), self._parts
        self._parts = parts
        is_clean = self._redactor.is_clean
        for part, known in zip(parts, before, strict=False):
            # A run's next record repeats most of the one before.
            if part and part is not known and not (type(part) is dict and is_clean(part)):
                break
        else:
            return run
        self._parts = _NOTHING
        value = self._redactor.value
        shown = {name: value(part) for name, part in zip(self._names, parts, strict=True) if part}
        changes = {name: part for name, part in shown.items() if part is not getattr(run, name)}
        return run.replace(**changes) if changes else run

    def _answer(self, one: Then) -> Then:
        kind = type(one)
        if kind is Reply:
            value = one.value  # type: ignore[union-attr]
            found: Any = value
            if type(value) is Session:
                found = self.session(value)
            elif type(value) is Run:
                found = self.run(value)
            elif type(value) is RunResult:
                run = self.run(value.run)
                found = value if run is value.run else RunResult.of(run)
            return one if found is value else Reply(one.to, found)  # type: ignore[union-attr]
        if kind is Refuse:
            error = self._redactor.error(one.error)  # type: ignore[union-attr]
            return one if error is one.error else Refuse(one.to, error)  # type: ignore[union-attr]
        return one
