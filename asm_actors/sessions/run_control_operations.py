"""The operations that hold runs, let them go on, stop them, or give them input; see `sessions.operations`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.query import EventFilter
from asm_actors.runs.messages import CancelRun, InterruptRun, PauseRun, ResumeRun, SteerRun
from asm_actors.runs.run import Run
from asm_actors.serialization import check_id, check_ids
from asm_actors.services import Services
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.control import input_message
from asm_actors.sessions.control_history import CONTROL_EVENTS, operations_of, status_of
from asm_actors.sessions.delivery import deliver_to_run
from asm_actors.sessions.session_drafts import told_data
from supervisors import Future

__all__ = ["RunControlOperations", "gathered"]


class RunControlOperations(Carrying):
    """Part of `Operations`."""

    def pause_run(self, run_id: str, *, reason: str | None = None, by: str | None = None) -> Future[Run]:
        """Have a run stand still at its next turn boundary.

        A boundary is where nothing is under way: after a completed turn and before the first call of its tools, or
        after the last answer of its tools and before the next turn. A turn that ends the run ends it. This call does
        not wait for the boundary: the wish is durable when it returns (the run's ``details["pause"]``), and survives a
        crash. The run is ``paused``, with an event `run_paused`, once it stands still; it holds no slot then. Its
        deadline goes on counting.

        A run that waits for a decision about a call goes on waiting, and stands still when it would go on; it may be
        decided meanwhile. Pausing a run that is paused, or is about to be, changes nothing. One that only the pause of
        its session holds stays paused when that ends.

        Args:
            run_id: Which run.
            reason: Why, for the journal.
            by: Who wants it, for the journal.

        Returns:
            The run.

        Raises:
            StateError: ``invalid_transition``: it has not begun.
            ConcurrencyError: ``invalid_operation``: it is over, or about to end.
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        return deliver_to_run(self._services, run_id, PauseRun(reason, run_id, by))

    def resume_run(self, run_id: str, *, reason: str | None = None, by: str | None = None) -> Future[Run]:
        """Have a paused run go on in its turn, or a pause that is wished not happen.

        While its session is paused it waits for that, and stays ``paused``. Resuming one that goes on changes nothing.

        Args:
            run_id: Which run.
            reason: Why, for the journal.
            by: Who wants it, for the journal.

        Returns:
            The run.

        Raises:
            ConcurrencyError: ``invalid_operation``: it has not begun, is over, or is about to end: somebody cancelled
                it, or its time is over, though its record says ``paused`` until it has ended.
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        return deliver_to_run(self._services, run_id, ResumeRun(reason, run_id, by))

    def interrupt_run(self, run_id: str, *, reason: str | None = None, by: str | None = None) -> Future[Run]:
        """Stop what a run does now, and end it as ``cancelled`` with the reason ``interrupted``.

        Otherwise as `cancel_run`: when this returns all of it has stopped, and interrupting a run that is over changes
        nothing.

        Args:
            run_id: Which run.
            reason: Why, for the journal, where it stands as ``note``.
            by: Who interrupts it, for the journal.

        Returns:
            The run's final record.

        Raises:
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        return deliver_to_run(self._services, run_id, InterruptRun(reason, run_id, by))

    def cancel_all(
        self, run_ids: Iterable[str], *, reason: str | None = None, by: str | None = None
    ) -> Future[dict[str, Run | AsmError]]:
        """Cancel several runs at once, of whatever sessions; each as `cancel_run` does.

        Args:
            run_ids: Which runs.
            reason: Why, for the journal.
            by: Who withdraws them, for the journal.

        Returns:
            By id: the run's final record, or why it could not be cancelled. One does not wait for another.

        Raises:
            ValidationError: An id or the reason is malformed; nothing has changed.
        """
        told_data(reason, by)
        services = self._services
        return gathered(
            services,
            {
                run_id: deliver_to_run(services, run_id, CancelRun(reason, run_id, by))
                for run_id in dict.fromkeys(check_ids(run_ids, "run_ids"))
            },
        )

    def steer_run(self, run_id: str, input: Any = None, *, by: str | None = None) -> Future[Run]:  # noqa: A002
        """Give more input to the turn of a run that is being answered.

        The input is on record (`message_sent` with ``steered``) before the provider gets it, and this returns when the
        provider has taken it. A turn that is asked for again, after a failed attempt or a crash, is asked for with it;
        what comes when the turn is just over goes into the next one. Input that nobody takes, since the provider
        refuses it or the run ends, is refused here, and an `error_occurred` (``source`` ``steered``) says so.

        Args:
            run_id: Which run.
            input: One message of the user: a text, ``{"prompt": text}``, or ``{"messages": [message]}``.
            by: Whose input it is, for the journal.

        Returns:
            The run.

        Raises:
            ValidationError: The input is not one message of the user.
            ConcurrencyError: ``capability_not_supported``: the provider has no capability named ``steering`` or
                ``incremental_input``; ``invalid_operation``: no turn is being answered, or it was over before;
                ``overloaded``: too much waits already.
            ResourceError: ``run_not_found``.
            AsmError: Why the provider did not take it; ``interrupted``: the run's actor crashed meanwhile.
        """
        run_id = check_id(run_id, "run_id")
        message = SteerRun(input_message(input), run_id, by)
        return deliver_to_run(self._services, run_id, message._replace(input={"messages": [message.input]}))

    def get_operation_history(self, run_id: str) -> Future[list[dict[str, Any]]]:
        """Return what was done to a run from outside, oldest first.

        It is read from the run's events: what was done, when, by whom, and why. What was refused changed nothing and is
        not recorded, and a pause that was withdrawn before the run stood still has left no event either.

        Returns:
            Maps, JSON-ready: ``operation`` (``pause resume cancel interrupt steer grant_approval deny_approval``),
            ``timestamp`` (ISO-8601, UTC), ``result`` (``ok``), ``by reason`` (None if nobody said), ``sequence_number
            event_id``, and as far as they apply ``note scope waits_for tool_call_id``.

        Raises:
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        return self._read(lambda: operations_of(self._control_events(self._services.store.run(run_id))))

    def get_operation_status(self, run_id: str) -> Future[dict[str, Any]]:
        """Return the last operation on a run, what it has come to, and all of them.

        Returns:
            ``last_operation`` (None if there was none), ``state`` (the run's status; ``interrupted`` if that ended it;
            ``pausing`` while it has not come to the boundary), ``history`` as of `get_operation_history`.

        Raises:
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")

        def read() -> dict[str, Any]:
            run = self._services.store.run(run_id)
            return status_of(run, self._control_events(run))

        return self._read(read)

    def _control_events(self, run: Run) -> list[Event]:
        return self._services.store.read_session(
            run.session_id, EventFilter(run_ids=run.id, types=CONTROL_EVENTS)
        )


def gathered(services: Services, futures: Mapping[str, Future[Any]]) -> Future[dict[str, Any]]:
    """Make one future of several: a map of their values, and of the errors of those that failed."""
    together: Future[dict[str, Any]] = Future()
    together._driver = services.dispatcher.driver
    found: dict[str, Any] = dict.fromkeys(futures)
    arrived = itertools.count(1)  # counts in one step, on whatever thread an answer comes

    def take(key: str, future: Future[Any]) -> None:
        try:
            found[key] = future.get()
        except AsmError as error:
            redactor = services.redactor
            found[key] = error if redactor is None else redactor.error(error)
        except Exception as error:  # none of ours, and must not keep the others from being told
            found[key] = AsmError.wrap(ErrorCode.INTERNAL_ERROR, error)
        if next(arrived) == len(found):
            together.set(found)

    if not futures:
        together.set({})
    for key, future in futures.items():
        future.add_done_callback(partial(take, key))
    return together
