"""Files with a map in them, TOML or JSON, as people write them by hand: whatever is wrong is told in one sentence.

JSON that says one thing twice is refused, as TOML is: one of the two would be lost, and nobody would know which.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import invalid

__all__ = ["check_file", "read_json", "read_map"]


def check_file(value: object, field: str) -> Path:
    """Return what names a file as a path.

    Raises:
        ValidationError: It is no path, empty, or nothing that a file system can hold.
    """
    try:
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
    except TypeError:
        text = None
    if not isinstance(text, str) or not text:
        raise invalid(field, "must be the path of a file, as text or a pathlib.Path", value)
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        raw = b"\0"
    if b"\0" in raw:
        raise invalid(
            field, "must be a path that the file system can hold (no NUL, no lone surrogates)", text
        )
    return Path(text)


def read_map(path: Path, of: str = "settings") -> dict[str, Any]:
    """Read a file with one map in it: JSON if its name ends so, else TOML.

    Args:
        path: Where it is.
        of: From what its map is, for errors.

    Raises:
        ValidationError: It cannot be read, or holds something else; the message begins with its name.
    """
    text = _text(path)
    kind, loads = ("JSON", read_json) if path.suffix.lower() == ".json" else ("TOML", tomllib.loads)
    try:
        found = loads(text)
    except json.JSONDecodeError as error:
        raise _refused(path, f"line {error.lineno} is no {kind}: {error.msg}") from None
    except (tomllib.TOMLDecodeError, _Twice) as error:
        raise _refused(path, f"it is no {kind}: {error}") from None
    except RecursionError:
        raise _refused(path, "it is nested too deep") from None
    except ValueError:  # Python reads no integer of more than some thousand digits
        raise _refused(path, "it holds a number that is too long") from None
    if not isinstance(found, dict):
        raise _refused(path, f"it must hold a map from {of} to values")
    return found


def read_json(text: str) -> Any:
    """Read JSON of which no map has a key twice.

    Raises:
        ValueError: It is no such text.
        RecursionError: It is nested too deep.
    """
    return json.loads(text, object_pairs_hook=_map_of)


class _Twice(ValueError):  # noqa: N818 - told as what is wrong with a file
    """A key stands twice in a map."""


def _map_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Twice(f"the key {twice!r:.80} stands twice in one map")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise _refused(path, "there is no such file") from None
    except UnicodeDecodeError as error:
        raise _refused(path, f"it is no text in UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from None


def _refused(path: Path, message: str) -> AsmError:
    return AsmError(ErrorCode.VALIDATION_ERROR, f"{path}: {message}", details={"source": str(path)})
