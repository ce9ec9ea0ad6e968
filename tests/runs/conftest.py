"""A run's core on a bench: messages in, effects out, no actors."""

from __future__ import annotations

import copy
import logging

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers import messages as p
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.items import (
    MessageDone,
    TextDelta,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.runs import state as core
from asm_actors.runs.messages import CancelRun, Durable, RunAppends, RunEnded
from asm_actors.runs.run import Run
from asm_actors.runs.turn import Turn
from asm_actors.tools.tool import Tool, tools_by_name

NOW = 1_767_225_600_000_000
BOOM = AsmError(ErrorCode.PROVIDER_ERROR, "boom")
GONE = AsmError(ErrorCode.PROVIDER_UNAVAILABLE, "the provider crashed")


SCHEMA = {"type": "object", "properties": {"at": {}}, "required": ["at"], "additionalProperties": False}


def nothing(**given):
    """What tools do here: the core never calls them."""
    raise AssertionError("a core calls nothing")


FILES = {"backend": "hash", "before_ref": "ref_1", "before_snapshot": {"id": "snap_1"}}
"""What is known of the files of a run that has some."""

LOOK = Tool("look", "Looks", SCHEMA, nothing, safe_to_repeat=True)
CHARGE = Tool("charge", "Charges", {"type": "object"}, nothing)


class Bench:
    """One run's core; `tell` returns the effects of a message."""

    now = NOW
    gone = GONE

    def __init__(
        self, phase="waiting", *, resumable=False, options=None, tools=(), run_options=None, calls=()
    ):
        run = Run.new(id="run_1", now=NOW, session_id="ses_1", input="Hello", options=run_options)
        messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"})
        request = TurnRequest("ses_1", "run_1", messages=messages, options=options or {})
        self.state = core.RunState(run, request, "mock", "cor_1", resumable, tools=tools_by_name(tools))
        if tools:
            self.state.turn = Turn(host_tools=self.state.tools)
        self.state.calls = {call.id: call for call in calls}
        getattr(self, f"_to_{phase}")()
        assert self.phase == phase

    def _to_waiting(self):
        core.begin(self.state)

    def _to_streaming(self):
        self.tell(core.SlotTaken())

    def _to_recovering(self):
        self.state.run = self.state.run.with_status("running", NOW)
        self.tell(core.SlotTaken())

    def _to_calling(self):
        self._to_streaming()
        if not self.state.tools:
            self.state.tools = {"look": LOOK}
            self.state.turn = Turn(host_tools=self.state.tools)
        self.call(("look", {"at": "it"}))

    def _to_stopping_calls(self):
        self._to_calling()
        self.tell(CancelRun("enough"))

    def _to_preparing(self):
        self.state.run = self.state.run.replace(options={"continuation": "auto"})
        self.tell(core.SlotTaken())
        self.tell(Durable(0))

    def _to_stopping_work(self):
        self._to_preparing()
        self.tell(CancelRun("enough"))

    def _to_finishing(self):
        """A run with files that has completed; its shell is at work."""
        self._to_streaming()
        self.state.run = self.state.run.replace(details={"workspace": dict(FILES)})
        self.finish()
        self.tell(Durable(0))

    def _to_parked(self):
        self._to_streaming()
        self.tell(core.ProviderGone(GONE))

    def _to_stopping(self):
        self._to_streaming()
        self.tell(CancelRun("enough"))

    def _to_ended(self):
        self._to_streaming()
        self.finish()

    @property
    def phase(self):
        return self.state.phase.value

    def tell(self, message, now=NOW + 1_000_000):
        return core.step(self.state, message, now)

    def items(self, *items, is_last=False, error=None):
        return self.tell(p.TurnItems(items, is_last, error))

    def say(self, *texts):
        return self.items(*(TextDelta(text) for text in texts))

    def finish(self, text="Hi"):
        return self.items(
            TurnStarted("model-1"), TextDelta(text), Usage(3, 5), MessageDone(text), TurnDone(), is_last=True
        )

    def call(self, *calls, text="Let me see. ", ended=()):
        """End the turn with calls: pairs of a tool's name and arguments; ids count ``call_1``, ``call_2`` …"""
        made = [ToolCallStarted(f"call_{n}", name, given) for n, (name, given) in enumerate(calls, start=1)]
        done = [ToolCallEnded(call_id, name, "by the provider") for call_id, name in ended]
        said = [TextDelta(text)] if text else []
        return self.items(
            TurnStarted("model-1", "thread-1"),
            *said,
            *made,
            *done,
            Usage(3, 5),
            MessageDone(text),
            TurnDone("tool_use", cost_usd=0.25),
            is_last=True,
        )

    def durable(self):
        """All that was told to the session is durable now."""
        return self.tell(Durable(self.state.n_pending))

    def snapshot(self):
        return copy.deepcopy(self.state)

    # --- What effects say ----------------------------------------------------------------------------------------

    @staticmethod
    def of(effects, kind):
        return [effect for effect in effects if type(effect) is kind]

    @staticmethod
    def notices(effects, kind):
        return [e.message for e in effects if type(e) is fx.ToSession and type(e.message) is kind]

    @classmethod
    def types(cls, effects):
        """Types of the events that are told to the session, in order."""
        found = []
        for effect in cls.of(effects, fx.ToSession):
            if type(effect.message) in (RunAppends, RunEnded):
                found += [draft.type.value for draft in effect.message.drafts]
        return found

    @staticmethod
    def to_provider(effects):
        return [type(e.message).__name__ for e in effects if type(e) is fx.ToProvider]

    @classmethod
    def end(cls, effects):
        """The one notice that the run is over."""
        (ended,) = cls.notices(effects, RunEnded)
        assert effects[-1] == fx.Leave()
        return ended


@pytest.fixture
def bench():
    """`Bench`, the class."""
    return Bench


@pytest.fixture
def _quiet_logs(caplog):
    """Crashes are the subject here; their logged tracebacks are not worth the time to format."""
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)
