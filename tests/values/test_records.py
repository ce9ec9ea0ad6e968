"""Fast copies of frozen records."""

from __future__ import annotations

import attrs
import pytest

from asm_actors.records import replacer


@attrs.frozen
class Point:
    x: int
    y: int = 0


replace = replacer(Point)


def test_a_copy_differs_in_the_named_fields_only():
    point = Point(1, 2)
    assert replace(point, {"y": 5}) == Point(1, 5)
    assert replace(point, {"x": 7, "y": 8}) == Point(7, 8)
    assert point == Point(1, 2)


def test_a_copy_without_changes_is_equal_and_another_object():
    point = Point(1, 2)
    assert replace(point, {}) == point
    assert replace(point, {}) is not point


def test_it_does_what_evolve_does():
    assert replace(Point(1), {"x": 3}) == attrs.evolve(Point(1), x=3)


def test_an_unknown_field_names_the_known_ones():
    with pytest.raises(TypeError, match="Point has no field 'z'; its fields are x, y"):
        replace(Point(1), {"z": 3})
