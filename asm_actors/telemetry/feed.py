"""`Telemetry`: follows the journal, and tells hooks of spans and metrics.

::

    with asm.Telemetry(system, [asm.OpenTelemetryExporter()], name="telemetry"):
        ...

It is a subscriber like any other: it reads by cursor what is durable, on a thread of its own, and so slows nobody down,
however slow its hooks are. What it reads is redacted, since the journal is. With a name it goes on after a restart
where it was; a run that was under way keeps its span, for what it had told before is read again and not told again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.follow import Subscription
from asm_actors.journal.query import EventFilter, check_flag
from asm_actors.journal.store import Store
from asm_actors.serialization import check_integer, check_optional_id, invalid
from asm_actors.services import Services
from asm_actors.sessions.event_surface import EventSurface
from asm_actors.telemetry.folding import (
    TELEMETRY_TYPES,
    TelemetryState,
    prime,
    remember,
    step,
    wants_run,
    wants_session,
)
from asm_actors.telemetry.hook import TelemetryHook
from asm_actors.telemetry.spans import Span

__all__ = ["Telemetry", "TelemetryStatistics"]

logger: Final = logging.getLogger("asm_actors.telemetry")


class _System(Protocol):
    @property
    def services(self) -> Services: ...


@frozen
class TelemetryStatistics:
    """Numbers of a `Telemetry`.

    Attributes:
        events: Events it took.
        spans: Begins and ends it told.
        metrics: Values it told.
        hook_failures: How often a hook raised.
        lag: Events of the journal that it has not looked at, now.
        is_running: Whether its thread follows the journal.
    """

    events: int
    spans: int
    metrics: int
    hook_failures: int
    lag: int
    is_running: bool


class Telemetry:
    """See the module. Use it in a `with` block, or `start` and `stop` it; or call `catch_up` whenever it suits.

    Args:
        system: An `ActorSystem` or an `AsyncActorSystem`.
        hooks: Who is told.
        name: Makes it durable: it goes on after a restart. One at a time may use a name.
        after: Position of the journal after which to begin, or ``"now"``; a name that is known has its own place.
        session_id: Of one session only.
        enabled: Without, it does nothing at all; by default ``telemetry_enabled`` of the system's configuration.
        capacity: How many sessions, and how many runs, are remembered at most.

    Raises:
        ValidationError: An argument is malformed.
    """

    def __init__(
        self,
        system: _System,
        hooks: Iterable[TelemetryHook],
        *,
        name: str | None = None,
        after: int | Literal["now"] = "now",
        session_id: str | None = None,
        enabled: bool | None = None,
        capacity: int = 10_000,
    ) -> None:
        services = getattr(system, "services", None)
        if not isinstance(services, Services):
            raise invalid("system", "must be a system", system)
        self._services = services
        if not isinstance(hooks, Iterable):
            raise invalid("hooks", "must be a list of hooks", hooks)
        self._hooks = tuple(hooks)
        for hook in self._hooks:
            if not isinstance(hook, TelemetryHook):
                raise invalid("hooks", "must have on_span and on_metric each", hook)
        self._name = check_optional_id(name, "name")
        self._after = after if after == "now" else check_integer(after, "after", least=0)
        self._session_id = check_optional_id(session_id, "session_id")
        given = services.config.telemetry_enabled if enabled is None else enabled
        self.enabled = check_flag(given, "enabled")
        self._state = TelemetryState(check_integer(capacity, "capacity", least=1))
        self._subscription: Subscription | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._n_events = self._n_spans = self._n_metrics = self._n_failures = 0

    # --- Following -----------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Follow the journal on a thread from here on; idempotent.

        Raises:
            ConcurrencyError: ``invalid_operation``: the system does not run; the name follows something else.
            ResourceError: ``session_not_found``.
        """
        if self.enabled and self._thread is None:
            subscription = self._opened()
            self._thread = threading.Thread(
                target=self._follow, args=(subscription,), name="asm-telemetry", daemon=True
            )
            self._thread.start()
        return self

    def stop(self, timeout: float | None = 10.0) -> bool:
        """Tell what is durable by now, and end; idempotent. A hook that hangs is left alone after `timeout` seconds.

        Returns:
            Whether everything was told.
        """
        thread, subscription = self._thread, self._subscription
        is_done = True
        if thread is not None and subscription is not None:
            subscription.hurry()
            thread.join(timeout)
            is_done = not thread.is_alive()
        if subscription is not None:
            subscription.close()
        self._thread = self._subscription = None
        return is_done

    def catch_up(self) -> int:
        """Tell what is durable by now, on this thread; return how many events that were. Not while it is started.

        Raises:
            ConcurrencyError: ``invalid_operation``: it is started, or the system does not run.
        """
        if not self.enabled:
            return 0
        if self._thread is not None:
            raise AsmError(ErrorCode.INVALID_OPERATION, "telemetry follows the journal on its thread already")
        subscription, before = self._opened(), self._n_events
        while self._take_page(subscription, 0.0):
            pass
        return self._n_events - before

    def statistics(self) -> TelemetryStatistics:
        """Numbers of this moment."""
        subscription, thread = self._subscription, self._thread
        return TelemetryStatistics(
            self._n_events,
            self._n_spans,
            self._n_metrics,
            self._n_failures,
            0 if subscription is None else subscription.statistics().lag or 0,
            thread is not None and thread.is_alive(),
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _opened(self) -> Subscription:
        with self._lock:
            if self._subscription is None:
                try:
                    self._subscription = self._subscribed(TELEMETRY_TYPES)
                except AsmError as error:
                    types = self._types_of_before(error)
                    if types is None:
                        raise
                    self._subscription = self._subscribed(types)
            return self._subscription

    def _subscribed(self, types: Iterable[EventType | str]) -> Subscription:
        surface = EventSurface(self._services)
        return surface.subscribe(self._session_id, type=types, after=self._after, name=self._name)

    def _types_of_before(self, error: AsmError) -> list[str] | None:
        """What the name follows, if it is that of an earlier telemetry, which knew fewer types: it keeps its place."""
        scope = error.details.get("scope")
        if error.code is not ErrorCode.INVALID_OPERATION or not isinstance(scope, dict):
            return None
        wanted = {} if self._session_id is None else {"session_id": self._session_id}
        types = scope.get("types")
        is_ours = {key: value for key, value in scope.items() if key != "types"} == wanted
        return types if is_ours and types and TELEMETRY_TYPES.issuperset(types) else None

    def _follow(self, subscription: Subscription) -> None:
        try:
            while self._take_page(subscription, None):
                pass
        except Exception:  # nobody waits for this thread: the log is where it can be seen
            logger.exception("telemetry ends: what follows is not told")

    def _take_page(self, subscription: Subscription, timeout: float | None) -> bool:
        """Tell of a page of events; return whether there may be more."""
        try:
            events = subscription.pull(timeout=timeout)
            for event in events:
                self._take(event)
            if events and subscription.acknowledged is not None:
                subscription.ack()
        except AsmError as error:
            if subscription.is_ended_by(error):
                return False
            raise
        return bool(events)

    # --- Telling -------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        self._n_events += 1
        self._remember(event)
        for signal in step(self._state, event):
            if isinstance(signal, Span):
                self._n_spans += 1
                self._tell("on_span", signal)
            else:
                self._n_metrics += 1
                self._tell("on_metric", signal)

    def _remember(self, event: Event) -> None:
        """Read what the state does not hold: from before it began, or forgotten."""
        state, store = self._state, self._services.store
        try:
            if wants_session(state, event):
                remember(state, store.session(event.session_id))
            if wants_run(state, event):
                prime(state, _earlier(store, event))
        except AsmError as error:
            # It was deleted for good meanwhile: what is left of it is told as far as it goes.
            if error.code not in (ErrorCode.SESSION_NOT_FOUND, ErrorCode.RUN_NOT_FOUND):
                raise

    def _tell(self, method: str, signal: Any) -> None:
        for hook in self._hooks:
            try:
                getattr(hook, method)(signal)
            except Exception:  # the user's, and harms only itself
                self._n_failures += 1
                if self._n_failures == 1:
                    logger.exception("a telemetry hook raised; further failures are counted only")


def _earlier(store: Store, event: Event) -> list[Event]:
    """The events of a run before this one."""
    assert event.run_id is not None
    start = store.run(event.run_id).from_sequence or 0
    wanted = EventFilter(
        run_ids=event.run_id, types=TELEMETRY_TYPES, after=start, before=event.sequence_number
    )
    return [one for one in store.read_session(event.session_id, wanted) if one.session_id == event.session_id]
