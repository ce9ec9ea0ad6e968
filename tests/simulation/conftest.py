"""Scenarios crash actors by the thousand: their log would be all that the suite has time for."""

from __future__ import annotations

import logging

import pytest

from asm_actors.testing.promises import watched_steps


@pytest.fixture(autouse=True)
def _quiet():
    """Turn logging off for each test."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def _each_step_leaves_a_session_in_order():
    """Fail a test in which a session counts or lines up its runs wrongly, if only for a moment."""
    with watched_steps() as faults:
        yield
    assert not faults, faults[:5]
