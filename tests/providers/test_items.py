from __future__ import annotations

import json
from typing import get_args

import pytest

from asm_actors.providers import items
from asm_actors.providers.items import (
    EMPTY,
    ITEM_TYPES,
    Item,
    MessageDone,
    Raw,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)


def test_the_list_of_item_types_is_the_union_of_items():
    assert set(get_args(Item)) == set(ITEM_TYPES)


def test_every_public_class_of_the_module_is_an_item():
    public = [getattr(items, name) for name in items.__all__]
    assert {thing for thing in public if isinstance(thing, type)} == set(ITEM_TYPES)


@pytest.mark.parametrize("kind", ITEM_TYPES)
def test_items_are_plain_tuples_without_a_dict_of_their_own(kind):
    assert issubclass(kind, tuple)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (TurnStarted, ("model", "provider_session_id", "tools")),
        (items.TextDelta, ("text",)),
        (items.ThinkingDelta, ("text",)),
        (ToolCallStarted, ("id", "name", "input")),
        (ToolCallEnded, ("id", "name", "output", "is_error")),
        (Usage, ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")),
        (MessageDone, ("content", "blocks", "role")),
        (TurnDone, ("stop_reason", "output", "cost_usd", "metadata")),
        (Raw, ("type", "data")),
    ],
)
def test_fields_stand_in_the_promised_order(kind, fields):
    assert kind._fields == fields


def test_defaults_say_nothing():
    assert TurnStarted() == (None, None, ())
    assert MessageDone("x") == ("x", (), "assistant")
    assert TurnDone() == ("end_turn", None, None, EMPTY)
    assert Usage(1, 2) == (1, 2, 0, 0)


def test_items_with_defaults_are_json_ready_as_maps():
    for item in (TurnDone(), ToolCallStarted("1", "t"), Raw("x"), TurnStarted()):
        assert json.loads(json.dumps(item._asdict()))


def test_the_shared_empty_map_is_empty():
    assert EMPTY == {}
