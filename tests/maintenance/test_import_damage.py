"""A damaged export: what is wrong with it is found before anything of its session is final."""

from __future__ import annotations

import json

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.ids import SequentialIds
from asm_actors.journal.memory import MemoryStore
from asm_actors.maintenance import imports, lines
from asm_actors.maintenance.export import export_lines
from asm_actors.maintenance.hands import Alone
from asm_actors.maintenance.imports import import_lines
from asm_actors.providers.script import Script, text
from asm_actors.testing.system import SimulatedSystem

NOW = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def sound():
    """The maps of an export of three sessions, the second of them a fork, the third one with holes."""
    with SimulatedSystem(script=Script(text("hello there", size=2))) as sim:
        ids = []
        for _ in range(2):
            session = sim.active_session()
            sim.manager.execute_run(sim.manager.start_run(session.id, "hello").id)
            ids.append(sim.manager.complete_session(session.id).id)
            if len(ids) == 1:
                sim.manager.fork_session(session.id, at=3)
        sim.store.prune_events(ids[1], [5, 6, 8])
        return [json.loads(line) for line in export_lines(sim.store, NOW)]


@pytest.fixture(params=[2_000, 3], ids=["small", "in parts"])
def target(request, monkeypatch):
    monkeypatch.setattr(imports, "_PART", request.param)
    store = MemoryStore()
    store.open()
    yield store
    store.close()


def bring(store, maps):
    return import_lines(Alone(store), [json.dumps(one) for one in maps], SequentialIds())


def refused(store, maps, code=ErrorCode.VALIDATION_ERROR):
    """Import, and check that each session is there wholly or not at all."""
    with pytest.raises(AsmError) as caught:
        bring(store, maps)
    assert caught.value.code is code
    assert caught.value.message.startswith("line ")
    assert store.verify().problems == ()
    return caught.value


def of(maps, kind):
    return [k for k, one in enumerate(maps) if one["kind"] == kind]


def without(maps, place):
    return [*maps[:place], *maps[place + 1 :]]


def changed(maps, place, **fields):
    return [*maps[:place], {**maps[place], **fields}, *maps[place + 1 :]]


def test_a_sound_export_comes_in_as_it_was(sound, target):
    bring(target, sound)
    found = [json.loads(line) for line in export_lines(target, NOW)]
    assert [{**one, "position": None} for one in found[1:]] == [
        {**one, "position": None} for one in sound[1:]
    ]
    assert target.verify().is_sound


def test_a_missing_event_is_named_and_its_session_is_not_there(sound, target):
    place = of(sound, "event")[3]
    error = refused(target, without(sound, place))
    assert f"line {place + 1}: event 4 of session {sound[1]['id']} is missing" in error.message
    assert target.sessions(include_deleted=True) == []


def test_whatever_line_is_missing_is_missed(sound, target):
    whole = {one["id"]: one["last_sequence"] for one in sound if one["kind"] == "session"}
    for place in range(len(sound)):
        store = MemoryStore()
        store.open()
        with pytest.raises(AsmError) as caught:
            bring(store, without(sound, place))
        assert caught.value.code in (
            ErrorCode.VALIDATION_ERROR,
            ErrorCode.SESSION_MISMATCH,
            ErrorCode.SESSION_NOT_FOUND,
        )
        assert store.verify().problems == ()
        for session in store.sessions(include_deleted=True):
            assert session.last_sequence == whole[session.id]
            if sound[place].get("session_id") == session.id or sound[place].get("id") == session.id:
                pytest.fail(f"{session.id} is there without line {place + 1}")
        store.close()


def test_events_of_a_run_without_a_record_are_refused_with_its_name(sound, target):
    place = of(sound, "run")[0]
    error = refused(target, without(sound, place))
    assert f"belongs to run {sound[place]['id']}" in error.message
    assert target.sessions(include_deleted=True) == []


def test_a_run_that_comes_twice_is_refused(sound, target):
    place = of(sound, "run")[0]
    assert "came before already" in refused(target, [*sound[: place + 1], *sound[place:]]).message


