"""Every example runs on its own, without a key, and prints what it is there to show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = REPOSITORY / "examples"

SHOWS = {
    "chat_backend": [
        "50 users were answered at once; the last one: You said: I am user 50. I heard you.",
        "zoe lost her connection after 'You said",
        "zoe has it all: You said: I am on a train. I heard you.",
        "51 sessions are open, 0 runs are under way",
    ],
    "coding_agent": [
        "? edit_file: policy careful requires approval before edit_file is called",
        "+ ann grants it (once)",
        "? run_tests: 0.054 cost_usd are more than the 0.05 that policy careful allows",
        "Done: the test expects 6 now. ($0.072)",
        "changed: ['test_program.py']",
        "it went on from 5 messages (replay)",
        "+    return sum(values) / len(values)",
        "both runs cost $0.126",
    ],
    "concurrency_slots": ["2 runs work, 3 wait", "run_completed  run 5", "never more than two at once"],
    "crash_and_restart": [
        "answer: Third time lucky.",
        "the run was tried again 2 times",
        "RuntimeError('first defect') (will retry: True)",
        "RuntimeError('second defect') (will retry: True)",
        "flaky (ProviderActor)  running, 2 restarts",
    ],
    "custom_provider": [
        "answer: HELLO OUT THERE",
        "refused: [provider_error] this provider cannot be quiet",
        "sound: True",
    ],
    "drain_on_sigterm": [
        "SIGTERM came; drained",
        "finished: quick",
        "left over: slow",
        "the next start took it up again: its system was stopped",
        "what it had said is in the journal: I shall never",
        "it never ends by itself: cancelled",
        "the quick one says: {'content': 'Done.'",
    ],
    "fork_and_continue": [
        "  assistant: Sorry, I have deleted the plan.",
        "the mistake came after event",
        "  assistant: Forum on Saturday, Vatican on Sunday.",
        "  assistant: Saturday: the Forum.\n",
        "the first one had 2 messages, now it has 4",
        "its forks: ['one day', 'one line']",
    ],
    "durable_consumer": [
        "the consumer 'billing' is 22 events behind, and its process ends",
        "billed: 5 runs, 4 of them different",
        "the consumer 'billing' is 0 events behind",
    ],
    "hello_session": ["answer: Mock response", "  1 session_created", " 10 session_completed"],
    "keep_the_journal_small": [
        "archived 2 sessions first",
        "hidden: True",
        "gone: 1 session, 1 run",
        "its files went with it: 1",
        "sound: True and healthy: True",
        "elsewhere: 1 session with 8 events",
        "the backup has it too: True",
    ],
    "tool_survives_restart": [
        "the process is killed while it charges",
        "the next one asks: charge {'amount': 42}",
        "somebody looked: it was not charged",
        "answer: Charged and noted.",
        "looked up once, charged 1 time",
        "run_recovered",
        "tool_approval_granted",
    ],
    "subscribe_from_cursor": ["reader leaves; its cursor is 3", "none missed, none twice"],
    "supervisors_only": [
        "ones: 1 2  tens: 10",
        "after the crash, ones starts anew: 1  tens goes on: 20",
        "ones (Counter)  running, 1 restart",
    ],
}

NEED_NODE = {"coding_agent"}
"""Those whose model is a mock server that speaks the real API."""


def test_every_example_is_told_what_it_shows():
    assert sorted(SHOWS) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.npm) if name in NEED_NODE else name for name in SHOWS],
)
def test_example(name, tmp_path, request):
    if name in NEED_NODE:
        request.getfixturevalue("npm_cache")
    unset = {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ASM_JOURNAL"}
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for line in SHOWS[name]:
        assert line in done.stdout
    assert list(tmp_path.iterdir()) == [], "it leaves files behind"
