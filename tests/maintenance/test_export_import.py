"""A journal as JSON Lines, there and back."""

from __future__ import annotations

import gzip
import io
import json

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EVENT_GROUPS, EventGroup, EventType
from asm_actors.ids import SequentialIds
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.memory import MemoryStore
from asm_actors.maintenance import imports
from asm_actors.maintenance.artifact import Artifact
from asm_actors.maintenance.export import export_lines, export_to
from asm_actors.maintenance.hands import Alone
from asm_actors.maintenance.imports import import_from, import_lines
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

NOW = 1_700_000_000_000_000
STREAM = ("message_sent", *["message_streamed"] * 6, "session_completed")


def told(store, *, positions=True):
    """All that a store holds, as maps; without positions, which are a journal's own."""
    found = []
    for session in store.sessions(include_deleted=True):
        events = [event.to_map() for event in store.read_session(session.id)]
        for event in events:
            if not positions:
                del event["position"]
        runs = [run.to_map() for run in store.runs(session.id)]
        artifacts = store.artifacts(session.id, include_deleted=True)
        found.append((session.to_map(), runs, events, artifacts))
    return found


def lines_of(store, **options):
    return list(export_lines(store, NOW, **options))


def bring(store, lines, **options):
    return import_lines(Alone(store), lines, SequentialIds(), **options)


def refused(store, lines, code, **options):
    with pytest.raises(AsmError) as caught:
        bring(store, lines, **options)
    assert caught.value.code is code
    return caught.value


@pytest.fixture
def small_parts(monkeypatch):
    """Sessions of more than four events are large."""
    monkeypatch.setattr(imports, "_PART", 4)


# --- Export -----------------------------------------------------------------------------------------------------


def test_an_export_begins_with_its_header_and_ends_with_its_counts(journal):
    journal.session("a", kinds=STREAM, runs=[("r", "completed")])
    journal.session("b", deleted=1)
    lines = [json.loads(line) for line in lines_of(journal.store)]
    kinds = [line["kind"] for line in lines]
    assert kinds == ["header", "session", "run", *["event"] * 8, "session", "event", "end"]
    assert lines[0] == {
        "kind": "header",
        "format": "asm-journal",
        "version": 2,
        "exported_at": "2023-11-14T22:13:20.000000Z",
        "session_id": None,
        "counts": {"sessions": 2, "runs": 1, "events": 9},
    }
    assert lines[-1]["counts"] == {"sessions": 2, "runs": 1, "events": 9, "artifacts": 0}
    assert [line["sequence_number"] for line in lines if line["kind"] == "event"] == [*range(1, 9), 1]


def test_one_session_can_be_exported_alone(journal):
    journal.session("a")
    journal.session("b", kinds=STREAM)
    kinds = [json.loads(line)["kind"] for line in lines_of(journal.store, session_id="b")]
    assert kinds == ["header", "session", *["event"] * 8, "end"]
    with pytest.raises(AsmError) as caught:
        lines_of(journal.store, session_id="nobody")
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND


def test_an_export_reads_in_pages(journal):
    journal.session("a", kinds=("message_streamed",) * 2_500)
    for number in range(450):
        journal.session(f"s{number}")
    assert len(lines_of(journal.store)) == 2 + 1 + 2_500 + 450 * 2


def test_progress_is_told(journal):
    journal.session("a")
    journal.session("b")
    steps = []
    lines_of(journal.store, progress=steps.append)
    assert [(step.step, step.done, step.total) for step in steps] == [("export", 1, 2), ("export", 2, 2)]


def test_a_file_is_compressed_by_its_name_complete_or_not_there(journal, tmp_path, another):
    journal.session("a", kinds=STREAM)
    plain, packed = tmp_path / "deep" / "all.jsonl", tmp_path / "all.jsonl.gz"
    report = export_to(journal.store, plain, NOW)
    assert (report.path, report.sessions, report.events) == (str(plain), 1, 8)
    export_to(journal.store, packed, NOW)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    for path in (plain, packed):
        target = another()
        import_from(target.hands, path, target.around)
        assert told(target.store) == told(journal.store)
    with pytest.raises(AsmError) as caught:
        export_to(journal.store, plain, NOW)
    assert caught.value.code is ErrorCode.ALREADY_EXISTS

    def fail(_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError):
        export_to(journal.store, tmp_path / "half.jsonl", NOW, progress=fail)
    assert {path.name for path in tmp_path.iterdir()} <= {"deep", "all.jsonl.gz", "journal"}


