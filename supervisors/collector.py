"""Keeps Python's cyclic garbage collector from stopping a process that holds many actors.

The collector starts a pass after some hundred new containers and, each time the long-lived ones have grown by a
quarter, looks at every object there is. With tens of thousands of actors such a look takes a second, in which nothing
else runs, and a burst of sessions causes one after the other. Actors that end leave no cycles (a test holds that), so
these looks find nothing. While a dispatcher is open the passes are therefore rarer; cycles of user code are still
found, later. The settings are the process's: they are put back when the last dispatcher closes.
"""

from __future__ import annotations

import gc
import threading

__all__ = ["THRESHOLDS", "calm", "restore"]

THRESHOLDS = (50_000, 20, 100)
"""New containers before a pass over the youngest; such passes before one over the middle; those before a full one."""

_lock = threading.Lock()
_users = 0
_before: tuple[int, int, int] | None = None


def calm() -> None:
    """Make passes rarer, unless they are rarer already or switched off; counted, see `restore`."""
    global _users, _before  # noqa: PLW0603 - the collector is the process's
    with _lock:
        _users += 1
        if _users == 1:
            current = gc.get_threshold()
            if 0 < current[0] < THRESHOLDS[0]:
                _before = current
                gc.set_threshold(*THRESHOLDS)


def restore() -> None:
    """Undo one `calm`; with the last one the settings of before are back, unless somebody changed them meanwhile."""
    global _users, _before  # noqa: PLW0603 - as above
    with _lock:
        _users -= 1
        if _users == 0 and _before is not None:
            if gc.get_threshold() == THRESHOLDS:
                gc.set_threshold(*_before)
            _before = None
