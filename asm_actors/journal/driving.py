"""Steps that yield the futures they wait for, told once and gone through in three ways: blocking, awaited, or alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from supervisors import Future

__all__ = ["drive", "drive_alone", "drive_async"]

T = TypeVar("T")


def drive(steps: Generator[Future[Any], Any, T]) -> T:
    """Go through steps that yield what they wait for, blocking at each."""
    try:
        future = next(steps)
        while True:
            try:
                value = future.get()
            except Exception as error:  # the steps decide what it means
                future = steps.throw(error)
            else:
                future = steps.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


async def drive_async(steps: Generator[Future[Any], Any, T]) -> T:
    """Go through steps that yield what they wait for, awaiting each."""
    try:
        future = next(steps)
        while True:
            try:
                value = await future
            except Exception as error:  # as above
                future = steps.throw(error)
            else:
                future = steps.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def drive_alone(steps: Generator[Future[Any], Any, T], driver: Any = None) -> Future[T]:
    """Go through steps with nobody waiting, each on the thread that answers the one before.

    Args:
        steps: They must not yield futures that are made by a hook: nobody would call it.
        driver: Of the dispatcher (`Dispatcher.driver`).

    Returns:
        The future of what they return, or raise.
    """
    result: Future[T] = Future()
    result._driver = driver
    _go_on(steps, result, lambda: next(steps))
    return result


def _go_on(steps: Generator[Future[Any], Any, T], result: Future[T], step: Callable[[], Future[Any]]) -> None:
    while True:
        try:
            future = step()
        except StopIteration as stop:
            result.set(stop.value)
            return
        except Exception as error:  # whoever waits for the result is told
            result.set_error(error)
            return
        if not future.is_done:
            future.add_done_callback(lambda done: _go_on(steps, result, _after(steps, done)))
            return
        step = _after(steps, future)


def _after(steps: Generator[Future[Any], Any, T], done: Future[Any]) -> Callable[[], Future[Any]]:
    def step() -> Future[Any]:
        try:
            value = done.get()
        except Exception as error:  # as above
            return steps.throw(error)
        return steps.send(value)

    return step
