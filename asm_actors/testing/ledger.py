"""The claims of all lives of one journal, and what of them the journal does not keep."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from asm_actors.events import Event, EventType
from asm_actors.journal.store import Store
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, RunStatus
from asm_actors.sessions.session import TERMINAL_SESSION_STATUSES, SessionStatus
from asm_actors.testing.claims import MARK, Claim, ClaimKind, digest_of, mark_of
from asm_actors.testing.contents import Contents

__all__ = ["Ledger"]

_OUTPUT = 24


class Ledger:
    """All claims of the lives of one journal, in their order."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        # What earlier checks found: the executions of a call that has its end, and where each subscription stands.
        self._over: dict[str, int] = {}
        self._cursors: dict[str, int] = {}

    def read(self, lines: Iterable[bytes]) -> None:
        """Take what a life wrote, line by line."""
        for line in lines:
            kind, *rest = json.loads(line)
            self.claims.append(Claim(ClaimKind(kind), *rest))

    def called(self, key: str, tool: str, session_id: str) -> None:
        """A tool begins its work, in this process."""
        self.claims.append(Claim(ClaimKind.CALLED, key, tool, session_id))

    def count(self, kind: ClaimKind) -> int:
        """Return how many claims are of a kind."""
        return sum(claim.kind is kind for claim in self.claims)

    def backups(self) -> list[Claim]:
        """Return the claims of backups, and forget them."""
        found = [claim for claim in self.claims if claim.kind is ClaimKind.BACKUP]
        self.claims = [claim for claim in self.claims if claim.kind is not ClaimKind.BACKUP]
        return found

    def faults(self, store: Store) -> list[str]:
        """Compare the claims with an open journal; one sentence per claim that it does not keep."""
        check = _Check(self.claims, Contents.of(store))
        faults = [*check.contents.double_ids(), *check.holes()]
        for claim in self.claims:
            faults += check.broken(claim)
        faults += check.cursors(self._cursors)
        faults += check.calls(self._over)
        return faults


