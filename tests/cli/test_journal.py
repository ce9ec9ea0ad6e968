"""`asm journal verify` and `asm journal stats`."""

from __future__ import annotations

import json


def test_a_sound_journal_is_sound(run_asm, journal):
    result = run_asm("journal", "verify", "--journal", str(journal))
    assert result.exit_code == 0
    assert result.stdout.startswith("sound: ")
    assert "3 sessions, 3 runs" in result.stdout


def test_a_damaged_journal_is_exit_code_1_and_says_what_is_wrong(run_asm, own_journal):
    _damage(own_journal / "data.mdb")
    result = run_asm("journal", "verify", "--journal", str(own_journal))
    assert result.exit_code == 1
    assert result.stdout.startswith("damaged: ")
    as_json = run_asm("journal", "verify", "--journal", str(own_journal), "--json")
    found = json.loads(as_json.stdout)
    assert (as_json.exit_code, found["is_sound"]) == (1, False)
    assert found["problems"]


def test_stats_count(run_asm, journal):
    (found,) = run_asm.lines("journal", "stats", "--journal", str(journal))
    assert (found["sessions"], found["runs"], found["open_sessions"], found["open_runs"]) == (3, 3, 1, 1)
    assert found["events"] == len(run_asm.lines("events", "--journal", str(journal)))
    shown = run_asm("journal", "stats", "--journal", str(journal)).stdout
    assert f"events  {found['events']}" in shown


def _damage(file):
    """Change one letter of what was said, wherever it lies."""
    content = file.read_bytes()
    assert b"hello to you" in content
    file.write_bytes(content.replace(b"hello to you", b"jello to you"))