def test_it_can_be_written_to_and_read_from_a_stream(journal, another):
    journal.session("a")
    stream = io.StringIO()
    assert export_to(journal.store, stream, NOW).path is None
    stream.seek(0)
    target = another()
    assert import_from(target.hands, stream, target.around).sessions == 1


# --- There and back ---------------------------------------------------------------------------------------------


def test_what_was_exported_is_imported_as_it_was(journal, another):
    journal.session(
        "a",
        kinds=STREAM,
        tags=("t",),
        metadata={"deep": [1, {"x": None}]},
        idempotency_key="k",
        runs=[("r", "completed"), ("open", "pending")],
    )
    journal.session("b", deleted=3, status=SessionStatus.ACTIVE)
    artifact = Artifact("art_1", "a", "key", 3, "a" * 64, "file", "/x", created_us=NOW, deleted_us=None)
    journal.store.save_artifacts([artifact])
    target = another()
    report = bring(target.store, lines_of(journal.store))
    assert (report.sessions, report.runs, report.events, report.artifacts) == (2, 2, 9, 1)
    assert (report.open_runs, report.skipped) == (1, 0)
    assert told(target.store) == told(journal.store)
    assert target.store.session_by_key("k") == "a"
    assert target.store.verify(replay=False).is_sound


def test_a_large_session_comes_in_parts_and_is_hidden_until_it_is_whole(journal, another, small_parts):
    runs = [(f"r{number}", "completed") for number in range(6)]
    journal.session("a", kinds=STREAM * 3, runs=[*runs, ("open", "running")], idempotency_key="k")
    target = another()
    lines = lines_of(journal.store)
    half = iter(lines[:20])

    def until_half():
        yield from half
        assert target.store.session("a").metadata == {imports.UNFINISHED: True}
        assert target.store.sessions() == []
        assert target.store.open_runs() == []
        yield from lines[20:]

    bring(target.store, until_half())
    assert told(target.store) == told(journal.store)
    assert target.store.session_by_key("k") == "a"


def test_the_runs_of_a_session_that_comes_in_parts_keep_their_order(journal, another, small_parts):
    statuses = ["running", "completed", "pending", "failed", "completed", "running", "completed"]
    journal.session(
        "a", kinds=STREAM * 3, runs=[(f"r{number}", status) for number, status in enumerate(statuses)]
    )
    target = another()
    bring(target.store, lines_of(journal.store))
    assert told(target.store) == told(journal.store)
    assert [run.id for run in target.store.open_runs()] == ["r0", "r2", "r5"]


def test_pruned_events_stay_missing(journal, another, small_parts):
    journal.session("a", kinds=STREAM * 2)
    journal.store.prune_events("a", [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16])
    target = another()
    bring(target.store, lines_of(journal.store))
    assert target.sequences("a") == [2, 12, 13, 14, 15]
    assert told(target.store, positions=False) == told(journal.store, positions=False)
    assert target.store.head("a") == 16
    assert target.store.verify(replay=False).is_sound


def test_a_fork_comes_after_its_parent_and_names_it(journal, another, small_parts):
    journal.session("a", kinds=STREAM)
    journal.session("f", kinds=STREAM[:3], parent_session_id="a", forked_at=5)
    lines = lines_of(journal.store)
    target = another()
    bring(target.store, lines)
    assert told(target.store) == told(journal.store)
    alone = lines_of(journal.store, session_id="f")
    assert sum(json.loads(line)["kind"] == "event" for line in alone) == 3
    empty = another().store
    error = refused(empty, alone, ErrorCode.SESSION_NOT_FOUND)
    assert "line 2: f shares the first 5 events of a" in error.message
    bring(empty, lines_of(journal.store, session_id="f", with_parents=True))
    assert told(empty) == told(journal.store)


