"""What a provider reported, in the common form."""

from __future__ import annotations

import attrs
import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.normalization.normalized_event import NormalizedEvent

NOW = 1_767_225_600_000_000


def event(**fields):
    defaults = {"id": "nevt_1", "type": "run_started", "session_id": "s", "run_id": "r", "now": NOW}
    return NormalizedEvent.new(**defaults | fields)


def test_it_is_an_event_with_two_more_names():
    made = event(parent_event_id="p", provider_event_id="x", provider="claude")
    assert isinstance(made, Event)
    assert (made.parent_event_id, made.provider_event_id, made.provider) == ("p", "x", "claude")
    assert made.type is EventType.RUN_STARTED


@pytest.mark.parametrize("provider", [None, ""])
def test_an_unsigned_event_is_generic(provider):
    assert event().provider == "generic"
    assert event(provider=provider).provider == "generic"
    assert NormalizedEvent.from_map(event().to_map() | {"provider": None}).provider == "generic"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": None}, ErrorCode.VALIDATION_ERROR),
        ({"type": "nonsense"}, ErrorCode.INVALID_EVENT_TYPE),
        ({"session_id": None}, ErrorCode.VALIDATION_ERROR),
        ({"session_id": ""}, ErrorCode.VALIDATION_ERROR),
        ({"run_id": None}, ErrorCode.VALIDATION_ERROR),
        ({"run_id": ""}, ErrorCode.VALIDATION_ERROR),
        ({"parent_event_id": ""}, ErrorCode.VALIDATION_ERROR),
        ({"provider_event_id": 3}, ErrorCode.VALIDATION_ERROR),
    ],
)
def test_bad_fields_are_refused(fields, code):
    with pytest.raises(AsmError) as caught:
        event(**fields)
    assert caught.value.code is code


def test_reading_needs_the_run_too():
    with pytest.raises(AsmError, match=r"event\.run_id is required"):
        NormalizedEvent.from_map(event().to_map() | {"run_id": None})


def test_context_is_session_and_run():
    assert event().same_context(event(id="other"))
    assert not event().same_context(event(run_id="r2"))
    assert not event().same_context(event(session_id="s2"))


def test_validity_tells_of_hand_made_events():
    assert event().is_valid
    assert not attrs.evolve(event(), run_id=None).is_valid
    assert not attrs.evolve(event(), data={1: 2}).is_valid


def test_it_is_not_equal_to_a_plain_event_and_has_a_hash():
    plain = Event.new(
        id="nevt_1", type="run_started", session_id="s", run_id="r", now=NOW, provider="generic"
    )
    assert event() != plain
    assert len({event(), event()}) == 1
