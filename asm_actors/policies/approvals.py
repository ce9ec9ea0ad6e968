"""`ApprovalBook`: the questions of a session about calls of tools, and what was decided. A fold over events. Pure.

1. The book changes by its events alone: what asks or decides makes the payload of an event and takes that. So a book
   that is rebuilt from a session's events is the one that was lived.
2. The first decision about a question counts; a further one changes nothing and gets the first. A decision that comes
   when the time is over finds the question denied. Nobody can decide what nobody has asked.
3. A grant for the run or the session stands for calls that are like it (see `GrantScope`): these are not asked about.
4. Of a run that is over nothing is kept but its grants for the session.

Arguments in events are redacted. So after a restart a call with a secret in it is not like the one that was granted,
and is asked about once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, NamedTuple, Self

from attrs import Factory, evolve, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.policies.approval import (
    Approval,
    ApprovalRequest,
    ApprovalStatus,
    GrantScope,
    fingerprint,
)
from asm_actors.policies.facts import CallAsked
from asm_actors.serialization import Fields, check_optional_id, check_text, json_map, parse_member

__all__ = ["ApprovalBook", "Entry"]


class Entry(NamedTuple):
    """What became of asking or deciding."""

    book: ApprovalBook
    """The book after it."""
    approval: Approval
    """The question as it stands then."""
    kind: EventType | None = None
    """The event that is to be written; None: nothing has changed."""
    data: dict[str, Any] = {}  # noqa: RUF012 - empty, and nobody changes it
    """Its payload."""


@frozen
class ApprovalBook:
    """Questions about calls of tools, and decisions.

    Attributes:
        approvals: by run and call, the last question about each.
        standing: grants that also stand for calls that are like theirs, in order.
    """

    approvals: Mapping[tuple[str, str], Approval] = Factory(dict)
    standing: tuple[Approval, ...] = ()

    def __hash__(self) -> int:
        return hash(tuple(self.approvals))

    @property
    def pending(self) -> tuple[Approval, ...]:
        """Questions that nobody has decided, in the order in which they were asked."""
        return tuple(one for one in self.approvals.values() if one.is_pending)

    @property
    def next_expiry_us(self) -> int | None:
        """When the next question is denied if nobody decides, in microseconds since the epoch; None: never."""
        return min((one.expires_us for one in self.pending if one.expires_us is not None), default=None)

    def about(
        self,
        run_id: str,
        call_id: str,
        tool_name: str,
        tool_input: Mapping[str, Any],
        *,
        is_repeated: bool = False,
    ) -> CallAsked:
        """Return a call that is about to be made, with what was decided about it and about those that are like it.

        Args:
            run_id: its run.
            call_id: the provider's id of the call.
            tool_name: the tool.
            tool_input: the arguments.
            is_repeated: whether it was made before, and is to be made again after a crash.
        """
        own = self.approvals.get((run_id, call_id))
        standing = self._standing_for(run_id, tool_name, tool_input)
        return CallAsked(call_id, tool_name, tool_input, own, standing, is_repeated)

    def _standing_for(self, run_id: str, tool_name: str, tool_input: Mapping[str, Any]) -> Approval | None:
        # The newest grant counts, since it may have edited the arguments in another way.
        for grant in reversed(self.standing):
            if grant.tool_name == tool_name and (grant.scope is GrantScope.SESSION or grant.run_id == run_id):
                wanted = fingerprint(tool_name, tool_input)
                if wanted in {fingerprint(tool_name, given) for given in (grant.tool_input, grant.arguments)}:
                    return grant
        return None

    def alike(self, grant: Approval) -> tuple[Approval, ...]:
        """Return the questions which a grant answers too, since their calls are like the one that was granted."""
        if not grant.stands:
            return ()
        wanted = {fingerprint(grant.tool_name, given) for given in (grant.tool_input, grant.arguments)}
        return tuple(
            one
            for one in self.pending
            if one.tool_name == grant.tool_name
            and not one.lifts
            and one.violation_kind == grant.violation_kind
            and fingerprint(one.tool_name, one.tool_input) in wanted
        )

    # --- Asking and deciding ---------------------------------------------------------------------------------------

    def request(self, run_id: str, request: ApprovalRequest, now: int) -> Entry:
        """Ask. A question that waits for its decision is not asked again; one that was decided is.

        Args:
            run_id: the run that asks.
            request: what it asks.
            now: microseconds since the epoch.
        """
        known = self.approvals.get((run_id, request.tool_call_id))
        if known is not None and known.is_pending:
            return Entry(self, known)
        return self._enter(
            run_id, request.tool_call_id, EventType.TOOL_APPROVAL_REQUESTED, request.to_map(), now
        )

    def grant(
        self,
        run_id: str,
        call_id: str,
        now: int,
        *,
        by: str | None = None,
        reason: str | None = None,
        tool_input: Mapping[str, Any] | None = None,
        scope: GrantScope | str = GrantScope.ONCE,
    ) -> Entry:
        """Allow a call.

        Args:
            run_id: the run that asks.
            call_id: the call.
            now: microseconds since the epoch.
            by: who decides.
            reason: why.
            tool_input: the arguments with which the call shall be made instead.
            scope: how far this goes.

        Raises:
            ConcurrencyError: ``invalid_operation``: nobody was asked about this call.
            ValidationError: an argument is malformed.
        """
        scope = parse_member(GrantScope, scope, ErrorCode.VALIDATION_ERROR)
        edited = None if tool_input is None else json_map(tool_input, "tool_input")
        told = _told(by, reason)
        asked = self._asked(run_id, call_id)
        if not asked.is_pending:
            return Entry(self, asked)
        if asked.is_overdue(now):
            return self._time_out(asked, now)
        data: dict[str, Any] = {
            "tool_call_id": call_id,
            "tool_name": asked.tool_name,
            **told,
            "scope": scope.value,
        }
        if edited is not None:
            data["tool_input"] = edited
        if asked.lifts and scope is not GrantScope.ONCE:
            data["lifts"] = list(asked.lifts)
        return self._enter(run_id, call_id, EventType.TOOL_APPROVAL_GRANTED, data, now)

    def deny(
        self, run_id: str, call_id: str, now: int, *, by: str | None = None, reason: str | None = None
    ) -> Entry:
        """Have a call not made. Arguments and errors as for `grant`."""
        told = _told(by, reason)
        asked = self._asked(run_id, call_id)
        if not asked.is_pending:
            return Entry(self, asked)
        if asked.is_overdue(now):
            return self._time_out(asked, now)
        data = {"tool_call_id": call_id, "tool_name": asked.tool_name, **told}
        return self._enter(run_id, call_id, EventType.TOOL_APPROVAL_DENIED, data, now)

    def expire(self, now: int) -> tuple[ApprovalBook, tuple[Entry, ...]]:
        """Deny the questions that nobody has decided in time; return the book after that, and what to write."""
        book: ApprovalBook = self
        entries: list[Entry] = []
        for asked in self.pending:
            if asked.is_overdue(now):
                entry = book._time_out(asked, now)
                book = entry.book
                entries.append(entry)
        return book, tuple(entries)

    def _asked(self, run_id: str, call_id: str) -> Approval:
        found = self.approvals.get((run_id, call_id))
        if found is None:
            raise AsmError(
                ErrorCode.INVALID_OPERATION,
                f"nobody was asked about call {call_id!r} of run {run_id}",
                context={"run_id": run_id, "tool_call_id": call_id},
            )
        return found

    def _time_out(self, asked: Approval, now: int) -> Entry:
        data = {
            "tool_call_id": asked.call_id,
            "tool_name": asked.tool_name,
            "reason": f"nobody decided within {asked.timeout:g} s",
            "timed_out": True,
        }
        return self._enter(asked.run_id, asked.call_id, EventType.TOOL_APPROVAL_DENIED, data, now)

    def _enter(self, run_id: str, call_id: str, kind: EventType, data: dict[str, Any], now: int) -> Entry:
        book = self.apply(kind, run_id, data, now)
        return Entry(book, book.approvals[run_id, call_id], kind, data)

    # --- Events ----------------------------------------------------------------------------------------------------

    def apply(self, kind: EventType, run_id: str | None, data: Mapping[str, Any], at_us: int) -> ApprovalBook:
        """Return the book after an event; events that are about something else change nothing.

        Args:
            kind: the event's type.
            run_id: its run.
            data: its payload.
            at_us: when it happened, in microseconds since the epoch.
        """
        handler = _HANDLERS.get(kind)
        return self if handler is None or run_id is None else handler(self, run_id, data, at_us)

    def fold(self, events: Iterable[Event]) -> ApprovalBook:
        """Return the book after events of the session, in order."""
        book = self
        for event in events:
            book = book.apply(event.type, event.run_id, event.data, event.timestamp_us)
        return book

    def _with(self, approval: Approval) -> ApprovalBook:
        key = (approval.run_id, approval.call_id)
        # A question that is asked again stands at the end of those that wait.
        others = {name: one for name, one in self.approvals.items() if name != key or not approval.is_pending}
        standing = (*self.standing, approval) if approval.stands else self.standing
        return evolve(self, approvals={**others, key: approval}, standing=standing)

    def _requested(self, run_id: str, data: Mapping[str, Any], at_us: int) -> ApprovalBook:
        asked = Approval(
            run_id=run_id,
            call_id=_text(data, "tool_call_id") or "",
            tool_name=_text(data, "tool_name") or "",
            tool_input=_map(data, "tool_input") or {},
            policy_name=_text(data, "policy_name") or "",
            violation_kind=_text(data, "violation_kind") or "",
            question=_text(data, "reason") or "",
            lifts=_texts(data, "lifts"),
            asked_us=at_us,
            timeout=_seconds(data, "approval_timeout"),
        )
        return self._with(asked)

    def _granted(self, run_id: str, data: Mapping[str, Any], at_us: int) -> ApprovalBook:
        scope = data.get("scope")
        return self._decided(
            run_id,
            data,
            status=ApprovalStatus.GRANTED,
            scope=GrantScope(scope) if scope in _SCOPES else GrantScope.ONCE,
            edited_input=_map(data, "tool_input"),
            decided_us=at_us,
        )

    def _denied(self, run_id: str, data: Mapping[str, Any], at_us: int) -> ApprovalBook:
        is_timed_out = data.get("timed_out") is True
        return self._decided(
            run_id, data, status=ApprovalStatus.DENIED, decided_us=at_us, is_timed_out=is_timed_out
        )

    def _decided(self, run_id: str, data: Mapping[str, Any], **changes: Any) -> ApprovalBook:
        asked = self.approvals.get((run_id, _text(data, "tool_call_id") or ""))
        if asked is None or not asked.is_pending:
            return self
        return self._with(evolve(asked, by=_text(data, "by"), reason=_text(data, "reason"), **changes))

    def _recovered(self, run_id: str, data: Mapping[str, Any], at_us: int) -> ApprovalBook:
        # A run that is begun again from its input makes other calls.
        return self._without_questions(run_id) if data.get("decision") == "retry" else self

    def _over(self, run_id: str, data: Mapping[str, Any], at_us: int) -> ApprovalBook:
        kept = tuple(one for one in self.standing if one.scope is GrantScope.SESSION or one.run_id != run_id)
        return evolve(self._without_questions(run_id), standing=kept)

    def _without_questions(self, run_id: str) -> ApprovalBook:
        return evolve(self, approvals={key: one for key, one in self.approvals.items() if key[0] != run_id})

    # --- Maps ------------------------------------------------------------------------------------------------------

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "approvals": [one.to_map() for one in self.approvals.values()],
            "standing": [one.to_map() for one in self.standing],
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: a field is malformed.
        """
        fields = Fields(value, "approval_book")
        found = [Approval.from_map(one) for one in fields.items("approvals")]
        return cls(
            {(one.run_id, one.call_id): one for one in found},
            tuple(Approval.from_map(one) for one in fields.items("standing")),
        )


_SCOPES: Final = frozenset(GrantScope)
_HANDLERS: Final[Mapping[EventType, Callable[..., ApprovalBook]]] = {
    EventType.TOOL_APPROVAL_REQUESTED: ApprovalBook._requested,
    EventType.TOOL_APPROVAL_GRANTED: ApprovalBook._granted,
    EventType.TOOL_APPROVAL_DENIED: ApprovalBook._denied,
    EventType.RUN_RECOVERED: ApprovalBook._recovered,
    EventType.RUN_COMPLETED: ApprovalBook._over,
    EventType.RUN_FAILED: ApprovalBook._over,
    EventType.RUN_CANCELLED: ApprovalBook._over,
    EventType.RUN_TIMEOUT: ApprovalBook._over,
}


def _told(by: object, reason: object) -> dict[str, str]:
    told = {
        "by": check_optional_id(by, "by"),
        "reason": None if reason is None else check_text(reason, "reason"),
    }
    return {name: value for name, value in told.items() if value is not None}


# What others put on record may have another shape; it is read as far as it goes.


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value if isinstance(value, str) else None


def _texts(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = data.get(name)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _map(data: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = data.get(name)
    return dict(value) if isinstance(value, Mapping) else None


def _seconds(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
        return None
    return float(value)
