"""The storm, and the harness that kills it."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from asm_actors.testing.kill_harness import KillHarness

STORM = Path(__file__).parent / "storm.py"


@pytest.fixture(scope="module")
def storm():
    """The names of the program that is killed: `provider`, `pieces_of`, …"""
    return SimpleNamespace(**runpy.run_path(str(STORM)))


@pytest.fixture
def harness(tmp_path):
    """Kills the storm, on a journal of its own."""
    return KillHarness([STORM], tmp_path / "journal")