def test_an_event_of_a_run_names_its_run(sound, target):
    place = next(k for k in of(sound, "event") if sound[k]["type"] == "run_completed")
    error = refused(target, changed(sound, place, run_id=None))
    assert f"line {place + 1}: {sound[place]['id']} is a run_completed and names no run" in error.message


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("session", {"status": "active"}, "status is active, and completed by its events"),
        ("session", {"updated_at": "2020-01-01T00:00:00Z"}, "updated_us"),
        ("run", {"status": "running"}, "is running, and completed by its events"),
        ("run", {"started_at": "2020-01-01T00:00:00Z"}, "started_us"),
        ("run", {"token_usage": {"input_tokens": 5}}, "used"),
    ],
)
def test_records_that_contradict_their_events_are_refused(sound, target, kind, fields, words):
    error = refused(target, changed(sound, of(sound, kind)[0], **fields))
    assert f"the records of session {sound[1]['id']} contradict its events" in error.message
    assert words in error.message
    assert target.sessions(include_deleted=True) == []


def test_holes_are_told_and_checked(sound, target):
    holes = of(sound, "hole")
    assert [(sound[k]["first"], sound[k]["last"]) for k in holes] == [(5, 6), (8, 8)]
    for fields, words in (
        ({"first": 6}, "event 5 of session"),
        ({"last": 10**9}, "a hole must be above 4"),
        ({"first": 1}, "a hole must be above 4"),
        ({"last": 4}, "last must be"),
    ):
        store = MemoryStore()
        store.open()
        assert words in refused(store, changed(sound, holes[0], **fields)).message
        store.close()
    mismatched = changed(sound, holes[0], session_id="other")
    refused(target, mismatched, ErrorCode.SESSION_MISMATCH)


def test_an_export_of_the_first_format_still_comes_in(sound, target):
    earlier = [{**one, "version": 1} if one["kind"] == "header" else one for one in sound]
    earlier = [
        {name: value for name, value in one.items() if name != "holds"}
        for one in earlier
        if one["kind"] != "hole"
    ]
    assert bring(target, earlier).sessions == 3
    last = [one["id"] for one in sound if one["kind"] == "session"][-1]
    assert [event.sequence_number for event in target.read_session(last)][:6] == [1, 2, 3, 4, 7, 9]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ('{"kind":"session","a":NaN}', "there is no NaN"),
        ('{"kind":"session","a":-Infinity}', "there is no -Infinity"),
        ("9" * 5_000, "it is not JSON"),
        (b"{}", "it must be text"),
        (5, "it must be text"),
    ],
)
def test_a_line_that_is_no_json_is_named(sound, target, line, words):
    with pytest.raises(AsmError) as caught:
        import_lines(Alone(target), [json.dumps(sound[0]), line], SequentialIds())
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.message.startswith("line 2: ")
    assert words in caught.value.message


def test_a_line_that_is_too_long_is_named(sound, target, monkeypatch):
    monkeypatch.setattr(lines, "_LONGEST", 100)
    assert "characters" in refused(target, sound).message


def test_a_session_that_changes_all_the_time_is_told_as_of_one_instant(target):
    with SimulatedSystem(script=Script(text("hello there", size=2))) as sim:
        session = sim.active_session()
        sim.manager.execute_run(sim.manager.start_run(session.id, "hello").id)
        done, store = sim.session(session.id), sim.store
        (run,) = store.runs(session.id)

        class Restless:
            """Tells the session as it was before the run was over, and the run as it is then."""

            def __getattr__(self, name):
                return getattr(store, name)

            def session(self, session_id):
                return done.replace(last_sequence=done.last_sequence - 3)

            def runs(self, session_id):
                self.looks = getattr(self, "looks", 0) + 1
                return [run.replace(metadata={"look": self.looks})]

        told = [json.loads(line) for line in export_lines(Restless(), NOW, session_id=session.id)]
    assert told[of(told, "run")[0]]["status"] == "running"
    bring(target, told)
    assert target.verify().is_sound
