"""Compaction under seeds: cancels, pauses and ends of the process at any step, and each run ends once."""

from __future__ import annotations

import pytest

from asm_actors.events import EventType
from asm_actors.providers.script import Script, sleep, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.run import RunStatus
from asm_actors.testing.system import SimulatedSystem
from asm_actors.transcripts.summing import INSTRUCTIONS

OPTS = {"continuation": "auto", "continuation_opts": {"compact_over_tokens": 50, "keep_last": 0}}


def script(request):
    if request.messages[-1]["content"] == INSTRUCTIONS:
        return Script(sleep(0.5), text("the gist"))
    return Script(sleep(0.2), text("word " * 60))


def begun(system):
    """A session whose conversation is too long, with two runs that are to have it summed up; the ids of these."""
    session = system.active_session()
    system.operations.submit_run(session.id, "one")
    system.settle()
    system.advance(1)
    system.settle()
    made = [system.operations.submit_run(session.id, prompt, **OPTS) for prompt in ("two", "three")]
    return session, made


def finish(system):
    for _ in range(30):
        system.advance(0.5)
        system.settle()


def purposes(system, session):
    return [run.options.get("purpose") for run in system.store.runs(session.id)]


@pytest.mark.parametrize("seed", range(40))
def test_the_end_of_the_process_at_any_step(seed):
    with SimulatedSystem(seed, providers={"p": ScriptedProvider(script)}) as system:
        session, _ = begun(system)
        system.steps(seed * 3)
        if seed % 4 == 3:
            system.advance(0.3 * (seed % 5))
            system.steps(seed)
        system.kill()
        system.restart()
        finish(system)
        assert system.store.open_runs(session.id) == []
        runs = system.store.runs(session.id)
        assert {run.status for run in runs} == {RunStatus.COMPLETED}
        for run in runs[1:]:
            if "purpose" not in run.options:
                assert run.details["continuation"]["used"] == "replay"
        compacted = [
            event for event in system.events(session.id) if event.type is EventType.TRANSCRIPT_COMPACTED
        ]
        assert len(compacted) == purposes(system, session).count("compaction")
        system.check_promises()


@pytest.mark.parametrize("seed", range(40))
def test_a_cancel_at_any_step(seed):
    with SimulatedSystem(seed, providers={"p": ScriptedProvider(script)}) as system:
        session, made = begun(system)
        system.steps(4 + seed)
        if seed % 3 == 2:
            system.advance(0.3)
            system.steps(seed % 7)
        open_runs = system.store.open_runs(session.id)
        if open_runs:
            system.operations.cancel_run(open_runs[seed % len(open_runs)].id)
        finish(system)
        assert system.store.open_runs(session.id) == []
        assert all(future.get().id for future in made)
        statuses = [run.status for run in system.store.runs(session.id)]
        assert statuses.count(RunStatus.CANCELLED) <= 1
        assert set(statuses) <= {RunStatus.CANCELLED, RunStatus.COMPLETED}
        system.check_promises()


@pytest.mark.parametrize("seed", range(20))
def test_a_pause_of_the_session_at_any_step(seed):
    with SimulatedSystem(seed, providers={"p": ScriptedProvider(script)}) as system:
        session, _ = begun(system)
        system.steps(seed * 2)
        system.operations.pause_session(session.id)
        finish(system)
        system.operations.resume_session(session.id)
        finish(system)
        assert {run.status for run in system.store.runs(session.id)} == {RunStatus.COMPLETED}
        system.check_promises()


@pytest.mark.parametrize("seed", range(12))
def test_the_crash_of_an_actor_at_any_step(seed):
    with SimulatedSystem(seed, providers={"p": ScriptedProvider(script)}) as system:
        session, _ = begun(system)
        system.steps(5 + seed * 4)
        names = [run.id for run in system.store.open_runs(session.id)]
        refs = [ref for ref in map(system.run_ref, names) if ref is not None]
        ref = refs[0] if refs and seed % 2 else system.session_ref(session.id)
        system.crash(ref)
        finish(system)
        assert system.store.open_runs(session.id) == []
        assert {run.status for run in system.store.runs(session.id)} == {RunStatus.COMPLETED}
        system.check_promises()
