"""The client's work with files: a run that edits some and answers in JSON, and one that is rolled back."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from asm_actors.providers.base import TurnRequest
from asm_actors.providers.script import Script, stall, text
from asm_actors.runs.run import Run
from asm_actors.workspace.config import WorkspaceConfig
from asm_actors.workspace.workspace import open_workspace
from tests.faults.client import Client

__all__ = ["FilesClient"]

_KEPT = "kept\n"


class FilesClient(Client):
    """See the module. Each run has a directory of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="asm-faults-")).resolve()
        weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)
        for name in ("talk", "never mind"):
            (self.root / name).mkdir()
            (self.root / name / "kept.txt").write_text(_KEPT)

    def _config(self, asked: str) -> dict[str, Any]:
        return {
            "enabled": True,
            "path": str(self.root / asked),
            "strategy": "hash",
            "store_path": str(self.root / "store"),
            "rollback_on_failure": asked == "never mind",
        }

    def options(self, asked: str) -> dict[str, Any]:
        """What the runs are asked with, besides."""
        if asked == "use tools":
            return {"continuation": "auto"}
        return {"workspace": self._config(asked)} | (
            {"output_schema": {"const": 7}} if asked == "talk" else {}
        )

    def _script(self, request: TurnRequest) -> Script:
        if request.input == "use tools":
            return super()._script(request)
        folder = self.root / str(request.input)
        (folder / "kept.txt").write_text("changed\n")
        (folder / "later.txt").write_text("new\n")
        if request.input == "never mind":
            return Script(text("for ever and "), stall())
        return Script(text("seven" if request.turn == 1 else "7"))

    def talk_faults(self, run: Run) -> list[str]:
        """Say what is wrong with the run that talks."""
        diff = (run.details.get("workspace") or {}).get("diff") or {}
        is_well = run.details.get("object") == 7 and diff.get("changed_paths") == ["kept.txt", "later.txt"]
        return [] if is_well else [f"'talk' came to {run.details}"]

    def faults(self, sim: Any, *, may_fail: str | None = None) -> list[str]:
        """Say what did not come to its proper end; see `Client.faults`."""
        found = super().faults(sim, may_fail=may_fail)
        (session,) = sim.store.sessions()
        for run in sim.store.runs(session.id):
            if "ending" in run.details:
                found.append(f"{run.input!r} has not ended: {run.details['ending']}")
        if may_fail is not None:
            return found
        names = sorted(path.name for path in (self.root / "never mind").iterdir())
        if names != ["kept.txt"] or (self.root / "never mind" / "kept.txt").read_text() != _KEPT:
            found.append(f"'never mind' was not rolled back: {names}")
        for asked in ("talk", "never mind"):
            left = open_workspace(WorkspaceConfig.from_map(self._config(asked))).snapshots()
            found += [f"{snapshot.label} of {asked!r} is left over" for snapshot in left]
        return found
