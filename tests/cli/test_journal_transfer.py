"""`asm journal export` and `asm journal import`."""

from __future__ import annotations

import json

import pytest


def test_a_journal_goes_out_and_comes_in(run_asm, journal, tmp_path):
    for name in ("all.jsonl", "all.jsonl.gz"):
        path, copy = tmp_path / name, tmp_path / f"copy-of-{name}"
        (found,) = run_asm.lines("journal", "export", str(path), "--journal", str(journal))
        assert (found["sessions"], found["runs"], found["path"]) == (3, 3, str(path))
        (back,) = run_asm.lines("journal", "import", str(path), "--journal", str(copy))
        assert (back["sessions"], back["runs"], back["events"]) == (3, 3, found["events"])
        assert run_asm.lines("sessions", "--journal", str(copy)) == run_asm.lines(
            "sessions", "--journal", str(journal)
        )
        assert run_asm("journal", "verify", "--journal", str(copy)).exit_code == 0


def test_it_goes_through_a_pipe(run_asm, journal, names, tmp_path):
    shown = run_asm("journal", "export", "-", "--session", names.session(1), "--journal", str(journal))
    kinds = [json.loads(line)["kind"] for line in shown.stdout.splitlines()]
    assert (kinds[:3], kinds[-1]) == (["header", "session", "run"], "end")
    result = run_asm("journal", "import", "-", "--journal", str(tmp_path / "copy"), stdin=shown.stdout)
    assert result.stdout.startswith("1 sessions, 1 runs, ")


def test_open_runs_are_mentioned(run_asm, journal, tmp_path):
    run_asm("journal", "export", str(tmp_path / "all.jsonl"), "--journal", str(journal))
    result = run_asm("journal", "import", str(tmp_path / "all.jsonl"), "--journal", str(tmp_path / "copy"))
    assert result.exit_code == 0
    assert "1 of the runs are open" in result.stderr


def test_what_is_there_already_is_refused_or_skipped(run_asm, own_journal, tmp_path):
    path = tmp_path / "all.jsonl"
    run_asm("journal", "export", str(path), "--journal", str(own_journal))
    assert "there is a session" in run_asm.refused(
        "journal", "import", str(path), "--journal", str(own_journal)
    )
    result = run_asm("journal", "import", str(path), "--skip-existing", "--journal", str(own_journal))
    assert (result.exit_code, "3 sessions were there already" in result.stdout) == (0, True)
    assert "choose another name" in run_asm.refused(
        "journal", "export", str(path), "--journal", str(own_journal)
    )


def test_a_bad_line_is_named(run_asm, journal, tmp_path):
    path = tmp_path / "all.jsonl"
    run_asm("journal", "export", str(path), "--journal", str(journal))
    lines = path.read_text().splitlines(keepends=True)
    lines[4] = "{\n"
    path.write_text("".join(lines))
    said = run_asm.refused("journal", "import", str(path), "--journal", str(tmp_path / "copy"))
    assert said.startswith("line 5: it is not JSON")


@pytest.mark.parametrize("words", [("export", "x", "--session", "nobody"), ("import", "absent.jsonl")])
def test_what_is_not_there_is_said(run_asm, own_journal, words):
    assert "there is no" in run_asm.refused("journal", *words, "--journal", str(own_journal))


def test_export_works_beside_a_process_that_writes_and_import_does_not(run_asm, children, tmp_path):
    child, session, _ = children.hold(tmp_path / "journal")
    (found,) = run_asm.lines("journal", "export", "all.jsonl", "--journal", str(tmp_path / "journal"))
    assert found["sessions"] == 1
    said = run_asm.refused("journal", "import", "all.jsonl", "--journal", str(tmp_path / "journal"))
    assert str(child.pid) in said
    assert session in (tmp_path / "all.jsonl").read_text()
