"""Events by short names."""

from __future__ import annotations

import pytest

from tests.transcripts.history import make, numbered


@pytest.fixture
def event():
    """`make`."""
    return make


@pytest.fixture
def events():
    """`numbered`."""
    return numbered
