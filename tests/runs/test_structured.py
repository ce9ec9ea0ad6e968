"""Answers that have to fit a schema: read out of a text, checked, told."""

from __future__ import annotations

import pytest

from asm_actors.errors import ErrorCode
from asm_actors.json_schema import compile_schema
from asm_actors.runs.structured import Answer, correction, misfit, read_answer

CITY = compile_schema(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
        "required": ["name"],
        "additionalProperties": False,
    }
)
ANYTHING = compile_schema(True)
FITS = {"name": "Bern", "people": 134_000}
TEXT = '{"name": "Bern", "people": 134000}'


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"\n  {TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"```\n{TEXT}\n```",
        f"Here it is:\n\n```json\n{TEXT}\n```\n\nAnything else?",
        f"  ```JSON\n  {TEXT}\n  ```",
        f"````\n```\n{TEXT}\n```".removeprefix("````\n"),
        f"```json\r\n{TEXT}\r\n```\r\n".replace("\r\n", "\n"),
    ],
)
def test_an_answer_is_json_alone_or_in_one_fenced_block(text):
    assert read_answer(text, CITY) == Answer(FITS, ())


@pytest.mark.parametrize("text", ["null", "3", '"three"', "[1, 2]", "true", "-1.5e3", '{"a": []}'])
def test_any_json_value_may_be_an_answer(text):
    assert read_answer(text, ANYTHING).faults == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the answer is empty"),
        ("  \n", "the answer is empty"),
        ("It is Bern.", "the answer is not JSON"),
        (f"Sure! {TEXT}", "the answer is not JSON"),
        (TEXT[:-1], "the answer is not JSON"),
        (f"{TEXT}\n{TEXT}", "the answer is not JSON"),
        (f"```\n{TEXT}\n```\n```\n{TEXT}\n```", "2 fenced blocks instead of one"),
        ("```json\nnearly\n```", "the fenced block is not JSON"),
        ("```json\n```", "the fenced block is not JSON"),
        ('{"name": NaN}', "NaN is no JSON value"),
        ("[Infinity]", "Infinity is no JSON value"),
        ('{"name": "a", "name": "b"}', "'name' occurs twice"),
        ("1e999", "must be a finite number"),
        ("1" + "0" * 30, "must fit into 64 bits"),
        ('"\\ud800"', "lone surrogates"),
    ],
)
def test_what_is_no_json_is_told(text, fault):
    answer = read_answer(text, ANYTHING)
    assert answer.value is None
    (told,) = answer.faults
    assert fault in told


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("{}", ["'name' is a required property"]),
        ('{"name": 3}', ["name: 3 is not of type 'string'"]),
        ('{"name": "Bern", "people": -1}', ["people: -1 is less than the minimum of 0"]),
        ("[]", ["[] is not of type 'object'"]),
        (
            '{"name": "Bern", "river": "Aare"}',
            ["Additional properties are not allowed ('river' was unexpected)"],
        ),
    ],
)
def test_each_fault_says_where_it_is(text, faults):
    assert list(read_answer(text, CITY).faults) == faults


def test_a_fault_list_has_a_bound():
    many = compile_schema({"type": "array", "items": {"type": "string"}})
    assert len(read_answer(f"[{','.join(['1'] * 100)}]", many).faults) == 5


def test_deep_nesting_is_a_fault_and_no_crash():
    deep = "[" * 100_000 + "]" * 100_000
    assert read_answer(deep, ANYTHING).faults


def test_the_model_is_told_all_faults_and_what_to_do():
    told = correction(("name: 3 is not of type 'string'", "people: -1 is less than the minimum of 0"))
    assert "- name: 3 is not of type 'string'\n- people: -1 is less than the minimum of 0\n" in told
    assert "whole corrected JSON value" in told


def test_a_run_that_gave_no_fitting_answer_says_what_was_wrong_with_the_last_one():
    error = misfit(("it is not JSON",), 3, "run_1")
    assert error.code is ErrorCode.INVALID_FORMAT
    assert error.details == {"faults": ["it is not JSON"], "attempts": 3}
    assert "3 answers" in error.message
    assert "1 answer:" in misfit(("no",), 1, "run_1").message
