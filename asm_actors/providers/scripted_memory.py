"""A scripted provider that keeps conversations of its own, as agents that are commands do; for tests and examples."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.items import Item, MessageDone, TurnDone, TurnStarted
from asm_actors.providers.scripted import ScriptedProvider, Source

__all__ = ["RememberingProvider"]


class RememberingProvider(ScriptedProvider):
    """A `ScriptedProvider` that can be resumed by the id which it gave to a conversation.

    A turn without a ``provider_session_id`` begins a conversation; one with it goes on with that one, and its messages
    are those that are new. What was said in a turn is kept when the turn is done.

    Args:
        script: what it plays; see `ScriptedProvider`.
        capabilities: pairs of name and type, beside ``native_continuation``.
        **options: as for `ScriptedProvider`.

    Attributes:
        conversations: by id, the messages of each, ``role content`` at least; a test may forget one.
    """

    def __init__(
        self,
        script: Source | None = None,
        *,
        capabilities: Iterable[tuple[str, str]] = (("chat", "tool"), ("sampling", "sampling")),
        **options: Any,
    ) -> None:
        offers = (*capabilities, ("native_continuation", "sampling"))
        super().__init__(script, capabilities=offers, **options)
        self.conversations: dict[str, list[Mapping[str, Any]]] = {}
        self._n_begun = 0

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Item, None]:
        """Play the script for this request.

        Raises:
            ResourceError: ``not_found``: it knows no conversation of that id.
        """
        name = request.provider_session_id
        if name is None:
            self._n_begun += 1
            name = f"{self.name}-{self._n_begun}"
        elif name not in self.conversations:
            raise AsmError(ErrorCode.NOT_FOUND, f"provider {self.name} has no conversation {name}")
        said: list[Mapping[str, Any]] = list(request.messages)
        async with aclosing(super().stream(request)) as items:
            async for item in items:
                if isinstance(item, TurnStarted):
                    yield item._replace(provider_session_id=name)
                    continue
                if isinstance(item, MessageDone):
                    said.append({"role": item.role, "content": list(item.blocks) or item.content})
                elif isinstance(item, TurnDone):
                    self.conversations.setdefault(name, []).extend(said)
                yield item
