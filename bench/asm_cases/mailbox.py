"""Actors that pass messages: dispatched ones, told from outside or by another actor, bounded or not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from bench.harness import Meter, Options, Result, measures
from supervisors import Actor, LoopDispatcher, Overloaded

__all__ = ["bounded", "inside", "mailbox"]

#: How many asks are timed.
_ASKS: Final = 2_000


class Note(NamedTuple):
    """Tells a receiver something."""

    number: int


class Count(NamedTuple):
    """Asks a receiver how many notes it got."""


class _Spray(NamedTuple):
    """Tells the sender to tell the receivers so many notes in turn."""

    receivers: Sequence[Any]
    messages: int


class _Receiver(Actor):
    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def on_receive(self, message: Any) -> int | None:
        if type(message) is Note:
            self._count += 1
            return None
        return self._count


class _Bounded(_Receiver):
    mailbox_capacity = 100


class _Sender(Actor):
    def on_receive(self, message: Any) -> None:
        receivers = message.receivers
        for number in range(message.messages):
            receivers[number % len(receivers)].tell(Note(number))


def mailbox(options: Options) -> Result:
    """Tell from a thread; then ask from it."""
    return _measure(options, _Receiver, _tell_all)


def bounded(options: Options) -> Result:
    """Tell from a thread to mailboxes that hold 100; a sender that is refused waits a little."""
    return _measure(options, _Bounded, _tell_bounded)


def inside(options: Options) -> Result:
    """Have an actor tell the others, as most messages in a system are told."""
    return _measure(options, _Receiver, _tell_inside)


def _measure(options: Options, receiver: type[_Receiver], tell: Any) -> Result:
    messages, meter = options.size("messages"), Meter()
    dispatcher = LoopDispatcher("bench", hold_limit_s=60.0).open()
    try:
        refs: list[Any] = [dispatcher.start(receiver) for _ in range(options.size("actors"))]
        with meter:
            tell(dispatcher, refs, messages)
            # Behind the notes in every mailbox: when all have answered, all notes have been handled.
            answers = [ref.ask(Count(), block=False) for ref in refs]
            counted = sum(answer.get() for answer in answers)
        assert counted == messages, f"{counted} of {messages} messages arrived"
        latencies_s = ask_all(refs)
    finally:
        dispatcher.close()
    return result(meter, messages, latencies_s)


def _tell_all(dispatcher: LoopDispatcher, refs: Sequence[Any], messages: int) -> None:
    for number in range(messages):
        refs[number % len(refs)].tell(Note(number))


def _tell_bounded(dispatcher: LoopDispatcher, refs: Sequence[Any], messages: int) -> None:
    for number in range(messages):
        ref = refs[number % len(refs)]
        while True:
            try:
                ref.tell(Note(number))
                break
            except Overloaded:
                time.sleep(0.0005)


def _tell_inside(dispatcher: LoopDispatcher, refs: Sequence[Any], messages: int) -> None:
    sender: Any = dispatcher.start(_Sender)
    sender.ask(_Spray(refs, messages))


def ask_all(refs: Sequence[Any]) -> list[float]:
    """Ask one actor after another and return how long each answer took, in seconds."""
    latencies_s = []
    for number in range(_ASKS):
        begun = time.perf_counter()
        refs[number % len(refs)].ask(Count())
        latencies_s.append(time.perf_counter() - begun)
    return latencies_s


def result(meter: Meter, messages: int, latencies_s: list[float]) -> Result:
    """Return a case's result."""
    rate = round(messages / meter.measured.wall_s, 1)
    return measures(meter.measured, latencies_s=latencies_s, messages_per_s=rate)
