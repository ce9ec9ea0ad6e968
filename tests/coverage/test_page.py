"""The coverage page names nothing that is not there, and leaves out no section."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import attrs
import pytest

from asm_actors import Config
from asm_actors.settings.absent import ABSENT

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "asm_actors" / "COVERAGE.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
LINES = [
    line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what is promised")
]
NAMED = sorted(set(re.findall(r"`((?:asm_actors|supervisors|tests)/[^`]*)`", PAGE)))


@cache
def _names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


@pytest.mark.parametrize("name", NAMED)
def test_whatever_is_named_is_there(name):
    path, _, test = name.partition("::")
    assert (REPOSITORY / path).is_file()
    if test:
        assert test in _names_in(REPOSITORY / path)


def test_sections_one_to_sixteen_have_lines():
    assert [int(section.split(".")[0]) for section in SECTIONS] == list(range(1, 17))
    for section in SECTIONS:
        assert section.count("\n| ") >= 4, section.splitlines()[0]


@pytest.mark.parametrize("line", LINES)
def test_a_line_says_where_and_what_holds_it_or_why_it_is_left_out(line):
    promise, where, held = (cell.strip() for cell in line.strip("| ").replace("|  |", "| - |").split(" | "))
    assert promise
    if where in ("", "-"):
        assert held.startswith("left out: ")
    else:
        assert "asm_actors/" in where or "supervisors/" in where
        assert re.search(r"`(tests|asm_actors/testing)/", held)


def test_settings_are_told_each_once():
    (section,) = (section for section in SECTIONS if section.startswith("16."))
    words = re.findall(r"[a-z_]+_[a-z_]+", "\n".join(line.split(" | ")[0] for line in section.splitlines()))
    known = {attribute.name for attribute in attrs.fields(Config)}
    told = [word for word in words if word in known | set(ABSENT)]
    assert sorted(told) == sorted(set(told))
    assert set(ABSENT) <= set(told)
    for name, reason in ABSENT.items():
        line = next(line for line in section.splitlines() if name in line)
        assert line.endswith(f"left out: {reason} |")
