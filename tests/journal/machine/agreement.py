"""Looking at everything that a store holds, and at what it must hold."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from asm_actors.journal.store import Store
from tests.journal.machine.model import Model

WHOLE = 1 << 40
SESSION_KEYS = ("k1", "k2")
RUN_KEYS = ("q1", "q2")


def look(store: Store) -> dict[str, Any]:
    """All that a store answers to its plain questions, under the names of these."""
    sessions = store.sessions(include_deleted=True)
    ids = [session.id for session in sessions]
    runs = store.runs()
    return {
        "sessions": sessions,
        "session": [store.session(name) for name in ids],
        "listed": [session.id for session in store.sessions(newest_first=True)],
        "open_sessions": [session.id for session in store.open_sessions()],
        "runs": runs,
        "run": [store.run(run.id) for run in runs],
        "open_runs": [run.id for run in store.open_runs()],
        "last_position": store.last_position(),
        "events": store.read_all(limit=WHOLE, scan_limit=WHOLE).events,
        "histories": {name: store.read_session(name) for name in ids},
        "own": {
            name: [event.position for event in store.read_all(session_id=name, limit=WHOLE).events]
            for name in ids
        },
        "heads": {name: store.head(name) for name in ids},
        "runs_of": {name: [run.id for run in store.runs(name)] for name in ids},
        "open_runs_of": {name: [run.id for run in store.open_runs(name)] for name in ids},
        "forks_of": {name: store.forks_of(name) for name in ids},
        "session_by_key": {key: store.session_by_key(key) for key in SESSION_KEYS},
        "run_by_key": {(name, key): store.run_by_key(name, key) for name in ids for key in RUN_KEYS},
        "cursors": store.cursors(),
        "artifacts": store.artifacts(include_deleted=True),
        "artifacts_of": {name: [one.id for one in store.artifacts(name)] for name in ids},
    }


def expected(model: Model) -> dict[str, Any]:
    """What `look` must find."""
    ids = list(model.sessions)
    records = [model.record(name) for name in ids]
    runs = list(model.runs.values())
    artifacts = sorted(model.artifacts.values(), key=lambda one: one.id)
    return {
        "sessions": records,
        "session": records,
        "listed": [session.id for session in reversed(records) if session.deleted_us is None],
        "open_sessions": [name for name in ids if model.is_open(name)],
        "runs": runs,
        "run": runs,
        "open_runs": [run.id for run in runs if model.is_open(run.id)],
        "last_position": len(model.log),
        "events": model.events(),
        "histories": {name: model.history(name) for name in ids},
        "own": {name: [event.position for event in model.own(name)] for name in ids},
        "heads": model.heads,
        "runs_of": {name: [run.id for run in model.runs_of(name)] for name in ids},
        "open_runs_of": {
            name: [run.id for run in model.runs_of(name) if model.is_open(run.id)] for name in ids
        },
        "forks_of": {name: model.forks_of(name) for name in ids},
        "session_by_key": {key: model.session_keys.get(key) for key in SESSION_KEYS},
        "run_by_key": {(name, key): model.run_keys.get((name, key)) for name in ids for key in RUN_KEYS},
        "cursors": [model.cursors[name] for name in sorted(model.cursors)],
        "artifacts": artifacts,
        "artifacts_of": {
            name: [
                one.id
                for one in sorted(artifacts, key=lambda one: (one.created_us, one.id))
                if one.session_id == name and one.deleted_us is None
            ]
            for name in ids
        },
    }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """One sentence per question that is answered otherwise than it must be."""
    return [
        f"{name}: found {found[name]!r:.2000}\n  wanted {wanted[name]!r:.2000}"
        for name in wanted
        if found[name] != wanted[name]
    ]


def demand(store: Store, model: Model, what: str) -> None:
    """Fail unless a store holds what the model holds."""
    wrong = differences(look(store), expected(model))
    assert not wrong, f"{what}\n" + "\n".join(wrong)


def portable(facts: dict[str, Any]) -> dict[str, Any]:
    """Of what a store holds, that which an export takes along: no positions, no cursors, runs by their sessions."""
    sessions = {session.id: session for session in facts["sessions"]}
    return {
        "sessions": facts["sessions"],
        "listed": facts["listed"],
        "open_sessions": facts["open_sessions"],
        "runs": sorted(facts["runs"], key=lambda run: run.id),
        "runs_of": facts["runs_of"],
        "open_runs_of": facts["open_runs_of"],
        "heads": facts["heads"],
        "forks_of": facts["forks_of"],
        "histories": {
            name: [evolve(event, position=None) for event in events]
            for name, events in facts["histories"].items()
        },
        "artifacts": [one for one in facts["artifacts"] if one.session_id in sessions],
        "session_by_key": facts["session_by_key"],
        "run_by_key": facts["run_by_key"],
    }
