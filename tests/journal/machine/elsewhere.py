"""Another process that has the journal open for reading only, and answers what it is asked about it.

``python -m tests.journal.machine.elsewhere`` is that process; :class:`OtherProcess` starts it and asks.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from asm_actors.journal.lmdb_store import LmdbStore
from tests.journal.machine.agreement import look
from tests.journal.machine.small import with_small_zones

_REPOSITORY = Path(__file__).resolve().parents[3]


class OtherProcess:
    """See the module. Use it in a `with` block, which ends the process.

    Attributes:
        is_open: Whether it has a journal open.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(10)
            self._process.stdout.close()

    def open(self, path: Path) -> None:
        """Have it open a journal."""
        self._ask("open", (path,), {})
        self.is_open = True

    def close(self) -> None:
        """Have it close the journal, if it has one open."""
        if self.is_open:
            self._ask("close", (), {})
            self.is_open = False

    def ask(self, name: str, *args: Any, **options: Any) -> Any:
        """What a method of its store returns; what it raises is raised here. ``look`` looks at everything."""
        return self._ask(name, args, options)

    def _ask(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                cwd=_REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        pickle.dump((name, args, options), stdin)
        stdin.flush()
        is_well, answer = pickle.load(stdout)
        if not is_well:
            raise answer
        return answer


def _serve() -> None:
    store: Any = None
    with with_small_zones():
        while True:
            try:
                name, args, options = pickle.load(sys.stdin.buffer)
            except EOFError:
                break
            try:
                if name == "open":
                    store = LmdbStore(*args, readonly=True)
                    answer = True, store.open()
                elif name == "look":
                    answer = True, look(store)
                else:
                    answer = True, getattr(store, name)(*args, **options)
            except Exception as error:
                answer = False, error
            pickle.dump(answer, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    if store is not None:
        store.close()


if __name__ == "__main__":
    _serve()
