"""Fast copies of frozen records.

``attrs.evolve`` looks every field up by name on each call, which costs more than building the record does.
A run changes its record at every turn and a session at every commit, so both copy through here instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeVar

import attrs

__all__ = ["replacer"]

_R = TypeVar("_R")


def replacer(kind: type[_R]) -> Callable[[_R, Mapping[str, Any]], _R]:
    """Return a function that copies a record of the attrs class ``kind`` with some fields changed.

    The copy is not validated. A name that is no field raises ``TypeError``.
    """
    names = [field.name for field in attrs.fields(kind)]  # type: ignore[arg-type]
    read = attrgetter(*names)
    place = {name: index for index, name in enumerate(names)}

    def replace(record: _R, changes: Mapping[str, Any]) -> _R:
        values = list(read(record))
        for name, value in changes.items():
            if name not in place:
                raise TypeError(f"{kind.__name__} has no field {name!r}; its fields are {', '.join(names)}")
            values[place[name]] = value
        return kind(*values)

    return replace
