"""What is to be done about the files that a run works on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, Self

from attrs import asdict, field, fields, frozen

from asm_actors.config import EXCLUDED_WORKSPACE_ROOTS, MAX_PATCH_BYTES
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_integer, check_number, check_text, invalid, json_map, parse_member

__all__ = ["WORKSPACE_TIMEOUT", "Strategy", "WorkspaceConfig"]

WORKSPACE_TIMEOUT: Final = 300.0
"""Seconds that one command of a workspace may take: the first look at a large tree takes its time."""


class Strategy(StrEnum):
    """How a workspace keeps its snapshots; ``auto`` chooses between the others."""

    AUTO = "auto"
    GIT = "git"
    HASH = "hash"


def _strategy(value: object) -> Strategy:
    return parse_member(Strategy, value, ErrorCode.VALIDATION_ERROR)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise invalid("an ignore list", "must be a list of strings", value)
    found = tuple(check_text(item, "an item of an ignore list") for item in value)
    if not all(found):
        raise AsmError(ErrorCode.VALIDATION_ERROR, "an item of an ignore list cannot be empty")
    return found


def _path(value: Any) -> str | None:
    if value is None:
        return None
    if hasattr(value, "__fspath__"):
        value = value.__fspath__()
    text = check_text(value, "a path")
    if not text or "\0" in text:
        raise invalid("a path", "must not be empty nor hold NUL", text)
    return text


def _boolean(_: Any, attribute: Any, value: object) -> None:
    if not isinstance(value, bool):
        raise invalid(attribute.name, "must be true or false", value)


@frozen(kw_only=True)
class WorkspaceConfig:
    """What is to be done about the files that a run works on. Checked when it is made.

    Attributes:
        enabled: whether anything is.
        path: the directory; None for this process's own.
        strategy: ``git``: the whole work tree that the directory belongs to; ``hash``: the directory; ``auto``: git
            where the directory is the top of a repository or has tracked files in it, else hash.
        capture_patch: whether differences hold a patch.
        max_patch_bytes: the longest patch that is kept with a difference.
        rollback_on_failure: whether the files of a failed run are put back.
        include_ignored: git: whether snapshots hold what git ignores, too.
        ignore_paths: hash: paths below the directory that are left alone, besides `excluded_roots`.
        ignore_globs: hash: the same by patterns with ``*``, ``?`` and ``**``; one without ``/`` fits base names
            anywhere.
        excluded_roots: hash: folders at its top that are left alone.
        store_path: hash: where copies are kept; None for ``asm/workspaces`` in the user's state directory.
        timeout: seconds that one command may take.
        artifacts: whether patches of runs are kept in the system's artifact store (`artifact_store` of its start)
            instead of in the runs' records. In the store they are as they are, for they can be applied again; in a
            record secrets are taken out of them, like of all that goes to the journal.
        keep_snapshots: whether both snapshots of a run are kept until somebody releases them, so that what it did can
            be undone by hand. Otherwise only what would be lost is kept: see `runs.workspaces`.

    Raises:
        ValidationError: a field is malformed; the message names it.
    """

    enabled: bool = field(default=False, validator=_boolean)
    path: str | None = field(default=None, converter=_path)
    strategy: Strategy = field(default=Strategy.AUTO, converter=_strategy)
    capture_patch: bool = field(default=True, validator=_boolean)
    max_patch_bytes: int = MAX_PATCH_BYTES
    rollback_on_failure: bool = field(default=False, validator=_boolean)
    include_ignored: bool = field(default=False, validator=_boolean)
    ignore_paths: tuple[str, ...] = field(default=(), converter=_texts)
    ignore_globs: tuple[str, ...] = field(default=(), converter=_texts)
    excluded_roots: tuple[str, ...] = field(default=EXCLUDED_WORKSPACE_ROOTS, converter=_texts)
    store_path: str | None = field(default=None, converter=_path)
    timeout: float = WORKSPACE_TIMEOUT
    artifacts: bool = field(default=False, validator=_boolean)
    keep_snapshots: bool = field(default=False, validator=_boolean)

    def __attrs_post_init__(self) -> None:
        check_integer(self.max_patch_bytes, "max_patch_bytes", least=0)
        if check_number(self.timeout, "timeout") <= 0:
            raise invalid("timeout", "must be more than 0 seconds", self.timeout)

    def to_map(self) -> dict[str, Any]:
        """Return the configuration as a JSON-ready map."""
        return asdict(self) | {
            "strategy": self.strategy.value,
            "ignore_paths": list(self.ignore_paths),
            "ignore_globs": list(self.ignore_globs),
            "excluded_roots": list(self.excluded_roots),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote, or what was written by hand: an absent field has its default.

        Raises:
            ValidationError: no map, an unknown name, or a malformed field.
        """
        found = json_map(value, "workspace")
        known = [each.name for each in fields(cls)]
        for name in found:
            if name not in known:
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    f"a workspace has no field {name!r:.80}; it has {', '.join(known)}",
                    details={"field": "workspace"},
                )
        return cls(**found)
