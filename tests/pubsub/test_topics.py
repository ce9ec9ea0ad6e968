"""Names of topics: what they are made from is what they are read as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.errors import AsmError
from asm_actors.events import Event, EventType
from asm_actors.pubsub.topics import Topic, TopicScope, topic_of

ids = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)


def event(run_id="r", type_=EventType.RUN_STARTED):
    return Event("evt", type_, 0, "s", run_id, 1, position=1)


@pytest.mark.parametrize(
    ("fields", "name", "scope"),
    [
        ({}, "asm:session:s", TopicScope.SESSION),
        ({"run_id": "r"}, "asm:session:s:run:r", TopicScope.RUN),
        ({"type": "run_failed"}, "asm:session:s:type:run_failed", TopicScope.TYPE),
        ({"prefix": "app:v2"}, "app:v2:session:s", TopicScope.SESSION),
        ({"run_id": "a:b%c"}, "asm:session:s:run:a%3Ab%25c", TopicScope.RUN),
    ],
)
def test_a_topic_has_a_name_and_a_scope(fields, name, scope):
    topic = Topic("s", **fields)
    assert str(topic) == name
    assert topic.scope is scope
    assert Topic.parse(name, topic.prefix) == topic


@given(
    session_id=ids,
    run_id=st.none() | ids,
    type_=st.none() | st.sampled_from(EventType),
    prefix=st.sampled_from("ab"),
)
def test_every_name_is_read_as_what_it_was_made_from(session_id, run_id, type_, prefix):
    topic = Topic(session_id, run_id, type_ if run_id is None else None, prefix)
    assert Topic.parse(str(topic), prefix) == topic


@given(st.text(max_size=60))
def test_any_text_is_a_name_of_one_topic_or_an_error(text):
    try:
        topic = Topic.parse(f"asm:session:{text}")
    except AsmError:
        return
    assert str(topic) == f"asm:session:{text}"


@pytest.mark.parametrize(
    "name",
    ["", "asm", "asm:session:", "other:session:s", "asm:session:s:run", "asm:session:s:run:", "asm:session:s:x:y",
     "asm:session:s:run:r:type:run_failed", "asm:session:s%41", None, 5],
)  # fmt: skip
def test_what_is_no_name_of_a_topic_is_refused(name):
    with pytest.raises(AsmError, match="validation_error"):
        Topic.parse(name)


def test_bad_parts_are_refused():
    for wrong in ({"session_id": ""}, {"session_id": "s", "run_id": "r", "type": "run_failed"},
                  {"session_id": "s", "prefix": ""}, {"session_id": "s", "prefix": "a:session:b"}):  # fmt: skip
        with pytest.raises(AsmError, match="validation_error"):
            Topic(**wrong)
    with pytest.raises(AsmError, match="invalid_event_type"):
        Topic("s", type="nonsense")
    with pytest.raises(AsmError, match="validation_error"):
        topic_of(event(), "galaxy")


def test_an_event_goes_to_the_topic_of_its_scope():
    assert str(topic_of(event())) == "asm:session:s"
    assert str(topic_of(event(), "run")) == "asm:session:s:run:r"
    assert str(topic_of(event(), TopicScope.TYPE, "app")) == "app:session:s:type:run_started"
    assert str(topic_of(event(run_id=None), "run")) == "asm:session:s", "of the session itself"


def test_a_topic_knows_its_events():
    assert Topic("s").matches(event())
    assert not Topic("t").matches(event())
    assert Topic("s", "r").matches(event())
    assert not Topic("s", "q").matches(event())
    assert Topic("s", type="run_started").matches(event())
    assert not Topic("s", type="run_failed").matches(event())
