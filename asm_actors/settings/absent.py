"""Settings of comparable systems that have no meaning here, each with the reason. Pure.

Who brings one along is told why it is refused, instead of believing that it acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["ABSENT"]

_SQLITE: Final = "the journal is no SQL database: it has one writer, so nothing is ever busy or split"

ABSENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "drain_timeout_buffer_ms": "whoever drains is answered by the drain itself: no second clock runs",
        "execute_grace_timeout_ms": "the provider's actor itself ends a turn that takes too long",
        "event_stream_poll_interval_ms": "nothing polls: readers are woken by the commit that brings an event",
        "genserver_call_timeout_ms": "actors do not wait for each other: a call that is not answered holds nobody up",
        "policy_cost_rates": "policies count with the prices of pricing_table",
        "sqlite_max_bind_params": _SQLITE,
        "sqlite_busy_retry_attempts": _SQLITE,
        "sqlite_busy_retry_sleep_ms": _SQLITE,
    }
)
"""Why there is no such setting, by name."""
