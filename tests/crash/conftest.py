"""The storm, and the harness that kills it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from asm_actors.testing.kill_harness import KillHarness
from asm_actors.testing.nursery import Nursery

STORM = Path(__file__).parent / "storm.py"
PASSED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def nursery():
    """Starts the processes that are killed."""
    with Nursery() as made:
        yield made


@pytest.fixture(scope="session")
def hits():
    """How many kills of all tests so far have hit each kind of work."""
    return Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture
def harness(nursery, tmp_path, hits, request):
    """Kills the storm, on a journal of its own, which stays only if the test fails: there are many of them."""
    made = KillHarness(nursery, STORM, tmp_path / "journal")
    yield made
    hits.update(made.hits)
    if request.node.stash.get(PASSED, False):
        shutil.rmtree(tmp_path)
