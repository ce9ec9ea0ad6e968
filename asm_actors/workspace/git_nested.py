"""Repositories inside a work tree: submodules that are checked out, and others, at any depth.

Each is kept by a commit and a ref (below ``refs/asm/nested/``) in its own repository, and listed in the snapshot of the
work tree around it: by path, with its commit, its HEAD, its ``.git`` if that is a file, and the names of its contents.
They are found by the one look that a snapshot takes anyway.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from attrs import Factory, evolve, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.backend import Context
from asm_actors.workspace.files import Seeing, scan
from asm_actors.workspace.git_calls import Git
from asm_actors.workspace.git_repository import Repository
from asm_actors.workspace.git_worktree import Held, WorkTree
from asm_actors.workspace.snapshot import Snapshot, displayed
from asm_actors.workspace.tree import Entry, checked, ignored_in

__all__ = [
    "Inner",
    "digest_of",
    "git_dir_of",
    "git_dirs_of",
    "is_kept",
    "is_real_folder",
    "keep_nested",
    "nested_of",
    "opened",
    "part_of",
    "release_nested",
    "repositories_in",
    "told_of",
]

_REFS: Final = "refs/asm/nested"
_GIT_FILE: Final = "gitdir: "


@frozen(kw_only=True)
class Inner:
    """What a snapshot holds of one repository inside.

    Attributes:
        id: the name of what is kept of it.
        ref: the commit in its own repository, or None if nothing could be kept.
        head: where HEAD was, or None.
        branch: the branch, as a full name, or None.
        dirty: whether there was more than what HEAD has.
        git_file: what ``.git`` holds if it is a file, or None.
        reason: why nothing could be kept, or None.
        files: files and links in it.
    """

    id: str
    ref: str | None = None
    head: str | None = None
    branch: str | None = None
    dirty: bool = False
    git_file: str | None = None
    reason: str | None = None
    files: dict[str, Entry] = Factory(dict)

    @property
    def ref_name(self) -> str:
        """The ref that keeps it."""
        return f"{_REFS}/{self.id}"

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "id": self.id,
            "ref": self.ref,
            "head": self.head,
            "branch": self.branch,
            "dirty": self.dirty,
            "git_file": self.git_file,
            "reason": self.reason,
            "files": {path: list(entry) for path, entry in self.files.items()},
        }

    @classmethod
    def from_map(cls, found: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_map` wrote."""
        files = {checked(path): Entry(*entry) for path, entry in found["files"].items()}
        return cls(**{**found, "files": files})


