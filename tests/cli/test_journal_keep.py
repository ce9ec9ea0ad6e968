"""`asm journal repair`, `backup`, `compact`, `migrate`, `health`."""

from __future__ import annotations

import json

import pytest

COMMANDS = (
    "verify",
    "stats",
    "health",
    "prune",
    "repair",
    "backup",
    "compact",
    "migrate",
    "export",
    "import",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(run_asm, command):
    result = run_asm("journal", command, "--help")
    assert result.exit_code == 0
    assert "--journal" in result.stdout
    assert "noqa" not in result.stdout
    assert command in run_asm("journal", "--help").stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("backup", "export", "import")])
def test_a_journal_that_is_not_there_is_said_and_not_made(run_asm, tmp_path, command):
    where = tmp_path / "absent"
    assert "there is no journal at" in run_asm.refused("journal", command, "--journal", str(where))
    assert not where.exists()


@pytest.mark.parametrize("command", [*COMMANDS, "sessions", "run"])
@pytest.mark.parametrize("lost", ["empty", "gone"])
def test_a_journal_that_is_lost_is_an_error_and_nothing_is_made(
    run_asm, own_journal, tmp_path, command, lost
):
    file = own_journal / "data.mdb"
    if lost == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
        (own_journal / "lock.mdb").touch()
    words = {"sessions": ["sessions"], "run": ["run", "hi", "--provider", "mock"]}.get(
        command, ["journal", command]
    )
    if command in ("backup", "export", "import"):
        words.append(str(tmp_path / "elsewhere"))
    if command == "import":
        (tmp_path / "elsewhere").write_text("")
    result = run_asm(*words, "--journal", str(own_journal))
    assert result.exit_code == 1
    assert "restore it from a backup" in result.stderr
    assert "storage_read_failed" in result.stderr
    assert command == "import" or not (tmp_path / "elsewhere").exists()
    assert not (file.stat().st_size if file.exists() else 0)


def test_a_healthy_journal(run_asm, journal):
    for words in ((), ("--deep",)):
        result = run_asm("journal", "health", "--journal", str(journal), *words)
        assert (result.exit_code, result.stdout) == (0, "healthy: nothing to tell\n")


def test_an_unhealthy_journal_is_exit_code_1(run_asm, own_journal):
    _damage(own_journal / "data.mdb")
    result = run_asm("journal", "health", "--deep", "--journal", str(own_journal), "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["is_healthy"]) == (1, False)
    assert found["findings"]
    shown = run_asm("journal", "health", "--deep", "--journal", str(own_journal))
    assert shown.stdout.startswith("unhealthy: ")


def test_a_backup_is_a_journal(run_asm, journal, tmp_path):
    for words in ((), ("--no-compact",)):
        where = tmp_path / f"backup{len(words)}"
        (found,) = run_asm.lines("journal", "backup", str(where), "--journal", str(journal), *words)
        assert found["path"] == str(where)
        assert found["bytes"] > 0
        assert run_asm("journal", "verify", "--journal", str(where)).exit_code == 0
        again = run_asm.refused("journal", "backup", str(where), "--journal", str(journal))
        assert str(where) in again


def test_a_backup_is_taken_while_a_process_writes(run_asm, children, tmp_path):
    _, session, _ = children.hold(tmp_path / "journal")
    result = run_asm("journal", "backup", str(tmp_path / "backup"), "--journal", str(tmp_path / "journal"))
    assert result.exit_code == 0, result.output
    assert [found["id"] for found in run_asm.lines("sessions", "--journal", str(tmp_path / "backup"))] == [
        session
    ]


def test_compacting_keeps_everything(run_asm, own_journal):
    before = run_asm.lines("events", "--journal", str(own_journal))
    (found,) = run_asm.lines("journal", "compact", "--journal", str(own_journal))
    assert found["bytes_freed"] == found["bytes_before"] - found["bytes_after"]
    assert run_asm.lines("events", "--journal", str(own_journal)) == before
    assert "are free" in run_asm("journal", "compact", "--journal", str(own_journal)).stdout


def test_a_sound_journal_needs_no_repair(run_asm, own_journal):
    result = run_asm("journal", "repair", "--journal", str(own_journal))
    assert (result.exit_code, result.stdout) == (0, "sound: nothing to repair\n")


def test_a_damaged_journal_is_repaired(run_asm, own_journal):
    _damage(own_journal / "data.mdb")
    tried = run_asm("journal", "repair", "--dry-run", "--journal", str(own_journal), "--json")
    assert (tried.exit_code, json.loads(tried.stdout)["dry_run"]) == (1, True)
    assert run_asm("journal", "verify", "--journal", str(own_journal)).exit_code == 1
    result = run_asm("journal", "repair", "--journal", str(own_journal))
    assert result.exit_code == 1
    assert "lost" in result.stdout
    assert run_asm("journal", "verify", "--no-replay", "--journal", str(own_journal)).exit_code == 0
    assert run_asm("journal", "repair", "--journal", str(own_journal)).exit_code == 0


@pytest.mark.parametrize("command", ["repair", "compact", "migrate"])
def test_what_writes_leaves_a_journal_alone_that_a_process_holds(run_asm, children, tmp_path, command):
    child, _, _ = children.hold(tmp_path / "journal")
    said = run_asm.refused("journal", command, "--journal", str(tmp_path / "journal"))
    assert str(child.pid) in said


def test_a_journal_of_this_layout_needs_no_migration(run_asm, own_journal):
    result = run_asm("journal", "migrate", "--journal", str(own_journal))
    assert result.exit_code == 0, result.output
    assert run_asm("journal", "verify", "--journal", str(own_journal)).exit_code == 0


def _damage(file):
    """Change one letter of what was said, wherever it lies."""
    content = file.read_bytes()
    assert b"hello to you" in content
    file.write_bytes(content.replace(b"hello to you", b"jello to you"))
