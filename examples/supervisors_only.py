"""The `supervisors` package without sessions and journals: actors, a tree, a crash, a restart.

Each actor is a real Pykka actor, run on slices of one event loop instead of a thread of its own.
"""

from __future__ import annotations

import logging
from typing import Any

from supervisors import Actor, ChildSpec, LoopDispatcher, Ref, Strategy, Supervisor, SupervisorFlags, control


class Counter(Actor):
    """Counts, until somebody says something that is no number."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step
        self._total = 0

    def on_receive(self, message: Any) -> Any:
        self._total += self._step * int(message)
        return self._total


def main() -> None:
    logging.getLogger("supervisors").setLevel(logging.CRITICAL)  # the crash below is meant
    with LoopDispatcher("example") as dispatcher:
        specs = [
            ChildSpec("ones", Counter, (1,), name="ones"),
            ChildSpec("tens", Counter, (10,), name="tens"),
        ]
        flags = SupervisorFlags(Strategy.ONE_FOR_ONE, intensity=3, period=5.0)
        root = dispatcher.start(Supervisor, specs, flags=flags)
        control.count_children(root).get(timeout=5.0)

        def ask(name: str, message: Any) -> Any:
            # A name outlives restarts; a ref is one life.
            return life_of(name).ask(message)

        def life_of(name: str) -> Ref[Any]:
            ref = dispatcher.names.whereis(name)
            assert ref is not None
            return ref

        print("ones:", ask("ones", 1), ask("ones", 1), " tens:", ask("tens", 1))
        first_life = life_of("ones")
        first_life.tell("a crash, please")
        while dispatcher.names.whereis("ones") in (None, first_life):
            control.count_children(root).get(timeout=5.0)
        print("after the crash, ones starts anew:", ask("ones", 1), " tens goes on:", ask("tens", 1))
        print(control.tree(root).get(timeout=5.0))
        root.stop()


if __name__ == "__main__":
    main()
