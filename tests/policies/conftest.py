"""Runs as their policy sees them, held to their records in the end."""

from __future__ import annotations

import pytest

from tests.approvals.world import worlds
from tests.policies.stories import Story


@pytest.fixture
def story():
    """Make stories, and hold each to its record in the end."""
    made = []

    def make(policy, **options):
        made.append(Story(policy, **options))
        return made[-1]

    yield make
    for one in made:
        one.check()


@pytest.fixture
def world():
    """Make a `World` whose system runs."""
    yield from worlds()
