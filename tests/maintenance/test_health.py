"""What is told of a journal that is not as it should be."""

from __future__ import annotations

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.cursors import NamedCursor
from asm_actors.maintenance.artifact import Artifact
from asm_actors.maintenance.health import health_of
from asm_actors.maintenance.lines import UNFINISHED
from asm_actors.sessions.session import SessionStatus

NOW = 1_700_000_000_000_000
KINDS = ("session_created", "session_started")


def findings(journal, **options):
    return health_of(journal.store, NOW, **options)


def test_a_healthy_journal(journal):
    assert findings(journal) == []
    journal.session("a", kinds=KINDS, status=SessionStatus.ACTIVE, runs=[("r", "pending")])
    assert findings(journal) == []


def test_runs_that_nobody_works_on_are_forgotten_after_a_day(journal):
    journal.session(
        "a", kinds=KINDS, status=SessionStatus.ACTIVE, age=2, runs=[("r", "running"), ("s", "completed")]
    )
    (found,) = findings(journal)
    assert found.startswith("run r is running since 2023-11-12")
    assert findings(journal, works_on=lambda run: run.id == "r") == []


def test_open_runs_of_sessions_that_are_over_or_deleted(journal):
    journal.session("over", runs=[("r", "running")])
    journal.session("deleted", deleted=1, runs=[("s", "pending")])
    found = "\n".join(findings(journal))
    assert "run r is open, and its session over is completed" in found
    assert "run s is open, and its session deleted is deleted" in found


def test_remains_of_sessions_that_are_gone(journal):
    artifact = Artifact("art_1", "gone", "k", 1, "a" * 64, "file", "/x", NOW)
    journal.store.save_artifacts([artifact])
    journal.store.save_cursors({"mine": NamedCursor("mine", {"session_id": "gone"}, 3, NOW, NOW)})
    assert findings(journal) == [
        "1 artifacts belong to sessions that are gone: clean them with clean_orphaned_artifacts",
        "the cursor of subscription mine follows session gone, which is gone",
    ]


def test_an_import_that_was_left_unfinished(journal):
    journal.session("a", deleted=0, metadata={UNFINISHED: True})
    (found,) = findings(journal)
    assert found.startswith("the import of session a did not come to its end")


def test_what_cannot_be_read_is_told_and_the_rest_looked_at(journal, monkeypatch):
    journal.store.save_cursors({"mine": NamedCursor("mine", {"session_id": "gone"}, 3, NOW, NOW)})

    def fail(*_, **__):
        raise AsmError(ErrorCode.STORAGE_READ_FAILED, "the record 7 in sessions cannot be read")

    monkeypatch.setattr(journal.store, "sessions", fail)
    found = findings(journal)
    assert any("the record 7 in sessions cannot be read; see: asm journal verify" in text for text in found)
    assert any("mine" in text for text in found)