texts = st.text(st.characters(codec="utf-8"), max_size=8)
payloads = st.dictionaries(
    texts,
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
)
drafts = st.builds(
    Draft,
    type=st.sampled_from(EventType),
    timestamp_us=st.integers(-(10**15), 10**16),
    run_id=st.sampled_from([None, "its own"]),
    data=payloads,
    metadata=payloads,
    provider=st.sampled_from([None, "mock"]),
    correlation_id=st.sampled_from([None, "corr"]),
    id=st.none(),
)
sessions = st.lists(
    st.tuples(
        st.lists(drafts, max_size=9), payloads, st.sampled_from(RunStatus), st.sampled_from(SessionStatus)
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(content=sessions, part=st.sampled_from([1, 3, 1000]))
def test_there_and_back_is_where_it_began(content, part):
    source, target = MemoryStore(), MemoryStore()
    source.open()
    target.open()
    for number, (events, data, run_status, status) in enumerate(content):
        name = f"s{number}"
        session = Session(name, "agent", status, metadata=data, created_us=NOW, updated_us=NOW + 1)
        run = Run(id=f"r{number}", session_id=name, status=run_status, input=data, created_us=NOW)
        # It was not begun by this runtime, so its records may say what they like.
        given = [Draft(EventType.MESSAGE_SENT, NOW), *events]
        for k, event in enumerate(given):
            if event.run_id is not None or event.type in EVENT_GROUPS[EventGroup.RUN]:
                given[k] = event._replace(run_id=run.id)
        (answer,) = source.commit([Append(name, given, (number + 1) << 32, session, (run,), 0)])
        assert not isinstance(answer, AsmError), answer
    before = imports._PART
    imports._PART = part
    try:
        bring(target, lines_of(source))
    finally:
        imports._PART = before
    assert told(target, positions=False) == told(source, positions=False)


# --- What is wrong ----------------------------------------------------------------------------------------------


def test_a_session_that_is_there_ends_the_import_or_is_skipped(journal, another):
    journal.session("a", kinds=STREAM)
    journal.session("b")
    target = another()
    target.session("b", agent_id="other")
    error = refused(target.store, lines_of(journal.store), ErrorCode.ALREADY_EXISTS)
    assert error.message.startswith("line 11: there is a session b already")
    assert error.details["line"] == 11
    assert target.names() == ["b", "a"]
    report = bring(target.store, lines_of(journal.store), on_conflict="skip")
    assert (report.sessions, report.skipped) == (0, 2)
    assert target.store.session("b").agent_id == "other"


def test_what_an_import_left_unfinished_is_begun_anew(journal, another, small_parts, monkeypatch):
    journal.session("a", kinds=STREAM * 3)
    target = another()
    lines = lines_of(journal.store)
    with monkeypatch.context() as killed:
        killed.setattr(imports.Importer, "_withdraw", lambda self: None)
        refused(target.store, lines[:-3], ErrorCode.VALIDATION_ERROR)
    assert imports.UNFINISHED in target.store.session("a").metadata
    assert lines_of(target.store)[1:-1] == []
    bring(target.store, lines)
    assert told(target.store, positions=False) == told(journal.store, positions=False)


def test_a_session_with_a_bad_line_leaves_nothing_behind(journal, another, small_parts):
    journal.session("a", kinds=STREAM[:2])
    journal.session("b", kinds=STREAM * 3, runs=[("r", "completed")])
    target = another()
    lines = lines_of(journal.store)
    lines[-4] = lines[-4].replace("message_streamed", "no_such_type")
    error = refused(target.store, lines, ErrorCode.INVALID_EVENT_TYPE)
    assert error.details["line"] == len(lines) - 3
    assert target.names(include_deleted=True) == ["a"]
    assert not target.store.has_run("r")
    assert told(target.store)[0] == told(journal.store)[0]


def test_an_interrupted_import_leaves_nothing_half(journal, another, small_parts):
    journal.session("a", kinds=STREAM * 3)
    target = another()

    def interrupted():
        yield from lines_of(journal.store)[:15]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(target.store, interrupted())
    assert not target.store.has_session("a")


HEADER = '{"kind":"header","format":"asm-journal","version":1,"exported_at":"x","counts":{"sessions":1}}'
SESSION = (
    '{"kind":"session","id":"a","agent_id":"x","status":"active","created_at":"2026-01-01T00:00:00Z",'
    '"updated_at":"2026-01-01T00:00:00Z","last_sequence":2}'
)
EVENT = (
    '{"kind":"event","id":"e","type":"message_sent","timestamp":"2026-01-01T00:00:00Z","session_id":"a",'
    '"schema_version":1,"sequence_number":1}'
)
END = '{"kind":"end","counts":{}}'


@pytest.mark.parametrize(
    ("lines", "code", "text"),
    [
        ([], "validation_error", "line 1: the end is missing"),
        (["{"], "validation_error", "line 1: it is not JSON"),
        (["[1]"], "validation_error", "line 1: it must be a map"),
        ([SESSION], "validation_error", "line 1: an export begins with its header"),
        ([HEADER, HEADER], "validation_error", "line 2: an export begins with its header"),
        ([HEADER.replace("asm-journal", "other")], "validation_error", "line 1: this is no export"),
        ([HEADER.replace(":1,", ":3,")], "migration_required", "line 1: its format has version 3"),
        ([HEADER.replace(":1,", ":0,")], "validation_error", "line 1: its version"),
        ([HEADER.replace('{"sessions":1}', "5")], "validation_error", "line 1: its counts"),
        ([HEADER, '{"kind":"other"}'], "validation_error", "line 2: it must be a map whose kind"),
        ([HEADER, SESSION.replace("active", "asleep")], "invalid_status", "line 2: "),
        ([HEADER, SESSION.replace('"agent_id":"x",', "")], "validation_error", "line 2: session.agent_id"),
        ([HEADER, EVENT], "session_mismatch", "line 2: e belongs to session a"),
        (
            [HEADER, SESSION, EVENT.replace('"a"', '"b"')],
            "session_mismatch",
            "line 3: e belongs to session b",
        ),
        ([HEADER, SESSION, EVENT, EVENT], "validation_error", "line 4: the sequence number of e"),
        (
            [HEADER, SESSION, EVENT.replace('number":1', 'number":3')],
            "validation_error",
            "line 3: the sequence",
        ),
        ([HEADER, SESSION, EVENT.replace('version":1', 'version":9')], "migration_required", "line 3: e has"),
        ([HEADER, SESSION, END, SESSION], "validation_error", "line 4: nothing may come after the end"),
        ([HEADER, SESSION, EVENT], "validation_error", "line 4: the end is missing"),
        (
            [HEADER, END.replace("{}", '{"events":5}')],
            "validation_error",
            "line 2: the export says that it has 5",
        ),
    ],
)
def test_a_bad_line_is_named_with_the_reason(another, lines, code, text):
    store = another().store
    error = refused(store, lines, ErrorCode(code))
    assert error.message.startswith(text)


def test_empty_lines_and_unknown_fields_are_no_fault(another):
    store = another().store
    later = EVENT.replace('"id":"e"', '"id":"e","later":1')
    bring(store, [HEADER, "\n", SESSION, later, "  ", EVENT.replace('"e"', '"f"').replace(":1}", ":2}"), END])
    assert [event.id for event in store.read_session("a")] == ["e", "f"]


def test_a_run_of_another_session_is_refused_with_its_line(another, journal):
    journal.session("a", runs=[("r", "completed")])
    target = another()
    target.session("b", runs=[("r", "completed")])
    error = refused(target.store, lines_of(journal.store), ErrorCode.RUN_MISMATCH)
    assert error.message.startswith("line 2: ")
    assert not target.store.has_session("a")


def test_an_absent_or_unreadable_file_is_an_error(another, tmp_path):
    target = another()
    broken = tmp_path / "broken.gz"
    broken.write_bytes(b"no gzip")
    for path, code in ((tmp_path / "absent", "not_found"), (broken, "storage_read_failed")):
        with pytest.raises(AsmError) as caught:
            import_from(target.hands, path, target.around)
        assert caught.value.code is ErrorCode(code)
    with pytest.raises(AsmError) as caught:
        import_from(target.hands, broken, target.around, on_conflict="replace")
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
