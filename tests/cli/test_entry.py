"""The command is interrupted at whatever moment of its start: exit code 130, and nothing to read."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Interrupts its own process when a module is first looked for; then is the installed script, or `python -m`.
INTERRUPTED = """
import os, runpy, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

_, module, how, disposition, *arguments = sys.argv
if disposition == "ignored":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["asm", *arguments]
if how == "module":
    runpy.run_module("asm_actors.cli", run_name="__main__")
else:
    from asm_actors.cli.entry import main
    sys.exit(main())
"""


def interrupted(children, module, how="script", disposition="heard"):
    child = children.start("-c", INTERRUPTED, module, how, disposition, "--version")
    out, err = child.communicate()
    return child.returncode, out, err


@pytest.mark.parametrize("how", ["script", "module"])
@pytest.mark.parametrize(
    "module",
    [
        "asm_actors.cli.app",
        "click",
        "asm_actors.errors",
        "attr",
        "asyncio",
        "lmdb",
        "asm_actors.journal.lmdb_store",
        "asm_actors.system",
        "supervisors",
        "asm_actors.cli.look",
    ],
)
def test_an_interrupt_while_a_module_is_imported_ends_it_without_a_word(children, module, how):
    assert interrupted(children, module, how) == (130, "", "")


def test_where_interrupts_are_ignored_they_stay_ignored(children):
    code, out, err = interrupted(children, "click", disposition="ignored")
    assert (code, err) == (0, "")
    assert out.startswith("asm ")


def test_once_it_runs_an_interrupt_ends_what_it_does_in_order(children, journal):
    child = children.asm("events", "--follow", "--journal", str(journal))
    assert child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130
    assert "Traceback" not in err


def test_until_the_command_begins_next_to_nothing_is_imported():
    look = (
        "import sys, asm_actors.cli.entry; print(*(name for name in sys.modules if name.startswith('asm_')))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", look],
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.split() == ["asm_actors", "asm_actors.cli", "asm_actors.cli.entry"]


@pytest.mark.parametrize(
    "words",
    [
        ("show", b"\xff"),
        ("events", b"\xff"),
        ("events", "--run", b"\xff"),
        ("runs", b"\xff"),
        ("sessions", "--agent", b"\xff"),
        ("sessions", "--cursor", b"\xff"),
        ("transcript", b"\xff"),
        ("fork", b"\xff"),
        ("fork", "ses_1", "--id", b"\xff"),
        ("cancel", b"\xff"),
        ("journal", "export", "-", "--session", b"\xff"),
    ],
    ids=lambda words: " ".join(word for word in words if isinstance(word, str)),
)
def test_an_argument_that_is_no_text_is_one_line_and_exit_code_2(run_asm, journal, words):
    words = [word if isinstance(word, str) else word.decode("utf-8", "surrogateescape") for word in words]
    line = run_asm.refused(*words, "--journal", str(journal))
    assert "is no text that UTF-8 can hold; see: asm " in line


def test_a_path_may_be_any_bytes(run_asm, journal, tmp_path):
    target = str(tmp_path) + "/" + b"\xff.jsonl".decode("utf-8", "surrogateescape")
    assert run_asm("journal", "export", target, "--journal", str(journal)).exit_code == 0
    assert Path(target).exists()
