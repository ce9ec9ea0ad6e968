"""Names are stored as they are: no secret becomes one, on whatever way it comes; and no refusal shows it."""

from __future__ import annotations

import asyncio
import io
import json
import traceback

import pytest

import asm_actors as asm
from asm_actors import messages as m
from asm_actors.errors import AsmError
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.providers.script import Script, text
from asm_actors.runs.run import Run
from asm_actors.testing.system import SimulatedSystem

SECRET = "gh" + "p_" + "q7Zx2Lv9Bn4Mk1Jh8Gf3Ds6Aw5Er0TyUiOpZ"
DIGEST = "0" * 64


@pytest.fixture(params=["memory", "lmdb"])
def sim(request, tmp_path):
    """A system on each store."""
    store = asm.MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "journal")
    with SimulatedSystem(store=store, script=Script(text("ok"))) as system:
        yield system
        if request.param == "lmdb":
            held = (path.read_bytes() for path in (tmp_path / "journal").rglob("*") if path.is_file())
            assert not any(SECRET.encode() in one for one in held)


def refused(call, *args, **kwargs):
    """The refusal of a call, which nowhere shows the secret."""
    with pytest.raises(AsmError) as caught:
        call(*args, **kwargs)
    error = caught.value
    told = "".join(traceback.format_exception(error)) + repr(error) + json.dumps(error.to_map())
    assert SECRET not in told
    return error


@pytest.mark.parametrize(
    "names",
    [
        {"parent_session_id": SECRET},
        {"parent_session_id": f"ses {SECRET}"},
        {"agent_id": SECRET},
        {"provider": SECRET},
    ],
    ids=lambda names: next(iter(names)),
)
def test_a_session_cannot_be_started_with_one(sim, names):
    error = refused(sim.manager.start_session, **{"agent_id": "a", **names})
    assert error.code == "validation_error"
    assert sim.store.sessions() == []


@pytest.mark.parametrize("name", ["id", "agent_id", "tags", "idempotency_key"])
def test_a_session_cannot_be_forked_into_one(sim, name):
    session = sim.active_session()
    names = {name: [SECRET] if name == "tags" else SECRET}
    assert refused(sim.manager.fork_session, session.id, **names).code == "validation_error"


@pytest.mark.parametrize(
    "names", [{"id": SECRET}, {"idempotency_key": SECRET}, {"provider": SECRET}], ids=str
)
def test_a_run_that_comes_as_a_message_cannot_have_one(sim, names):
    session = sim.active_session()
    run = Run.new(**{"id": "run_1", "now": 1, "session_id": session.id, "input": "hi", **names})
    handle = sim.system.session(session.id)
    for message in (m.CreateRun(run), m.SubmitRun(run)):
        assert refused(handle.ask, message).code == "validation_error"
        refused(handle.tell, message)
    assert sim.store.runs() == []


@pytest.mark.parametrize(
    "names",
    [{"name": SECRET}, {"agent_id": SECRET}, {"tags": ["a", SECRET]}, {"run_id": [SECRET]}],
    ids=lambda names: next(iter(names)),
)
def test_a_named_subscription_keeps_none(sim, names):
    assert refused(sim.manager.subscribe, **{"name": "reader", **names}).code == "validation_error"
    assert sim.manager.subscriptions() == []


def test_a_subscription_without_a_name_may_look_for_anything(sim):
    with sim.manager.subscribe(agent_id=SECRET, tags=[SECRET], run_id=SECRET) as reader:
        assert reader.pull(timeout=0) == []


def test_an_artifact_has_none_in_its_record(sim, tmp_path):
    session = sim.active_session()
    fields = {
        "session_id": session.id, "key": "k", "byte_size": 1, "checksum_sha256": DIGEST, "storage_backend": "b",
        "storage_ref": "https://bucket/k",
    }  # fmt: skip
    for name, value in [
        ("key", SECRET), ("storage_backend", SECRET), ("storage_ref", f"https://bucket/k?token={SECRET}"),
        ("storage_ref", "https://app:hunter2hunter2@bucket/k"),
    ]:  # fmt: skip
        error = refused(sim.system.artifacts.register, **{**fields, name: value})
        assert (error.code, error.details["field"]) == ("validation_error", name)
        assert "hunter2" not in str(error)
    files = asm.FileArtifactStore(tmp_path / "artifacts")
    assert refused(sim.system.artifacts.put, files, session.id, SECRET, b"x").code == "validation_error"
    assert not any(path.is_file() for path in (tmp_path / "artifacts").rglob("*"))
    assert sim.system.artifacts.list_by_session(session.id) == []
    assert sim.system.artifacts.register(**fields).storage_ref == "https://bucket/k"


@pytest.mark.parametrize("name", ["ses_1", "agent_1", "run_1", "key_1", "https://bucket/1"])
def test_an_import_brings_none(name):
    with SimulatedSystem(script=Script(text("ok"))) as old:
        session = old.manager.start_session(id="ses_1", agent_id="agent_1")
        old.manager.activate_session(session.id)
        old.manager.execute_run(old.manager.start_run(session.id, "hi", id="run_1").id)
        old.system.artifacts.register(
            session_id=session.id, key="key_1", byte_size=1, checksum_sha256=DIGEST, storage_backend="b",
            storage_ref="https://bucket/1",
        )  # fmt: skip
        target = io.StringIO()
        old.system.maintenance.export(target)
    lines = target.getvalue()
    with SimulatedSystem() as new:
        error = refused(new.system.maintenance.import_, io.StringIO(lines.replace(name, SECRET)))
        assert error.code == "validation_error"
        assert "line" in error.details
        assert new.store.sessions(include_deleted=True) == []
        assert new.system.maintenance.import_(io.StringIO(lines)).artifacts == 1


def test_no_refusal_quotes_one(sim):
    session = sim.active_session()
    manager, queries = sim.manager, sim.system.queries
    refused(manager.start_run, session.id, "hi", tools=[SECRET])
    refused(manager.run_once, "hi", tools=[SECRET])
    refused(manager.run_once, "hi", provider=SECRET, event_callback=print)
    refused(manager.subscribe, SECRET)
    refused(manager.subscribe, type=SECRET)
    refused(manager.stream_session_events, SECRET)
    for call in (
        manager.get_session,
        manager.get_run,
        manager.await_run,
        manager.execute_run,
        manager.cancel_run,
    ):
        refused(call, SECRET)
    refused(manager.fork_session, SECRET)
    refused(queries.get_session_stats, SECRET)
    refused(sim.system.artifacts.delete, SECRET)
    refused(sim.system.session(SECRET).ask, m.ActivateSession())
    refused(sim.system.run(SECRET).ask, m.CancelRun())


def test_without_redaction_an_error_quotes_what_it_was_given():
    with SimulatedSystem(redaction=False) as sim:
        with pytest.raises(AsmError, match=SECRET):
            sim.manager.subscribe(SECRET)
        sim.manager.start_session(agent_id="a", parent_session_id=SECRET)


def test_an_awaited_refusal_quotes_none_either(tmp_path):
    async def ask():
        async with await asm.AsyncActorSystem.start(asm.MemoryStore()) as system:
            calls = [
                system.sessions.get_session(SECRET),
                system.sessions.await_run(SECRET),
                system.sessions.subscribe(SECRET).pull(timeout=0),
                system.sessions.run_once("hi", provider=SECRET),
                system.artifacts.delete(SECRET),
            ]
            return await asyncio.gather(*calls, return_exceptions=True)

    for error in asyncio.run(ask()):
        assert isinstance(error, AsmError)
        assert SECRET not in str(error) + json.dumps(error.to_map())
