"""How the operations are carried out: what both halves of them share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from asm_actors.services import Services
from asm_actors.sessions.delivery import deliver
from asm_actors.sessions.door import known_provider
from supervisors import Future

__all__ = ["Carrying", "chosen", "configured"]

T = TypeVar("T")


class Carrying:
    """Base of the operations.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def _read(self, read: Callable[[], T]) -> Future[T]:
        """A future that reads where it is waited for: on a blocking caller's thread, off an awaiting caller's loop."""
        future: Future[T] = Future()
        future.set_get_hook(lambda _timeout: read())
        return future

    def _deliver(self, session_id: str, message: Any) -> Future[Any]:
        return deliver(self._services, session_id, message)

    def _provider(self, name: str | None) -> str | None:
        """Check the name of a provider; None stands for the only one, or for none yet."""
        return self._services.default_provider if name is None else known_provider(self._services, name)


def chosen(*claims: tuple[str, Hashable | None]) -> tuple[Hashable, ...]:
    """Of pairs of kind and value keep those whose value the caller chose."""
    return tuple(claim for claim in claims if claim[1] is not None)


def configured(services: Services, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return options of a run; of its workspace they say what the system is configured for where they say nothing."""
    workspace = options.get("workspace")
    if not isinstance(workspace, Mapping):
        return options
    return {**options, "workspace": {**services.config.workspace_options(), **workspace}}
