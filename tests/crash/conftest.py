"""The process that forks the lives which these tests end."""

from __future__ import annotations

import pytest

from asm_actors.testing.crash import Crasher


@pytest.fixture(scope="module")
def crasher():
    with Crasher() as made:
        yield made
