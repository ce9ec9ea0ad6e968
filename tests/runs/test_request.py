from __future__ import annotations

import pytest

from asm_actors.runs.request import correlation_of, provider_of, request_for
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session


def session(**fields):
    return Session.new(id="ses_1", now=1, agent_id="agent", **fields)


def run(**fields):
    return Run.new(id="run_1", now=1, session_id="ses_1", **fields)


def test_the_request_names_who_asks_and_what():
    request = request_for(session(context={"k": 1}), run(input="Hello"))
    assert (request.session_id, request.run_id, request.agent_id) == ("ses_1", "run_1", "agent")
    assert request.messages == ({"role": "user", "content": "Hello"},)
    assert request.context == {"k": 1}
    assert request.input == "Hello"
    assert (request.turn, request.attempt) == (1, 1)


def test_the_system_prompt_is_that_of_the_context():
    request = request_for(session(context={"system_prompt": "Be brief."}), run(input="Hello"))
    assert request.system_prompt == "Be brief."


def test_a_system_message_in_front_of_the_input_wins_and_is_no_message_any_more():
    messages = [{"role": "system", "content": "Be long."}, {"role": "user", "content": "Hello"}]
    request = request_for(session(context={"system_prompt": "Be brief."}), run(input={"messages": messages}))
    assert request.system_prompt == "Be long."
    assert [message["role"] for message in request.messages] == ["user"]


def test_an_input_of_another_shape_reaches_the_provider_as_it_is():
    request = request_for(session(), run(input={"command": "ls"}))
    assert request.messages == ()
    assert request.input == {"command": "ls"}


def test_adapter_options_are_the_requests_options():
    assert request_for(session(), run(options={"adapter_opts": {"model": "m"}})).options == {"model": "m"}
    assert request_for(session(), run(options={"adapter_opts": "nonsense"})).options == {}


@pytest.mark.parametrize(
    ("own", "of_session", "default", "expected"),
    [("a", "b", "c", "a"), (None, "b", "c", "b"), (None, None, "c", "c"), (None, None, None, None)],
)
def test_the_nearest_choice_of_a_provider_wins(own, of_session, default, expected):
    assert provider_of(session(provider=of_session), run(provider=own), default) == expected


@pytest.mark.parametrize(
    ("own", "of_session", "expected"),
    [
        ("r", "s", "r"),
        (None, "s", "s"),
        ("", "s", "s"),
        (5, "s", "s"),
        (5, {"x": 1}, None),
        (None, None, None),
    ],
)
def test_the_correlation_id_is_the_runs_or_else_the_sessions_if_it_is_text(own, of_session, expected):
    of_run = run(metadata={"correlation_id": own})
    assert correlation_of(session(metadata={"correlation_id": of_session}), of_run) == expected
    assert correlation_of(session(metadata={"correlation_id": "s"})) == "s"
