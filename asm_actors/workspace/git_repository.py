"""What git knows of a work tree: where its parts are, where HEAD is, what is ignored, what is staged."""

from __future__ import annotations

import os
import shutil
from hashlib import new
from pathlib import Path
from typing import Any, NamedTuple, Self

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.git_calls import Git
from asm_actors.workspace.tree import parents_of

__all__ = ["Head", "Repository"]


class Head(NamedTuple):
    """Where HEAD is."""

    commit: str | None
    """The commit; None before the first."""
    tree: str | None
    """Its tree."""
    branch: str | None
    """The branch, as a full name; None if HEAD is detached."""


@frozen
class Repository:
    """A work tree.

    Attributes:
        git: calls git at its top.
        root: the top, absolute, without links.
        index: the index.
        digest: ``sha1`` or ``sha256``.
    """

    git: Git
    root: Path
    index: Path
    digest: str

    @classmethod
    def find(cls, directory: Path, git: Git) -> Self | None:
        """Find the work tree that a directory belongs to; None if it belongs to none.

        Raises:
            AsmError: ``dependency_not_available``: there is no git; ``command_failed``: git refuses, such as for a
                repository of another user.
        """
        try:
            told = git.text("rev-parse", "--is-inside-work-tree", "--show-cdup", "--show-object-format")
        except AsmError as error:
            if error.code == ErrorCode.COMMAND_FAILED and "not a git repository" in error.message:
                return None
            raise
        if not told.startswith("true\n"):
            return None  # a bare one, or the inside of `.git`
        _, up, digest = told.split("\n")
        root = Path(os.path.normpath(directory / up))
        at_top = git.elsewhere(root)
        index = Path(os.path.normpath(root / at_top.text("rev-parse", "--git-path", "index")))
        return cls(git=at_top, root=root, index=index, digest=digest)

    def name_of(self, raw: bytes) -> str:
        """Return the name of an object, given its kind, size and content."""
        return new(self.digest, raw, usedforsecurity=False).hexdigest()

    @property
    def empty_tree(self) -> str:
        """The name of the tree with nothing in it."""
        return self.name_of(b"tree 0\0")

    def head(self) -> Head:
        """Tell where HEAD is."""
        lines = self.git.text(
            "cat-file", "--batch-check=%(objectname)", stdin=b"HEAD^{commit}\nHEAD^{tree}\n"
        ).split("\n")
        commit, tree = (None if line.endswith(" missing") else line for line in lines)
        return Head(commit, tree, self.git.maybe("symbolic-ref", "-q", "HEAD"))

    def head_of(self, path: str) -> str | None:
        """Tell which commit a repository inside the work tree is at, or None."""
        place = self.root / path
        if not place.is_dir():
            return None
        inner = self.git.elsewhere(place)
        found = inner.run("--git-dir=.git", "rev-parse", "-q", "--verify", "HEAD", success=(0, 1, 128))
        return None if found.exit_code else found.stdout_text.strip()

    def index_copy(self, copy: Path) -> tuple[bytes, int] | None:
        """Copy the index, with its time, on which it depends what git takes for unchanged.

        Returns:
            The index, whole even if it is split, and its time in nanoseconds; None if there is none.
        """
        try:
            with self.index.open("rb") as file:
                content, found = file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        copy.write_bytes(content)
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        shared = list(self.index.parent.glob("sharedindex.*"))
        if shared:
            # Git puts the rest of a split index there, and removes it when it has not been used for some time.
            for path in shared:
                shutil.copy2(path, copy.parent)
            words = ("update-index", "--no-split-index", "--force-write-index")
            self.git.run(*words, env={"GIT_INDEX_FILE": str(copy)})
            content, found = copy.read_bytes(), copy.stat()
        return content, found.st_mtime_ns

    def excludes(self) -> bytes:
        """Return the patterns that are not in the work tree: the user's and the repository's own, weakest first."""
        config = self.git.maybe("config", "--type=path", "--get", "core.excludesFile")
        if config is None:
            base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.environ.get("HOME", ""), ".config")  # noqa: PTH118
            config = f"{base}/git/ignore"
        own = self.git.text("rev-parse", "--git-path", "info/exclude")
        return b"".join(_read(self.root / path) + b"\n" for path in (config, own) if path)

    def ignored(self, index: Path, patterns: Path) -> tuple[str, ...]:
        """List what is ignored and not tracked.

        Args:
            index: An index, which tells what is tracked; it need not exist.
            patterns: A file of patterns besides those in the work tree.

        Returns:
            Paths; a folder that is ignored as a whole ends with a slash.
        """
        found = self.git.items(
            "ls-files",
            "-z",
            "--others",
            "--ignored",
            "--directory",
            "--exclude-per-directory=.gitignore",
            f"--exclude-from={patterns}",
            env={"GIT_INDEX_FILE": str(index)},
        )
        # A folder that only happens to hold nothing else is listed, too; what is in it is listed then.
        within = {f"{folder}/" for path in found for folder in parents_of(path.removesuffix("/"))}
        return tuple(path for path in found if path not in within)

    def staged(self, index: Path, head: Head) -> tuple[bool, set[str]]:
        """Tell whether the index differs from HEAD, and return the contents that it has and HEAD has not."""
        env: dict[str, Any] = {"env": {"GIT_INDEX_FILE": str(index)}}
        base = head.commit or self.empty_tree
        items = self.git.items(
            "diff-index", "--cached", "--raw", "--no-abbrev", "--no-renames", "-z", base, "--", **env
        )
        found: set[str] = set()
        is_unmerged = False
        for line in items[::2]:
            _, mode, _, name, status = line.split(" ")
            is_unmerged = is_unmerged or status == "U"
            if name.strip("0") and mode != "160000":
                found.add(name)
        if is_unmerged:
            for line in self.git.items("ls-files", "--unmerged", "-z", **env):
                mode, name, _ = line.partition("\t")[0].split(" ")
                if mode != "160000":
                    found.add(name)
        return bool(items), found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