class _Check:
    """One comparison.

    Args:
        claims: All of them.
        contents: What the journal holds.
    """

    def __init__(self, claims: list[Claim], contents: Contents) -> None:
        self.contents = contents
        self._claims = claims
        self._keys: dict[str, str] = {}
        self._marks: dict[str, str] = {}
        self._erasing = {claim.id: claim.last for claim in claims if claim.kind is ClaimKind.ERASING}
        self._pruning = {claim.id for claim in claims if claim.kind is ClaimKind.PRUNING}

    def broken(self, claim: Claim) -> Iterator[str]:
        """Say what is wrong with a claim about records or events."""
        match claim.kind:
            case ClaimKind.SESSION:
                yield from self._session(claim)
            case ClaimKind.RUN:
                yield from self._run(claim)
            case ClaimKind.RESULT:
                yield from self._result(claim)
            case ClaimKind.KEY:
                if self._keys.setdefault(claim.id, claim.status) != claim.status:
                    yield f"{claim.id} belonged to {self._keys[claim.id]}, and later to {claim.status}"
                found = self.contents.sessions.get(claim.status)
                if found is None or found.idempotency_key != claim.id:
                    yield f"{claim.id} belonged to {claim.status}, whose record is {found}"
            case ClaimKind.SEEN:
                yield from self._seen(claim)
            case ClaimKind.ERASED:
                if claim.id in self.contents.sessions:
                    yield f"{claim.id} was deleted for good, and is there"
            case ClaimKind.DEFECT:
                yield f"the process reported: {claim.id}"

    def holes(self) -> Iterator[str]:
        """Events are missing where they were pruned or erased, and nowhere else."""
        contents, allowed = self.contents, 0
        for session_id, n_events in self._erasing.items():
            if session_id not in contents.sessions:
                allowed += n_events
        for session_id, missing in contents.missing.items():
            allowed += missing
            if missing and not self._is_pruned(session_id):
                yield f"{missing} events of {session_id} are missing, and nobody pruned it"
        if contents.n_missing != allowed:
            yield f"{contents.n_missing} positions have no event, and {allowed} were pruned or erased"

    def _is_pruned(self, session_id: str) -> bool:
        if session_id in self._pruning:
            return True
        return "" in self._pruning and "pinned" not in self.contents.sessions[session_id].tags

    def _session(self, claim: Claim) -> Iterator[str]:
        session = self.contents.sessions.get(claim.id)
        if session is None:
            if claim.id not in self._erasing:
                yield f"a caller got {claim.id}, which is not there: {claim}"
        elif session.last_sequence < claim.last:
            yield f"{claim.id} ends at {session.last_sequence}; a caller had seen {claim.last}"
        elif SessionStatus(claim.status) in TERMINAL_SESSION_STATUSES and session.status != claim.status:
            yield f"a caller was told that {claim.id} is {claim.status}; it is {session.status}"
        elif session.status is SessionStatus.PENDING and claim.status != SessionStatus.PENDING:
            yield f"{claim.id} was {claim.status}, and is pending again"
        elif claim.first and session.deleted_us is None:
            yield f"{claim.id} was deleted, and is not deleted any more"

    def _run(self, claim: Claim) -> Iterator[str]:
        run = self.contents.runs.get(claim.id)
        if run is None or run.session_id != claim.session_id:
            if run is not None or claim.session_id not in self._erasing:
                yield f"a caller got {claim.id} of {claim.session_id}, and the journal has {run}"
        elif RunStatus(claim.status) in TERMINAL_RUN_STATUSES and run.status != claim.status:
            yield f"a caller was told that {claim.id} is {claim.status}; it is {run.status}"
        elif run.status is RunStatus.PENDING and claim.status != RunStatus.PENDING:
            yield f"{claim.id} was {claim.status}, and is pending again"

    def _result(self, claim: Claim) -> Iterator[str]:
        faults = list(self._run(claim))
        yield from faults
        if faults or claim.id not in self.contents.runs:
            return
        events = self.contents.events_of_run(claim.session_id, claim.id)
        if (
            not events
            or events[-1].sequence_number != claim.last
            or events[-1].type is not EventType.RUN_COMPLETED
        ):
            yield f"{claim.id} ended at {claim.last} of {claim.session_id}; its last events are {events[-2:]}"
            return
        digest = digest_of(self.contents.runs[claim.id].output, ())
        if not self.contents.missing[claim.session_id]:
            digest += digest_of(None, map(self._mark, events))
        if not claim.digest.startswith(digest):
            yield f"a caller got another result of {claim.id} than the journal has: {events}"

    def _seen(self, claim: Claim) -> Iterator[str]:
        if claim.id and claim.id not in self.contents.sessions:
            if claim.id not in self._erasing:
                yield f"a subscriber followed {claim.id}, which is not there: {claim}"
            return
        kept = self.contents.by_place(claim.id)
        marks = [claim.digest[at : at + MARK] for at in range(0, len(claim.digest), MARK)]
        places = list(range(claim.first + 1, claim.first + 1 + len(marks)))
        if claim.status:
            places = [claim.first + int(offset) for offset in claim.status.split(",")]
        for place, mark in zip(places, marks, strict=True):
            event = kept.get(place)
            # What is not there was pruned or erased: `holes` counts that.
            if event is not None and self._mark(event) != mark:
                yield f"a subscriber saw another event than {event}: {claim}"
        skipped = [place for place in range(claim.first + 1, places[-1]) if place in kept]
        skipped = sorted(set(skipped) - set(places))
        if skipped:
            yield f"a subscriber of {claim.id or 'the journal'} was not handed {skipped}: {claim}"

    def _mark(self, event: Event) -> str:
        # Many claims are about the same event.
        found = self._marks.get(event.id)
        if found is None:
            found = self._marks[event.id] = mark_of(event)
        return found

    # --- Named subscriptions ---------------------------------------------------------------------------------------

    def cursors(self, before: dict[str, int]) -> Iterator[str]:
        """Check where named subscriptions stand, and note it.

        Args:
            before: Where each stood at the last check.
        """
        told: dict[str, int] = defaultdict(int)  # at most so far it was acknowledged
        durable: dict[str, int] = defaultdict(int)  # at least so far
        stands: dict[str, int] = {}  # what was handed over
        for claim in self._claims:
            name = claim.id
            match claim.kind:
                case ClaimKind.RESUMED:
                    yield from self._stands(name, claim.last, durable[name], told[name], "resumed")
                    stands[name] = durable[name] = claim.last
                case ClaimKind.ACKING:
                    told[name] = max(told[name], claim.last)
                case ClaimKind.ACKED:
                    durable[name] = max(durable[name], claim.last)
                case ClaimKind.SEEN if claim.session_id:
                    name = claim.session_id
                    passed = self._events_between(name, stands[name], claim.first)
                    if claim.first < stands[name] or passed:
                        yield f"{name} stood at {stands[name]} and was handed what follows {claim.first}: {passed}"
                    stands[name] = claim.last
        for name, least in durable.items():
            cursor = self.contents.cursors.get(name)
            if cursor is None:
                yield f"{name} acknowledged, and is not there"
                continue
            if cursor.cursor < before.get(name, 0):
                yield f"{name} went back from {before[name]} to {cursor.cursor}"
            yield from self._stands(name, cursor.cursor, least, told[name], "kept")
            before[name] = cursor.cursor

    def _stands(self, name: str, place: int, least: int, most: int, how: str) -> Iterator[str]:
        if place < least:
            yield f"{name} acknowledged {least}, and is {how} at {place}"
        passed = self._events_between(name, most, place)
        if passed:
            yield f"{name} acknowledged at most {most}, is {how} at {place}, and never handed over {passed}"

    def _events_between(self, name: str, after: int, upto: int) -> list[int]:
        cursor = self.contents.cursors.get(name)
        if cursor is None or upto <= after:
            return []
        kept = self.contents.by_place(cursor.session_id or "")
        return [place for place in range(after + 1, upto + 1) if place in kept]

    # --- Calls of tools --------------------------------------------------------------------------------------------

    def calls(self, over: dict[str, int]) -> Iterator[str]:
        """Check how often each call was executed, and note which have their end.

        Args:
            over: How often those had been executed that had their end at the last check.
        """
        executed: Counter[str] = Counter()
        sessions: dict[str, str] = {}
        for claim in self._claims:
            if claim.kind is ClaimKind.CALLED:
                executed[claim.id] += 1
                sessions[claim.id] = claim.session_id
        calls = self.contents.calls()
        for key, count in executed.items():
            session_id, call = sessions[key], calls.get(key)
            if session_id not in self.contents.sessions:
                if session_id not in self._erasing:
                    yield f"{key} was executed for {session_id}, which is not there"
                continue
            if self.contents.missing[session_id]:
                continue  # it was pruned
            n_started = 0 if call is None else call.n_started
            if count > n_started:
                yield f"{key} was executed {count} times, and the journal knows of {n_started}"
            if call is None:
                continue
            allowed = 1 + call.n_granted
            if not call.is_retried and not call.is_safe and count > allowed:
                yield f"{key} was executed {count} times, and must not be repeated: {allowed}"
        for key, call in calls.items():
            if not call.has_ended or call.is_retried:
                continue
            if executed[key] != over.setdefault(key, executed[key]):
                yield f"{key} had its end after {over[key]} executions, and was executed again"
