"""One definition, two faces: makes a blocking and an awaited method of an operation that returns a future.

The surface has its operations in `_operations`. `sessions.manager` has the same for the session managers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from supervisors import Future

__all__ = ["awaited", "blocking"]

P = ParamSpec("P")
T = TypeVar("T")


def blocking(operation: Callable[Concatenate[Any, P], Future[T]]) -> Callable[Concatenate[Any, P], T]:
    """Make the method that waits for the operation's result."""

    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return operation(self._operations, *args, **kwargs).get()

    _dress(method, operation)
    return method


def awaited(
    operation: Callable[Concatenate[Any, P], Future[T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Make the method whose result is awaited."""

    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await operation(self._operations, *args, **kwargs)

    _dress(method, operation)
    return method


def _dress(method: Any, operation: Callable[..., Any]) -> None:
    """Give a method the name, text and signature of its operation, returning the value and not its future."""
    functools.update_wrapper(method, operation)
    signature = inspect.signature(operation)
    returns = str(signature.return_annotation).removeprefix("Future[").removesuffix("]")
    method.__signature__ = signature.replace(return_annotation=returns)
