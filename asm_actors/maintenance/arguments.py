"""Checks of what callers of maintenance give: places, streams, callbacks. All raise ``validation_error``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from io import BufferedIOBase, RawIOBase
from typing import TypeVar

from asm_actors.serialization import invalid

__all__ = ["check_callable", "check_path", "check_source", "check_target"]

_T = TypeVar("_T")


def check_callable(value: _T, field: str) -> _T:
    """Return a callback, or None for none."""
    if value is not None and not callable(value):
        raise invalid(field, "must be callable", value)
    return value


def check_path(value: object, field: str) -> str:
    """Return a path as text."""
    path = value
    if isinstance(value, os.PathLike):
        path = value.__fspath__()
    if not isinstance(path, str) or not path or "\0" in path:
        raise invalid(field, "must be a path: text that is not empty and has no NUL, or a Path", value)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise invalid(field, "must be a path that the file system can hold", value) from None
    return path


def check_target(value: _T, field: str) -> _T:
    """Return a path, or something to write text to."""
    if not callable(getattr(value, "write", None)):
        check_path(value, field)
    else:
        _check_stream(value, field)
    return value


def check_source(value: _T, field: str) -> _T:
    """Return a path, or something that gives lines of text."""
    is_text = isinstance(value, str | bytes | os.PathLike)
    if is_text or not isinstance(value, Iterable) or isinstance(value, Mapping):
        check_path(value, field)
    else:
        _check_stream(value, field)
    return value


def _check_stream(value: object, field: str) -> None:
    if isinstance(value, RawIOBase | BufferedIOBase):
        raise invalid(field, "must take and give text, not bytes", value)
    if getattr(value, "closed", False) is True:
        raise invalid(field, "must be open", value)
