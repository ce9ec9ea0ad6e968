"""README says what is so: its code runs, its tables are the code's, its files are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import asm_actors as asm
from asm_actors.cli import main
from asm_actors.config import Limits
from asm_actors.transitions import state_diagram

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "code", blocks("python"), ids=lambda code: code.strip().splitlines()[-1].strip()[:40]
)
def test_python_blocks_run(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_there_are_the_promised_python_blocks():
    assert len(blocks("python")) == 9


def test_the_first_two_sh_blocks_set_up_and_run_the_demo_and_the_tests():
    first, second, *rest = blocks("sh")
    assert rest == []
    assert first.count("\n") == second.count("\n") == 1
    assert re.search(r"pip install -q -e \. && \.venv/bin/asm demo$", first.strip())
    assert re.search(r"pip install -q -e '\.\[dev\]' && \.venv/bin/python -m pytest -q$", second.strip())
    for block in (first, second):
        assert block.startswith("python3 -m venv .venv && ")


@pytest.mark.parametrize("table", [asm.SESSION_TRANSITIONS, asm.RUN_TRANSITIONS], ids=["session", "run"])
def test_the_state_diagrams_are_printed_from_the_tables(table):
    assert f"```text\n{state_diagram(table)}\n```" in README


def test_the_tree_shows_the_children_of_the_root_in_their_order():
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
        live = re.findall(r"^[├└]─ (\S+)", system.tree(), flags=re.MULTILINE)
    (shown,) = [block for block in blocks("text") if block.startswith("root ")]
    assert re.findall(r"^[├└]─ (\S+)", shown, flags=re.MULTILINE) == live


def test_the_commands_it_names_are_there():
    for words in re.findall(r"^asm ([a-z]+(?: (?:verify|stats))?)", README, flags=re.MULTILINE):
        assert CliRunner().invoke(main, [*words.split(), "--help"]).exit_code == 0, words


def test_the_table_of_limits_is_the_code():
    found = re.findall(r"^\| `(max_\w+)`.*?\| (\d+) \|", README, flags=re.MULTILINE)
    limits = Limits().to_map()
    assert {name: int(value) for name, value in found} == {
        name: value for name, value in limits.items() if isinstance(value, int)
    }
    for name in limits:
        shown = re.sub(r"max_run_starts_per_second(_per_\w+)", r"…\1", name)
        assert f"`{shown}`" in README or name == "tenant_tag_prefix", name


def test_the_files_it_names_are_there():
    for page in ("README.md", "asm_actors/DESIGN.md"):
        text = (REPOSITORY / page).read_text(encoding="utf-8")
        for name in re.findall(r"`((?:asm_actors|supervisors|examples|tests|bench|\.ci)/[\w./]*)`", text):
            assert (REPOSITORY / name).exists(), f"{page} names {name}"


def test_what_it_says_of_python_is_what_the_package_requires():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    assert "Python 3.11" in README
    assert project["scripts"] == {"asm": "asm_actors.cli.entry:main"}
