"""Scenarios crash actors by the thousand: their log would be all that the suite has time for."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def _quiet():
    """Turn logging off for each test."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
