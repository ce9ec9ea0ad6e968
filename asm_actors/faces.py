"""One definition, two faces: makes a blocking and an awaited method of an operation that returns a future.

The surface has its operations in `_operations`. `sessions.manager` has the same for the session managers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, cast

from asm_actors.errors import AsmError
from asm_actors.services import Services
from supervisors import Future

__all__ = ["awaited", "blocking", "refusing", "tell"]

P = ParamSpec("P")
T = TypeVar("T")


def blocking(operation: Callable[Concatenate[Any, P], Future[T]]) -> Callable[Concatenate[Any, P], T]:
    """Make the method that waits for the operation's result."""

    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return operation(self._operations, *args, **kwargs).get()
        except AsmError as error:
            tell(self._operations._services, error)

    _dress(method, operation)
    return method


def awaited(
    operation: Callable[Concatenate[Any, P], Future[T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Make the method whose result is awaited."""

    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await operation(self._operations, *args, **kwargs)
        except AsmError as error:
            tell(self._operations._services, error)

    _dress(method, operation)
    return method


def refusing(method: Callable[P, T]) -> Callable[P, T]:
    """Let a method of a surface, blocking or not, raise errors as `tell` does; the surface has its `_services`."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaiting(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return await method(*args, **kwargs)
            except AsmError as error:
                tell(args[0]._services, error)  # type: ignore[attr-defined]

        return cast("Callable[P, T]", awaiting)

    @functools.wraps(method)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except AsmError as error:
            tell(args[0]._services, error)  # type: ignore[attr-defined]

    return waiting


def tell(services: Services, error: AsmError) -> NoReturn:
    """Raise an error as a caller is told it: what it quotes may be a secret that was given by mistake.

    It is the very same error if it holds none; else what caused it is left out.
    """
    redactor = services.redactor
    shown = error if redactor is None else redactor.error(error)
    if shown is error:
        raise error
    raise shown from None


def _dress(method: Any, operation: Callable[..., Any]) -> None:
    """Give a method the name, text and signature of its operation, returning the value and not its future."""
    functools.update_wrapper(method, operation)
    signature = inspect.signature(operation)
    returns = str(signature.return_annotation).removeprefix("Future[").removesuffix("]")
    method.__signature__ = signature.replace(return_annotation=returns)
