"""Whether the records of one session agree with its events, told while these come one by one. Pure.

It is the check of `journal.replay_faults`, for a session that is too long to be held: what is kept grows with its
runs and its changes of status, and not with its events. Nothing is said of a session that was not begun by this
runtime, or of which events were erased: what these told is not told any more.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from asm_actors.events import Event, EventType
from asm_actors.journal.replay import RUN_ENDS, SESSION_EVENTS, RunFold
from asm_actors.journal.replay_faults import run_faults, session_faults
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["Agreement"]

_BEGINNINGS: Final = (EventType.SESSION_CREATED, EventType.SESSION_FORKED)
# They tell of a run's output, which is its record's all the same, and may be long.
_OUTPUT: Final = frozenset(
    {
        EventType.MESSAGE_RECEIVED,
        EventType.MESSAGE_STREAMED,
        EventType.TOOL_CALL_COMPLETED,
        EventType.TOOL_CALL_FAILED,
        EventType.TOOL_CALL_STARTED,
    }
)


@define
class _Told:
    run: Run
    fold: RunFold
    n_ends: int = 0


@define
class Agreement:
    """See the module.

    Attributes:
        session: The session's record.
    """

    session: Session
    _runs: dict[str, _Told] = field(factory=dict, init=False)
    _own: list[Event] = field(factory=list, init=False)
    _says_nothing: bool = field(default=False, init=False)

    def knows(self, run_id: str) -> bool:
        """Whether the record of a run was taken."""
        return run_id in self._runs

    def take_run(self, run: Run) -> None:
        """Take the record of a run; it comes before the run's events."""
        small = run.replace(input={}, output=None, metadata={}, provider_metadata={})
        self._runs[run.id] = _Told(small, RunFold(small))

    def take_hole(self) -> None:
        """Take note that events were erased."""
        self._says_nothing = True
        self._own.clear()

    def take_event(self, event: Event) -> None:
        """Take the next event of the session."""
        if self._says_nothing:
            return
        if not self._own and event.type not in _BEGINNINGS:
            self.take_hole()
            return
        if event.type in SESSION_EVENTS:
            self._own.append(event)
        if event.run_id is not None and event.type not in _OUTPUT:
            told = self._runs[event.run_id]
            told.fold.take(event)
            told.n_ends += event.type in RUN_ENDS

    def faults(self) -> list[str]:
        """Return one sentence for each thing in which records and events contradict each other."""
        if self._says_nothing or not self._own:
            return []
        found = session_faults(self.session, self._own)
        for told in self._runs.values():
            as_told = told.fold.run
            assert as_told is not None
            found += run_faults(told.run, as_told, told.n_ends)
            if told.run.is_terminal and as_told.is_terminal and told.run.token_usage != as_told.token_usage:
                used = f"{told.run.token_usage}, and {as_told.token_usage} by its events"
                found.append(f"run {told.run.id} used {used}")
        return found
