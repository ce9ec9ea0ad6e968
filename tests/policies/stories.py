"""A run as a policy sees it: what happens to it is put on record, and what is on record rebuilds what was known."""

from __future__ import annotations

import json

from asm_actors.events import Event, EventType
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.policies.evaluator import Allow, AskApproval, Deny, Evaluator
from asm_actors.policies.facts import TimePassed, UsageSoFar, fact_of
from asm_actors.policies.state import PolicyState, fold

SECOND = 1_000_000
RUN = "run_1"


class Story:
    """One run with its policy, its book of questions, and all its events."""

    def __init__(self, policy, pricing=None, provider="claude"):
        given = {} if pricing is None else {"pricing": pricing}
        self.evaluator = Evaluator(policy, provider=provider, **given)
        self.book = ApprovalBook()
        self.events = []
        self.now = 0
        self.tell(EventType.RUN_STARTED, {"provider": provider})

    # --- What happens ---

    def tell(self, kind, data):
        """Put an event on record, and let the policy look at what it tells; return what follows."""
        self._write(kind, data)
        fact = fact_of(kind, data, None)
        return None if fact is None else self.observe(fact)

    def observe(self, fact):
        ruling = self.evaluator.observe(fact, self.now)
        self.evaluator = ruling.evaluator
        for violation in ruling.violations:
            self._write(EventType.POLICY_VIOLATION, violation.to_map())
        return ruling

    def ask(self, call_id, tool="bash", **tool_input):
        """The model wants a tool to be called: do what follows."""
        ruling = self.observe(self.book.about(RUN, call_id, tool, tool_input))
        about = ruling.about_call
        names = {"tool_call_id": call_id, "tool_name": tool}
        if isinstance(about, Allow):
            self.tell(EventType.TOOL_CALL_STARTED, {**names, "tool_input": about.tool_input, "attempt": 1})
        elif isinstance(about, Deny):
            self.tell(EventType.TOOL_CALL_STARTED, {**names, "tool_input": tool_input, "attempt": 0})
        elif isinstance(about, AskApproval) and about.is_new:
            self._enter(self.book.request(RUN, about.request, self.now))
        return ruling

    def seen(self, tool):
        return self.tell(EventType.TOOL_CALL_STARTED, {"tool_call_id": "own", "tool_name": tool})

    def turn(self, sent=0, made=0, *, cost_usd=None, more=True, model=None):
        """A turn ends; return the violations of both its events."""
        usage = {"input_tokens": sent, "output_tokens": made}
        first = self.tell(EventType.TOKEN_USAGE_UPDATED, usage)
        data = {"token_usage": usage, "pending_tool_calls": [{"id": "c"}] if more else []}
        data |= {key: value for key, value in (("cost_usd", cost_usd), ("model", model)) if value is not None}
        second = self.tell(EventType.TURN_COMPLETED, data)
        return (*first.violations, *second.violations)

    def usage_so_far(self, sent, made=0):
        return self.observe(UsageSoFar({"input_tokens": sent, "output_tokens": made}))

    def look(self):
        return self.observe(TimePassed())

    def grant(self, call_id, **how):
        entry = self._enter(self.book.grant(RUN, call_id, self.now, **how))
        self.observe_data(entry)
        return entry

    def deny(self, call_id, **how):
        return self._enter(self.book.deny(RUN, call_id, self.now, **how))

    def expire(self):
        self.book, entries = self.book.expire(self.now)
        for entry in entries:
            self._write(entry.kind, entry.data)
        return entries

    def observe_data(self, entry):
        fact = None if entry.kind is None else fact_of(entry.kind, entry.data, None)
        if fact is not None:
            self.observe(fact)

    # --- What is known ---

    @property
    def state(self):
        return self.evaluator.state

    def check(self):
        """What is rebuilt from the record, or read back from a map, is what is known."""
        assert fold(self.events, self.evaluator.pricing, self.evaluator.provider) == self.state
        assert ApprovalBook().fold(self.events) == self.book
        assert PolicyState.from_map(json.loads(json.dumps(self.state.to_map()))) == self.state
        assert ApprovalBook.from_map(json.loads(json.dumps(self.book.to_map()))) == self.book

    def restart(self):
        """Forget everything that is not on record."""
        self.evaluator = Evaluator.rebuilt(
            self.evaluator.policy, self.events, self.evaluator.pricing, self.evaluator.provider
        )
        self.book = ApprovalBook().fold(self.events)

    def _enter(self, entry):
        self.book = entry.book
        if entry.kind is not None:
            self._write(entry.kind, entry.data)
        return entry

    def _write(self, kind, data):
        data = json.loads(json.dumps(data))
        event = Event.new(
            id=f"e{len(self.events)}", type=kind, now=self.now, session_id="s", run_id=RUN, data=data
        )
        self.events.append(event)
