"""Directories and repositories to work on, and a look at which processes there are."""

from __future__ import annotations

import itertools
import logging
import os
import select
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from asm_actors.workspace.config import WorkspaceConfig
from asm_actors.workspace.workspace import open_workspace

LOCAL = ("-c", "protocol.file.allow=always")


class Repo:
    """A directory, with git in it if that was asked for."""

    def __init__(self, root, environment):
        self.root = Path(root)
        self.environment = environment

    def git(self, *words, check=True, **options):
        """Call the user's own git: with hooks, configuration and all."""
        ran = subprocess.run(
            ("git", *words),
            cwd=options.pop("cwd", self.root),
            env=self.environment,
            capture_output=True,
            check=False,
            **options,
        )
        if check and ran.returncode:
            raise AssertionError(ran.stderr.decode())
        return ran.stdout.decode("utf-8", "surrogateescape")

    def write(self, path, content="text\n", mode=None):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        if mode is not None:
            place.chmod(mode)
        return place

    def commit(self, message="commit"):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def look(self):
        """Everything in the directory but its `.git`: kinds, modes and contents."""
        found = {}
        for folder, folders, files in os.walk(os.fsencode(self.root)):
            if folder == os.fsencode(self.root) and b".git" in folders:
                folders.remove(b".git")
            for name in (*folders, *files):
                place = folder + b"/" + name
                status = os.lstat(place)
                kind = stat.S_IFMT(status.st_mode)
                content = None
                if stat.S_ISLNK(status.st_mode):
                    content = os.readlink(place)  # noqa: PTH115 - as bytes, exactly
                elif stat.S_ISREG(status.st_mode):
                    content = Path(os.fsdecode(place)).read_bytes()
                found[os.path.relpath(place, os.fsencode(self.root))] = (
                    kind,
                    None if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode),
                    content,
                )
        return found

    def told(self):
        """Everything that git tells: status, HEAD, branches, stash, index, reflogs, configuration."""
        return {
            "status": self.git("status", "--porcelain=v2", "--branch", "-z"),
            "head": self.git("rev-parse", "HEAD", check=False),
            "branch": self.git("symbolic-ref", "-q", "HEAD", check=False),
            "refs": self.git("for-each-ref", "refs/heads", "refs/tags", "refs/stash", "refs/remotes"),
            "index": self.git("ls-files", "--stage", "-v", "-z"),
            "reflog": self.git("reflog", "--all", check=False),
            "config": self.git("config", "--local", "--list"),
        }

    def files(self):
        """Everything in the directory but the insides of repositories."""
        return {
            path: found
            for path, found in self.look().items()
            if b"/.git/" not in b"/" + path and not (path.endswith(b"/.git") and not found[2])
        }

    def wreck(self):
        """Change everything in the work tree, but for its repository."""
        for path in list(self.root.iterdir()):
            if path.name == ".git":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.write("code.py/now/a/folder.txt", "new\n")
        self.write("new.txt", "new\n", 0o755)
        self.git("add", "new.txt")

    def open(self, **config):
        context = {
            name: config.pop(name) for name in ("artifacts", "stop", "now", "new_name") if name in config
        }
        return open_workspace(WorkspaceConfig(enabled=True, path=str(self.root), **config), **context)


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    """Nobody's configuration counts here, and nothing is written into anybody's home."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def new_folder(tmp_path):
    """Makes directories."""
    numbers = itertools.count()

    def make(name=None):
        root = tmp_path / (name or f"folder-{next(numbers)}")
        root.mkdir()
        return Repo(
            root, dict(os.environ) | {"GIT_AUTHOR_DATE": "@1 +0000", "GIT_COMMITTER_DATE": "@1 +0000"}
        )

    return make


@pytest.fixture
def folder(new_folder):
    """A directory without git."""
    return new_folder("folder")


@pytest.fixture
def new_repo(new_folder):
    """Makes repositories, without a commit."""

    def make(name=None, *options):
        repo = new_folder(name)
        repo.git("init", "-q", "-b", "main", *options, ".")
        repo.git("config", "user.name", "somebody")
        repo.git("config", "user.email", "somebody@example.org")
        return repo

    return make


@pytest.fixture
def repo(new_repo):
    """A repository with a commit."""
    made = new_repo("repo")
    made.write("kept.txt", "kept\n")
    made.write("folder/inner.txt", "inner\n")
    made.write("run.sh", "#!/bin/sh\n", 0o755)
    made.write(".gitignore", "*.log\nbuild/\n")
    made.commit()
    return made


@pytest.fixture
def inside(repo):
    """Gives a repository inside; makes it if there is none."""

    def give(path, *, is_new=True):
        made = type(repo)(repo.root / path, repo.environment)
        if is_new:
            made.root.mkdir(parents=True)
            made.git("init", "-q", "-b", "main", ".")
        made.git("config", "user.name", "somebody")
        made.git("config", "user.email", "somebody@example.org")
        return made

    return give


@pytest.fixture
def nested(inside):
    """A repository that the one around it does not track: a commit, something staged, something untracked."""
    made = inside("theirs")
    made.write("code.py", "committed\n")
    made.write("run.sh", "#!/bin/sh\n", 0o755)
    made.write(".gitignore", "*.log\n")
    made.commit()
    made.write("code.py", "staged\n")
    made.git("add", "code.py")
    made.write("code.py", "not staged\n")
    made.write("notes/untracked.txt", "mine\n", 0o600)
    made.write("old.log", "ignored\n")
    (made.root / "link").symlink_to("code.py")
    return made


@pytest.fixture
def submodule(repo, new_repo, inside):
    """A submodule that is checked out, clean."""
    library = new_repo("library")
    library.write("code.py", "committed\n")
    library.write("run.sh", "#!/bin/sh\n", 0o755)
    library.commit()
    repo.git(*LOCAL, "submodule", "add", "-q", str(library.root), "vendor")
    repo.commit("submodule")
    return inside("vendor", is_new=False)


@pytest.fixture
def gone():
    """Waits until processes have ended, whoever their parent is; False when one is still there after some seconds."""

    def wait(*pids):
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                if not select.select([handle], [], [], 10)[0]:
                    return False
            finally:
                os.close(handle)
        return True

    return wait


@pytest.fixture
def is_alive():
    """Tells whether a process is there, and no zombie."""

    def tell(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    return tell


@pytest.fixture
def _quiet_logs(caplog):
    """Crashes are the subject there; their logged tracebacks are not worth the time to format."""
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)
