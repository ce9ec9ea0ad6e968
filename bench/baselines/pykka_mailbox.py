"""Plain Pykka in `mailbox`: an actor is a thread."""

from __future__ import annotations

from typing import Any

import pykka

from bench.asm_cases.mailbox import Count, Note, ask_all, result
from bench.harness import Meter, Options, Result

__all__ = ["mailbox"]


class _Receiver(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def on_receive(self, message: Any) -> int | None:
        if type(message) is Note:
            self._count += 1
            return None
        return self._count


def mailbox(options: Options) -> Result:
    """Tell from a thread; then ask from it."""
    messages, meter = options.size("messages"), Meter()
    try:
        refs = [_Receiver.start() for _ in range(options.size("actors"))]
        with meter:
            for number in range(messages):
                refs[number % len(refs)].tell(Note(number))
            counted = sum(pykka.get_all([ref.ask(Count(), block=False) for ref in refs]))
        assert counted == messages, f"{counted} of {messages} messages arrived"
        latencies_s = ask_all(refs)
    finally:
        pykka.ActorRegistry.stop_all()
    return result(meter, messages, latencies_s)
