"""The targets of a router as things to open and to close: each opened once, whoever needs it first."""

from __future__ import annotations

import asyncio
import copy
import logging

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.routing.target import Target
from supervisors.exits import error_text

__all__ = ["OpenTarget", "as_error"]

logger = logging.getLogger("asm_actors.routing")


def as_error(name: str, defect: Exception) -> AsmError:
    """Make of anything that a target raised an error of the tree.

    What is no `AsmError` is a defect of that target. As a provider of its own it would be started again, and its turns
    that said nothing would be tried again; here another target may answer them.
    """
    if isinstance(defect, AsmError):
        return defect
    text = f"target {name} crashed: {error_text(defect):.500}"
    logger.error(text, exc_info=defect)
    error = AsmError.wrap(ErrorCode.PROVIDER_ERROR, defect, text)
    error.retryable = True
    return error


class OpenTarget:
    """A target with its state.

    Args:
        name: Its name.
        target: The target.
    """

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self.target = target
        self._is_open = False
        self._opening: asyncio.Future[AsmError | None] | None = None

    async def open(self) -> None:
        """Open it, also if that was done: the loop may be another one, and the provider knows.

        Raises:
            AsmError: It cannot be opened.
        """
        self._is_open = False
        self._opening = None
        await self.ready()

    async def ready(self) -> None:
        """Have it open. Who comes while it is being opened waits for that; one who gives up leaves it to the next.

        Raises:
            AsmError: It cannot be opened.
        """
        while not self._is_open:
            opening = self._opening
            if opening is None:
                await self._open()
                return
            await asyncio.wait([opening])
            error = opening.result()
            if error is not None:
                raise copy.copy(error)

    async def _open(self) -> None:
        opening = self._opening = asyncio.get_running_loop().create_future()
        error: AsmError | None = None
        try:
            await self.target.provider.open()
        except AsmError as failure:
            error = failure
            raise
        except Exception as defect:
            error = as_error(self.name, defect)
            raise error from defect
        else:
            self._is_open = True
        finally:
            if self._opening is opening:
                self._opening = None
            opening.set_result(error)

    async def aclose(self) -> None:
        """Close it. Asking twice is asking once."""
        self._is_open = False
        await self.target.provider.aclose()
