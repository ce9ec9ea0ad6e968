"""`asm journal prune`."""

from __future__ import annotations

import json

import pytest

from asm_actors.journal.append import Append
from asm_actors.journal.lmdb_store import LmdbStore

DAY = 86_400_000_000


def _age(path, days):
    """Have everything in a journal happened so long ago."""
    store = LmdbStore(path)
    store.open()
    for session in store.sessions(include_deleted=True):
        old = session.replace(updated_us=session.updated_us - days * DAY)
        if old.deleted_us is not None:
            old = old.replace(deleted_us=old.deleted_us - days * DAY)
        store.commit([Append(session.id, (), 0, old)])
    store.close()


@pytest.fixture
def old_journal(own_journal):
    _age(own_journal, 100)
    return own_journal


def prune(run_asm, journal, *words):
    return run_asm("journal", "prune", "--journal", str(journal), *words)


def test_a_dry_run_changes_nothing(run_asm, old_journal):
    for _ in range(2):
        result = prune(run_asm, old_journal, "--dry-run", "--json")
        found = json.loads(result.stdout)
        assert (result.exit_code, found["sessions_soft_deleted"], found["is_dry_run"]) == (0, 2, True)
    shown = prune(run_asm, old_journal, "--dry-run")
    assert "nothing was changed" in shown.stderr
    assert "sessions_soft_deleted  2" in shown.stdout


def test_old_sessions_are_hidden_then_gone(run_asm, old_journal):
    (found,) = run_asm.lines("journal", "prune", "--journal", str(old_journal))
    assert (found["sessions_soft_deleted"], found["sessions_hard_deleted"], found["errors"]) == (2, 0, [])
    assert len(run_asm.lines("sessions", "--journal", str(old_journal))) == 1
    _age(old_journal, 40)
    (found,) = run_asm.lines("journal", "prune", "--journal", str(old_journal))
    assert found["sessions_hard_deleted"] == 2
    verified = run_asm("journal", "verify", "--no-replay", "--journal", str(old_journal))
    assert "1 sessions, 1 runs" in verified.stdout


def test_options_come_on_top_of_a_file(run_asm, old_journal, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("max_completed_session_age_days = 1000\nexempt_tags = []\n")
    as_json = tmp_path / "policy.json"
    as_json.write_text('{"max_completed_session_age_days": 1000}')
    for file in (policy, as_json):
        (found,) = run_asm.lines("journal", "prune", "--journal", str(old_journal), "--policy", str(file))
        assert found["sessions_soft_deleted"] == 0
    words = ("--policy", str(policy), "--max-completed-session-age-days", "99", "--exempt-tag", "kept")
    (found,) = run_asm.lines("journal", "prune", "--journal", str(old_journal), *words)
    assert found["sessions_soft_deleted"] == 1


def test_events_are_pruned_and_archived(run_asm, own_journal, names, tmp_path):
    before = run_asm.lines("events", names.session(1), "--journal", str(own_journal))
    words = ("--max-events-per-session", "6", "--archive", str(tmp_path / "archive"), "--batch-size", "1")
    (found,) = run_asm.lines("journal", "prune", "--journal", str(own_journal), *words)
    assert found["archived"] >= 1
    after = run_asm.lines("events", names.session(1), "--journal", str(own_journal))
    assert len(after) < len(before)
    assert len(list((tmp_path / "archive").iterdir())) == found["archived"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("max_age = 5", "no field 'max_age'"),
        ("batch_size = 0", "batch_size must be"),
        ("batch_size = ", "is no TOML"),
        ("archive_before_prune = true", "--archive DIR"),
    ],
)
def test_a_policy_that_is_none_is_refused(run_asm, own_journal, tmp_path, content, text):
    policy = tmp_path / "policy.toml"
    policy.write_text(content)
    said = run_asm.refused("journal", "prune", "--journal", str(own_journal), "--policy", str(policy))
    assert text in said


def test_mistakes_are_said(run_asm, own_journal, tmp_path):
    assert "no journal at" in run_asm.refused("journal", "prune", "--journal", str(tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()
    missing = ("--policy", str(tmp_path / "absent.toml"))
    assert "there is no such file" in run_asm.refused(
        "journal", "prune", "--journal", str(own_journal), *missing
    )
    bad = ("--max-total-events", "0")
    assert "max-total-events" in run_asm.refused("journal", "prune", "--journal", str(own_journal), *bad)


def test_a_journal_that_a_process_holds_is_left_alone(run_asm, children, tmp_path):
    child, _, _ = children.hold(tmp_path / "journal")
    said = run_asm.refused("journal", "prune", "--journal", str(tmp_path / "journal"))
    assert str(child.pid) in said
