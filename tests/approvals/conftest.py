"""Worlds in which somebody is asked; see `tests.approvals.world`."""

from __future__ import annotations

import logging

import pytest

import asm_actors as asm
from asm_actors.journal.lmdb_store import LmdbStore
from tests.approvals.world import worlds


@pytest.fixture
def world():
    """Make a `World` whose system runs."""
    yield from worlds()


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    """Each store."""
    if request.param == "memory":
        return asm.MemoryStore()
    return LmdbStore(tmp_path / "journal", durability="none")


@pytest.fixture
def _quiet_logs(caplog):
    """Crashes are the subject here; their logged tracebacks are not worth the time to format."""
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)
