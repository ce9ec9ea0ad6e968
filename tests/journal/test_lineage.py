"""The chain of parts that a fork's history is made of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lineage import Origin, Part, check_place, origin_of, parts_of, read_lineage
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.query import EventFilter
from asm_actors.sessions.session import Session
from asm_actors.testing.store_builders import more, new_session, numbers, put
from asm_actors.testing.store_contract_forks import fork

ROOT = Path(__file__).resolve().parents[2]

# d is a fork of c at 8, c of b at 6, b of a at 4; e of c at 3, before c's parent begins; f of d at 6, exactly there.
ORIGINS = {
    "a": None,
    "b": Origin("a", 4),
    "c": Origin("b", 6),
    "d": Origin("c", 8),
    "e": Origin("c", 3),
    "f": Origin("d", 6),
}


@pytest.mark.parametrize(
    ("session", "after", "parts"),
    [
        ("a", 0, [("a", 0, None)]),
        ("a", 7, [("a", 7, None)]),
        ("b", 0, [("a", 0, 4), ("b", 4, None)]),
        ("b", 2, [("a", 2, 4), ("b", 4, None)]),
        ("b", 4, [("b", 4, None)]),
        ("d", 0, [("a", 0, 4), ("b", 4, 6), ("c", 6, 8), ("d", 8, None)]),
        ("d", 5, [("b", 5, 6), ("c", 6, 8), ("d", 8, None)]),
        ("e", 0, [("a", 0, 3), ("e", 3, None)]),
        ("f", 0, [("a", 0, 4), ("b", 4, 6), ("f", 6, None)]),
    ],
)
def test_a_history_is_a_chain_of_parts(session, after, parts):
    assert parts_of(session, after, ORIGINS.__getitem__) == [Part(*part) for part in parts]


def test_nothing_before_the_reader_is_looked_at():
    asked = []

    def origin(session_id):
        asked.append(session_id)
        return ORIGINS[session_id]

    parts_of("d", 7, origin)
    assert asked == ["d", "c"]


def test_a_chain_of_any_length_needs_no_stack():
    assert (
        len(parts_of("5000", 0, lambda name: Origin(str(int(name) - 1), int(name)) if name != "0" else None))
        == 5001
    )


def test_an_origin_needs_both_a_parent_and_a_place():
    assert origin_of(Session(id="s", agent_id="a", parent_session_id="p", forked_at=3)) == Origin("p", 3)
    assert origin_of(Session(id="s", agent_id="a", parent_session_id="p")) is None


def missing(name):
    raise AsmError(ErrorCode.SESSION_NOT_FOUND, f"there is no session {name}")


def test_a_history_without_its_beginning_is_an_error_that_names_it():
    """Whether the record of an ancestor is missing, or its events; of the session itself it is the usual one."""
    calls = [
        lambda: parts_of("b", 0, lambda name: ORIGINS[name] if name == "b" else missing(name)),
        lambda: read_lineage("b", EventFilter(), ORIGINS.__getitem__, lambda name, _: missing(name)),
    ]
    for call in calls:
        with pytest.raises(AsmError) as caught:
            call()
        assert caught.value.code is ErrorCode.STORAGE_READ_FAILED
        assert caught.value.details["missing"] == "a"
    with pytest.raises(AsmError) as caught:
        parts_of("b", 0, missing)
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND


@pytest.mark.parametrize("at", [0, 6, -1, "1", True, None])
def test_a_place_lies_within_the_session(at):
    assert check_place("s", 5, 5) == 5
    with pytest.raises(AsmError) as caught:
        check_place("s", at, 5)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


READER = """
import json, sys
from asm_actors.journal.lmdb_store import LmdbStore
store = LmdbStore(sys.argv[1], readonly=True)
store.open()
for line in sys.stdin:
    places = [(event.session_id, event.sequence_number) for event in store.read_session("b")]
    print(json.dumps([places, store.head("b"), store.head("c"), store.forks_of("a")]), flush=True)
store.close()
"""


def test_a_reader_in_another_process_sees_forks_as_they_come(tmp_path):
    """It replays what the writer commits, settled or not."""
    writer = LmdbStore(tmp_path / "journal", durability="none")
    writer.open()
    put(writer, new_session("a", 3))
    words = [sys.executable, "-c", READER, str(tmp_path / "journal")]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        try:

            def seen():
                reader.stdin.write("?\n")
                reader.stdin.flush()
                return json.loads(reader.stdout.readline())

            put(writer, fork("b", "a", 2, 1), fork("c", "a", 3, 0))
            first = [[["a", 1], ["a", 2], ["b", 3]], 3, 3, ["b", "c"]]
            assert seen() == first
            writer.settle()
            assert seen() == first
            put(writer, more("b", 1, 3))
            assert seen() == [[*first[0], ["b", 4]], 4, 3, ["b", "c"]]
        finally:
            reader.stdin.close()
    writer.close()
    assert reader.returncode == 0


def test_a_session_that_is_no_fork_is_read_without_looking_at_its_record(tmp_path, monkeypatch):
    store = LmdbStore(tmp_path / "journal", durability="none")
    store.open()
    try:
        put(store, new_session("a", 9), fork("b", "a", 2, 3))
        store.settle()
        monkeypatch.setattr(LmdbStore, "_origin", None)
        assert numbers(store.read_session("a")) == list(range(1, 10))
        assert numbers(store.read_session("a", EventFilter(after=4, limit=2))) == [5, 6]
        assert numbers(store.read_session("b", EventFilter(after=2))) == [3, 4, 5]
    finally:
        store.close()
