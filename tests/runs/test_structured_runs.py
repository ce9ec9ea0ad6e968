"""Runs whose answers have to fit a schema, in a whole system."""

from __future__ import annotations

import attrs
import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.providers.script import Script, stall, text, tool_call, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.tool import Tool


@attrs.frozen
class City:
    """What is asked for."""

    name: str
    people: int = attrs.field(default=0, validator=attrs.validators.ge(0))


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Model:
    """A provider that gives one answer after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.provider = ScriptedProvider(self._script)

    def _script(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, Script) else Script(text(answer), usage(1, 2))


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "journal")


def system(model, store=None, **options):
    return SimulatedSystem(providers={"mock": model.provider}, store=store, **options)


def submit(sim, **options):
    return sim.manager.submit_run(sim.active_session().id, "Which city?", **options)


def test_the_answer_is_the_results_object(store):
    model = Model('```json\n{"name": "Bern"}\n```')
    with system(model, store) as sim:
        result = sim.manager.await_run(submit(sim, output_schema=SCHEMA).id)
        assert result.object == {"name": "Bern"}
        assert sim.run(result.run_id).details["object"] == {"name": "Bern"}
        assert model.requests[0].output_schema == SCHEMA
        sim.check_promises()


def test_the_validators_of_a_class_are_asked_of_the_model():
    model = Model('{"name": "Bern", "people": -1}', '{"name": "Bern", "people": 1}')
    with system(model) as sim:
        result = sim.manager.await_run(submit(sim, output_schema=City).id)
        assert result.object_as(City) == City("Bern", 1)
        assert "people: -1 is less than the minimum of 0" in model.requests[1].messages[2]["content"]


def test_a_class_says_what_is_asked_for_and_the_answer_becomes_one():
    model = Model('{"name": "Bern", "people": "many"}', '{"name": "Bern", "people": 134000}')
    with system(model) as sim:
        result = sim.manager.await_run(submit(sim, output_schema=City).id)
        assert result.object == {"name": "Bern", "people": 134_000}
        assert result.object_as(City) == City("Bern", 134_000)
        assert result.run.turn_count == 2
        assert result.token_usage == {"input_tokens": 2, "output_tokens": 4}
        told = model.requests[1].messages
        assert [message["role"] for message in told] == ["user", "assistant", "user"]
        assert "people: 'many' is not of type 'integer'" in told[2]["content"]
        sim.check_promises()


def test_a_run_without_a_schema_has_no_object():
    with system(Model("Bern")) as sim:
        result = sim.manager.await_run(submit(sim).id)
        assert result.object is None
        with pytest.raises(AsmError) as caught:
            result.object_as(City)
        assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_a_run_that_never_fits_fails_and_says_why(store):
    model = Model("Bern", "[]", "{}")
    with system(model, store) as sim:
        run = submit(sim, output_schema=SCHEMA)
        with pytest.raises(AsmError) as caught:
            sim.manager.await_run(run.id)
        assert caught.value.code is ErrorCode.INVALID_FORMAT
        assert caught.value.details["faults"] == ["'name' is a required property"]
        assert sim.run(run.id).details["object_attempts"] == 2
        assert sim.types_of(run.id).count("turn_completed") == 2
        sim.check_promises()


def endless():
    schema = {"type": "object"}
    schema["properties"] = {"more": schema}
    return schema


def deep():
    schema = {"type": "object"}
    for _ in range(5_000):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        *[3, "object", ["object"], int, {"type": "thing"}, {"$ref": "https://example.org/city"}],
        *[{"$schema": 5}, {"$schema": ["x"]}, endless(), deep(), {"const": endless()}],
    ],
    ids=lambda schema: type(schema).__name__,
)
def test_what_is_no_schema_is_refused_before_there_is_a_run(schema):
    with system(Model()) as sim:
        session = sim.active_session()
        with pytest.raises(AsmError) as caught:
            sim.manager.submit_run(session.id, "Which city?", output_schema=schema)
        assert caught.value.code is ErrorCode.VALIDATION_ERROR
        assert sim.store.runs() == []


@pytest.mark.parametrize("how", ["kill", "crash", "restart"])
def test_a_run_that_is_cut_in_its_second_answer_goes_on_with_what_was_wrong(store, how):
    model = Model("Bern", Script(text("{"), stall()), '{"name": "Bern"}')
    with system(model, store) as sim:
        run = submit(sim, output_schema=SCHEMA)
        sim.settle()
        assert len(model.requests) == 2
        if how == "kill":
            sim.kill()
        elif how == "restart":
            sim.restart()
        else:
            sim.crash(sim.run_ref(run.id))
            sim.dispatcher.failures.clear()
        sim.settle()
        sim.dispatcher.failures.clear()
        record = sim.run(run.id)
        assert record.status == "completed"
        assert record.details["object"] == {"name": "Bern"}
        assert record.details["object_attempts"] == 2
        assert model.requests[2].messages == model.requests[1].messages
        assert model.requests[2].turn == 2
        sim.check_promises()


def test_tools_are_called_between_answers():
    model = Model(
        Script(tool_call("call_1", "look", {})),
        "no json",
        Script(tool_call("call_2", "look", {})),
        '{"name": "Bern"}',
    )
    tool = Tool("look", "Looks", {"type": "object"}, lambda: "Bern", safe_to_repeat=True)
    with system(model, tools=[tool]) as sim:
        result = sim.manager.await_run(submit(sim, output_schema=SCHEMA).id)
        assert result.object == {"name": "Bern"}
        assert result.run.turn_count == 4
        sim.check_promises()
