"""`open_workspace`: find out what kind of workspace a directory is, and open it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import invalid
from asm_actors.workspace.backend import Context, Workspace
from asm_actors.workspace.config import Strategy, WorkspaceConfig
from asm_actors.workspace.git_backend import GitWorkspace
from asm_actors.workspace.git_calls import Git
from asm_actors.workspace.git_repository import Repository
from asm_actors.workspace.hash_backend import HashWorkspace

__all__ = ["open_workspace"]


def open_workspace(config: WorkspaceConfig | Mapping[str, Any], **context: Any) -> Workspace:
    """Open a directory whose state is to be kept. Blocks; there is nothing to close.

    Args:
        config: What is asked for; or a map of its fields.
        **context: The other fields of `Context`: ``artifacts``, ``stop``, ``now``, ``new_name``.

    Raises:
        AsmError: ``validation_error``: a field is malformed, there is no such directory, or it belongs to no git work
            tree and git is asked for; ``dependency_not_available``: git is needed and not installed;
            ``command_failed``: git refuses the repository.
    """
    if isinstance(config, Mapping):
        config = WorkspaceConfig.from_map(config)
    elif not isinstance(config, WorkspaceConfig):
        raise invalid("config", "must be a WorkspaceConfig, or a map of its fields", config)
    made = Context(config=config, **context)
    root = Path(os.path.realpath(config.path or "."))
    if not root.is_dir():
        raise AsmError(ErrorCode.VALIDATION_ERROR, f"there is no directory {root}", details={"field": "path"})
    if config.strategy != Strategy.HASH:
        repository = _repository(made, root)
        if repository is not None:
            return GitWorkspace(made, repository)
        if config.strategy == Strategy.GIT:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR, f"{root} belongs to no git work tree", details={"field": "path"}
            )
    return HashWorkspace(made, root)


def _repository(context: Context, root: Path) -> Repository | None:
    """Return the work tree to use, or None to use none."""
    config = context.config
    git = Git(root, timeout=config.timeout, stop=context.stop)
    try:
        found = Repository.find(root, git)
    except AsmError as error:
        is_outside = not any((folder / ".git").exists() for folder in (root, *root.parents))
        if (
            error.code == ErrorCode.DEPENDENCY_NOT_AVAILABLE
            and config.strategy == Strategy.AUTO
            and is_outside
        ):
            return None
        raise
    if found is None or config.strategy == Strategy.GIT or found.root == root:
        return found
    # A directory that merely lies below some repository, such as one of the user's settings, is not its work tree.
    return found if git.items("ls-files", "-z", "--", ".") else None