def nested_of(held: Held, ref: str) -> dict[str, Inner]:
    """Return the repositories inside that a snapshot knows of, by path, each after those around it.

    Raises:
        AsmError: ``storage_read_failed``: the list is damaged.
    """
    # A snapshot of an earlier version knows only where they were.
    found = {path: Inner(id="", head=head, reason="was not kept") for path, head in held.tree.repos.items()}
    if held.nested is not None:
        try:
            told = json.loads(held.nested)
            found |= {checked(path): Inner.from_map(each) for path, each in told["repos"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AsmError.wrap(
                ErrorCode.STORAGE_READ_FAILED, error, f"the snapshot {ref} cannot be read: {error}"
            ) from error
    return dict(sorted(found.items()))


def told_of(nested: Mapping[str, Inner]) -> dict[str, Any]:
    """Return what a snapshot's value tells of the repositories inside."""
    told = {}
    for path, inner in nested.items():
        known: dict[str, Any] = {"ref": inner.ref, "head_ref": inner.head}
        if inner.ref is None:
            known["reason"] = inner.reason
        else:
            known |= {"branch": inner.branch and displayed(inner.branch), "dirty": inner.dirty}
        told[displayed(path)] = known
    return told


def part_of(nested: Mapping[str, Inner]) -> bytes:
    """Return the list that a snapshot keeps."""
    return json.dumps(
        {"version": 1, "repos": {path: inner.to_map() for path, inner in nested.items()}}
    ).encode()


# --- Keeping ---------------------------------------------------------------------------------------------------------


def keep_nested(
    context: Context,
    top: WorkTree,
    repos: Mapping[str, str | None],
    snapshot: Snapshot,
    scratch: Path,
    seeing_of: Callable[[str, str], Seeing],
    nested: dict[str, Inner],
) -> None:
    """Keep the repositories inside, and those inside them.

    Args:
        context: What the workspace works with.
        top: The work tree around them.
        repos: Where they are, and where their HEAD is.
        snapshot: What is known of the snapshot.
        scratch: A directory for files of the moment.
        seeing_of: Given a path and a kind of digest, returns what is remembered of the files there.
        nested: Gets what was kept by path, each when it is, so that it can be given back when another one fails.

    Raises:
        AsmError: ``storage_read_failed``, ``command_timeout``, ``cancelled``. A repository that is broken is no error.
    """
    waiting = sorted(repos.items(), reverse=True)
    while waiting:
        path, head = waiting.pop()
        place = top.repository.root / path
        inner = Inner(id=_id_of(snapshot.id, path), head=head, git_file=_git_file(place / ".git"))
        if not is_real_folder(top.repository.root, path):
            nested[path] = evolve(inner, reason="it went while the snapshot was taken")
            continue
        try:
            repository = Repository.find(place, top.git.elsewhere(place))
            if repository is None or repository.root != place:
                nested[path] = evolve(inner, reason="git sees no work tree there")
                continue
            work_tree = WorkTree(context, repository, seeing_of(path, repository.digest))
            looked = work_tree.look(scratch)
            value = Snapshot(
                id=inner.id,
                backend=snapshot.backend,
                path=str(place),
                ref="",
                label=snapshot.label,
                captured_us=snapshot.captured_us,
            )
            # It is named after the snapshot around it: what is there already is of a try that was not completed.
            kept = work_tree.keep(looked, value, scratch, inner.ref_name, is_new=False)
        except AsmError as error:
            if error.code != ErrorCode.COMMAND_FAILED:
                raise
            nested[path] = evolve(inner, reason=error.message[:500])
            continue
        waiting += sorted(((f"{path}/{each}", at) for each, at in looked.tree.repos.items()), reverse=True)
        nested[path] = evolve(
            inner,
            ref=kept.ref,
            head=looked.head.commit,
            branch=looked.head.branch,
            dirty=kept.metadata["dirty"],
            files=looked.tree.files,
        )


def release_nested(top: WorkTree, nested: Mapping[str, Inner], ignored: tuple[str, ...] = ()) -> None:
    """Keep the repositories inside no longer; those that are gone have taken all with them.

    Args:
        top: The work tree around them.
        nested: Where they were, and what is kept.
        ignored: What is not looked at when one is not where it was.
    """
    root, missing = top.repository.root, []
    for path, inner in nested.items():
        if inner.ref is not None and not any(
            _is_released(top, git_dir, [inner]) for git_dir in git_dirs_of(root / path, inner)
        ):
            missing.append(inner)
    if not missing:
        return
    with contextlib.suppress(AsmError):  # what cannot be looked at, nobody can find
        for place in repositories_in(root, ignored):
            git_dir = git_dir_of(root / place)
            if git_dir is not None:
                _is_released(top, git_dir, missing)


def _is_released(top: WorkTree, git_dir: Path, inners: Iterable[Inner]) -> bool:
    """Remove the refs of those that a repository keeps; tell whether there were any."""
    found = [inner for inner in inners if is_kept(top.git, git_dir, inner)]
    for inner in found:
        top.git.at(git_dir, top.repository.root).run("update-ref", "--no-deref", "-d", inner.ref_name)
    return bool(found)


def repositories_in(root: Path, ignored: tuple[str, ...], *, opens: bool = False) -> list[str]:
    """Return where repositories are now, those in others after these.

    Args:
        root: The work tree around them.
        ignored: What is not looked at.
        opens: Whether folders that may not be read are made to allow it.
    """
    is_ignored = ignored_in(ignored)
    found, waiting = [], [""]
    while waiting:
        above = waiting.pop()
        within = f"{above}/" if above else ""
        seen = scan(
            root / above,
            _below(within, is_ignored),
            leaves_repos=True,
            opens=opens,
        )
        waiting += [within + path for path in seen.repos]
        found += [within + path for path in seen.repos]
    return sorted(found)


def _below(within: str, is_ignored: Callable[[str, bool], bool]) -> Callable[[str, bool], bool]:
    return lambda path, is_folder: path == ".git" or is_ignored(within + path, is_folder)


def _id_of(snapshot_id: str, path: str) -> str:
    digest = sha256(f"{snapshot_id}\0{path}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"snap_{digest[:32]}"


# --- Finding again ---------------------------------------------------------------------------------------------------


def is_real_folder(root: Path, path: str) -> bool:
    """Tell whether a path leads to a folder, and over no link."""
    place = root
    for part in path.split("/") if path else ():
        place /= part
        try:
            if not stat.S_ISDIR(place.lstat().st_mode):
                return False
        except OSError:
            return False
    return True


def git_dir_of(place: Path, git_file: str | None = None) -> Path | None:
    """Return the directory of the repository whose work tree is at a place; None if there is none.

    Args:
        place: The work tree.
        git_file: What its ``.git`` is to hold; None for what is there.
    """
    found = place / ".git"
    text = _git_file(found) if git_file is None else git_file
    if text is not None:
        if not text.startswith(_GIT_FILE):
            return None
        found = Path(os.path.normpath(place / text.removeprefix(_GIT_FILE).rstrip("\r\n")))
    try:
        return found if found.is_dir() else None
    except OSError:
        return None


def is_kept(git: Git, git_dir: Path, inner: Inner) -> bool:
    """Tell whether a repository holds what was kept."""
    words = ("rev-parse", "-q", "--verify", inner.ref_name)
    found = git.at(git_dir, git.directory).run(*words, success=(0, 1, 128))
    return not found.exit_code and found.stdout_text.strip() == inner.ref


def opened(
    context: Context, top: WorkTree, path: str, git_dir: Path, inner: Inner, seeing: Seeing
) -> WorkTree:
    """Open the work tree of a repository inside. Git does not look for it, and so does not find another one."""
    place = top.repository.root / path
    git = top.git.at(git_dir, place)
    index = Path(os.path.normpath(place / git.text("rev-parse", "--git-path", "index")))
    repository = Repository(git=git, root=place, index=index, digest=digest_of(inner.ref or ""))
    return WorkTree(context, repository, seeing)


def digest_of(name: str) -> str:
    """Return the kind of digest that an object's name is."""
    return "sha256" if len(name) == 64 else "sha1"


def git_dirs_of(place: Path, inner: Inner) -> list[Path]:
    """Return where the repository may be: what the work tree says now, and what it said."""
    found = [git_dir_of(place)]
    if inner.git_file is not None:
        found.append(git_dir_of(place, inner.git_file))
    return [each for each in dict.fromkeys(found) if each is not None]


def _git_file(place: Path) -> str | None:
    try:
        return place.read_bytes()[:10_000].decode("utf-8", "surrogateescape")
    except OSError:
        return None
